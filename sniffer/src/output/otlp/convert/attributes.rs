//! Attributes of a span, a log record or a resource.

use super::document::Document;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value as Any};
use serde_json::{Map, Value};

/// Maximum number of attributes. Further ones are counted in `dropped_attributes_count`.
const MOST: usize = 512;

/// Maximum nesting of lists and objects in the value of an attribute. A deeper value is its JSON text, because receivers limit the depth of
/// messages.
const DEEPEST: usize = 8;

/// A list of attributes with different names.
#[derive(Default)]
pub(in super::super) struct Attributes {
    pub list: Vec<KeyValue>,
    /// Number of attributes that were left out.
    pub dropped: u32,
}

impl Attributes {
    /// Whether there is an attribute with this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.list.iter().any(|attribute| attribute.key == name)
    }

    /// Adds an attribute, unless there is one with this name.
    pub(in super::super) fn add(&mut self, name: &str, value: impl Into<AttributeValue>) {
        self.push(name.to_owned(), value.into().0);
    }

    /// Adds the value of a field: an object as one attribute for each of its fields. `None` and null are left out.
    pub(super) fn add_some(&mut self, name: &str, field: Option<Value>) {
        match field {
            None | Some(Value::Null) => {}
            Some(Value::Object(fields)) => self.flatten(name, fields),
            Some(other) => self.push(name.to_owned(), value(other, 0)),
        }
    }

    /// Adds all remaining fields of a document under their own names.
    pub(super) fn add_rest(&mut self, document: Document) {
        self.flatten("", document.0);
    }

    /// Adds the fields of an object and of the objects in it, with dotted names. Objects that were parsed have a limited depth.
    fn flatten(&mut self, prefix: &str, fields: Map<String, Value>) {
        for (key, field) in fields {
            let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            self.add_some(&name, Some(field));
        }
    }

    fn push(&mut self, name: String, value: AnyValue) {
        if self.list.len() >= MOST {
            self.dropped = self.dropped.saturating_add(1);
        } else if !name.is_empty() && !self.has(&name) {
            self.list.push(KeyValue { key: name, value: Some(value), ..KeyValue::default() });
        }
    }
}

/// A value that can be given to [`Attributes::add`].
pub(in super::super) struct AttributeValue(AnyValue);

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self(text_value(text.to_owned()))
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self(text_value(text))
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self(AnyValue { value: Some(Any::IntValue(number)) })
    }
}

impl From<Value> for AttributeValue {
    fn from(field: Value) -> Self {
        Self(value(field, 0))
    }
}

fn text_value(text: String) -> AnyValue {
    AnyValue { value: Some(Any::StringValue(text)) }
}

/// The value of a field. `depth` is the number of lists and objects around it.
fn value(field: Value, depth: usize) -> AnyValue {
    let value = match field {
        Value::Null => None,
        Value::Bool(is) => Some(Any::BoolValue(is)),
        Value::Number(number) => Some(match number.as_i64() {
            Some(integer) => Any::IntValue(integer),
            // An integer above the range of `int64` would not be exact as a floating point number.
            None if number.is_u64() => Any::StringValue(number.to_string()),
            None => Any::DoubleValue(number.as_f64().unwrap_or_default()),
        }),
        Value::String(text) => Some(Any::StringValue(text)),
        nested if depth >= DEEPEST => Some(Any::StringValue(nested.to_string())),
        Value::Array(items) => {
            let values = items.into_iter().map(|item| value(item, depth + 1)).collect();
            Some(Any::ArrayValue(ArrayValue { values }))
        }
        Value::Object(fields) => {
            let values =
                fields.into_iter().map(|(key, field)| KeyValue { key, value: Some(value(field, depth + 1)), ..KeyValue::default() });
            Some(Any::KvlistValue(KeyValueList { values: values.collect() }))
        }
    };
    AnyValue { value }
}
