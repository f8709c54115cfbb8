//! [`Measured`]: what `otlp.metrics` sends. `app` makes it.

use crate::time::Timestamp;

/// The transactions of a run, counted by server and operation.
pub trait Measured: Send + Sync {
    /// When the counting began.
    fn since(&self) -> Timestamp;

    /// Names and values that describe this process, with the names of OpenTelemetry's semantic conventions for resources.
    fn resource(&self) -> Vec<(&'static str, String)>;

    /// Upper bounds of the buckets of durations, in seconds. One more bucket without a bound follows.
    fn bounds(&self) -> Vec<f64>;

    /// All counts since the counting began.
    fn transactions(&self) -> Vec<Measurement>;

    /// The traffic: flows and capture. There are at most a few of each name.
    fn traffic(&self) -> Vec<Number>;
}

/// One number about flows or capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Number {
    /// The name of the metric. Numbers with the same name are adjacent.
    pub name: &'static str,
    /// What the metric is, in one sentence.
    pub description: &'static str,
    /// The unit, as UCUM writes it.
    pub unit: &'static str,
    /// The transport that is counted; empty: all.
    pub transport: String,
    /// Whether the number never decreases.
    pub is_total: bool,
    /// The number.
    pub value: u64,
}

/// The counts of the transactions with one protocol, server and operation.
#[derive(Clone, Debug, Default)]
pub struct Measurement {
    /// The name of the protocol.
    pub protocol: String,
    /// Address and port of the server; the port is missing for transports without ports.
    pub server: String,
    /// Method and object of the request.
    pub operation: String,
    /// Transactions.
    pub count: u64,
    /// Transactions whose status is not `OK`.
    pub errors: u64,
    /// Sum of the durations of answered transactions, in seconds.
    pub seconds: f64,
    /// Number of answered transactions in each bucket of durations.
    pub buckets: Vec<u64>,
}
