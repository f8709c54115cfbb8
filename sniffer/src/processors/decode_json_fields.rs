//! `decode_json_fields`: parses texts that are JSON.

use super::{AtStart, Decision, Factory, Facts, ProcessorKind, Shared, kit, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{
        constants::Constants,
        tree::{Object, TIMESTAMP, Tree, merge},
    },
    opening::Opening,
};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Number, Value};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "decode_json_fields",
    about: "Parses texts that are JSON. A field that is missing or no text stays as it is, and so does a text that is no JSON.",
    example: "fields: [http.request.body.content]\ntarget: http.request.body.json\nmax_depth: 2\nadd_error_key: true",
    options: &[("", DecodeJson::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct DecodeJson {
        /// The fields with the texts.
        fields: Vec<String>,
        /// The number of levels: with 2, texts in the result that are JSON are parsed too.
        max_depth: Depth = Depth(1),
        /// The field for the result. Without this option, the field itself is replaced; if it is empty, the result is merged into the document.
        target: Option<String> = None,
        /// Parses the texts in lists too.
        process_array: bool = false,
        /// Where the result is merged into the document, it replaces fields that exist.
        overwrite_keys: bool = false,
        /// Reports a text that is no JSON in `error`.
        add_error_key: bool = false,
        /// Turns keys with dots into objects.
        expand_keys: bool = false,
        /// A field of the result that becomes the id of the document and is removed.
        document_id: String = String::new(),
    }
}

/// A number of levels, at least 1.
#[derive(Clone, Copy, Debug)]
struct Depth(usize);

/// Maximum number of levels. Each level is parsed by a recursive call.
const MAX_DEPTH: usize = 64;

impl<'de> Deserialize<'de> for Depth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match usize::try_from(u64::deserialize(deserializer)?) {
            Ok(0) => Err(de::Error::custom("expected a number of at least 1")),
            Ok(depth) => Ok(Self(depth.min(MAX_DEPTH))),
            Err(_) => Ok(Self(MAX_DEPTH)),
        }
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(DecodeJson::read(opening.node)?))
}

/// Why a text was not decoded.
enum Failure {
    /// The text is not JSON.
    Invalid(String),
    /// The text is a list below the first level, and `process_array` is false.
    Skipped,
}

impl DecodeJson {
    fn decode(&self, text: &str, depth: usize) -> Result<Value, Failure> {
        let mut value: Value = serde_json::from_str(text).map_err(|error| Failure::Invalid(error.to_string()))?;
        floats_for_large(&mut value);
        if depth <= 1 {
            return Ok(value);
        }
        let inner = |value: &mut Value| {
            if let Some(text) = value.as_str().filter(|text| is_structured(text))
                && let Ok(decoded) = self.decode(text, depth - 1)
            {
                *value = decoded;
            }
        };
        match &mut value {
            Value::Object(object) => object.values_mut().for_each(inner),
            Value::Array(_) if !self.process_array => return Err(Failure::Skipped),
            Value::Array(list) => list.iter_mut().for_each(inner),
            _ => {}
        }
        Ok(value)
    }

    fn decode_field(&self, event: &mut Tree, field: &str) {
        let Some(Value::String(text)) = event.get(field) else { return };
        let mut value = match self.decode(text, self.max_depth.0) {
            Ok(value) => value,
            Err(Failure::Skipped) => return,
            Err(Failure::Invalid(reason)) => {
                log::debug!("decode_json_fields: {field}: {reason}");
                if self.add_error_key {
                    let data = text.clone();
                    self.add_error(event, format!("parsing input as JSON: {reason}"), Some((field, data)));
                }
                return;
            }
        };
        if let Some(id) = take_id(&mut value, &self.document_id) {
            // Writing a field of `@metadata` cannot fail, because `@metadata` is an object or does not exist.
            let _ = event.put("@metadata._id", id);
        }
        if self.expand_keys
            && let Value::Object(object) = value
        {
            let (object, error) = expand(object);
            value = object.into();
            if let Some(error) = error.filter(|_| self.add_error_key) {
                self.add_error(event, error, None);
            }
        }
        match (self.target.as_deref(), value) {
            (Some(""), Value::Object(object)) => self.merge(event, object),
            (Some(""), _) => log::debug!("decode_json_fields: {field}: only an object can be merged into the document"),
            (target, value) => {
                if let Err(error) = event.put(target.unwrap_or(field), value) {
                    log::debug!("decode_json_fields: {field}: {error}");
                }
            }
        }
    }

    fn add_error(&self, event: &mut Tree, message: String, of: Option<(&str, String)>) {
        let data = of.into_iter().flat_map(|(field, data)| [("error.data", data), ("error.field", field.to_owned())]);
        for (name, text) in [("error.message", message), ("error.type", "json".to_owned())].into_iter().chain(data) {
            // If `error` is not an object, the message is written only to the log.
            let _ = event.put(name, text.into());
        }
    }

    fn merge(&self, event: &mut Tree, mut object: Object) {
        let time = object.remove(TIMESTAMP);
        if !self.overwrite_keys {
            object.remove("@metadata");
            return merge_missing(&mut event.fields, object);
        }
        merge(&mut event.fields, &object);
        if let Some(time) = time
            && let Err(error) = event.put(TIMESTAMP, time)
            && self.add_error_key
        {
            self.add_error(event, format!("@timestamp not overwritten ({error})"), None);
        }
    }
}

/// Converts whole numbers that do not fit into 64 bits with a sign to floats, because an index has no larger type of whole numbers.
fn floats_for_large(value: &mut Value) {
    match value {
        Value::Number(number) if number.as_i64().is_none() && number.is_u64() => {
            *value = number.as_f64().and_then(Number::from_f64).map_or(Value::Null, Value::Number);
        }
        Value::Array(list) => list.iter_mut().for_each(floats_for_large),
        Value::Object(object) => object.values_mut().for_each(floats_for_large),
        _ => {}
    }
}

/// Whether a text looks like an object or a list.
fn is_structured(text: &str) -> bool {
    let text = text.trim();
    (text.starts_with('{') && text.ends_with('}')) || (text.starts_with('[') && text.ends_with(']'))
}

/// Removes the text at a dotted name.
pub(super) fn take_id(value: &mut Value, name: &str) -> Option<Value> {
    if name.is_empty() {
        return None;
    }
    let Value::Object(object) = value else { return None };
    let mut tree = Tree::from(std::mem::take(object));
    let id = tree.get(name).is_some_and(Value::is_string).then(|| tree.remove(name)).flatten();
    *object = tree.fields;
    id
}

/// Adds the fields that do not exist; existing values stay.
fn merge_missing(into: &mut Object, from: Object) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(inner)), Value::Object(value)) => merge_missing(inner, value),
            (Some(_), _) => {}
            (None, value) => _ = into.insert(key, value),
        }
    }
}

/// Turns keys with dots into objects. Returns the error of the last key for which there is another value in its path; that key is left out.
fn expand(object: Object) -> (Object, Option<String>) {
    let mut tree = Tree::from(Object::new());
    let mut error = None;
    for (key, mut value) in object {
        if let Value::Object(inner) = value {
            let (inner, failed) = expand(inner);
            error = failed.or(error);
            value = inner.into();
        }
        if !key.contains('.') {
            tree.fields.insert(key, value);
        } else if let Err(failed) = tree.put(&key, value) {
            error = Some(format!("cannot expand {key:?}: found conflicting key: {failed}"));
        }
    }
    (tree.fields, error)
}

impl Shared for DecodeJson {
    fn apply_at_start(&self, constants: &mut Constants, facts: &Facts, _: &HostData) -> AtStart {
        if self.fields.iter().all(|field| kit::never_has(field, constants, facts)) { AtStart::Done } else { AtStart::PerEvent }
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        for field in &self.fields {
            self.decode_field(event, field);
        }
        Decision::Keep
    }
}
