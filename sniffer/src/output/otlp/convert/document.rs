//! A document whose fields are taken one by one.

use serde_json::{Map, Value};

/// The fields of a document that are not converted yet.
pub(super) struct Document(pub Map<String, Value>);

impl Document {
    /// Parses the text of a document. Returns `None` if it is no JSON object.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut fields: Map<String, Value> = serde_json::from_slice(text).ok()?;
        // The time is the span's or the record's own; metadata is for other outputs.
        fields.remove("@timestamp");
        fields.remove("@metadata");
        Some(Self(fields))
    }

    /// The value of a field with a dotted name. The document may have the name as one key, or as nested objects.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(name) {
            return Some(value);
        }
        let (mut fields, mut rest) = (&self.0, name);
        while let Some((first, more)) = rest.split_once('.') {
            fields = fields.get(first)?.as_object()?;
            rest = more;
        }
        fields.get(rest)
    }

    /// The text of a field; `None` if it is missing, empty or no text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Removes a field and returns its value.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        if let Some(value) = self.0.remove(name) {
            return Some(value);
        }
        let (mut fields, mut rest) = (&mut self.0, name);
        while let Some((first, more)) = rest.split_once('.') {
            fields = fields.get_mut(first)?.as_object_mut()?;
            rest = more;
        }
        fields.remove(rest)
    }

    /// Removes a field and returns its text; `None` if it is missing, empty or no text.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}
