//! `add_fields` and `add_labels`: add constant fields to every event, and overwrite existing ones.

use super::{
    Factory, ProcessorKind,
    kit::{self, AddConstant},
    options::options,
    shared,
};
use crate::{
    config::Error,
    event::tree::{Object, expand_dots},
    opening::Opening,
};
use serde_json::Value;

pub(super) const FIELDS: ProcessorKind = ProcessorKind {
    name: "add_fields",
    about: "Adds constant fields to every event. They replace fields of the event; objects are merged. The time of the event is not replaced.",
    example: "target: project\nfields: {name: shop, id: '0042'}",
    options: &[("", AddFields::OPTIONS)],
    open: open_fields,
};

pub(super) const LABELS: ProcessorKind = ProcessorKind {
    name: "add_labels",
    about: "Adds constant labels to every event, below `labels`. Every label is a text; the name of a nested label has dots.",
    example: "labels: {env: production, rack: 7}",
    options: &[("", AddLabels::OPTIONS)],
    open: open_labels,
};

options! {
    struct AddFields {
        /// The fields that are added, with their values. Nulls and empty objects at the first level are left out.
        fields: Object,
        /// The object that the fields are added to. If it is empty, they are added to the document itself.
        target: String = "fields".to_owned(),
    }
}

options! {
    struct AddLabels {
        /// The labels with their values.
        labels: Object,
    }
}

fn open_fields(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let AddFields { mut fields, target } = AddFields::read(opening.node)?;
    fields.retain(|_, value| !is_nothing(value));
    Ok(shared(AddConstant(if fields.is_empty() { fields } else { nest_under(&target, without_empty_objects(fields)) })))
}

fn open_labels(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let AddLabels { labels } = AddLabels::read(opening.node)?;
    let mut flat = Object::new();
    flatten("", &labels.into(), &mut flat);
    Ok(shared(AddConstant(Object::from_iter([("labels".to_owned(), flat.into())]))))
}

/// Packetbeat's configuration has neither nulls nor empty objects at the first level of a map.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// Replaces empty objects inside the fields by null, as Packetbeat does.
fn without_empty_objects(fields: Object) -> Object {
    fn replaced(value: Value) -> Value {
        match value {
            Value::Object(object) if object.is_empty() => Value::Null,
            Value::Object(object) => without_empty_objects(object).into(),
            Value::Array(list) => list.into_iter().map(replaced).collect(),
            scalar => scalar,
        }
    }
    fields.into_iter().map(|(key, value)| (key, replaced(value))).collect()
}

/// Adds each scalar in `value` to `flat` as a text, with its dotted name as the key.
fn flatten(name: &str, value: &Value, flat: &mut Object) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| flatten(&below(key), value, flat)),
        Value::Array(list) => list.iter().enumerate().for_each(|(number, item)| flatten(&below(&number.to_string()), item, flat)),
        Value::Null => {}
        scalar => _ = flat.insert(name.to_owned(), kit::print(scalar).into()),
    }
}

/// Puts `fields` into an object with the dotted name `target`. If `target` is empty, `fields` stay at the top level.
pub(crate) fn nest_under(target: &str, fields: Object) -> Object {
    if target.is_empty() {
        return fields;
    }
    match expand_dots(Object::from_iter([(target.to_owned(), fields.into())]).into()) {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}
