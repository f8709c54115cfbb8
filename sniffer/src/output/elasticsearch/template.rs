//! Builds the index template and the lifecycle policy. The types of the fields that protocols and flows write come from their
//! declarations; the types of fields that only processors add come from the table in `fields.txt`. Every other field becomes a keyword.
//! <https://www.elastic.co/docs/manage-data/data-store/templates>

use crate::event::{Field, Kind};
use serde_json::{Map, Value, json};

/// One `FIELD TYPE` per line. Nested names are dotted; `#` starts a comment.
const FIELDS: &str = include_str!("fields.txt");

/// Keywords longer than this many characters are stored in the document, but not indexed.
const LONGEST_KEYWORD: u32 = 1024;

/// The configurable parts of the template.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub pattern: String,
    pub priority: u64,
    /// `setup.template.settings.index`, dotted or nested.
    pub index: Map<String, Value>,
    /// `setup.template.settings._source`
    pub source: Map<String, Value>,
    /// `setup.template.append_fields`: name and type.
    pub append: Vec<(String, String)>,
    /// The name of the lifecycle policy; `None` without a policy.
    pub policy: Option<String>,
    /// Whether the template is for a data stream.
    pub data_stream: bool,
    /// The version in `_meta`.
    pub version: &'static str,
}

/// The body of `PUT _index_template/…` for documents with these fields.
pub(super) fn template(settings: &Settings, fields: &[Field]) -> Value {
    let mut properties = Map::new();
    let declared = fields.iter().map(|field| (field.name, field.kind.name()));
    let appended = settings.append.iter().map(|(name, kind)| (name.as_str(), kind.as_str()));
    for (name, kind) in table().chain(declared).chain(appended) {
        insert(&mut properties, name, field(kind));
    }
    let mut index = json!({
        "codec": "best_compression",
        "mapping": {"total_fields": {"limit": 12500}},
        "max_docvalue_fields_search": 200,
        "query": {"default_field": ["message", "type", "status", "method", "path", "query", "resource", "params", "request", "response",
            "error.message", "url.full", "url.domain", "url.path", "user_agent.original", "dns.question.name", "client.domain",
            "server.domain", "source.domain", "destination.domain", "tls.client.server_name", "agent.name", "host.name", "tags", "fields.*"]},
        "refresh_interval": "5s",
    });
    if let Some(policy) = &settings.policy {
        index["lifecycle"] = json!({"name": policy});
    }
    if let Value::Object(index) = &mut index {
        merge(index, &settings.index);
    }
    let mut mappings = json!({
        "_meta": {"beat": "packetbeat", "version": settings.version},
        "date_detection": false,
        "dynamic_templates": dynamic(fields),
        "properties": properties,
    });
    if !settings.source.is_empty() {
        mappings["_source"] = Value::Object(settings.source.clone());
    }
    let mut template = json!({
        "index_patterns": [settings.pattern],
        "priority": settings.priority,
        "template": {"mappings": mappings, "settings": {"index": index}},
    });
    if settings.data_stream {
        template["data_stream"] = json!({});
    }
    template
}

/// The default lifecycle policy: roll over to a new index when the primary shard has 50 GB or the index is 30 days old.
pub(super) fn policy() -> Value {
    json!({"policy": {"phases": {"hot": {"actions": {"rollover": {"max_age": "30d", "max_primary_shard_size": "50gb"}}}}}})
}

/// The rules for fields without a type of their own: values in objects whose keys come from the traffic, and all other texts, become
/// keywords.
fn dynamic(fields: &[Field]) -> Value {
    let keyword = json!({"ignore_above": LONGEST_KEYWORD, "type": "keyword"});
    // There is one rule for every simple type; otherwise the type in the first document would apply to all. Objects (cookies, tables) stay
    // objects.
    let types = ["string", "long", "double", "boolean"];
    let rule = |path: &str, kind: &str| json!({format!("{path}_{kind}"): {"mapping": keyword, "match_mapping_type": kind, "path_match": format!("{path}.*")}});
    let open = fields.iter().filter(|field| field.kind == Kind::KeywordObject).map(|field| field.name);
    let paths = ["labels", "fields"].into_iter().chain(open);
    let mut rules: Vec<Value> = paths.flat_map(|path| types.into_iter().map(move |kind| rule(path, kind))).collect();
    rules.push(json!({"strings_as_keyword": {"mapping": keyword, "match_mapping_type": "string"}}));
    Value::Array(rules)
}

/// The lines of [`FIELDS`].
fn table<'a>() -> impl Iterator<Item = (&'a str, &'a str)> {
    FIELDS.lines().filter_map(|line| line.split('#').next()?.trim().split_once(' ')).map(|(name, kind)| (name, kind.trim()))
}

fn field(kind: &str) -> Value {
    match kind {
        "keyword" => json!({"type": "keyword", "ignore_above": LONGEST_KEYWORD}),
        "text" => json!({"type": "text", "norms": false}),
        "wildcard" => json!({"type": "wildcard", "ignore_above": LONGEST_KEYWORD}),
        // A keyword that also has a full-text index.
        "keyword+text" => json!({"type": "keyword", "ignore_above": LONGEST_KEYWORD, "fields": {"text": {"type": "match_only_text"}}}),
        "wildcard+text" => json!({"type": "wildcard", "fields": {"text": {"type": "match_only_text"}}}),
        // Stored in the document, not searchable.
        "stored" => json!({"type": "object", "enabled": false}),
        "binary" => json!({"type": "keyword", "index": false, "doc_values": false}),
        other => json!({"type": other}),
    }
}

fn insert(properties: &mut Map<String, Value>, name: &str, field: Value) {
    match name.split_once('.') {
        None => {
            properties.insert(name.into(), field);
        }
        Some((first, rest)) => {
            let parent = properties.entry(first).or_insert_with(|| json!({}));
            if let Value::Object(parent) = parent
                && let Value::Object(inner) = parent.entry("properties").or_insert_with(|| json!({}))
            {
                insert(inner, rest, field);
            }
        }
    }
}

/// Merges `new` into `old`; `new` takes precedence. A dotted key is a path.
fn merge(old: &mut Map<String, Value>, new: &Map<String, Value>) {
    for (key, value) in new {
        match (key.split_once('.'), value) {
            (Some((first, rest)), value) => {
                let inner = Map::from_iter([(rest.to_owned(), value.clone())]);
                merge(old, &Map::from_iter([(first.to_owned(), Value::Object(inner))]));
            }
            (None, Value::Object(value)) => match old.entry(key.clone()).or_insert_with(|| json!({})) {
                Value::Object(inner) => merge(inner, value),
                other => *other = Value::Object(value.clone()),
            },
            (None, value) => {
                old.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::TRANSACTION, flow, protocols::PROTOCOLS};

    fn settings() -> Settings {
        let index = serde_json::from_str(r#"{"number_of_shards": 1, "mapping.total_fields.limit": 5}"#).unwrap();
        Settings {
            pattern: "packetbeat-9.6.0".into(),
            priority: 150,
            index,
            source: Map::new(),
            append: vec![("mine.own".into(), "long".into())],
            policy: Some("packetbeat".into()),
            data_stream: true,
            version: "9.6.0",
        }
    }

    #[test]
    fn types_and_settings() {
        let fields = [TRANSACTION, &[Field::new("url.full", Kind::WildcardText), Field::new("x.headers", Kind::KeywordObject)]].concat();
        let template = template(&settings(), &fields);
        for (path, expected) in [
            ("/template/mappings/properties/source/properties/ip/type", json!("ip")),
            ("/template/mappings/properties/@timestamp/type", json!("date")),
            ("/template/mappings/properties/url/properties/full/type", json!("wildcard")),
            ("/template/mappings/properties/event/properties/duration/type", json!("long")),
            ("/template/mappings/properties/mine/properties/own/type", json!("long")),
            ("/template/settings/index/number_of_shards", json!(1)),
            ("/template/settings/index/mapping/total_fields/limit", json!(5)),
            ("/template/settings/index/lifecycle/name", json!("packetbeat")),
            ("/priority", json!(150)),
            ("/data_stream", json!({})),
            ("/template/mappings/dynamic_templates/8/x.headers_string/path_match", json!("x.headers.*")),
        ] {
            assert_eq!(template.pointer(path), Some(&expected), "{path}");
        }
    }

    #[test]
    fn the_table_of_fields_is_valid() {
        let kinds = [
            "keyword",
            "text",
            "match_only_text",
            "keyword+text",
            "wildcard+text",
            "object",
            "ip",
            "long",
            "date",
            "boolean",
            "float",
            "geo_point",
        ];
        let declared = PROTOCOLS.iter().flat_map(|protocol| protocol.fields).chain(TRANSACTION).chain(flow::FIELDS);
        let mut seen: std::collections::BTreeSet<&str> = declared.map(|field| field.name).collect();
        for (name, kind) in table() {
            assert!(kinds.contains(&kind), "unknown type: {name} {kind}");
            assert!(seen.insert(name), "twice, or declared by who writes it: {name}");
        }
        for name in &seen {
            for (at, _) in name.match_indices('.') {
                assert!(!seen.contains(&name[..at]), "{name} is below a field");
            }
        }
    }
}
