//! `decode_xml`: parses a text that is XML.

use super::{Decision, Factory, ProcessorKind, Shared, decode_json_fields::take_id, kit, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::{Object, Tree},
    opening::Opening,
};
use quick_xml::{
    Reader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
};
use serde_json::Value;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "decode_xml",
    about: "Parses a text that is XML. An element with attributes or other elements becomes an object, in which `#text` is its text; repeated \
            elements become a list. Prefixes of namespaces are removed. An error is reported in `error.message`, unless `ignore_failure` is \
            true.",
    example: "field: message\ntarget_field: xml\nignore_missing: true",
    options: &[("", DecodeXml::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct DecodeXml {
        /// The field with the text.
        field: String = "message".to_owned(),
        /// The field for the result. Without this option, the field itself is replaced; if it is empty, the result is merged into the document.
        target_field: Option<String> = None,
        /// Replaces fields that exist.
        overwrite_keys: bool = true,
        /// Writes the names of elements and attributes in lower case.
        to_lower: bool = true,
        /// A missing field is not an error.
        ignore_missing: bool = false,
        /// Errors are logged only at debug level.
        ignore_failure: bool = false,
        /// A field of the result that becomes the id of the document and is removed.
        document_id: String = String::new(),
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(DecodeXml::read(opening.node)?))
}

/// Maximum depth of elements.
const MAX_DEPTH: usize = 128;

/// An element that is not closed yet.
#[derive(Default)]
struct Element {
    /// The name as written, and as the result has it.
    name: (String, String),
    fields: Object,
    text: String,
    /// Whether an inner element ended after the text in `text`.
    text_is_old: bool,
}

impl Element {
    /// Adds a field. A second field of the same name makes a list.
    fn add(&mut self, name: String, value: Value) {
        self.text_is_old = !self.text.is_empty();
        match self.fields.get_mut(&name) {
            None => _ = self.fields.insert(name, value),
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }

    fn value(mut self) -> Value {
        let text = self.text.trim();
        if self.fields.is_empty() {
            return text.into();
        }
        if !text.is_empty() {
            self.fields.insert("#text".to_owned(), text.into());
        }
        self.fields.into()
    }
}

/// The name without the prefix of its namespace.
fn local(name: &str, to_lower: bool) -> String {
    let name = name.rsplit_once(':').map_or(name, |(_, local)| local);
    if to_lower { name.to_lowercase() } else { name.to_owned() }
}

fn element(start: &BytesStart<'_>, to_lower: bool) -> Result<Element, String> {
    let written: &str = start.name().0;
    let mut element = Element { name: (written.to_owned(), local(written, to_lower)), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
        element.add(local(attribute.key.0, to_lower), value.as_ref().into());
    }
    Ok(element)
}

/// Parses XML. The text may have several elements at the first level.
fn parse(text: &str, to_lower: bool) -> Result<Object, String> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut open = vec![Element::default()];
    loop {
        let event = reader.read_event().map_err(|error| error.to_string())?;
        let closed = match &event {
            Event::Eof => break,
            Event::Start(start) if open.len() > MAX_DEPTH => {
                return Err(format!("more than {MAX_DEPTH} levels of elements at <{}>", start.name().0));
            }
            Event::Start(start) => {
                let element = element(start, to_lower)?;
                open.push(element);
                None
            }
            Event::Empty(start) => Some(element(start, to_lower)?),
            Event::End(_) if open.len() > 1 => open.pop(),
            Event::Text(part) => {
                add_text(&mut open, part);
                None
            }
            Event::CData(part) => {
                add_text(&mut open, part);
                None
            }
            Event::GeneralRef(reference) => {
                let name: &str = reference;
                let character = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                match (character, resolve_predefined_entity(name)) {
                    (Some(character), _) => add_text(&mut open, character.encode_utf8(&mut [0; 4])),
                    (None, Some(text)) => add_text(&mut open, text),
                    (None, None) => return Err(format!("the entity &{name}; is not known")),
                }
                None
            }
            _ => None,
        };
        if let (Some(element), Some(parent)) = (closed, open.last_mut()) {
            parent.add(element.name.1.clone(), element.value());
        }
    }
    match open.as_mut_slice() {
        [root] => Ok(std::mem::take(&mut root.fields)),
        [.., last] => Err(format!("the element <{}> is not closed", last.name.0)),
        [] => Ok(Object::new()),
    }
}

/// Adds text to the innermost element. As in Packetbeat, text after an inner element replaces the text before it.
fn add_text(open: &mut [Element], text: &str) {
    let Some(element) = open.last_mut() else { return };
    if element.text_is_old {
        if text.trim().is_empty() {
            return;
        }
        element.text.clear();
        element.text_is_old = false;
    }
    element.text.push_str(text);
}

impl DecodeXml {
    fn decode(&self, event: &mut Tree) -> Result<(), String> {
        let text = match event.fetch(&self.field) {
            Ok(Value::String(text)) => text,
            Ok(_) => return Err("field value is not a string".to_owned()),
            Err(error) if error.is_missing() && self.ignore_missing => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let object = parse(text, self.to_lower).map_err(|error| format!("error decoding XML field: {error}"))?;
        let mut value = object.into();
        if let Some(id) = take_id(&mut value, &self.document_id) {
            event.put("@metadata._id", id).map_err(|error| error.to_string())?;
        }
        let target = self.target_field.as_deref().unwrap_or(&self.field);
        match value {
            Value::Object(object) if target.is_empty() => {
                for (key, value) in object {
                    if self.overwrite_keys || !event.has(&key) {
                        event.put(&key, value).map_err(|error| format!("{key}: {error}"))?;
                    }
                }
                Ok(())
            }
            _ if !self.overwrite_keys && self.target_field.is_some() && event.has(target) => {
                Err(format!("target field {target:?} already has a value. Set the overwrite_keys flag or drop/rename the field first"))
            }
            value => event.put(target, value).map_err(|error| format!("could not put value: {target}: {error}")),
        }
    }
}

impl Shared for DecodeXml {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = self.decode(event).map_err(|error| format!("failed in decode_xml on the {:?} field: {error}", self.field));
        kit::keep(event, !self.ignore_failure, "", result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn elements_attributes_and_texts() {
        for (text, expected) in [
            ("<A x=\"1\" y=\"2\">t</A>", Some(json!({"a": {"x": "1", "y": "2", "#text": "t"}}))),
            ("<a><b/><b>x</b></a>", Some(json!({"a": {"b": ["", "x"]}}))),
            ("<a>  </a>", Some(json!({"a": ""}))),
            ("<a><![CDATA[<x>]]></a><!-- c -->", Some(json!({"a": "<x>"}))),
            ("<a>1</a><b>2</b>", Some(json!({"a": "1", "b": "2"}))),
            (
                "<r xmlns:n=\"urn:x\"><n:k n:at=\"v\">t &amp; &#65;</n:k></r>",
                Some(json!({"r": {"n": "urn:x", "k": {"at": "v", "#text": "t & A"}}})),
            ),
            ("<k>t2<m/>tail</k>", Some(json!({"k": {"m": "", "#text": "tail"}}))),
            ("<a><b>unclosed</a>", None),
            ("<a><b>", None),
            ("<x>&undefined;</x>", None),
            ("no xml", Some(json!({}))),
        ] {
            assert_eq!(parse(text, true).ok().map(Value::from), expected, "{text}");
        }
        assert!(parse(&"<a>".repeat(1000), true).unwrap_err().starts_with("more than 128 levels"));
    }
}
