//! `lowercase` and `uppercase`: change the case of field names and of texts.

use super::{Decision, Factory, ProcessorKind, Shared, kit, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::{Object, TIMESTAMP, Tree},
    opening::Opening,
};
use serde_json::Value;

pub(super) const LOWERCASE: ProcessorKind = ProcessorKind {
    name: "lowercase",
    about: "Writes the names of fields and the texts of fields in lower case. An error undoes all changes of the processor and is reported in \
            `error.message`, unless `fail_on_error` is false.",
    example: "fields: [Outer.Inner]\nvalues: [url.domain]\nignore_missing: true",
    options: &[("", ChangeCase::OPTIONS)],
    open: |opening| open(opening, str::to_lowercase),
};

pub(super) const UPPERCASE: ProcessorKind = ProcessorKind {
    name: "uppercase",
    about: "Writes the names of fields and the texts of fields in upper case. An error undoes all changes of the processor and is reported in \
            `error.message`, unless `fail_on_error` is false.",
    example: "fields: []\nvalues: [network.transport]\nignore_missing: true",
    options: &[("", ChangeCase::OPTIONS)],
    open: |opening| open(opening, str::to_uppercase),
};

options! {
    #[derive(Debug)]
    struct ChangeCase {
        /// Fields whose names are changed: every part of the dotted name.
        fields: Vec<String>,
        /// Fields whose texts are changed.
        values: Vec<String> = Vec::new(),
        /// A missing field is not an error.
        ignore_missing: bool = false,
        /// If true, the first error undoes the changes. If false, the processor goes on with the next field.
        fail_on_error: bool = true,
        /// Accepted without effect: the whole name is always changed.
        alter_full_field: bool = false,
    }
}

#[derive(Debug)]
struct Configured {
    options: ChangeCase,
    change: fn(&str) -> String,
}

fn open(opening: &Opening<'_>, change: fn(&str) -> String) -> Result<Box<dyn Factory>, Error> {
    let options = ChangeCase::read(opening.node)?;
    // Packetbeat accepts this option without effect, too.
    let _ = options.alter_full_field;
    Ok(shared(Configured { options, change }))
}

/// The keys of an object that are equal to `key` or differ from it only in case.
fn find(object: &Object, key: &str) -> Vec<String> {
    let lower = key.to_lowercase();
    object.keys().filter(|other| other.to_lowercase() == lower).cloned().collect()
}

/// The keys at the first level that can contain the field `name` in any case.
fn first_level(object: &Object, name: &str) -> Vec<String> {
    let lower = name.to_lowercase();
    let contains = |key: &String| lower.strip_prefix(&key.to_lowercase()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    object.keys().filter(|key| contains(key)).cloned().collect()
}

impl Configured {
    /// Changes each key on the path `name` in an object. Returns false if there is no such field.
    fn change_path(&self, object: &mut Object, name: &str, whole: &str) -> Result<bool, String> {
        // As in all other look-ups of fields, a key that contains dots takes precedence over nested keys.
        let matches = find(object, name);
        let (key, matches, rest) = match name.split_once('.') {
            Some((first, rest)) if matches.is_empty() => (first, find(object, first), Some(rest)),
            _ => (name, matches, None),
        };
        let key = match matches.as_slice() {
            [] => return Ok(false),
            [key] => key,
            _ => return Err(format!("multiple keys match \"{key}\" on the same level of the path \"{whole}\": key collision")),
        };
        if let Some(rest) = rest {
            let Some(Value::Object(inner)) = object.get_mut(key) else {
                return Err(format!("cannot continue path \"{whole}\", next value \"{key}\" is not a map: value is not a map"));
            };
            if !self.change_path(inner, rest, whole)? {
                return Ok(false);
            }
        }
        if let Some(value) = object.remove(key) {
            object.insert((self.change)(key), value);
        }
        Ok(true)
    }

    fn change_name(&self, event: &mut Tree, name: &str) -> Result<(), String> {
        // The name of the event's time cannot be changed.
        if name == TIMESTAMP || self.change_path(&mut event.fields, name, name)? || self.options.ignore_missing {
            return Ok(());
        }
        Err(kit::not_fetched(name, "key not found"))
    }

    fn change_text(&self, event: &mut Tree, name: &str) -> Result<(), String> {
        let text = match event.fetch(name) {
            Ok(Value::String(text)) => (self.change)(text),
            Ok(_) => return Err(format!("value of key \"{name}\" is not a string")),
            Err(error) if error.is_missing() && self.options.ignore_missing => return Ok(()),
            Err(error) => return Err(kit::not_fetched(name, error)),
        };
        event.put(name, text.into()).map_err(|error| format!("could not put value: {name}: {error}"))
    }

    fn change_all(&self, event: &mut Tree) -> Result<(), String> {
        let ChangeCase { fields, values, fail_on_error, .. } = &self.options;
        let changed: Vec<String> = fields.iter().map(|name| (self.change)(name)).collect();
        let present: Vec<String> = fields.iter().flat_map(|name| first_level(&event.fields, name)).collect();
        let names = fields.iter().chain(&changed).chain(&present).chain(values).map(String::as_str);
        let saved = fail_on_error.then(|| event.save(names));
        let named = fields.iter().map(|name| (name, true)).chain(values.iter().map(|name| (name, false)));
        for (name, is_name) in named {
            let result = if is_name { self.change_name(event, name) } else { self.change_text(event, name) };
            match (result, saved.is_some()) {
                (Err(error), true) => {
                    saved.into_iter().for_each(|saved| event.restore(saved));
                    return Err(error);
                }
                (Err(error), false) => log::debug!("{error}"),
                (Ok(()), _) => {}
            }
        }
        Ok(())
    }
}

impl Shared for Configured {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = self.change_all(event);
        kit::keep(event, self.options.fail_on_error, "", result)
    }
}
