//! Tests that the dashboards name only fields that documents have, and that Kibana and OpenSearch Dashboards can import them.

use super::{
    list::DASHBOARDS,
    panel::{Of, Panel, Shows},
    *,
};
use crate::{
    event::{Field, Kind, TRANSACTION},
    flow,
    output::fields::indexed,
    protocols::PROTOCOLS,
};
use std::collections::{BTreeMap, BTreeSet};

/// The declared fields of transactions of a protocol, or of flows.
fn fields_of(kind: &str) -> Vec<Field> {
    match PROTOCOLS.iter().find(|protocol| protocol.name == kind) {
        Some(protocol) => [TRANSACTION, protocol.fields].concat(),
        None if kind == "flow" => flow::FIELDS.to_vec(),
        None => panic!("no protocol {kind}"),
    }
}

/// The protocols whose events a filter lets pass.
fn protocols(filter: &str) -> Vec<&'static str> {
    let all = || PROTOCOLS.iter().map(|protocol| protocol.name);
    if filter.starts_with("not type: flow") {
        return all().collect();
    }
    let named = filter.strip_prefix("type: ").unwrap_or_else(|| panic!("{filter}: the type is not first"));
    let named = named.split(')').next().unwrap().trim_start_matches('(').split(" and ").next().unwrap();
    named
        .split(" or ")
        .map(|name| all().chain(["flow"]).find(|known| *known == name).unwrap_or_else(|| panic!("{filter}: {name}")))
        .collect()
}

/// The fields that a filter names.
fn in_filter(filter: &str) -> Vec<&str> {
    let words: Vec<&str> = filter.split([' ', '(', ')']).filter(|word| !word.is_empty()).collect();
    let compared = words.windows(2).filter(|pair| [">=", "<=", ">", "<"].contains(&pair[1])).map(|pair| pair[0]);
    words.iter().filter_map(|word| word.strip_suffix(':')).chain(compared).collect()
}

/// The field from which a number is computed.
fn field_of(of: Of) -> Option<&'static str> {
    match of {
        Of::Count => None,
        Of::Sum(field)
        | Of::Median(field)
        | Of::Slow(field)
        | Of::Percentiles(field)
        | Of::Largest(field)
        | Of::Smallest(field)
        | Of::Different(field) => Some(field),
    }
}

fn panels() -> impl Iterator<Item = (String, &'static Panel)> {
    DASHBOARDS.iter().flat_map(|dashboard| dashboard.panels.iter().map(|panel| (format!("{}/{}", dashboard.id, panel.id), panel)))
}

/// Each field that a panel names must be declared by at least one of the panel's protocols, without an option that is off by default. In
/// the index the field must have a type that fits its use.
#[test]
fn documents_have_the_fields_of_every_panel() {
    let declared: Vec<Field> = PROTOCOLS.iter().flat_map(|p| p.fields).chain(TRANSACTION).chain(flow::FIELDS).copied().collect();
    let index: BTreeMap<&str, &str> = indexed(&declared).into_iter().map(|field| (field.name, field.kind)).collect();
    let mut used = BTreeSet::new();
    for (name, panel) in panels() {
        let of_documents: Vec<Field> = protocols(panel.filter).into_iter().flat_map(fields_of).collect();
        let mut check = |field: &'static str, fits: &dyn Fn(&str) -> bool| {
            let found = of_documents.iter().any(|known| known.name == field && !known.reserved && known.needs.is_empty());
            assert!(found, "{name}: no document that it shows has {field}");
            assert!(fits(index[field]), "{name}: {field} is {} in the index", index[field]);
            used.insert(field);
        };
        let groups = |kind: &str| !matches!(kind.split('+').next().unwrap(), "text" | "match_only_text" | "binary" | "object" | "nested");
        let (metrics, by): (&[_], Vec<_>) = match &panel.shows {
            Shows::Numbers(metrics) => (metrics, vec![]),
            Shows::OverTime { metric, by, .. } => (std::slice::from_ref(metric), by.iter().collect()),
            Shows::Shares { metric, by } => (std::slice::from_ref(metric), vec![by]),
            Shows::Table { metrics, by } => (metrics, by.iter().collect()),
            Shows::Events(columns) => {
                columns.iter().for_each(|column| check(column, &|_| true));
                (&[], vec![])
            }
        };
        for group in by {
            check(group.field, &groups);
        }
        for metric in metrics {
            let Some(field) = field_of(metric.of) else { continue };
            match metric.of {
                Of::Different(_) => check(field, &groups),
                Of::Largest(_) | Of::Smallest(_) => check(field, &|kind| ["long", "date"].contains(&kind)),
                _ => check(field, &|kind| kind == "long"),
            }
        }
        for field in in_filter(panel.filter) {
            assert!(of_documents.iter().any(|known| known.name == field), "{name}: {field} of the filter");
        }
    }
    assert!(used.len() > 40, "{used:?}");
}

/// Tests that panels which add up counts use only the last report of each flow.
#[test]
fn bytes_of_flows_are_added_up_once() {
    for (name, panel) in panels().filter(|(_, panel)| protocols(panel.filter).contains(&"flow")) {
        assert!(panel.filter.contains("flow.final: true"), "{name}");
    }
    for (name, panel) in panels() {
        if let Shows::OverTime { metric, stacked: true, .. } = &panel.shows {
            assert!(matches!(metric.of, Of::Count | Of::Sum(_)), "{name}: only counts and sums can be stacked");
        }
    }
}

#[test]
fn saved_objects_are_complete() {
    let files = files("mine-*");
    assert_eq!(files.len(), DASHBOARDS.len());
    let mut identifiers = BTreeSet::new();
    for file in files {
        let objects: Vec<Value> = file.objects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!file.objects.contains("packetbeat-*"), "{}", file.name);
        let here: BTreeSet<(String, String)> = objects.iter().map(|object| (text(object, "type"), text(object, "id"))).collect();
        for object in &objects {
            let (kind, id) = (text(object, "type"), text(object, "id"));
            assert!(identifiers.insert((kind.clone(), id.clone())), "{kind} {id} twice");
            assert!(object["migrationVersion"][&kind].is_string(), "{id}");
            for reference in object["references"].as_array().unwrap() {
                let to = (text(reference, "type"), text(reference, "id"));
                assert!(to == ("index-pattern".into(), "mine-*".into()) || here.contains(&to), "{id} refers to {to:?}");
            }
            let attributes = &object["attributes"];
            let source = embedded(attributes, "/kibanaSavedObjectMeta/searchSourceJSON");
            assert_eq!(source["query"]["language"], "kuery", "{id}");
            match kind.as_str() {
                "dashboard" => layout(&id, &embedded(attributes, "/panelsJSON"), object),
                "visualization" => state(&id, &embedded(attributes, "/visState")),
                _ => assert!(attributes["columns"].as_array().is_some_and(|columns| !columns.is_empty()), "{id}"),
            }
        }
        assert_eq!(objects.last().unwrap()["type"], "dashboard", "it comes after what it refers to");
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}")).to_owned()
}

fn embedded(attributes: &Value, path: &str) -> Value {
    let text = attributes.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{path} in {attributes}"));
    serde_json::from_str(text).unwrap()
}

/// Tests that the panels are within the width, do not overlap, and refer to objects that exist.
fn layout(id: &str, panels: &Value, dashboard: &Value) {
    let mut taken = BTreeSet::new();
    for panel in panels.as_array().unwrap() {
        let at = |key: &str| panel["gridData"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= u64::from(WIDTH), "{id}: {panel}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{id}: {panel} overlaps");
            }
        }
        let name = &panel["panelRefName"];
        assert!(dashboard["references"].as_array().unwrap().iter().any(|reference| reference["name"] == *name), "{id}: {name}");
    }
}

/// Tests that the identifiers of aggregations differ, and that groups are ordered by a metric that exists.
fn state(id: &str, state: &Value) {
    let aggregations = state["aggs"].as_array().unwrap();
    let all: BTreeSet<&str> = aggregations.iter().map(|aggregation| aggregation["id"].as_str().unwrap()).collect();
    assert_eq!(all.len(), aggregations.len(), "{id}");
    for aggregation in aggregations.iter().filter(|aggregation| aggregation["type"] == "terms") {
        let order = aggregation["params"]["orderBy"].as_str().unwrap();
        let (metric, percentile) = order.split_once('.').map_or((order, None), |(metric, percentile)| (metric, Some(percentile)));
        let metric = aggregations.iter().find(|aggregation| aggregation["id"] == metric).unwrap_or_else(|| panic!("{id}: {order}"));
        let percents = metric["params"]["percents"].as_array();
        let known = percents.is_some_and(|percents| percents.iter().any(|p| Some(p.to_string().as_str()) == percentile));
        assert!(percents.is_none() && percentile.is_none() || known, "{id}: {order}");
    }
    assert!(["area", "line", "pie", "table", "metric"].contains(&state["type"].as_str().unwrap()), "{id}");
    assert!(state["params"].is_object(), "{id}");
}

#[test]
fn filters_are_understood_by_the_test() {
    assert_eq!(in_filter("type: http and http.response.status_code >= 400"), ["type", "http.response.status_code"]);
    assert_eq!(protocols("type: (mysql or redis) and status: Error"), ["mysql", "redis"]);
    assert_eq!(fields_of("tls").iter().find(|field| field.name == "tls.server.not_after").map(|field| field.kind), Some(Kind::Date));
}
