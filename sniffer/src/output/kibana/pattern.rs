//! The index pattern, which newer versions of Kibana call a data view: the indices that dashboards show, and the types of the fields in
//! them.

use crate::{
    event::Field,
    output::fields::{Indexed, indexed},
};
use serde_json::{Map, Value, json};

/// The indices of this program and of Packetbeat.
pub(super) const INDEX: &str = "packetbeat-*";

/// The program that an index pattern is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form<'a> {
    /// Kibana of this version. It determines the types of fields itself. The fields have the properties that Packetbeat gives them.
    Kibana(&'a str),
    /// OpenSearch Dashboards. It uses the types of the index pattern until the user refreshes the pattern. It refuses the property
    /// `version`, because it takes it for the version of the saved object.
    OpenSearch,
}

/// Returns the text for `export index-pattern`: the index pattern as JSON. `declared`: the fields of documents.
pub fn index_pattern(declared: &[Field]) -> String {
    serde_json::to_string_pretty(&pattern(INDEX, declared, Form::Kibana(""))).unwrap_or_default()
}

/// The index pattern as a saved object.
pub(super) fn pattern(index: &str, declared: &[Field], form: Form<'_>) -> Value {
    let list = indexed(declared);
    let mut fields = Vec::new();
    for field in &list {
        let kind = list.iter().find(|other| field.kind.strip_prefix("alias:") == Some(other.name)).map_or(field.kind, |other| other.kind);
        let (kind, words) = kind.split_once('+').map_or((kind, None), |(kind, words)| (kind, Some(words)));
        fields.push(described(field.name, kind, form));
        fields.extend(words.map(|words| described(&format!("{}.text", field.name), words, form)));
    }
    for (name, kind, searchable) in
        [("_id", "string", false), ("_type", "string", true), ("_index", "string", false), ("_score", "number", false)]
    {
        let (aggregatable, read) = (searchable, false);
        fields.push(entry(name, Some(kind), Properties { aggregatable, searchable, stored: read }));
    }
    let formats: Map<String, Value> = list.iter().filter_map(|field| Some((field.name.to_owned(), shown(field)?))).collect();
    let attributes = json!({
        "fieldFormatMap": Value::Object(formats).to_string(),
        "fields": Value::Array(fields).to_string(),
        "timeFieldName": "@timestamp",
        "title": index,
    });
    let mut object = json!({"attributes": attributes, "id": index, "type": "index-pattern"});
    if let Form::Kibana(version) = form {
        object["version"] = version.into();
    }
    object
}

struct Properties {
    aggregatable: bool,
    searchable: bool,
    /// Whether the field is indexed and has values for aggregations.
    stored: bool,
}

fn described(name: &str, kind: &str, form: Form<'_>) -> Value {
    let shown = match kind {
        "keyword" | "binary" | "letter" | "text" => Some("string"),
        "long" | "unindexed_long" | "short" | "float" | "scaled_float" => Some("number"),
        "date" | "ip" | "boolean" | "geo_point" => Some(kind),
        // Packetbeat leaves out the type of all other fields.
        _ if form != Form::OpenSearch => None,
        "wildcard" | "match_only_text" | "constant_keyword" => Some("string"),
        "nested" => Some("nested"),
        _ => Some("object"),
    };
    let is_text = kind == "text" || kind == "match_only_text" && form == Form::OpenSearch;
    entry(name, shown, Properties { aggregatable: !is_text, searchable: true, stored: !matches!(kind, "binary" | "unindexed_long") })
}

fn entry(name: &str, kind: Option<&str>, properties: Properties) -> Value {
    let Properties { aggregatable, searchable, stored } = properties;
    let mut entry = json!({
        "aggregatable": aggregatable,
        "analyzed": false,
        "count": 0,
        "doc_values": stored,
        "indexed": stored,
        "name": name,
        "scripted": false,
        "searchable": searchable,
    });
    if let Some(kind) = kind {
        entry["type"] = kind.into();
    }
    entry
}

/// How Kibana shows the values of a field.
fn shown(field: &Indexed<'_>) -> Option<Value> {
    Some(match field.format? {
        "duration" => json!({
            "id": "duration",
            "params": {"inputFormat": "nanoseconds", "outputFormat": "asMilliseconds", "outputPrecision": 1},
        }),
        format => json!({"id": format}),
    })
}
