//! `add_fields`: adds constant fields to every event and overwrites existing ones. They go below `fields`, or below
//! `target`.

use super::{AtStart, Decision, Factory, Facts, Shared, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{
        constants::Constants,
        tree::{Object, Tree, expand_dots, merge},
    },
    opening::Opening,
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    fields: Object,
    #[serde(default)]
    target: Option<String>,
}

#[derive(Debug)]
struct AddFields(Object);

pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let Options { fields, target } = opening.node.read()?;
    Ok(shared(AddFields(nest_under(target.as_deref().unwrap_or("fields"), fields))))
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

impl Shared for AddFields {
    fn apply_at_start(&self, constants: &mut Constants, _: &Facts, _: &HostData) -> AtStart {
        constants.add(&self.0, true);
        AtStart::Done
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        merge(&mut event.0, &self.0);
        Decision::Keep
    }
}
