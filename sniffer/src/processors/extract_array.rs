//! `extract_array`: writes items of a list to fields.

use super::{Decision, Factory, ProcessorKind, Shared, kit, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::{Object, Tree},
    opening::Opening,
};
use serde_json::Value;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "extract_array",
    about: "Writes items of a list to fields. The items are counted from 0. An error (a missing item, a field that exists) undoes all changes \
            of the processor, unless `fail_on_error` is false; it is only in the debug log.",
    example: "field: dns.resolved_ip\nmappings: {first.ip: 0, second.ip: 1}\nignore_missing: true\nfail_on_error: false",
    options: &[("", ExtractArray::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct ExtractArray {
        /// The field with the list.
        field: String,
        /// The fields to write, each with the number of the item.
        mappings: Object,
        /// Replaces fields that exist.
        overwrite_keys: bool = false,
        /// A missing list is not an error.
        ignore_missing: bool = false,
        /// Leaves out empty texts, lists and objects, and nulls.
        omit_empty: bool = false,
        /// If true, the first error undoes the changes. If false, the processor goes on with the next item.
        fail_on_error: bool = true,
    }
}

#[derive(Debug)]
struct Configured {
    options: ExtractArray,
    /// Names of fields, each with the number of the item that the field gets.
    mappings: Vec<(String, usize)>,
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = ExtractArray::read(opening.node)?;
    let mut mappings = Vec::new();
    flatten("", &options.mappings, &mut mappings).map_err(|error| opening.node.get("mappings").error(error))?;
    if mappings.is_empty() {
        return Err(opening.node.error("mappings: at least one field is needed, `mappings: {FIELD: 0}`"));
    }
    Ok(shared(Configured { options, mappings }))
}

fn flatten(prefix: &str, object: &Object, mappings: &mut Vec<(String, usize)>) -> Result<(), String> {
    for (key, value) in object {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(inner) => flatten(&name, inner, mappings)?,
            value => match value.as_u64().and_then(|number| usize::try_from(number).ok()) {
                Some(number) => mappings.push((name, number)),
                None => return Err(format!("{name}: expected the number of an item, counted from 0, got `{}`", kit::print(value))),
            },
        }
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

impl Configured {
    fn extract(&self, event: &mut Tree) -> Result<(), String> {
        let ExtractArray { field, overwrite_keys, ignore_missing, omit_empty, fail_on_error, .. } = &self.options;
        let list = match event.fetch(field) {
            Ok(Value::Array(list)) => list.clone(),
            Ok(_) => return Err(format!("{field} is not a list")),
            Err(error) if error.is_missing() && *ignore_missing => return Ok(()),
            Err(error) => return Err(kit::not_fetched(field, error)),
        };
        kit::edit_each(
            event,
            &self.mappings,
            *fail_on_error,
            |(to, _)| [to, to],
            |event, (to, number)| {
                let item = list.get(*number).ok_or_else(|| format!("{field} has no item {number}"))?;
                if *omit_empty && is_empty(item) {
                    return Ok(());
                }
                if !overwrite_keys && event.has(to) {
                    return Err(format!("target field {to} already exists"));
                }
                event.put(to, item.clone()).map_err(|error| format!("could not put value: {to}: {error}"))
            },
        )
    }
}

impl Shared for Configured {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = self.extract(event);
        kit::keep(event, false, "extract_array: ", result)
    }
}
