//! Compares the declared fields of all protocols with the documents of all golden captures, and with each other.

use super::PROTOCOLS;
use crate::{
    event::{Field, Kind, TRANSACTION},
    flow,
};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

/// The project's folder.
fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// All files below `folder` with this extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The fields that documents of this type can have; `None` if there is no such type.
fn fields_of(kind: &str) -> Option<[&'static [Field]; 2]> {
    let protocol = || PROTOCOLS.iter().find(|p| p.name == kind).map(|p| [TRANSACTION, p.fields]);
    if kind == "flow" { Some([flow::FIELDS, &[]]) } else { protocol() }
}

/// Whether Elasticsearch would index the value, or every value of a list, under this type.
fn fits(kind: Kind, value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => list.iter().all(|value| !value.is_array() && fits(kind, value)),
        Value::Object(_) => kind.is_open(),
        Value::String(text) => match kind {
            Kind::Long => text.parse::<i64>().is_ok(),
            Kind::Ip => text.parse::<IpAddr>().is_ok(),
            Kind::Date => text.parse::<jiff::Timestamp>().is_ok(),
            Kind::Boolean | Kind::Object | Kind::KeywordObject => false,
            _ => true,
        },
        Value::Number(number) => match kind {
            Kind::Long => number.is_i64(),
            Kind::Keyword | Kind::KeywordText | Kind::Wildcard | Kind::WildcardText => true,
            _ => false,
        },
        Value::Bool(_) => matches!(kind, Kind::Boolean | Kind::Keyword),
    }
}

/// Finds the errors in an object of a document. `prefix` is the object's name.
fn check(fields: [&'static [Field]; 2], prefix: &str, object: &Map<String, Value>, wrong: &mut Vec<String>) {
    for (key, value) in object {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let known = || fields.into_iter().flatten().filter(|field| !field.reserved);
        if let Some(field) = known().find(|field| field.name == name) {
            if !fits(field.kind, value) {
                wrong.push(format!("{name} is declared as {} and is {value}", field.kind.name()));
            }
            continue;
        }
        let objects: Vec<&Map<String, Value>> = match value {
            Value::Object(inner) => vec![inner],
            Value::Array(list) if !list.is_empty() && list.iter().all(Value::is_object) => {
                list.iter().filter_map(Value::as_object).collect()
            }
            _ => Vec::new(),
        };
        if objects.is_empty() || !known().any(|field| field.concerns(&name)) {
            wrong.push(format!("{name} is not declared; its value is {value}"));
        }
        objects.iter().for_each(|inner| check(fields, &name, inner, wrong));
    }
}

/// Finds the errors in a document, by the fields that its `type` declares.
pub fn faults(document: &Value) -> Vec<String> {
    let (Some(object), Some(kind)) = (document.as_object(), document["type"].as_str()) else {
        return vec![format!("no document: {document}")];
    };
    let Some(fields) = fields_of(kind) else { return vec![format!("no protocol is called {kind}")] };
    let mut wrong = Vec::new();
    check(fields, "", object, &mut wrong);
    wrong
}

/// The fields of a document that its `type` does not declare.
pub fn undeclared(document: &Value) -> Vec<String> {
    faults(document).into_iter().filter(|fault| fault.contains("is not declared")).collect()
}

#[test]
fn documents_of_all_golden_captures_are_as_declared() {
    let (mut wrong, mut seen) = (Vec::new(), BTreeMap::<String, usize>::new());
    let folders = ["tests/protocols", "tests/flows"].map(|folder| project().join(folder));
    for file in folders.iter().flat_map(|folder| files(folder, "ndjson")) {
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let document: Value = serde_json::from_str(line).unwrap();
            *seen.entry(document["type"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            let place = format!("{}:{}", file.file_name().unwrap().to_string_lossy(), number + 1);
            wrong.extend(faults(&document).into_iter().map(|fault| format!("{place}: {fault}")));
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong[..wrong.len().min(50)].join("\n"));
    let without: Vec<&str> = PROTOCOLS.iter().map(|p| p.name).chain(["flow"]).filter(|name| !seen.contains_key(*name)).collect();
    assert!(without.is_empty(), "no golden document of {without:?}; there are {seen:?}");
}

#[test]
fn faults_are_found() {
    let document = |field: Value| {
        let mut document = json!({"type": "dns", "@timestamp": "2026-01-02T03:04:05.678Z", "dns": {"answers": [{"ttl": "30"}]}});
        document.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
        document
    };
    for (field, fault) in [
        (json!({}), None),
        (json!({"source": {"ip": "::1", "port": 1}, "event.action": "x"}), None),
        (json!({"dns": {}}), None),
        (json!({"dns": {"resolved_ip": ["10.0.0.1", "fe80::1"]}}), None),
        (json!({"nds": {}}), Some("nds is not declared; its value is {}")),
        (json!({"dns": {"idx": 1}}), Some("dns.idx is not declared; its value is 1")),
        (json!({"dns": 1}), Some("dns is not declared; its value is 1")),
        (json!({"dns": {"answers": [{"ttlx": 1}]}}), Some("dns.answers.ttlx is not declared; its value is 1")),
        (json!({"dns": {"id": 1.5}}), Some("dns.id is declared as long and is 1.5")),
        (json!({"dns": {"id": u64::MAX}}), Some("dns.id is declared as long and is 18446744073709551615")),
        (json!({"dns": {"resolved_ip": ["10.0.0.1", "x.org"]}}), Some(r#"dns.resolved_ip is declared as ip and is ["10.0.0.1","x.org"]"#)),
        (json!({"dns": {"type": {"x": 1}}}), Some(r#"dns.type is declared as keyword and is {"x":1}"#)),
        (json!({"dns": {"type": null}}), Some("dns.type is declared as keyword and is null")),
        (json!({"@timestamp": "2026-01-02"}), Some(r#"@timestamp is declared as date and is "2026-01-02""#)),
        (json!({"http": {"request": {"id": "x"}}}), Some(r#"http is not declared; its value is {"request":{"id":"x"}}"#)),
    ] {
        assert_eq!(faults(&document(field.clone())).first().map(String::as_str), fault, "{field}");
    }
    let reserved = json!({"type": "http", "http": {"request": {"id": "x"}}});
    assert_eq!(faults(&reserved), [r#"http.request.id is not declared; its value is "x""#], "the name is only reserved");
}

#[test]
fn declarations_agree_with_each_other() {
    let mut all: BTreeMap<&str, (&str, Kind)> = BTreeMap::new();
    let lists =
        [("every transaction", TRANSACTION), ("flow", flow::FIELDS)].into_iter().chain(PROTOCOLS.iter().map(|p| (p.name, p.fields)));
    for (owner, list) in lists {
        for (index, field) in list.iter().enumerate() {
            assert!(!list[..index].iter().any(|other| other.name == field.name), "{owner} declares {} twice", field.name);
            let common = TRANSACTION.iter().any(|other| other.name == field.name);
            assert!(owner == "every transaction" || owner == "flow" || !common, "{owner} declares {}, which is common", field.name);
            let (other, kind) = *all.entry(field.name).or_insert((owner, field.kind));
            assert_eq!(kind, field.kind, "{} as {other} and as {owner} declares it", field.name);
        }
    }
    for (name, (owner, _)) in &all {
        for (at, _) in name.match_indices('.') {
            assert!(!all.contains_key(&name[..at]), "{owner} declares {name}, which lies in the field {}", &name[..at]);
        }
    }
}

#[test]
fn summaries_read_declared_fields() {
    for protocol in PROTOCOLS {
        for name in protocol.summary.fields() {
            let declared = TRANSACTION.iter().chain(protocol.fields).any(|field| field.name == name && !field.reserved);
            assert!(declared, "the summary of {} reads {name}, which is no field of its documents", protocol.name);
        }
    }
}

#[test]
fn names_of_protocols_are_unique_and_each_has_a_transport() {
    for (index, protocol) in PROTOCOLS.iter().enumerate() {
        assert!(!PROTOCOLS[..index].iter().any(|other| other.name == protocol.name), "the name {} occurs twice", protocol.name);
        assert!(!protocol.transports.is_empty(), "{} has no transport", protocol.name);
    }
}
