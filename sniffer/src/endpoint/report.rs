//! The report that the endpoint shows. `app` makes it; the other files of this module convert it to documents.

use super::red::Red;
use crate::{monitor::Snapshot, net::Traffic, time::Durations};
use serde_json::{Map, Value};
use std::time::Instant;

/// Where the endpoint gets what it reports.
pub trait Source: Send + Sync {
    /// Returns the state at this moment. It is called at most ten times a second.
    fn report(&self) -> Report;
}

/// Properties that do not change while the program runs.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `agent.id`
    pub id: String,
    /// `agent.ephemeral_id`
    pub ephemeral_id: String,
    /// The setting `name`, or the name of the host.
    pub name: String,
    /// The version of Packetbeat that the program is compatible with.
    pub version: &'static str,
    /// The field `host` of documents.
    pub host: Map<String, Value>,
    /// The names of all protocols. A counter belongs to the protocol whose name is the first part of the counter's name.
    pub protocols: Vec<&'static str>,
    /// The setting `monitoring.cluster_uuid`.
    pub cluster_uuid: Option<String>,
    /// When the program started.
    pub start: Instant,
    /// The transactions by server and operation; `None` if they are not counted.
    pub red: Option<Red>,
}

/// The state of the program at one moment.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// All counters and gauges.
    pub counters: Snapshot,
    /// The devices that are captured.
    pub inputs: Vec<Input>,
    /// The output in force.
    pub output: Output,
    /// The kind of queue: `mem` or `disk`.
    pub queue: &'static str,
    /// How long the output took to send each batch.
    pub latency: Durations,
    /// How long the output took to send each batch since the beginning of the current interval.
    pub recent_latency: Durations,
    /// Histograms of processors in nanoseconds, by the path of each in `/stats`.
    pub histograms: Vec<(String, Durations)>,
    /// Why the program does not work as it should; `None` if it does.
    pub problem: Option<String>,
}

/// The output in force.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// The key of the output below `output`.
    pub name: &'static str,
    /// The setting `bulk_max_size`; -1 if the output has no such limit.
    pub batch_size: i64,
    /// The number of senders of the output.
    pub clients: usize,
    /// The id of the cluster that it is connected to; empty if there is none.
    pub cluster_uuid: String,
}

/// A device that is captured.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Name of the device.
    pub device: String,
    /// The capture method: `ebpf`, `af_packet` or `pcap`.
    pub backend: &'static str,
    /// Packets handed to workers.
    pub packets: u64,
    /// How often the workers polled.
    pub polls: u64,
    /// Packets at the socket or hook that passed the filter.
    pub matched: u64,
    /// Packets lost because the buffer was full.
    pub lost: u64,
    /// The ports of protocols on TCP, each a number or a range.
    pub tcp_ports: Vec<String>,
    /// The ports of protocols on UDP.
    pub udp_ports: Vec<String>,
    /// The number of packets for the protocols on TCP and on UDP.
    pub traffic: Traffic,
    /// The number of segments whose data had been received before.
    pub overlaps: u64,
    /// The number of connections that were given up because of a gap.
    pub dropped_because_of_gaps: u64,
}
