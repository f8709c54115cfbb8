//! Which settings can be exchanged while the program runs. A change of any other setting is refused.

use crate::config::{self, Node, differences, is_within};

/// Settings that are exchanged while the program runs. An entry covers everything below it.
const EXCHANGED: &[&str] = &[
    "output",
    "cloud",
    "setup",
    "name",
    "tags",
    "fields",
    "fields_under_root",
    "processors",
    "timestamp",
    "packetbeat.ignore_outgoing",
    "packetbeat.protocols",
    "packetbeat.flows.fields",
    "packetbeat.flows.fields_under_root",
    "packetbeat.flows.tags",
    "packetbeat.flows.processors",
    "packetbeat.flows.index",
    "packetbeat.flows.pipeline",
    "packetbeat.flows.keep_null",
    "packetbeat.interfaces.bpf_filter",
    "packetbeat.interfaces.with_vlans",
    "packetbeat.interfaces.internal_networks",
];

/// Refuses changes of settings that cannot be exchanged. All modules must have read both configurations: settings that none of them
/// has read have no effect and may change.
///
/// # Errors
/// Names the first such setting with its place.
pub fn check(before: &Node, now: &Node) -> Result<(), config::Error> {
    let unknown: Vec<String> = before.unknown().into_iter().chain(now.unknown()).map(|unknown| unknown.key).collect();
    let refused = differences(before, now)
        .into_iter()
        .find(|difference| !is_exchanged(&difference.key) && !unknown.iter().any(|unknown| is_within(&difference.key, unknown)));
    match refused {
        None => Ok(()),
        Some(difference) => Err(difference.node.error("cannot be changed while the program runs; restart it for this change")),
    }
}

/// Refuses another queue. The sections are those that describe the queue, at the top level or below the output. The new output may be
/// of another kind, so that its section `queue` is not compared with the one before by [`check`].
///
/// # Errors
/// Names the section with its place.
pub fn check_queue(before: &Node, now: &Node) -> Result<(), config::Error> {
    if before.is_unset() && now.is_unset() || before.has_same_content(now) {
        return Ok(());
    }
    let changed = if now.is_unset() { before } else { now };
    Err(changed.error("the queue cannot be changed while the program runs; restart it for this change"))
}

/// Whether a change of the setting with this dotted key is applied while the program runs.
pub fn is_exchanged(key: &str) -> bool {
    // `output.NAME.queue` stands for the setting `queue`, which is not exchanged.
    let mut parts = key.split('.');
    let is_queue = parts.next() == Some("output") && parts.nth(1) == Some("queue");
    !is_queue && EXCHANGED.iter().any(|exchanged| is_within(key, exchanged))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_queue_is_refused_wherever_it_is_written() {
        let section = |yaml: &str| Node::parse(yaml).unwrap().get("q.queue");
        for (before, now, is_refused) in [
            ("{}", "{}", false),
            ("{}", "q: {queue: }", false),
            ("q: {queue.mem.events: 64}", "q: {queue: {mem: {events: 64}}}", false),
            ("q: {queue.mem.events: 64}", "q: {queue.mem.events: 65}", true),
            ("q: {queue.mem.events: 64}", "q: {queue.disk.max_size: 20MB}", true),
            ("q: {queue.mem.events: 64}", "{}", true),
            ("{}", "q: {queue.disk.max_size: 20MB}", true),
        ] {
            let result = check_queue(&section(before), &section(now)).map_err(|error| error.to_string());
            let expected = "line 1: q.queue: the queue cannot be changed while the program runs; restart it for this change";
            assert_eq!(result, if is_refused { Err(expected.to_owned()) } else { Ok(()) }, "{before} -> {now}");
        }
    }

    #[test]
    fn what_can_be_exchanged() {
        let before = "packetbeat.interfaces: {device: eth0, bpf_filter: tcp}\npacketbeat.flows: {period: 10s}\n\
                      queue.mem.events: 64\noutput.file: {path: /a}\nlogging.level: info\nmisspelt: 1\n";
        let refused = |key: &str| Err(format!("{key}: cannot be changed while the program runs; restart it for this change"));
        for (from, to, expected) in [
            ("device: eth0", "device: eth1", refused("line 1: packetbeat.interfaces.device")),
            ("{device: eth0, bpf_filter: tcp}", "[{device: eth0}, {device: eth1}]", refused("line 1: packetbeat.interfaces")),
            ("{device: eth0, bpf_filter: tcp}", "[{device: eth0, bpf_filter: udp}]", Ok(())),
            ("device: eth0,", "device: eth0, hook: xdp,", refused("line 1: packetbeat.interfaces.hook")),
            ("bpf_filter: tcp", "bpf_filter: udp", Ok(())),
            (", bpf_filter: tcp", "", Ok(())),
            ("period: 10s", "period: 1s", refused("line 2: packetbeat.flows.period")),
            ("period: 10s", "period: 10s, tags: [a]", Ok(())),
            ("packetbeat.flows: {period: 10s}\n", "", refused("line 2: packetbeat.flows.period")),
            ("events: 64", "events: 65", refused("line 3: queue.mem.events")),
            ("output.file: {path: /a}", "output.console: {pretty: true}", Ok(())),
            ("{path: /a}", "{path: /a, queue.mem.events: 99}", refused("line 4: output.file.queue.mem.events")),
            ("level: info", "level: debug", refused("line 5: logging.level")),
            ("misspelt: 1", "other: 2", Ok(())),
            ("misspelt: 1", "path.data: /x", refused("line 6: path.data")),
            ("misspelt: 1", "name: n\nprocessors: [{drop_event: {}}]\nsetup.template.enabled: false", Ok(())),
        ] {
            let after = before.replace(from, to);
            assert_ne!(after, before, "{from}");
            let [old, new] = [before, &after].map(|text| Node::parse(text).unwrap());
            for node in [&old, &new] {
                ["packetbeat", "queue", "output", "logging", "path"].iter().for_each(|section| node.get(section).accept());
            }
            assert_eq!(check(&old, &new).map_err(|e| e.to_string()), expected, "{from} -> {to}");
        }
    }
}
