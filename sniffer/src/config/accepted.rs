//! Settings of Packetbeat that no module of this program reads. Those whose effect a user would miss are warned about; the others are accepted
//! silently.

use super::Node;

/// Settings that are accepted silently, because ignoring them loses nothing. An entry covers everything below it.
const SILENT: &[&str] = &[
    // Sandboxing, tracing and switches of Packetbeat's own making.
    "seccomp",
    "features",
    "migration",
    "instrumentation",
    // Fields that Packetbeat accepts and does not use either.
    "packetbeat.procs.max_proc_read_freq",
    "packetbeat.procs.refresh_pids_freq",
    // For `packetbeat setup` on Kibana; the pipelines are x-pack's.
    "setup.kibana",
    "setup.dashboards",
    "packetbeat.overwrite_pipelines",
    // Where Packetbeat's own keystore is.
    "keystore",
    // Event contents never go to the log here.
    "logging.event_data",
    "logging.metrics.namespaces",
    "logging.to_syslog",
];

/// Sections whose effect is missing here, and the condition under which Packetbeat would apply them.
const NOT_YET: &[(&str, Switch)] = &[
    ("http", Switch::Enabled),
    ("monitoring", Switch::Enabled),
    ("instrumentation", Switch::Enabled),
    ("packetbeat.procs", Switch::Enabled),
    ("setup.dashboards", Switch::Enabled),
    ("features.fqdn", Switch::Enabled),
    ("logging.to_syslog", Switch::True),
    ("output.logstash", Switch::NotDisabled),
    ("output.kafka", Switch::NotDisabled),
    ("output.redis", Switch::NotDisabled),
    ("setup.dsl", Switch::There),
];

#[derive(Clone, Copy)]
enum Switch {
    /// `enabled: true` below it.
    Enabled,
    /// Any value but `enabled: false` below it.
    NotDisabled,
    /// The setting itself is `true`.
    True,
    /// The setting is present.
    There,
}

fn is(node: &Node, value: bool) -> bool {
    node.read::<Option<bool>>().is_ok_and(|v| v == Some(value))
}

/// Warnings for settings that no module has read. To be called after all modules have read their part.
pub fn leftover(root: &Node) -> Vec<String> {
    let mut warnings = Vec::new();
    // Collect unknown settings first, because every look-up below marks a setting as known.
    let unknown = root.unknown();
    let within = |key: &str, section: &str| key == section || key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
    let mut said: Vec<&str> = Vec::new();
    for setting in &unknown {
        // The unknown setting may contain the section, or lie inside it.
        let mut found = false;
        for &(section, switch) in NOT_YET {
            if !within(&setting.key, section) && !within(section, &setting.key) {
                continue;
            }
            found |= within(&setting.key, section);
            let node = root.get(section);
            let on = match switch {
                Switch::Enabled => is(&node.get("enabled"), true),
                Switch::NotDisabled => !node.is_null() && !is(&node.get("enabled"), false),
                Switch::True => is(&node, true),
                Switch::There => !node.is_null(),
            };
            if on && !said.contains(&section) {
                said.push(section);
                warnings.push(node.error("not supported yet, ignored").0);
            }
        }
        let silent = |key: &str| SILENT.iter().any(|section| within(key, section));
        if found || silent(&setting.key) {
            continue;
        }
        // Of an unknown map that contains silently accepted keys, only the other keys are reported.
        let node = root.get(&setting.key);
        let holds = NOT_YET.iter().map(|&(s, _)| s).chain(SILENT.iter().copied()).any(|section| within(section, &setting.key));
        if !holds {
            warnings.push(setting.to_string());
            continue;
        }
        for (path, leaf) in node.leaves() {
            let key = format!("{}.{path}", setting.key);
            if !silent(&key) && !NOT_YET.iter().any(|&(section, _)| within(&key, section)) {
                warnings.push(leaf.error("unknown setting, ignored").0);
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
    fn surprises_are_told() {
        for (yaml, want) in [
            ("seccomp.enabled: false", &[][..]),
            ("setup.kibana:", &[]),
            ("http.enabled: false", &[]),
            ("http: {enabled: true, port: 1}", &["line 1: http: not supported yet, ignored"]),
            ("setup: {kibana.host: x, dashboards.enabled: false, nonsense: 1}", &["line 1: setup.nonsense: unknown setting, ignored"]),
            ("setup.dashboards.enabled: true", &["line 1: setup.dashboards: not supported yet, ignored"]),
            ("monitoring: {enabled: 'yes'}", &["line 1: monitoring: not supported yet, ignored"]),
            ("output.kafka.hosts: x", &["line 1: output.kafka: not supported yet, ignored"]),
            ("output.kafka: {enabled: false, hosts: x}", &[]),
            ("packetbeat.procs: {enabled: false, monitored: []}", &[]),
            ("\n\nfoo: {bar: 1, baz: 2}", &["line 3: foo: unknown setting, ignored"]),
            ("https: 1", &["line 1: https: unknown setting, ignored"]),
        ] {
            assert_eq!(leftover(&Node::parse(yaml).unwrap()), want, "{yaml}");
        }
    }

    #[test]
    fn who_reads_a_section_takes_it_over() {
        let root = Node::parse("http: {enabled: true, port: 1, prot: 2}").unwrap();
        for key in ["enabled", "port", "prot"] {
            root.get("http").get(key).accept();
        }
        assert!(leftover(&root).is_empty());
    }
}
