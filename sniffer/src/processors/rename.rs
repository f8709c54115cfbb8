//! `rename`: renames fields without overwriting existing ones. With `fail_on_error` (the default), an error undoes all
//! renames of the processor and is reported in `error.message`.

use super::{Decision, Factory, Shared, shared};
use crate::{config::Error, enrich::HostData, event::tree::Tree, opening::Opening};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    fields: Vec<FromTo>,
    #[serde(default)]
    ignore_missing: bool,
    #[serde(default = "yes")]
    fail_on_error: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FromTo {
    from: String,
    to: String,
}

fn yes() -> bool {
    true
}

pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(opening.node.read::<Rename>()?))
}

impl Rename {
    fn rename_field(&self, event: &mut Tree, FromTo { from, to }: &FromTo) -> Result<(), String> {
        if event.has(to) {
            return Err(format!("target field {to} already exists, drop or rename this field first"));
        }
        // Remove before inserting, so that `a` can be renamed to `a.b`.
        match event.remove(from) {
            Some(value) => event.put(to, value).map_err(|error| format!("could not put value: {to}: {error}")),
            None if self.ignore_missing => Ok(()),
            None => Err(format!("could not fetch value for key: {from}, Error: key not found")),
        }
    }
}

impl Shared for Rename {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let before = self.fail_on_error.then(|| event.clone());
        for pair in &self.fields {
            let Err(error) = self.rename_field(event, pair) else { continue };
            log::debug!("rename: {error}");
            if let Some(before) = before {
                *event = before;
                // `put` fails if `error` is not an object; the error is then only in the log.
                let _ = event.put("error.message", format!("Failed to rename fields in processor: {error}").into());
                return Decision::Keep;
            }
        }
        Decision::Keep
    }
}
