//! Makes the pages in `docs/options` from the descriptions, and compares them with the committed ones. `cargo xtask docs --write` writes
//! them.

use super::{Described, Kind, groups};
use crate::protocols::PROTOCOLS;
use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

/// The titles of pages with several sections, and the page that says more.
const PAGES: &[(&str, &str, &str)] = &[
    ("general", "Options: the whole program", "../reload.md"),
    ("interfaces", "Options: interfaces", "../cookbook.md"),
    ("flows", "Options: flows", "../protocols/flow.md"),
    ("processes", "Options: processes", "../processes.md"),
    ("protocols", "Options: protocols", ""),
    ("queue", "Options: the queue", "../outputs/queue.md"),
    ("output-elasticsearch", "Options: Elasticsearch", "../outputs/elasticsearch.md"),
    ("output-logstash", "Options: Logstash", "../outputs/logstash.md"),
    ("output-kafka", "Options: Kafka", "../outputs/kafka.md"),
    ("output-redis", "Options: Redis", "../outputs/redis.md"),
    ("output-otlp", "Options: OpenTelemetry", "../outputs/otlp.md"),
    ("output-file", "Options: files", "../outputs/file.md"),
    ("output-console", "Options: standard output", "../outputs/console.md"),
    ("output-discard", "Options: no output", "../outputs/discard.md"),
    ("setup", "Options: setup of Elasticsearch and Kibana", "../setup.md"),
    ("logging", "Options: the log", "../troubleshooting.md"),
    ("http", "Options: the HTTP endpoint", "../endpoint.md"),
    ("web", "Options: the page", "../web.md"),
    ("monitoring", "Options: monitoring", "../monitoring.md"),
];

/// A cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Whether the key is that of the ports of a protocol that has ports without this option.
fn has_default_ports(key: &str) -> bool {
    PROTOCOLS.iter().any(|protocol| protocol.default_ports && key == format!("packetbeat.protocols.{}.ports", protocol.name))
}

fn row(option: &Described) -> String {
    let value = match option.option.kind {
        // The reference sets the ports of protocols, most of which have none by default.
        Kind::Active if option.option.value.is_empty() && !has_default_ports(&option.key) => format!("not set; `{}`", option.value),
        Kind::Default | Kind::Active => format!("`{}`", option.value),
        Kind::Example => format!("not set; `{}`", option.value),
        Kind::Needed => format!("must be set; `{}`", option.value),
    };
    let with = if option.option.with.is_empty() { String::new() } else { format!(" With `{}`.", option.option.with.replace(' ', "`, `")) };
    let change = if option.is_exchanged() { "reload" } else { "restart" };
    format!("| `{}` | {} | {}{with} | {change} |\n", option.name, cell(&value), cell(option.option.about))
}

fn page(name: &str, title: &str, more: &str) -> String {
    let mut page = format!(
        "# {title}\n\nMade from the program's own descriptions by `cargo xtask docs --write`; `sniffer export reference` prints all options as a \
         configuration.\n\"reload\": a change is applied without a restart, see [reload](../reload.md).\n"
    );
    if !more.is_empty() {
        let _ = writeln!(page, "[More about it]({more}).");
    }
    for group in groups().filter(|group| group.page == name) {
        let _ = write!(page, "\n## {}\n\n", group.title);
        let is_protocol = PROTOCOLS.iter().any(|protocol| protocol.name == group.title);
        if is_protocol {
            let _ = write!(page, "[The protocol](../protocols/{}.md). ", group.title);
        }
        let place = if group.section.is_empty() { "At the top level.".to_owned() } else { format!("Below `{}`.", group.section) };
        let _ = write!(page, "{place} {}\n\n| option | default; example | meaning | change |\n|---|---|---|---|\n", group.about);
        group.options().for_each(|option| page += &row(&option));
    }
    page
}

#[test]
fn pages_show_the_described_options() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/options");
    let accept = std::env::var_os("GOLDEN").is_some_and(|value| value == "accept");
    assert!(groups().all(|group| PAGES.iter().any(|(name, ..)| *name == group.page)), "a group has no page in PAGES");
    let pages: BTreeMap<String, String> = PAGES.iter().map(|(name, title, more)| (format!("{name}.md"), page(name, title, more))).collect();
    if accept {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        pages.iter().for_each(|(name, page)| fs::write(folder.join(name), page).unwrap());
    }
    let found: BTreeMap<String, String> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    let names = |pages: &BTreeMap<String, String>| pages.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&pages), "`cargo xtask docs --write` writes the pages in docs/options");
    for (name, page) in &pages {
        assert_eq!(found.get(name), Some(page), "docs/options/{name}: `cargo xtask docs --write` writes it");
    }
}
