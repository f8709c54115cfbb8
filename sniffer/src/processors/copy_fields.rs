//! `copy_fields`: copies fields to other names.

use super::{
    Decision, Factory, ProcessorKind, Shared,
    kit::{FromTo, edit_each, keep, not_fetched, print},
    options::options,
    shared,
};
use crate::{config::Error, enrich::HostData, event::tree::Tree, opening::Opening};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "copy_fields",
    about: "Copies fields to other names. A field that exists is never overwritten. An error undoes all changes of the processor and is \
            reported in `error.message`, unless `fail_on_error` is false.",
    example: "fields: [{from: url.full, to: event.original}]\nfail_on_error: false",
    options: &[("", CopyFields::OPTIONS), ("fields.", FromTo::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct CopyFields {
        /// The fields (`from`) and the names of their copies (`to`).
        fields: Vec<FromTo>,
        /// A missing field is not an error.
        ignore_missing: bool = false,
        /// If true, the first error undoes the changes. If false, the processor goes on with the next field.
        fail_on_error: bool = true,
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(CopyFields::read(opening.node)?))
}

impl CopyFields {
    fn copy(&self, event: &mut Tree, FromTo { from, to }: &FromTo) -> Result<(), String> {
        if event.has(to) {
            return Err(format!("target field {to} already exists, drop or rename this field first"));
        }
        let value = match event.fetch(from) {
            Ok(value) => value.clone(),
            Err(error) if self.ignore_missing && error.is_missing() => return Ok(()),
            Err(error) => return Err(not_fetched(from, error)),
        };
        let text = print(&value);
        event.put(to, value).map_err(|error| format!("could not copy value to {to}: {text}, {error}"))
    }
}

impl Shared for CopyFields {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = edit_each(event, &self.fields, self.fail_on_error, FromTo::names, |event, pair| self.copy(event, pair));
        keep(event, self.fail_on_error, "failed to copy fields in copy_fields processor: ", result)
    }
}
