//! `--beside`: the settings that get names of their own, so that this program and Packetbeat can run on one host at the same time, and no
//! index, topic, list or file has each transaction twice.

use crate::config::Node;
use std::path::Path;

/// The name that is replaced.
const OLD: &str = "packetbeat";
/// The name that replaces it.
const NEW: &str = "sniffer";
/// The port of the HTTP endpoint.
const HTTP_PORT: u64 = 5066;

/// A setting and its new value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Text { key: String, value: String },
    Number { key: String, value: u64 },
}

/// The changes for the configuration `root`. `output`: the name of its output. `data`, `logs`: the folders that Packetbeat uses.
pub(super) fn changes(root: &Node, output: &str, data: &Path, logs: &Path) -> Vec<Change> {
    let mut changes = Vec::new();
    let text = |key: &str| root.get(key).as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let mut name = |key: &str, default: Option<&str>| {
        if let Some(old) = text(key).or_else(|| default.map(str::to_owned)) {
            changes.push(Change::Text { key: key.to_owned(), value: own(&old) });
        }
    };
    let at = |setting: &str| format!("output.{output}.{setting}");
    match output {
        "elasticsearch" => {
            let standard = "packetbeat-%{[agent.version]}";
            name(&at("index"), Some(standard));
            name("setup.template.name", Some(standard));
            name("setup.template.pattern", Some(standard));
            name("setup.ilm.policy_name", Some(OLD));
        }
        "logstash" => name(&at("index"), Some(OLD)),
        "kafka" => name(&at("topic"), None),
        "redis" => match text(&at("key")) {
            Some(_) => name(&at("key"), None),
            // The name of this setting in old versions.
            None => name(&at("index"), Some(OLD)),
        },
        "file" => name(&at("filename"), Some(OLD)),
        _ => {}
    }
    for list in ["indices", "topics", "keys"] {
        for (index, _) in root.get(&at(list)).items().iter().enumerate() {
            for setting in ["index", "topic", "key"] {
                name(&format!("output.{output}.{list}.{index}.{setting}"), None);
            }
        }
    }
    for index in 0..root.get("packetbeat.protocols").items().len() {
        name(&format!("packetbeat.protocols.{index}.index"), None);
    }
    name("packetbeat.flows.index", None);
    let folder = |key: &str, old: &Path| Change::Text { key: key.to_owned(), value: own_folder(&old.to_string_lossy()) };
    changes.extend([folder("path.data", data), folder("path.logs", logs)]);
    for key in ["logging.files.path", "queue.disk.path"] {
        if let Some(old) = text(key) {
            changes.push(folder(key, Path::new(&old)));
        }
    }
    if root.get("http.enabled").read::<Option<bool>>().is_ok_and(|enabled| enabled == Some(true)) {
        let port = text("http.port").and_then(|port| port.parse().ok()).unwrap_or(HTTP_PORT);
        changes.push(Change::Number { key: "http.port".to_owned(), value: port + 1 });
    }
    // Programs with the same fanout group divide the packets among them.
    let interfaces = root.get("packetbeat.interfaces");
    let keys = if interfaces.is_list() {
        (0..interfaces.items().len()).map(|index| format!("packetbeat.interfaces.{index}.fanout_group")).collect()
    } else {
        vec!["packetbeat.interfaces.fanout_group".to_owned()]
    };
    for key in keys {
        if let Some(group) = text(&key).and_then(|group| group.parse::<u16>().ok()) {
            changes.push(Change::Number { key, value: u64::from(group.wrapping_add(1)) });
        }
    }
    changes
}

/// The name of this program's own index, topic or file.
fn own(name: &str) -> String {
    if name.contains(OLD) { name.replace(OLD, NEW) } else { format!("{NEW}-{name}") }
}

/// The folder that this program uses in place of `folder`.
fn own_folder(folder: &str) -> String {
    if folder.contains(OLD) { folder.replace(OLD, NEW) } else { format!("{}-{NEW}", folder.trim_end_matches('/')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(yaml: &str, output: &str) -> Vec<String> {
        let root = Node::parse(yaml).unwrap();
        let changes = changes(&root, output, Path::new("/var/lib/packetbeat"), Path::new("/logs/"));
        let shown = |change: &Change| match change {
            Change::Text { key, value } => format!("{key}={value}"),
            Change::Number { key, value } => format!("{key}={value}"),
        };
        changes.iter().map(shown).collect()
    }

    #[test]
    fn each_output_gets_names_of_its_own() {
        const PATHS: [&str; 2] = ["path.data=/var/lib/sniffer", "path.logs=/logs-sniffer"];
        for (yaml, output, names) in [
            (
                "output.elasticsearch: {hosts: a}",
                "elasticsearch",
                &[
                    "output.elasticsearch.index=sniffer-%{[agent.version]}",
                    "setup.template.name=sniffer-%{[agent.version]}",
                    "setup.template.pattern=sniffer-%{[agent.version]}",
                    "setup.ilm.policy_name=sniffer",
                ][..],
            ),
            (
                "output.elasticsearch: {index: 'shop-%{+yyyy}', indices: [{index: a}, {index: b}]}\nsetup.template: {name: shop, pattern: shop-*}",
                "elasticsearch",
                &[
                    "output.elasticsearch.index=sniffer-shop-%{+yyyy}",
                    "setup.template.name=sniffer-shop",
                    "setup.template.pattern=sniffer-shop-*",
                    "setup.ilm.policy_name=sniffer",
                    "output.elasticsearch.indices.0.index=sniffer-a",
                    "output.elasticsearch.indices.1.index=sniffer-b",
                ],
            ),
            ("output.logstash: {hosts: a}", "logstash", &["output.logstash.index=sniffer"]),
            (
                "output.kafka: {topic: t, topics: [{topic: u}]}",
                "kafka",
                &["output.kafka.topic=sniffer-t", "output.kafka.topics.0.topic=sniffer-u"],
            ),
            ("output.redis: {key: k}", "redis", &["output.redis.key=sniffer-k"]),
            ("output.redis: {}", "redis", &["output.redis.index=sniffer"]),
            ("output.file: {path: /x}", "file", &["output.file.filename=sniffer"]),
            ("output.console: {}", "console", &[]),
        ] {
            let names: Vec<&str> = names.iter().copied().chain(PATHS).collect();
            assert_eq!(of(yaml, output), names, "{yaml}");
        }
    }

    #[test]
    fn ports_groups_and_protocols_get_their_own() {
        let yaml = "http: {enabled: true}\npacketbeat.interfaces: [{fanout_group: 65535}, {device: a}]\n\
                    packetbeat.protocols: [{type: http, index: web}]\npacketbeat.flows.index: f\nqueue.disk.path: /q\n";
        let all = of(yaml, "console");
        for expected in [
            "http.port=5067",
            "packetbeat.interfaces.0.fanout_group=0",
            "packetbeat.protocols.0.index=sniffer-web",
            "packetbeat.flows.index=sniffer-f",
            "queue.disk.path=/q-sniffer",
        ] {
            assert!(all.iter().any(|change| change == expected), "{expected} is not in {all:?}");
        }
        assert_eq!(of("http.port: 7000", "console").len(), 2, "an endpoint that is off needs no port");
    }
}
