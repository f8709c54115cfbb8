//! `append`: appends values to a list.

use super::{
    Decision, Factory, ProcessorKind, Shared,
    kit::{keep, not_fetched},
    options::options,
    shared,
};
use crate::{config::Error, enrich::HostData, event::tree::Tree, opening::Opening};
use serde_json::Value;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "append",
    about: "Appends the values of fields, and constant values, to a list. A target that is not a list becomes the first item of the list. If \
            a field cannot be read, the list stays as it is, and the reason is in `error.message` (not if `fail_on_error` is false).",
    example: "target_field: related.hosts\nfields: [destination.domain]\nvalues: [example.com]\nallow_duplicate: false\nignore_missing: true",
    options: &[("", Append::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct Append {
        /// The list that is appended to. It is created if it is missing.
        target_field: String,
        /// Fields whose values are appended. The items of a list are appended one by one.
        fields: Vec<String> = Vec::new(),
        /// Constant values that are appended.
        values: Vec<Value> = Vec::new(),
        /// Leaves out empty texts and nulls.
        ignore_empty_values: bool = false,
        /// A missing field is not an error.
        ignore_missing: bool = false,
        /// If false, each value occurs once in the list.
        allow_duplicate: bool = true,
        /// An error is reported in `error.message`.
        fail_on_error: bool = true,
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(Append::read(opening.node)?))
}

impl Append {
    fn append(&self, event: &mut Tree) -> Result<(), String> {
        let mut list = Vec::new();
        let mut add = |value: &Value| match value {
            Value::Array(items) => list.extend_from_slice(items),
            value => list.push(value.clone()),
        };
        let target = &self.target_field;
        event.get(target).into_iter().for_each(&mut add);
        for field in &self.fields {
            match event.fetch(field) {
                Ok(value) => add(value),
                Err(error) if self.ignore_missing && error.is_missing() => {}
                Err(error) => return Err(not_fetched(field, error)),
            }
        }
        list.extend_from_slice(&self.values);
        if self.ignore_empty_values {
            list.retain(|value| !matches!(value, Value::Null) && value != "");
        }
        if !self.allow_duplicate {
            list = distinct(list);
        }
        event.put(target, list.into()).map_err(|error| format!("unable to delete the target field {target} due to error: {error}"))
    }
}

/// The values without repetitions, in the same order.
fn distinct(list: Vec<Value>) -> Vec<Value> {
    let mut seen = hashbrown::HashSet::new();
    list.into_iter().filter(|value| seen.insert(value.to_string())).collect()
}

impl Shared for Append {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = self.append(event);
        keep(event, self.fail_on_error, "failed to append fields in append processor: ", result)
    }
}
