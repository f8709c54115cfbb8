//! The answers to `/inputs/` and `/dataset`. Each device has three entries: for its capture, for its protocols on TCP, and for its
//! protocols on UDP.

use super::{
    histogram,
    report::{Identity, Input, Report},
};
use crate::net::Arrivals;
use serde_json::{Map, Value, json};

/// Names of the TCP control bits, beginning with the lowest.
const FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];

/// Returns the entries of all devices as a list. With `kind` only the entries whose `input` has this value are returned.
pub(super) fn list(who: &Identity, report: &Report, kind: Option<&str>) -> Vec<Value> {
    let entries = report.inputs.iter().enumerate().flat_map(|(number, input)| entries(who, number, input));
    entries.filter(|entry| kind.is_none_or(|kind| entry["input"] == kind)).collect()
}

/// Returns the entries of all devices as one object with their ids as keys.
pub(super) fn by_id(who: &Identity, report: &Report) -> Value {
    let entries = list(who, report, None).into_iter();
    entries.map(|entry| (entry["id"].as_str().unwrap_or_default().to_owned(), entry)).collect::<Map<_, _>>().into()
}

fn entries(who: &Identity, number: usize, input: &Input) -> Vec<Value> {
    // The id of the run has sixteen hexadecimal digits and is different in each run.
    let run: String = who.ephemeral_id.chars().filter(char::is_ascii_hexdigit).take(16).collect::<String>().to_uppercase();
    let id = |what: &str| format!("{run}_{number}-{what}::{}", input.device);
    let mut entries = vec![json!({
        "device": input.device,
        "id": id(input.backend),
        "input": input.backend,
        "packets": input.packets,
        "polls": input.polls,
        "socket_drops": input.lost,
        "socket_packets": input.matched,
        // The program never suspends reading: when the ring is full, packets are lost and counted.
        "socket_queue_freezes": 0,
    })];
    if !input.tcp_ports.is_empty() {
        let name = id(&format!("tcp-{}", input.tcp_ports.join("-")));
        let mut entry = transport(&name, "tcp", input, &input.traffic.tcp);
        entry.insert("received_headers_total".into(), input.traffic.tcp.headers.into());
        for (bit, name) in (0..).zip(FLAGS) {
            entry.insert(format!("{name}_flags_total"), input.traffic.with_flag(bit).into());
        }
        // The bit NS (RFC 3540) is historic and has another meaning today (RFC 9768); it is not counted.
        entry.insert("ns_flags_total".into(), 0.into());
        entry.insert("tcp_overlaps".into(), input.overlaps.into());
        entry.insert("tcp".into(), json!({"dropped_because_of_gaps": input.dropped_because_of_gaps}));
        entries.push(entry.into());
    }
    if !input.udp_ports.is_empty() {
        let name = id(&format!("udp-{}", input.udp_ports.join("-")));
        entries.push(transport(&name, "udp", input, &input.traffic.udp).into());
    }
    entries
}

/// Makes the part that the entries of TCP and UDP have in common.
fn transport(id: &str, name: &str, input: &Input, arrivals: &Arrivals) -> Map<String, Value> {
    let entry = json!({
        "arrival_period": {"histogram": histogram::full(&arrivals.between, 1)},
        "device": input.device,
        "id": id,
        "input": name,
        "processing_time": {"histogram": histogram::full(&arrivals.processing, 1)},
        "received_bytes_total": arrivals.bytes,
        "received_events_total": arrivals.with_data,
    });
    if let Value::Object(entry) = entry { entry } else { Map::new() }
}
