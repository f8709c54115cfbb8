//! Compares the descriptions with the options that the program reads.

use super::{Described, Group, Kind, file::WIDTH, groups, text};
use crate::{
    app::{check, privileges::Seccomp, reload},
    capture,
    config::{self, General, LoadOptions, Loaded, Node, Paths},
    flow,
    output::OUTPUTS,
    process,
    protocols::PROTOCOLS,
    queue,
};
use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// Settings that the program looks at and that are no options of it. An entry covers everything below it.
const NO_OPTIONS: &[(&str, &str)] = &[
    ("http.pprof", "Packetbeat's; a warning says that it is not supported"),
    ("features", "Packetbeat's; `features.fqdn` causes such a warning"),
    ("setup.dsl", "Packetbeat's; a warning says that it is not supported"),
    ("packetbeat.output", "a wrong place of `output`, which the error names"),
    ("packetbeat.outputs", "a wrong place of `output`, which the error names"),
    ("outputs", "a wrong place of `output`, which the error names"),
    ("processors", "the list of processors; `processors` describes their options"),
    ("monitoring.elasticsearch.allow_older_versions", "an option of the output, whose reader monitoring shares"),
    ("monitoring.elasticsearch.escape_html", "an option of the output, whose reader monitoring shares"),
    ("monitoring.elasticsearch.index", "an option of the output, whose reader monitoring shares"),
    ("monitoring.elasticsearch.non_indexable_policy", "an option of the output, whose reader monitoring shares"),
    ("monitoring.elasticsearch.pipeline", "an option of the output, whose reader monitoring shares"),
    ("monitoring.elasticsearch.preset", "an option of the output, whose reader monitoring shares"),
];

/// Other names of options: the last part of the key, and the name that is described.
const ALIASES: &[(&str, &str)] = &[("worker", "workers"), ("escapehtml", "escape_html")];

/// Files in `/etc/sniffer` that options of the reference name. The tests have them in a folder of their own.
const FILES: &[&str] = &["ca.pem", "client.pem", "client.key", "template.json", "policy.json", "service.thrift"];

/// The reference with the lines of these keys uncommented. Another output replaces Elasticsearch. Protocols that the keys do not name are
/// left out, because reading them for each option would take most of the time of the test.
fn uncommented(reference: &str, keys: &[String]) -> String {
    let other_output = keys.iter().any(|key| key.starts_with("output.") && !key.starts_with("output.elasticsearch."));
    let is_needed = |key: &str| match key.split('.').collect::<Vec<_>>().as_slice() {
        ["output", "elasticsearch", ..] => !other_output,
        ["packetbeat", "protocols", name, ..] => {
            *name == "icmp" || keys.iter().any(|other| other.starts_with(&format!("packetbeat.protocols.{name}.")))
        }
        _ => true,
    };
    let mut text = String::new();
    for line in reference.lines() {
        let (active, line) = line.strip_prefix('#').map_or((true, line), |line| (false, line));
        let key = line.split_once(':').map_or("", |(key, _)| key);
        if active && is_needed(key) || keys.iter().any(|wanted| wanted == key) {
            text += line;
            text.push('\n');
        }
    }
    text
}

/// The keys that must be uncommented together with an option.
fn together(group: &Group, option: &Described) -> Vec<String> {
    let needed = group.options().filter(|other| other.option.kind == Kind::Needed).map(|other| other.key);
    let mut keys: Vec<String> = needed.collect();
    let all: Vec<String> = groups().flat_map(Group::options).map(|option| option.key).collect();
    for name in option.option.with.split_whitespace() {
        let beside = option.key.strip_suffix(option.option.name).unwrap_or_default();
        let beside = format!("{beside}{name}");
        let key = if all.contains(&beside) { beside } else { name.to_owned() };
        assert!(all.contains(&key), "{}: there is no option {name}", option.key);
        keys.push(key);
    }
    // Sections that concern Elasticsearch are read with this output. `monitoring.elasticsearch` is read alone with another output.
    if !["output", "setup", "cloud"].iter().any(|section| config::is_within(group.section, section)) {
        keys.push("output.console.pretty".to_owned());
    }
    keys.push(option.key.clone());
    keys
}

/// Reads a configuration as `test config` does.
fn tried(text: &str) -> Result<(Loaded, Vec<String>), String> {
    let load = LoadOptions { built_in: Some(text.to_owned()), ..LoadOptions::default() };
    let loaded = config::load(&load).map_err(|error| error.to_string())?;
    let checked = check(&loaded).map_err(|error| error.to_string())?;
    let warnings = loaded.warnings.iter().chain(&checked.warnings).cloned().collect();
    Ok((loaded, warnings))
}

/// The reference with the paths of files that exist. `openssl` makes the certificate.
fn reference(folder: &Path) -> String {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=a -keyout client.key -out client.pem \
                  && cp client.pem ca.pem && echo '{}' | tee template.json > policy.json && echo 'service S { void f() }' > service.thrift";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut reference = text();
    for name in FILES {
        let path = folder.join(name);
        let named = format!("/etc/sniffer/{name}");
        assert!(reference.contains(&named), "no option names {named}");
        reference = reference.replace(&named, &path.display().to_string());
    }
    reference
}

/// The key with the names of protocols instead of their places in the list, and without other names of options.
fn plain(loaded: &Loaded, key: &str) -> String {
    let mut key = key.to_owned();
    if let Some(rest) = key.strip_prefix("packetbeat.protocols.") {
        let (index, rest) = rest.split_once('.').unwrap_or((rest, ""));
        let protocol = loaded.root.get("packetbeat.protocols").items().get(index.parse::<usize>().unwrap()).cloned().unwrap();
        key = format!("packetbeat.protocols.{}.{rest}", protocol.get("type").as_str().unwrap_or_default());
    }
    if let Some(rest) = key.strip_prefix("output.")
        && let Some((_, queue)) = rest.split_once(".queue.")
    {
        key = format!("queue.{queue}");
    }
    for (alias, name) in ALIASES {
        if let Some(before) = key.strip_suffix(alias).filter(|before| before.ends_with('.')) {
            key = format!("{before}{name}");
        }
    }
    key
}

/// Whether the description of an option covers the key: it is its own key, or that of a section above it, or a part of its value that
/// the sentence names.
fn covers(option: &Described, key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or_default();
    config::is_within(&option.key, key) || config::is_within(key, &option.key) && option.option.about.contains(&format!("`{last}`"))
}

#[test]
fn every_option_is_described_and_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let reference = reference(folder.path());
    let all: Vec<(&Group, Described)> = groups().flat_map(|group| group.options().map(move |option| (group, option))).collect();
    let (asked, wrong, next) = (Mutex::new(BTreeSet::new()), Mutex::new(Vec::new()), AtomicUsize::new(0));
    let work = || {
        while let Some((group, option)) = all.get(next.fetch_add(1, Relaxed)) {
            let keys = together(group, option);
            let text = uncommented(&reference, &keys);
            match tried(&text) {
                Ok((loaded, warnings)) => {
                    let found = config::asked(&loaded.root);
                    asked.lock().unwrap().extend(found.iter().map(|key| plain(&loaded, key)));
                    if !warnings.is_empty() {
                        wrong.lock().unwrap().push(format!("{}: {}", option.key, warnings.join("\n  ")));
                    }
                    if loaded.root.get(&option.key).is_null() && !option.key.starts_with("packetbeat.protocols") {
                        wrong.lock().unwrap().push(format!("{}: is not set after its line was uncommented", option.key));
                    }
                }
                Err(error) => wrong.lock().unwrap().push(format!("{}: {error}", option.key)),
            }
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| _ = scope.spawn(work)));
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "options that are refused, or that nothing reads:\n{}", wrong.join("\n"));
    let lost: Vec<String> = asked
        .into_inner()
        .unwrap()
        .into_iter()
        .filter(|key| !key.ends_with(".type") || key.starts_with("packetbeat.interfaces"))
        .filter(|key| !NO_OPTIONS.iter().any(|(section, _)| config::is_within(key, section)))
        .filter(|key| !all.iter().any(|(_, option)| covers(option, key)))
        .collect();
    assert!(lost.is_empty(), "options without a description in app/reference/options:\n{}", lost.join("\n"));
}

#[test]
fn keys_are_unique_and_sentences_end() {
    let all: Vec<Described> = groups().flat_map(Group::options).collect();
    for (index, option) in all.iter().enumerate() {
        assert!(!all[..index].iter().any(|other| other.key == option.key), "{} is described twice", option.key);
        assert!(option.option.about.ends_with('.') || option.option.about.ends_with('`'), "{}: {}", option.key, option.option.about);
    }
    let long: Vec<String> = text().lines().filter(|line| line.starts_with("# ") && line.len() > WIDTH).map(str::to_owned).collect();
    assert!(long.is_empty(), "comments that are longer than {WIDTH}:\n{}", long.join("\n"));
}

#[test]
fn protocols_and_outputs_have_a_section() {
    let protocols = PROTOCOLS.iter().map(|protocol| format!("packetbeat.protocols.{}", protocol.name));
    let outputs = OUTPUTS.iter().map(|output| format!("output.{}", output.name));
    let missing: Vec<String> = protocols.chain(outputs).filter(|section| !groups().any(|group| group.section == section)).collect();
    assert!(missing.is_empty(), "sections without a description in app/reference/options: {missing:?}");
}

#[test]
fn the_reference_is_accepted_as_it_is() {
    let (loaded, warnings) = tried(&text()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(loaded.root.get("packetbeat.protocols").items().len(), PROTOCOLS.len());
}

/// What the program reads from these sections.
fn read(text: &str) -> String {
    let root = Node::parse(text).unwrap();
    let mut interfaces = capture::options::read(&root.get("packetbeat.interfaces")).unwrap();
    interfaces.iter_mut().for_each(|interface| interface.node = Node::default());
    let queue = queue::Options::read(&root, &Node::default(), queue::Options::default(), &Paths::below(Path::new("/h")));
    format!(
        "{:?} {interfaces:?} {:?} {:?} {:?} {:?} {:?}",
        General::read(&root),
        flow::options::Options::read(&root.get("packetbeat.flows")),
        process::Options::read(&root).map(|options| (options.enabled, options.monitored)),
        reload::Options::read(&root),
        Seccomp::read(&root),
        queue,
    )
}

#[test]
fn defaults_are_those_of_the_program() {
    let sections = ["", "packetbeat.interfaces", "packetbeat.flows", "packetbeat.procs", "reload", "seccomp", "queue.mem", "queue.disk"];
    let mut wrong = Vec::new();
    for group in groups().filter(|group| sections.contains(&group.section)) {
        let needed: String =
            group.options().filter(|o| o.option.kind == Kind::Needed).map(|o| format!("{}: {}\n", o.key, o.value)).collect();
        for option in group.options().filter(|option| matches!(option.option.kind, Kind::Default | Kind::Active)) {
            let (without, with) = (read(&needed), read(&format!("{needed}{}: {}\n", option.key, option.value)));
            if without != with {
                wrong.push(format!("{}: {}\n  without: {without}\n  with:    {with}", option.key, option.value));
            }
        }
    }
    assert!(wrong.is_empty(), "defaults that are not those of the program:\n{}", wrong.join("\n"));
}

#[test]
fn processors_can_be_uncommented() {
    let reference = text();
    let (head, entries) = reference.split_once("\nprocessors:\n").unwrap();
    let blocks: Vec<&str> = entries.trim().split("\n\n").collect();
    assert_eq!(blocks.len(), crate::processors::PROCESSORS.len());
    for block in blocks {
        // The comment above an entry ends where the entry begins.
        let entry: String = block.lines().skip_while(|line| !line.starts_with("#- ")).map(|line| format!("{}\n", &line[1..])).collect();
        assert!(entry.starts_with("- "), "{block}");
        let (_, warnings) = tried(&format!("{head}\nprocessors:\n{entry}")).unwrap_or_else(|error| panic!("{entry}\n{error}"));
        assert!(warnings.is_empty(), "{entry}\n{warnings:?}");
    }
}
