//! The destination of an event: the fields of `@metadata` that say where and how an output stores it.

use std::{borrow::Cow, sync::Arc};

/// Where and how an event is stored. `None` means the default of the output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// Index, data stream, topic or list: `@metadata.index`, or else `@metadata.raw_index`.
    pub target: Option<Arc<str>>,
    /// The ingest pipeline, `@metadata.pipeline`.
    pub pipeline: Option<Arc<str>>,
    /// Identifier and operation, which few events have.
    pub document: Option<Box<Document>>,
}

/// The document that an event becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The id of the document, `@metadata._id`.
    pub id: Option<String>,
    /// The operation of the output, `@metadata.op_type`.
    pub operation: Option<String>,
}

impl Destination {
    /// Returns the destination of an event with these fields. Texts that are equal to those of `self` are shared with `self`.
    pub(super) fn of<'a>(&self, field: impl Fn(&str) -> Option<Cow<'a, str>>) -> Self {
        let text = |name: &str| field(name).filter(|text| !text.is_empty());
        let shared = |text: Option<Cow<'_, str>>, known: &Option<Arc<str>>| match (text, known) {
            (Some(text), Some(known)) if *text == **known => Some(known.clone()),
            (text, _) => text.map(Arc::from),
        };
        let (id, operation) = (text("@metadata._id"), text("@metadata.op_type"));
        let has_document = id.is_some() || operation.is_some();
        let document = has_document.then(|| Box::new(Document { id: id.map(Cow::into_owned), operation: operation.map(Cow::into_owned) }));
        Self {
            target: shared(text("@metadata.index").or_else(|| text("@metadata.raw_index")), &self.target),
            pipeline: shared(text("@metadata.pipeline"), &self.pipeline),
            document,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_wins_over_raw_index_and_empty_texts_count_as_missing() {
        let of = |fields: &'static [(&str, &str)]| {
            let destination = Destination::default();
            destination.of(|name| fields.iter().find(|(key, _)| *key == name).map(|(_, value)| Cow::Borrowed(*value)))
        };
        let both = of(&[("@metadata.index", "a"), ("@metadata.raw_index", "b"), ("@metadata.pipeline", "")]);
        assert_eq!(both, Destination { target: Some("a".into()), ..Destination::default() });
        assert_eq!(of(&[("@metadata.index", ""), ("@metadata.raw_index", "b")]).target.as_deref(), Some("b"));
        let document = Document { id: Some("7".into()), operation: Some("index".into()) };
        assert_eq!(of(&[("@metadata._id", "7"), ("@metadata.op_type", "index")]).document, Some(Box::new(document)));
        let known = of(&[("@metadata.index", "a")]);
        let again = known.of(|name| (name == "@metadata.index").then_some(Cow::Borrowed("a")));
        assert!(Arc::ptr_eq(known.target.as_ref().unwrap(), again.target.as_ref().unwrap()), "not allocated again");
    }
}
