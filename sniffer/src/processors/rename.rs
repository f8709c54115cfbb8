//! `rename`: gives fields other names.

use super::{
    Decision, Factory, ProcessorKind, Shared,
    kit::{FromTo, edit_each, keep, not_fetched},
    options::options,
    shared,
};
use crate::{config::Error, enrich::HostData, event::tree::Tree, opening::Opening};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "rename",
    about: "Gives fields other names. A field that exists is never overwritten. An error undoes all changes of the processor and is reported \
            in `error.message`, unless `fail_on_error` is false.",
    example: "fields: [{from: url, to: address}, {from: http.response.status_code, to: code}]\nignore_missing: true",
    options: &[("", Rename::OPTIONS), ("fields.", FromTo::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct Rename {
        /// The fields (`from`) and their new names (`to`).
        fields: Vec<FromTo>,
        /// A missing field is not an error.
        ignore_missing: bool = false,
        /// If true, the first error undoes the changes. If false, the processor goes on with the next field.
        fail_on_error: bool = true,
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(Rename::read(opening.node)?))
}

impl Rename {
    fn rename_field(&self, event: &mut Tree, FromTo { from, to }: &FromTo) -> Result<(), String> {
        if event.has(to) {
            return Err(format!("target field {to} already exists, drop or rename this field first"));
        }
        match event.fetch(from) {
            Ok(_) => {}
            Err(error) if self.ignore_missing && error.is_missing() => return Ok(()),
            Err(error) => return Err(not_fetched(from, error)),
        }
        // The field is removed before the new one is inserted, so that `a` can be renamed to `a.b`.
        let Some(value) = event.remove(from) else { return Err(format!("could not delete key: {from}, key not found")) };
        match event.put(to, value.clone()) {
            Ok(()) => Ok(()),
            Err(error) => {
                let text = super::kit::print(&value);
                // This cannot fail, because the value was just removed from this field.
                let _ = event.put(from, value);
                Err(format!("could not put value: {to}: {text}, {error}"))
            }
        }
    }
}

impl Shared for Rename {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = edit_each(event, &self.fields, self.fail_on_error, FromTo::names, |event, pair| self.rename_field(event, pair));
        keep(event, self.fail_on_error, "failed to rename fields in processor: ", result)
    }
}
