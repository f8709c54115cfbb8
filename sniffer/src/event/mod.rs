//! Events: structs that borrow from the packet and are serialized directly to JSON, without building a map. [`Head`]
//! has the fields that all transactions have. The fields of a protocol are a struct in the protocol's folder.

pub mod constants;
mod ecs;
pub mod fields;
pub mod format;
pub mod json;
mod key;
mod merged;
mod pick;
mod process;
pub mod raw;
pub mod shorten;
pub mod summary;
pub mod text;
pub mod tree;

pub use ecs::{Side, Whole, Writing};
pub use fields::{Field, Kind, TRANSACTION};
pub use merged::Merged;
pub use pick::Picked;
pub use process::{MainProcess, PROCESS, ProcessFields, Shape};
pub use summary::{Details, Summary};
pub use text::Text;

use crate::{net::Direction, time::Timestamp};
use serde::Serialize;
use std::net::IpAddr;

/// The outcome of a transaction, as the field `status` spells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Status {
    /// The request was answered without an error.
    #[default]
    OK,
    /// The transaction failed, or its request or response is missing.
    Error,
    /// The client made an error. Only memcache uses it.
    #[serde(rename = "Client Error")]
    ClientError,
    /// The server failed. Only memcache uses it.
    #[serde(rename = "Server Error")]
    ServerError,
    /// There was no response. Only nfs uses it.
    #[serde(rename = "NO_REPLY")]
    NoReply,
}

/// The fields that all transactions have. A protocol sets those it knows and takes the others from `..Head::new(…)`.
///
/// Empty strings, empty lists and byte counts of zero are not written to the document. `Some("")` in the fields from
/// `method` to `response` is written.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// `type` and `event.dataset`: the protocol's name.
    pub dataset: &'static str,
    /// The field `status`.
    pub status: Status,
    /// The direction of the request: its sender is `source`, its receiver is `destination`. `client` and `server` are
    /// copies of these two ends; [`crate::net::Peers`] determines which is which.
    pub from: Direction,
    /// `event.start`: time of the first byte of the request; `None` if only the response was captured.
    pub start: Option<Timestamp>,
    /// `event.end`: time of the first segment of the response; `None` without a response. `@timestamp` is `start`, or
    /// `end` if there is no start.
    pub end: Option<Timestamp>,
    /// Application bytes sent by `source`.
    pub source_bytes: u64,
    /// Application bytes sent by `destination`.
    pub destination_bytes: u64,
    /// The field `source.domain`.
    pub source_domain: &'a str,
    /// The field `destination.domain`.
    pub destination_domain: Text<'a>,
    /// The field `method`.
    pub method: Option<Text<'a>>,
    /// The field `path`.
    pub path: Option<Text<'a>>,
    /// The field `resource`.
    pub resource: Option<Text<'a>>,
    /// The field `query`.
    pub query: Option<Text<'a>>,
    /// The field `request`. It is set only with the option `send_request`.
    pub request: Option<Text<'a>>,
    /// The field `response`. It is set only with the option `send_response`.
    pub response: Option<Text<'a>>,
    /// The field `error.message`: a string if there is one note, a list if there are several.
    pub notes: &'a [&'a str],
    /// The field `event.category`.
    pub categories: &'static [&'static str],
    /// The field `event.type`.
    pub types: &'static [&'static str],
    /// The field `event.action`.
    pub action: &'a str,
    /// The field `event.outcome`.
    pub outcome: &'a str,
    /// The field `event.reason`.
    pub reason: Text<'a>,
    /// The field `event.sequence`.
    pub sequence: Option<u64>,
    /// The field `event.original`.
    pub original: Option<Text<'a>>,
    /// The field `network.protocol`: the dataset by default. If empty, the field is left out.
    pub protocol: &'a str,
    /// The field `network.application`.
    pub application: &'a str,
    /// The field `network.iana_number`.
    pub iana_number: &'a str,
    /// The field `network.forwarded_ip`.
    pub forwarded_ip: Option<IpAddr>,
    /// Addresses in `related.ip` before source and destination.
    pub related_ips_first: &'a [IpAddr],
    /// Addresses in `related.ip` after source and destination. Duplicates are removed.
    pub related_ips: &'a [IpAddr],
    /// `related.hosts`; duplicates and empty ones are removed.
    pub related_hosts: &'a [Text<'a>],
    /// `related.user`; duplicates and empty ones are removed.
    pub related_users: &'a [Text<'a>],
    /// Whether the protocol's fields contain `user.id` or `user.name`. Then the user of the process is below `process`.
    pub names_user: bool,
}

impl Head<'_> {
    /// Makes a head that has only the dataset.
    pub const fn new(dataset: &'static str) -> Self {
        Self {
            dataset,
            status: Status::OK,
            from: Direction::ToServer,
            start: None,
            end: None,
            source_bytes: 0,
            destination_bytes: 0,
            source_domain: "",
            destination_domain: Text(b""),
            method: None,
            path: None,
            resource: None,
            query: None,
            request: None,
            response: None,
            notes: &[],
            categories: &["network"],
            types: &["connection", "protocol"],
            action: "",
            outcome: "",
            reason: Text(b""),
            sequence: None,
            original: None,
            protocol: dataset,
            application: "",
            iana_number: "",
            forwarded_ip: None,
            related_ips_first: &[],
            related_ips: &[],
            related_hosts: &[],
            related_users: &[],
            names_user: false,
        }
    }
}
