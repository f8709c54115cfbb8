//! `move_fields`: moves the fields of an object to another place.

use super::{Decision, Factory, ProcessorKind, Shared, kit, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::{TIMESTAMP, Tree},
    opening::Opening,
};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "move_fields",
    about: "Moves the fields of an object. `to` is put before the name of each field, so it usually ends with a dot. If a field cannot be \
            moved, all fields stay where they are, and the reason is in `error.message`.",
    example: "from: url\nto: web.\nexclude: [full]",
    options: &[("", MoveFields::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct MoveFields {
        /// The object whose fields are moved. Without this option, the fields of the document are moved.
        from: String = String::new(),
        /// The fields that are moved, as their names inside `from`. Without this option, all of them are moved.
        fields: Vec<String> = Vec::new(),
        /// Fields that are not moved, named without `from`.
        exclude: Vec<String> = Vec::new(),
        /// The text before the new name of each field.
        to: String,
        /// A missing field is not an error.
        ignore_missing: bool = false,
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(MoveFields::read(opening.node)?))
}

impl MoveFields {
    /// The names inside `from` of the fields to move.
    fn names(&self, event: &Tree) -> Result<Vec<String>, String> {
        let mut names = if self.fields.is_empty() {
            let object = match self.from.as_str() {
                "" => &event.fields,
                from => match event.fetch(from).map(|value| value.as_object()) {
                    Ok(Some(object)) => object,
                    Ok(None) => return Err(format!("move field {from} failed: it is not an object")),
                    Err(error) if error.is_missing() && self.ignore_missing => return Ok(Vec::new()),
                    Err(error) => return Err(kit::not_fetched(from, error)),
                },
            };
            object.keys().filter(|key| *key != TIMESTAMP && *key != "@metadata").cloned().collect()
        } else {
            self.fields.clone()
        };
        names.retain(|name| !self.exclude.contains(name));
        Ok(names)
    }

    fn move_all(&self, event: &mut Tree) -> Result<(), String> {
        let prefix = if self.from.is_empty() { String::new() } else { format!("{}.", self.from) };
        let mut moves = Vec::new();
        for name in self.names(event)? {
            moves.push((format!("{prefix}{name}"), format!("{}{name}", self.to)));
        }
        kit::edit_each(
            event,
            &moves,
            true,
            |(from, to)| [from, to],
            |event, (from, to)| {
                if let Err(error) = event.fetch(from) {
                    let ignored = self.ignore_missing && error.is_missing();
                    return if ignored { Ok(()) } else { Err(kit::not_fetched(from, error)) };
                }
                let Some(value) = event.remove(from) else { return Err(kit::not_fetched(from, "the field cannot be moved")) };
                let Err(error) = event.put(to, value.clone()) else { return Ok(()) };
                // This cannot fail, because the value was just removed from this field.
                let _ = event.put(from, value);
                Err(format!("could not put value: {to}: {error}"))
            },
        )
    }
}

impl Shared for MoveFields {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = self.move_all(event);
        kit::keep(event, true, "failed to move fields in move_fields processor: ", result)
    }
}
