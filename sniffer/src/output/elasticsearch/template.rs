//! Builds the index template and the lifecycle policy from the list of fields. A field that is not in the list becomes a keyword.
//! <https://www.elastic.co/docs/manage-data/data-store/templates>

use crate::{
    event::{Field, Kind},
    output::fields::{default_fields, indexed},
};
use serde_json::{Map, Value, json};

/// Keywords longer than this many characters are stored in the document, but not indexed.
const LONGEST_KEYWORD: u32 = 1024;

/// The configurable parts of the template.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub pattern: String,
    pub priority: u64,
    /// The settings `setup.template.settings.index`, with dotted or nested keys.
    pub index: Map<String, Value>,
    /// The setting `setup.template.settings._source`.
    pub source: Map<String, Value>,
    /// The setting `setup.template.append_fields`: name and type of each field.
    pub append: Vec<(String, String)>,
    /// The name of the lifecycle policy; `None` without a policy.
    pub policy: Option<String>,
    /// Whether the template is for a data stream.
    pub data_stream: bool,
    /// The version that the template has in `_meta`.
    pub version: &'static str,
}

/// The body of `PUT _index_template/…` for documents with these fields.
pub(super) fn template(settings: &Settings, fields: &[Field]) -> Value {
    let mut properties = Map::new();
    let indexed = indexed(fields).into_iter().map(|field| (field.name, field.kind));
    let appended = settings.append.iter().map(|(name, kind)| (name.as_str(), kind.as_str()));
    for (name, kind) in indexed.chain(appended) {
        insert(&mut properties, name, mapping(kind));
    }
    let mut index = json!({
        "mapping": {"total_fields": {"limit": 12500}},
        "max_docvalue_fields_search": 200,
        "query": {"default_field": default_fields().collect::<Vec<_>>()},
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

/// Objects that processors fill, with keys from outside.
const OPEN: &[&str] = &[
    "labels",
    "container.labels",
    "fields",
    "docker.container.labels",
    "kubernetes.labels.*",
    "kubernetes.annotations.*",
    "kubernetes.selectors.*",
];

/// Rules for fields without a type of their own. Values in objects whose keys come from outside become keywords, and so do all other texts.
fn dynamic(fields: &[Field]) -> Value {
    let keyword = json!({"ignore_above": LONGEST_KEYWORD, "type": "keyword"});
    // There is one rule for every simple type. Without it, the type in the first document would apply to all documents. Objects (cookies,
    // tables) stay objects. The rule for texts has Packetbeat's name.
    let types = [("string", ""), ("long", "_long"), ("double", "_double"), ("boolean", "_boolean")];
    let rule = |path: &str, (kind, ending): (&str, &str)| {
        let pattern = format!("{}.*", path.trim_end_matches(".*"));
        json!({format!("{path}{ending}"): {"mapping": keyword, "match_mapping_type": kind, "path_match": pattern}})
    };
    let open = fields.iter().filter(|field| field.kind == Kind::KeywordObject).map(|field| field.name);
    let paths = OPEN.iter().copied().chain(open);
    let mut rules: Vec<Value> = paths.flat_map(|path| types.into_iter().map(move |kind| rule(path, kind))).collect();
    rules.push(json!({"strings_as_keyword": {"mapping": keyword, "match_mapping_type": "string"}}));
    Value::Array(rules)
}

/// The mapping of a kind. Only types that Elasticsearch and OpenSearch have in every edition are used for fields of documents: a `wildcard`
/// is a keyword, and `match_only_text` is `text`.
fn mapping(kind: &str) -> Value {
    if let Some(path) = kind.strip_prefix("alias:") {
        return json!({"type": "alias", "path": path});
    }
    let (kind, words) = kind.split_once('+').map_or((kind, false), |(kind, _)| (kind, true));
    let mut mapping = match kind {
        "keyword" | "wildcard" => json!({"type": "keyword", "ignore_above": LONGEST_KEYWORD}),
        "letter" => json!({"type": "keyword", "ignore_above": 1}),
        "binary" => json!({"type": "keyword", "ignore_above": LONGEST_KEYWORD, "index": false, "doc_values": false}),
        "text" | "match_only_text" => json!({"type": "text", "norms": false}),
        "unindexed_long" => json!({"type": "long", "index": false, "doc_values": false}),
        "scaled_float" => json!({"type": "scaled_float", "scaling_factor": 1000}),
        other => json!({"type": other}),
    };
    if words {
        mapping["fields"] = json!({"text": {"type": "text", "norms": false}});
    }
    mapping
}

/// Replaces the types that servers without Elastic's licensed modules refuse: OpenSearch, and the open-source edition of Elasticsearch.
pub(super) fn for_open_source(template: &mut Value) {
    match template {
        Value::Object(map) => {
            let kind = map.get("type").and_then(Value::as_str).map(str::to_owned);
            match kind.as_deref() {
                Some("flattened") => map.insert("type".into(), "object".into()),
                Some("constant_keyword") => map.insert("type".into(), "keyword".into()),
                _ => None,
            };
            map.values_mut().for_each(for_open_source);
        }
        Value::Array(list) => list.iter_mut().for_each(for_open_source),
        _ => {}
    }
}

fn insert(properties: &mut Map<String, Value>, name: &str, field: Value) {
    match name.split_once('.') {
        None => match (properties.get_mut(name), field) {
            // A part of this object is already in the mapping.
            (Some(Value::Object(known)), Value::Object(field)) => known.extend(field),
            (_, field) => {
                properties.insert(name.into(), field);
            }
        },
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
    use crate::event::TRANSACTION;

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
            ("/template/mappings/properties/url/properties/full/type", json!("keyword")),
            ("/template/mappings/properties/url/properties/full/fields/text", json!({"type": "text", "norms": false})),
            ("/template/mappings/properties/agent/properties/hostname", json!({"type": "alias", "path": "agent.name"})),
            ("/template/mappings/properties/dns/properties/answers/type", json!("object")),
            ("/template/mappings/properties/dns/properties/answers/properties/ttl/type", json!("long")),
            ("/template/mappings/properties/kubernetes/properties/labels/properties/*/type", json!("object")),
            ("/template/settings/index/query/default_field/0", json!("message")),
            ("/template/settings/index/query/default_field/326", json!("fields.*")),
            ("/template/mappings/properties/event/properties/duration/type", json!("long")),
            ("/template/mappings/properties/mine/properties/own/type", json!("long")),
            ("/template/settings/index/number_of_shards", json!(1)),
            ("/template/settings/index/mapping/total_fields/limit", json!(5)),
            ("/template/settings/index/lifecycle/name", json!("packetbeat")),
            ("/priority", json!(150)),
            ("/data_stream", json!({})),
            ("/template/mappings/dynamic_templates/28/x.headers/path_match", json!("x.headers.*")),
            ("/template/mappings/dynamic_templates/16/kubernetes.labels.*/path_match", json!("kubernetes.labels.*")),
        ] {
            assert_eq!(template.pointer(path), Some(&expected), "{path}");
        }
    }

    #[test]
    fn servers_without_licensed_modules() {
        let mut template = template(&settings(), TRANSACTION);
        let at = |template: &Value, field: &str| {
            let path = format!("/template/mappings/properties/{}", field.replace('.', "/properties/"));
            template.pointer(&path).cloned().unwrap_or_else(|| panic!("{field}"))
        };
        assert_eq!(at(&template, "elf.exports"), json!({"type": "flattened"}));
        assert_eq!(at(&template, "data_stream.type"), json!({"type": "constant_keyword"}));
        for_open_source(&mut template);
        assert_eq!(at(&template, "elf.exports"), json!({"type": "object"}));
        assert_eq!(at(&template, "data_stream.type"), json!({"type": "keyword"}));
        assert_eq!(at(&template, "bytes_in"), json!({"type": "alias", "path": "source.bytes"}));
    }
}
