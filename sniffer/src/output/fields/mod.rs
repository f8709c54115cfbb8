//! The fields of the index: the names and types that Packetbeat's index has, and those that only documents of this program have. The index
//! template and Kibana's index pattern are made from this list.

use crate::event::Field;
use std::collections::BTreeMap;

/// The fields of Packetbeat's index, one `FIELD KIND [FORMAT]` per line.
const TABLE: &str = include_str!("fields.txt");
/// The fields that a query without a field searches, one name per line.
const DEFAULT: &str = include_str!("default_field.txt");

/// A field of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Indexed<'a> {
    /// The name with dots.
    pub name: &'a str,
    /// The kind: a type of Elasticsearch, or one of those that [`super::elasticsearch`] and [`super::kibana`] translate.
    pub kind: &'a str,
    /// How Kibana shows the values; `None`: in the default form of the type.
    pub format: Option<&'a str>,
}

/// Every field of the index, sorted. `declared`: the fields of documents. If a declared field is also in the table of Packetbeat's fields,
/// it has the type of the table.
pub(super) fn indexed(declared: &[Field]) -> Vec<Indexed<'_>> {
    let declared = declared.iter().map(|field| Indexed { name: field.name, kind: field.kind.name(), format: None });
    let fields: BTreeMap<&str, Indexed<'_>> = declared.chain(table()).map(|field| (field.name, field)).collect();
    fields.into_values().collect()
}

/// The fields that Elasticsearch searches when a query names no field (`index.query.default_field`).
pub(super) fn default_fields() -> impl Iterator<Item = &'static str> {
    lines(DEFAULT)
}

fn table() -> impl Iterator<Item = Indexed<'static>> {
    lines(TABLE).filter_map(|line| {
        let mut words = line.split(' ');
        Some(Indexed { name: words.next()?, kind: words.next()?, format: words.next() })
    })
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{Kind, TRANSACTION},
        flow,
        protocols::PROTOCOLS,
    };
    use std::collections::BTreeSet;

    const KINDS: &[&str] = &[
        "binary",
        "boolean",
        "constant_keyword",
        "date",
        "flattened",
        "float",
        "geo_point",
        "ip",
        "keyword",
        "keyword+match_only_text",
        "keyword+text",
        "letter",
        "long",
        "match_only_text",
        "nested",
        "object",
        "scaled_float",
        "text",
        "unindexed_long",
        "wildcard",
        "wildcard+match_only_text",
    ];

    #[test]
    fn the_table_is_sorted_and_its_kinds_are_known() {
        let table: Vec<_> = table().collect();
        assert!(table.len() > 1700, "{}", table.len());
        for pair in table.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} and {}", pair[0].name, pair[1].name);
        }
        let names: BTreeSet<&str> = table.iter().map(|field| field.name).collect();
        for field in &table {
            match field.kind.strip_prefix("alias:") {
                Some(other) => assert!(names.contains(other), "{field:?}"),
                None => assert!(KINDS.contains(&field.kind), "{field:?}"),
            }
            assert!(field.format.is_none_or(|format| ["bytes", "string", "number", "duration"].contains(&format)), "{field:?}");
        }
        let text = |name: &str| name.strip_suffix(".text").is_some_and(|field| names.contains(field));
        for name in default_fields() {
            assert!(names.contains(name) || text(name) || name == "fields.*", "{name}");
        }
    }

    /// An index refuses documents with a value that does not fit the type of its field.
    #[test]
    fn documents_fit_the_types_of_the_table() {
        let declared = PROTOCOLS.iter().flat_map(|protocol| protocol.fields).chain(TRANSACTION).chain(flow::FIELDS);
        let types: BTreeMap<&str, &str> = table().map(|field| (field.name, field.kind)).collect();
        for field in declared.filter(|field| !field.reserved) {
            let Some(kind) = types.get(field.name) else { continue };
            let fits = match kind.split('+').next().unwrap() {
                "keyword" | "wildcard" | "text" | "match_only_text" | "binary" | "letter" => !field.kind.is_open(),
                "object" => field.kind.is_open(),
                "long" => field.kind == Kind::Long || field.name.starts_with("cassandra.") && field.name.ends_with(".headers.version"),
                "boolean" => field.kind == Kind::Boolean,
                "ip" => field.kind == Kind::Ip,
                "date" => field.kind == Kind::Date,
                _ => false,
            };
            assert!(fits, "{} is declared as {:?}, and the index has {kind}", field.name, field.kind);
        }
    }

    #[test]
    fn no_name_is_below_a_value() {
        let declared: Vec<Field> =
            PROTOCOLS.iter().flat_map(|protocol| protocol.fields).chain(TRANSACTION).chain(flow::FIELDS).copied().collect();
        let fields = indexed(&declared);
        let kinds: BTreeMap<&str, &str> = fields.iter().map(|field| (field.name, field.kind)).collect();
        for name in kinds.keys() {
            for (at, _) in name.match_indices('.') {
                let above = kinds.get(&name[..at]);
                assert!(above.is_none_or(|kind| ["object", "nested"].contains(kind)), "{name} is below {above:?}");
            }
        }
        assert!(fields.len() > types_of_packetbeat(), "documents have fields that Packetbeat's index lacks");
    }

    fn types_of_packetbeat() -> usize {
        table().count()
    }
}
