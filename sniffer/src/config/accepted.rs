//! What Packetbeat has and nobody here reads: said where ignoring it would surprise, silent where it changes nothing.

use super::Node;

/// Nothing is lost by ignoring these. A setting here covers all below it.
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

/// Sections that do something once they are switched on, and how they are switched on.
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
    /// Its own value is `true`.
    True,
    /// Being there.
    There,
}

fn is(node: &Node, value: bool) -> bool {
    node.read::<Option<bool>>().is_ok_and(|v| v == Some(value))
}

/// The warnings for what nobody asked for. Call it when all modules have read their part.
pub fn leftover(root: &Node) -> Vec<String> {
    let mut warnings = Vec::new();
    // First who is unknown: asking makes known.
    let unknown = root.unknown();
    let within = |key: &str, section: &str| key == section || key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
    let mut said: Vec<&str> = Vec::new();
    for setting in &unknown {
        // The unknown map may be one that holds a section, or be in one.
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
        // A map that nobody asked for, with silent keys in it: only the others are unknown.
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
