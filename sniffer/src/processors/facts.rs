//! Facts about all events of a publisher that are known at start: which fields they can have, and which fields have
//! constant values.

use crate::event::Field;
use serde_json::Value;

/// The facts about a publisher's events.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The value of `type` and `event.dataset`.
    pub dataset: &'static str,
    /// Every field that events can have before constants and processors add fields. The list is empty if these fields are not known.
    pub fields: Vec<Field>,
}

impl Facts {
    /// Whether no event has the field `name`, or an object of that name, before constants and processors add fields.
    pub fn cannot_have(&self, name: &str) -> bool {
        !self.fields.is_empty() && !self.fields.iter().any(|field| field.concerns(name))
    }

    /// The value of a field if it is the same in every event.
    pub fn constant_value(&self, name: &str) -> Option<Value> {
        match name {
            "type" | "event.dataset" if !self.dataset.is_empty() => Some(self.dataset.into()),
            "event.kind" => Some("event".into()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    #[test]
    fn exact_names_their_objects_and_fields_of_open_objects() {
        let fields = vec![Field::new("http.request.body.content", Kind::Text), Field::new("http.request.headers", Kind::KeywordObject)];
        let facts = Facts { dataset: "http", fields };
        let names = ["http", "http.request", "http.request.body.content", "http.request.headers", "http.request.headers.x.y"];
        assert_eq!(names.map(|name| facts.cannot_have(name)), [false; 5]);
        let names = ["htt", "http.request.body.content.x", "http.request.headersx", "http.response", "dns.id", "tags"];
        assert_eq!(names.map(|name| facts.cannot_have(name)), [true; 6]);
        assert_eq!(facts.constant_value("type"), Some("http".into()));
        assert!(!Facts::default().cannot_have("tags"), "nothing is known");
    }
}
