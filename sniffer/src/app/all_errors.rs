//! Finds all errors of a configuration. The start of the program ends at the first section with an error. This module adds the errors of
//! the other sections, so that the user can correct all of them before the next start.

use super::{Error, opening, privileges::Seccomp, reload, setup};
use crate::{
    capture::options,
    config::{self, Errors, General, KnownProtocol, Node, Paths},
    endpoint, flow, memory,
    monitor::log::{CommandLine, Logger},
    output, process,
    processors::Lists,
    protocols::PROTOCOLS,
};

/// Maximum number of times that the configuration is read for further errors.
const MAX_ROUNDS: usize = 10;

/// Returns the text of `error`, followed by the errors of the configuration that it does not contain, each on a line of its own.
///
/// A section is read until its first error. Therefore the configuration is read again without the wrong values, until nothing is wrong.
/// The absence of these values can cause errors that the user did not make (`hosts` is missing). Such an error is reported for a map that
/// contained a removed value, and is left out.
pub fn with_others(error: &Error, root: &Node, paths: &Paths) -> Error {
    let mut found: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    let mut removed: Vec<String> = Vec::new();
    let mut rest = root.clone();
    for round in 0..MAX_ROUNDS {
        let before = found.len();
        let nodes = rest.below();
        for line in others(&rest, paths).lines() {
            let is_of_a_value = || nodes.iter().any(|node| is_about(line, node) && !is_above(node.key(), &removed));
            if !found.iter().any(|known| known == line) && (round == 0 || is_of_a_value()) {
                found.push(line.to_owned());
            }
        }
        if round > 0 && found.len() == before {
            break;
        }
        // The reader of processors finds all their errors at once. Without a wrong option, a processor could have another error.
        let wrong = |node: &&Node| !is_in_processors(node.key()) && found.iter().any(|line| is_about(line, node));
        removed.extend(nodes.iter().filter(wrong).map(|node| node.key().to_owned()));
        rest = rest.filtered(&|node| !removed.iter().any(|key| key == node.key()));
    }
    found.join("\n").into()
}

/// Whether the line begins with the place and the key of this node.
fn is_about(line: &str, node: &Node) -> bool {
    line.starts_with(&node.error("").0)
}

/// Whether a value with this key contains one of the removed values, or was itself removed.
fn is_above(key: &str, removed: &[String]) -> bool {
    removed.iter().any(|removed| removed.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

fn is_in_processors(key: &str) -> bool {
    key.split('.').any(|part| part == "processors")
}

/// Returns the errors of all sections, each on a line of its own. Every section is read, whether or not another one has errors.
fn others(root: &Node, paths: &Paths) -> String {
    let mut errors = Errors::default();
    errors.take(General::read(root));
    errors.take(memory::Options::read(root));
    errors.take(process::Options::read(root));
    errors.take(options::read(&root.get("packetbeat.interfaces")));
    let flows = root.get("packetbeat.flows");
    errors.take(flow::options::Options::read(&flows));
    errors.take(reload::Options::read(root));
    errors.take(endpoint::Options::read(root));
    errors.take(crate::web::Options::read(root));
    errors.take(Seccomp::read(root));
    errors.take(Logger::open(&root.get("logging"), &CommandLine::default()));
    let opening = opening(root, paths);
    errors.take(output::open(&opening));
    errors.take(setup::loader(&opening));
    let names: Vec<_> = PROTOCOLS.iter().map(|p| KnownProtocol { name: p.name, once: p.ports.is_empty() }).collect();
    errors.take(config::read_protocols(root, &names));
    let mut lists = Lists::default();
    lists.open(&opening.at(&root.get("processors")));
    for node in root.get("packetbeat.protocols").items() {
        if node.get("enabled").read::<Option<bool>>().is_ok_and(|enabled| enabled == Some(false)) {
            continue;
        }
        lists.open(&opening.at(&node.get("processors")));
        let name: Option<String> = node.get("type").read().unwrap_or_default();
        if let Some(protocol) = PROTOCOLS.iter().find(|protocol| name.as_deref() == Some(protocol.name)) {
            errors.take((protocol.open)(&node));
        }
    }
    lists.open(&opening.at(&flows.get("processors")));
    errors.take(lists.finish());
    errors.finish().map_or_else(|all| all.0, |()| String::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn errors_of_all_sections_are_shown_once() {
        let text = "processors:\n- nosuch: {}\n- rename: {fields: 5}\nmemory.max: much\npacketbeat.flows.timeout: never\n\
                    packetbeat.protocols:\n- {type: http, ports: [80], max_message_size: many}\n\
                    - {type: dns, ports: [53], processors: [{drop_fields: {fields: {}}}]}\noutput.file: {path: /x, number_of_files: 1}\n";
        let root = Node::parse(text).unwrap();
        let paths = Paths::below(Path::new("/nonexistent"));
        let first: Error = memory::Options::read(&root).unwrap_err().into();
        let all = with_others(&first, &root, &paths).to_string();
        for place in ["line 2: ", "line 3: ", "line 4: ", "line 5: ", "line 7: ", "line 8: ", "line 9: "] {
            assert_eq!(all.lines().filter(|line| line.starts_with(place)).count(), 1, "{place}\n{all}");
        }
        assert_eq!(all.lines().count(), 7, "{all}");
        let text = "packetbeat.flows:\n  timeout: never\n  period: soon\npacketbeat.interfaces:\n  type: magic\n  buffer_size_mb: x\n\
                    packetbeat.protocols:\n- type: http\n  ports: [80, x]\n  max_message_size: many\n  hide_keywords: {a: b}\n\
                    output.redis:\n  hosts: a\n  db: none\n  bulk_max_size: many\nprocessors:\n- rename: {fields: 5}\n\
                    packetbeat.procs.enabled: perhaps\nhttp.enabled: perhaps\n";
        let root = Node::parse(text).unwrap();
        let first: Error = flow::options::Options::read(&root.get("packetbeat.flows")).unwrap_err().into();
        let all = with_others(&first, &root, &paths).to_string();
        for line in [2, 3, 5, 6, 9, 10, 11, 14, 15, 17, 18, 19] {
            let place = format!("line {line}: ");
            assert_eq!(all.lines().filter(|line| line.starts_with(&place)).count(), 1, "{place}\n{all}");
        }
        assert_eq!(all.lines().count(), 12, "{all}");
        let other: Error = config::Error("the device does not exist".to_owned()).into();
        let valid = Node::parse("output.console: {}\nmemory.max: 1gb").unwrap();
        assert_eq!(with_others(&other, &valid, &paths).to_string(), "the device does not exist");
    }
}
