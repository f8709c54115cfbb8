//! Settings of Packetbeat that no module of this program reads. Settings whose effect a user would miss cause a warning; the others are
//! accepted silently.

use super::{Node, Unknown, is_within};
use crate::nearest::nearest;
use std::collections::HashMap;

/// Settings that are accepted silently, because ignoring them loses nothing. An entry covers everything below it.
const SILENT: &[&str] = &[
    // Settings for feature switches of Packetbeat.
    "features",
    "migration",
    // Fields that Packetbeat accepts but does not use either.
    "packetbeat.procs.max_proc_read_freq",
    "packetbeat.procs.refresh_pids_freq",
    // Windows only.
    "packetbeat.npcap",
    // Ingest pipelines belong to x-pack.
    "packetbeat.overwrite_pipelines",
    // The content of events is never logged, and the log is always ECS JSON.
    "logging.ecs",
    "logging.json",
    "logging.metrics.namespaces",
];

/// Sections outside `output` that only the Elasticsearch output reads. They are accepted silently when another output is configured.
const OF_ELASTICSEARCH: &[&str] = &["setup.template", "setup.ilm", "setup.dsl", "cloud"];

/// Settings that users write at the wrong path or under the name of another Beat or version, and the advice for each.
const INSTEAD: &[(&str, &str)] = &[
    ("packetbeat.inputs", "`packetbeat.interfaces` says where to capture, `packetbeat.protocols` what to report"),
    ("packetbeat.input", "`packetbeat.interfaces` says where to capture, `packetbeat.protocols` what to report"),
    ("packetbeat.modules", "`packetbeat.protocols` says what to report"),
    ("packetbeat.interfaces.filter", "write `packetbeat.interfaces.bpf_filter`"),
    ("filters", "write `processors`"),
    ("queue_size", "write `queue.mem.events`"),
    ("xpack", "write `monitoring`"),
    ("output.elasticsearch.template", "write `setup.template`"),
    ("output.elasticsearch.ilm", "write `setup.ilm`"),
];

/// Sections that this program does not support, and the condition under which Packetbeat would apply them.
const NOT_YET: &[(&str, Switch)] = &[("http.pprof", Switch::Enabled), ("features.fqdn", Switch::Enabled), ("setup.dsl", Switch::There)];

#[derive(Clone, Copy)]
enum Switch {
    /// The setting has `enabled: true` below it.
    Enabled,
    /// The setting is present.
    There,
}

fn is(node: &Node, value: bool) -> bool {
    node.read::<Option<bool>>().is_ok_and(|v| v == Some(value))
}

/// Returns the advice of [`INSTEAD`] about a setting.
fn advice(key: &str) -> Option<String> {
    INSTEAD.iter().find(|(wrong, _)| key == *wrong).map(|(_, advice)| format!("; {advice}"))
}

/// Returns the end of a warning that says which setting the user may have meant; empty when no known setting is similar.
fn instead(top: &[String], elsewhere: &HashMap<String, String>, setting: &Unknown) -> String {
    if let Some(advice) = advice(&setting.key) {
        return advice;
    }
    if let Some(name) = setting.key.strip_prefix("packetbeat.").filter(|name| top.iter().any(|known| known == name)) {
        return format!("; `{name}` belongs at the top level: write `{name}`");
    }
    let siblings = setting.parent.names();
    if let Some(name) = nearest(&setting.name, siblings.iter().map(String::as_str)) {
        let parent = setting.key.strip_suffix(setting.name.as_str()).unwrap_or_default();
        return format!("; did you mean `{parent}{name}`?");
    }
    // A name from another section is suggested only for a setting near the root, which may have the wrong indentation. Deeper settings
    // often have the same name as settings of other sections.
    if setting.parent.key().contains('.') {
        return String::new();
    }
    elsewhere.get(&setting.name).map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}

/// The settings that modules have asked for: for each, its dotted path and its last part.
fn known(root: &Node) -> impl Iterator<Item = (String, String)> {
    root.maps().into_iter().flat_map(|map| {
        let path = |name: &String| if map.key().is_empty() { name.clone() } else { format!("{}.{name}", map.key()) };
        map.names().into_iter().map(|name| (path(&name), name)).collect::<Vec<_>>()
    })
}

/// The dotted paths of the settings that modules have asked for, whether the configuration has them or not.
#[cfg(test)]
pub fn asked(root: &Node) -> Vec<String> {
    known(root).map(|(path, _)| path).collect()
}

/// Maps each key that a module has asked for to the dotted path of the first setting with this key.
fn known_settings(root: &Node) -> HashMap<String, String> {
    let mut settings = HashMap::new();
    known(root).for_each(|(path, name)| _ = settings.entry(name).or_insert(path));
    settings
}

/// Returns warnings for settings that no module has read. The function must be called after all modules have read their part.
pub fn leftover(root: &Node) -> Vec<String> {
    let mut warnings = Vec::new();
    // Collect the unknown settings and the suggestions for them first, because every look-up below marks a setting as known.
    let (top, elsewhere) = (root.names(), known_settings(root));
    let unknown: Vec<(Unknown, String)> =
        root.unknown().into_iter().map(|setting| (setting.clone(), instead(&top, &elsewhere, &setting))).collect();
    let mut warned: Vec<&str> = Vec::new();
    let elasticsearch = root.get("output.elasticsearch");
    let uses_elasticsearch = !elasticsearch.is_unset() && !is(&elasticsearch.get("enabled"), false) || !root.get("cloud.id").is_unset();
    let is_unused = |key: &str| !uses_elasticsearch && OF_ELASTICSEARCH.iter().any(|section| is_within(key, section));
    for (setting, instead) in &unknown {
        // The unknown setting may contain the section, or lie inside it.
        let mut found = false;
        for &(section, switch) in NOT_YET {
            if !is_within(&setting.key, section) && !is_within(section, &setting.key) {
                continue;
            }
            found |= is_within(&setting.key, section);
            let node = root.get(section);
            let on = match switch {
                Switch::Enabled => is(&node.get("enabled"), true),
                Switch::There => !node.is_null(),
            };
            if on && !is_unused(section) && !warned.contains(&section) {
                warned.push(section);
                warnings.push(node.error("not supported yet, ignored").0);
            }
        }
        let silent = |key: &str| is_unused(key) || SILENT.iter().any(|section| is_within(key, section));
        if found || silent(&setting.key) {
            continue;
        }
        // If an unknown map contains silently accepted keys, only its other keys are reported.
        let node = root.get(&setting.key);
        let holds = NOT_YET
            .iter()
            .map(|&(s, _)| s)
            .chain(SILENT.iter().chain(OF_ELASTICSEARCH).copied())
            .any(|section| is_within(section, &setting.key));
        if !holds {
            warnings.push(format!("{setting}{instead}"));
            continue;
        }
        for (path, leaf) in node.leaves() {
            let key = format!("{}.{path}", setting.key);
            if !silent(&key) && !NOT_YET.iter().any(|&(section, _)| is_within(&key, section)) {
                let advice = advice(&key).unwrap_or_default();
                warnings.push(leaf.error(format!("unknown setting, ignored{advice}")).0);
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::leftover;
    use crate::config::Node;

    #[test]
    fn unread_settings_cause_warnings() {
        for (yaml, want) in [
            ("migration.6_to_7.enabled: true", &[][..]),
            ("http: {pprof.enabled: true}", &["line 1: http.pprof: not supported yet, ignored"]),
            ("\n\nfoo: {bar: 1, baz: 2}", &["line 3: foo: unknown setting, ignored"]),
            ("https: 1", &["line 1: https: unknown setting, ignored"]),
            ("setup: {template.settings.index.number_of_shards: 1, ilm.enabled: true, dsl.enabled: true}\ncloud.auth: x", &[]),
            (
                "output.elasticsearch.hosts: x\nsetup.template.nonsense: 1",
                &["line 1: output: unknown setting, ignored", "line 2: setup.template.nonsense: unknown setting, ignored"],
            ),
            (
                "packetbeat.inputs: []\nqueue_size: 1",
                &[
                    "line 1: packetbeat.inputs: unknown setting, ignored; `packetbeat.interfaces` says where to capture, `packetbeat.protocols` what to \
                     report",
                    "line 2: queue_size: unknown setting, ignored; write `queue.mem.events`",
                ],
            ),
        ] {
            assert_eq!(leftover(&Node::parse(yaml).unwrap()), want, "{yaml}");
        }
    }

    #[test]
    fn a_warning_suggests_the_most_similar_name() {
        #[derive(serde::Deserialize)]
        struct Interface {
            #[serde(rename = "device")]
            _device: Option<String>,
            #[serde(rename = "snaplen")]
            _snaplen: Option<u32>,
        }
        let yaml = "packetbeat:\n  interfaces:\n    devise: lo\n    nosuch: 1\n  flow: {}\n  inputs: []\n  processors: []\n  snaplen: 1\nprocesors: []\n\
                    snaplen: 1\nfields_under_rot: true";
        let root = Node::parse(yaml).unwrap();
        root.get("packetbeat.interfaces").read::<Interface>().unwrap();
        for key in ["packetbeat.flows", "packetbeat.protocols", "processors", "fields_under_root"] {
            root.get(key);
        }
        let ignored = "unknown setting, ignored";
        assert_eq!(
            leftover(&root),
            [
                format!("line 3: packetbeat.interfaces.devise: {ignored}; did you mean `packetbeat.interfaces.device`?"),
                format!("line 4: packetbeat.interfaces.nosuch: {ignored}"),
                format!("line 5: packetbeat.flow: {ignored}; did you mean `packetbeat.flows`?"),
                format!(
                    "line 6: packetbeat.inputs: {ignored}; `packetbeat.interfaces` says where to capture, `packetbeat.protocols` what to report"
                ),
                format!("line 7: packetbeat.processors: {ignored}; `processors` belongs at the top level: write `processors`"),
                format!("line 8: packetbeat.snaplen: {ignored}; did you mean `packetbeat.interfaces.snaplen`?"),
                format!("line 9: procesors: {ignored}; did you mean `processors`?"),
                format!("line 10: snaplen: {ignored}; did you mean `packetbeat.interfaces.snaplen`?"),
                format!("line 11: fields_under_rot: {ignored}; did you mean `fields_under_root`?"),
            ]
        );
    }

    #[test]
    fn settings_that_a_module_reads_cause_no_warning() {
        let root = Node::parse("http: {enabled: true, port: 1, prot: 2}").unwrap();
        for key in ["enabled", "port", "prot"] {
            root.get("http").get(key).accept();
        }
        assert!(leftover(&root).is_empty());
    }
}
