//! `add_fields`: the same fields for every event, over those it has. Under `fields` unless `target` says otherwise.

use super::{Facts, Fold, Processor, Verdict, read};
use crate::{
    enrich::World,
    event::{
        constants::Constants,
        tree::{Object, Tree, expand_dots, merge},
    },
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    fields: Object,
    #[serde(default)]
    target: Option<String>,
}

#[derive(Debug)]
struct AddFields(Object);

pub(super) fn open(options: Value) -> Result<Arc<dyn Processor>, String> {
    let Options { fields, target } = read(options)?;
    Ok(Arc::new(AddFields(under(target.as_deref().unwrap_or("fields"), fields))))
}

/// `fields` below the dotted name `target`, or at the top when it is empty.
pub(crate) fn under(target: &str, fields: Object) -> Object {
    if target.is_empty() {
        return fields;
    }
    match expand_dots(Object::from_iter([(target.to_owned(), fields.into())]).into()) {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

impl Processor for AddFields {
    fn fold(&self, constants: &mut Constants, _: &Facts, _: &World) -> Fold {
        constants.add(&self.0, true);
        Fold::Done
    }

    fn run(&self, event: &mut Tree, _: &World) -> Verdict {
        merge(&mut event.0, &self.0);
        Verdict::Keep
    }
}
