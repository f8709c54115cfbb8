//! Runs the cases in `tests/processors`: one file per processor, with an event before and after for every option. The
//! expected events are those of Packetbeat with the same configuration.

use super::{
    PROCESSORS,
    testing::{Running, errors},
};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path};

/// One case. `processors` are the items of a `processors:` list, in YAML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    processors: String,
    /// The events before. The processors run on one event after the other and keep their state in between.
    #[serde(default)]
    events: Vec<Value>,
    /// The events after; null is an event that was dropped.
    #[serde(default)]
    expected: Vec<Value>,
    /// The beginning of the error, if the list is refused.
    #[serde(default)]
    refused: Option<String>,
}

fn cases(name: &str) -> Vec<Case> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/processors").join(name).with_extension("yml");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Options that change nothing by design: accepted for compatibility, or seen only in the log.
const WITHOUT_EFFECT: &[&str] = &[
    "add_cloud_metadata",
    "cache.ttl",
    "drop_fields.ignore_missing",
    "lowercase.alter_full_field",
    "uppercase.alter_full_field",
    "convert.tag",
    "registered_domain.id",
    "registered_domain.ignore_failure",
    "registered_domain.ignore_missing",
    "dissect.ignore_failure",
    "script.id",
    "script.max_cached_sessions",
    "script.only_cached_sessions",
    "timestamp.id",
    "timestamp.ignore_failure",
    "timestamp.ignore_missing",
];

/// Processors that need a server or a process. Their tests are next to their code.
const TESTED_ELSEWHERE: &[&str] =
    &["add_docker_metadata", "add_kubernetes_metadata", "add_process_metadata", "dns", "translate_ldap_attribute"];

#[test]
fn every_option_changes_the_outcome_as_in_packetbeat() {
    let mut wrong = Vec::new();
    for kind in PROCESSORS {
        if WITHOUT_EFFECT.contains(&kind.name) || TESTED_ELSEWHERE.contains(&kind.name) {
            continue;
        }
        let cases = cases(kind.name);
        let mut named = BTreeSet::new();
        for Case { processors, events, expected, refused } in &cases {
            named.extend(processors.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned));
            if let Some(refused) = refused {
                let error = errors(processors).unwrap_or_default();
                if !error.starts_with(refused.as_str()) {
                    wrong.push(format!("{}: {processors}\nwant error: {refused}\ngot:        {error}", kind.name));
                }
                continue;
            }
            let mut running = Running::open(processors);
            let got: Vec<Value> = events.iter().map(|event| running.run(event).unwrap_or_default()).collect();
            if got != *expected {
                let (got, want) = (Value::from(got), Value::from(expected.clone()));
                wrong.push(format!("{}: {processors}\nwant: {want}\ngot:  {got}", kind.name));
            }
        }
        for (path, options) in kind.options {
            for option in *options {
                let option = super::options::plain(option.name);
                let full = format!("{}.{path}{option}", kind.name);
                let exempt = WITHOUT_EFFECT.iter().any(|name| full.ends_with(name));
                if !named.contains(option) && !exempt {
                    wrong.push(format!("{full}: no case has this option"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
