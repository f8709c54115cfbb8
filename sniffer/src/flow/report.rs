//! Makes the document of a flow, with Packetbeat's fields.

use crate::{
    event::{MainProcess, ProcessFields, Shape},
    net::{CommunityId, Count, FlowRecord, LastIcmp, Parts, Transport},
    process::{Conversation, Ends},
    publish::{PublisherId, Sink},
    time::{TimeText, Timestamp},
};
use serde::{Serialize, Serializer, ser::SerializeSeq};
use smallvec::SmallVec;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why a flow is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The period has passed, and the flow has not ended.
    Period,
    /// The flow has ended.
    Ended,
}

/// A report that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub reason: Reason,
    /// The time of the report.
    pub now: Timestamp,
    pub publisher: PublisherId,
    /// Whether the report names the processes at the flow's ends, if documents name processes.
    pub processes: bool,
}

/// Emits the document of `flow`. `subtracted` are the counts of the previous report if reports are deltas, otherwise 0.
pub(super) fn emit(flow: &FlowRecord, subtracted: [Count; 2], due: Due, sink: &mut Sink) {
    let Due { reason, now, publisher, processes } = due;
    let parts = flow.key.parts(flow.reversed);
    let (first, second) = if flow.reversed { (1, 0) } else { (0, 1) };
    let macs = flow.macs.get(first).copied().flatten();
    let count = |i: usize| {
        let all = flow.counts.get(i).copied().unwrap_or_default();
        let before = subtracted.get(i).copied().unwrap_or_default();
        Count { packets: all.packets.saturating_sub(before.packets), bytes: all.bytes.saturating_sub(before.bytes) }
    };
    let icmp = (flow.icmp.get(first).copied().flatten(), flow.icmp.get(second).copied().flatten());
    let ended = reason == Reason::Ended;
    let digits = sink.digits();
    let (there, back) = (count(first), count(second));
    let (source_port, destination_port) = parts.ports().unwrap_or_default();
    let (transport, community) = transport(&parts, icmp);
    let ends = conversation(&parts, sink.wall(flow.start)).and_then(|conversation| sink.ends(&conversation, processes));
    let named = if processes { sink.shown(ends.as_ref()) } else { &Ends::NONE };
    let process = |process| ProcessFields::of_end(process, Shape::Flow, digits);
    let document = Document {
        kind: "flow",
        event: Event {
            kind: "event",
            category: ["network"],
            types: if ended { &["connection", "end"] } else { &["connection"] },
            dataset: "flow",
            action: "network_flow",
            start: sink.wall(flow.start).text(digits),
            end: sink.wall(flow.end).text(digits),
            duration: flow.end.since(flow.start),
        },
        flow: FlowFields { id: parts.id(macs), is_final: ended, vlan: Vlan::of(&parts) },
        source: Side::new(macs.map(|m| m.0), parts.ips().map(|ip| ip.0), source_port, there, named.source.as_deref().map(process)),
        destination: Side::new(
            macs.map(|m| m.1),
            parts.ips().map(|ip| ip.1),
            destination_port,
            back,
            named.destination.as_deref().map(process),
        ),
        network: Network {
            version: version(parts.headers()),
            transport: transport.map(Transport::name),
            community_id: community.as_ref().map(CommunityId::as_str),
            bytes: there.bytes.saturating_add(back.bytes),
            packets: there.packets.saturating_add(back.packets),
        },
        process: MainProcess::of(named, Shape::Flow, digits, false),
    };
    sink.emit_flow(publisher, sink.wall(now), (flow, ends.as_ref().unwrap_or(&Ends::NONE)), &document);
}

/// The ends of a flow whose packets have ports. `time`: the wall-clock time of its first packet.
fn conversation(parts: &Parts<'_>, time: Timestamp) -> Option<Conversation> {
    let (source, destination) = parts.innermost()?;
    let (from, to) = parts.ports()?;
    Some(Conversation {
        transport: parts.transport()?,
        source: SocketAddr::new(address(source)?, from),
        destination: SocketAddr::new(address(destination)?, to),
        tunnelled: parts.is_tunnelled(),
        time,
    })
}

/// The transport, and the community id of the ends. For ICMP both come from the last message of the end that began the
/// flow; if that end sent none, from the last message of the other end.
fn transport(parts: &Parts<'_>, icmp: (Option<LastIcmp>, Option<LastIcmp>)) -> (Option<Transport>, Option<CommunityId>) {
    let Some((source, destination)) = parts.innermost().and_then(|(s, d)| Some((address(s)?, address(d)?))) else { return (None, None) };
    if let (Some((from, to)), Some(transport)) = (parts.ports(), parts.transport()) {
        let (from, to) = (SocketAddr::new(source, from), SocketAddr::new(destination, to));
        return (Some(transport), Some(CommunityId::ports(from, to, transport)));
    }
    let (last, source, destination) = match icmp {
        (Some(last), _) => (last, source, destination),
        (None, Some(last)) => (last, destination, source),
        (None, None) => return (None, None),
    };
    let transport = if last.v6 { Transport::Icmp6 } else { Transport::Icmp };
    (Some(transport), Some(CommunityId::icmp(source, destination, transport, last.kind, last.code)))
}

/// `ipv4` if there is an IPv4 header, unless there are also two IPv6 headers.
fn version([outer4, v4, outer6, v6]: [bool; 4]) -> Option<&'static str> {
    match (outer4 || v4, outer6, v6) {
        (true, false, _) => Some("ipv4"),
        (_, _, true) | (_, true, _) => Some("ipv6"),
        (false, false, false) => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(v4)));
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| IpAddr::V6(Ipv6Addr::from(v6)))
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    event: Event<'a>,
    flow: FlowFields,
    source: Side<'a>,
    destination: Side<'a>,
    network: Network<'a>,
    #[serde(flatten)]
    process: MainProcess<'a>,
}

#[derive(Serialize)]
struct Event<'a> {
    kind: &'a str,
    category: [&'a str; 1],
    #[serde(rename = "type")]
    types: &'a [&'a str],
    dataset: &'a str,
    action: &'a str,
    start: TimeText,
    end: TimeText,
    duration: u64,
}

#[derive(Serialize)]
struct FlowFields {
    id: String,
    #[serde(rename = "final")]
    is_final: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<Vlan>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vlan {
    One(u16),
    Two([u16; 2]),
}

impl Vlan {
    fn of(parts: &Parts<'_>) -> Option<Self> {
        match parts.vlans() {
            (Some(outer), Some(inner)) => Some(Self::Two([outer, inner])),
            (None, Some(only)) => Some(Self::One(only)),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct Side<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<Mac>,
    #[serde(skip_serializing_if = "Ips::is_empty")]
    ip: Ips,
    #[serde(skip_serializing_if = "is_zero_u16")]
    port: u16,
    #[serde(skip_serializing_if = "is_zero_u64")]
    packets: u64,
    #[serde(skip_serializing_if = "is_zero_u64")]
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<ProcessFields<'a>>,
}

impl<'a> Side<'a> {
    fn new<'b>(
        mac: Option<[u8; 6]>,
        ips: impl Iterator<Item = &'b [u8]>,
        port: u16,
        count: Count,
        process: Option<ProcessFields<'a>>,
    ) -> Self {
        let ip = Ips(ips.filter_map(address).collect());
        Self { mac: mac.map(Mac), ip, port, packets: count.packets, bytes: count.bytes, process }
    }
}

// serde requires these signatures.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero_u16(n: &u16) -> bool {
    *n == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero_u64(n: &u64) -> bool {
    *n == 0
}

/// A list that is serialised as a text if it has one address, otherwise as a list.
struct Ips(SmallVec<[IpAddr; 4]>);

impl Ips {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Ips {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => {
                let mut list = serializer.serialize_seq(Some(several.len()))?;
                several.iter().try_for_each(|ip| list.serialize_element(ip))?;
                list.end()
            }
        }
    }
}

/// A hardware address, serialised as ECS requires: in upper case and with dashes.
struct Mac([u8; 6]);

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let mut text = [b'-'; 17];
        for (place, byte) in text.chunks_mut(3).zip(self.0) {
            for (digit, nibble) in place.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
            }
        }
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

#[derive(Serialize)]
struct Network<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    community_id: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero_u64")]
    bytes: u64,
    #[serde(skip_serializing_if = "is_zero_u64")]
    packets: u64,
}
