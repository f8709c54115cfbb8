//! Processors edit events on their way out: what they are, and how the configuration's list of them is read. One file each;
//! [`chain`] makes of a list what is done to the events of one publisher.

mod add_cloud_metadata;
mod add_docker_metadata;
mod add_fields;
mod add_host_metadata;
mod add_tags;
pub mod chain;
pub mod condition;
mod detect_mime_type;
mod drop_event;
mod drop_fields;
mod facts;
mod include_fields;
mod rename;

pub(crate) use add_fields::under;
pub use chain::Chain;
pub use facts::Facts;

use crate::{
    enrich::World,
    event::{
        constants::Constants,
        tree::{Tree, expand_dots},
    },
};
use condition::Condition;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use std::{fmt, sync::Arc, time::Duration};

/// Something that is done to events.
pub trait Processor: fmt::Debug + Send + Sync {
    /// Does it, at start, to what all events of a publisher have in common, where that says it all.
    fn fold(&self, _constants: &mut Constants, _facts: &Facts, _world: &World) -> Fold {
        Fold::PerEvent
    }

    /// Does it to one event.
    fn run(&self, event: &mut Tree, world: &World) -> Verdict;

    /// How often what it knows of the machine is to be asked anew.
    fn refresh_every(&self) -> Option<Duration> {
        None
    }
}

/// What came of [`Processor::fold`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// The constants tell all of it, or there is nothing to do for these events.
    Done,
    /// Each event must be looked at.
    PerEvent,
    /// None of these events is to be published.
    DropsAll,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Keep,
    /// It is not published.
    Drop,
}

/// One entry of a list of processors, as configured.
#[derive(Clone, Debug)]
pub enum Step {
    /// A processor, perhaps with a condition.
    Run {
        /// `when`
        when: Option<Condition>,
        /// The processor.
        processor: Arc<dyn Processor>,
    },
    /// `if`, `then`, `else`
    Branch {
        /// `if`
        condition: Condition,
        /// `then`
        then: Vec<Step>,
        /// `else`
        otherwise: Vec<Step>,
    },
}

type Open = fn(Value) -> Result<Arc<dyn Processor>, String>;

/// Every processor there is.
const PROCESSORS: &[(&str, Open)] = &[
    ("add_cloud_metadata", add_cloud_metadata::open),
    ("add_docker_metadata", add_docker_metadata::open),
    ("add_fields", add_fields::open),
    ("add_host_metadata", add_host_metadata::open),
    ("add_tags", add_tags::open),
    ("detect_mime_type", detect_mime_type::open),
    ("drop_event", drop_event::open),
    ("drop_fields", drop_fields::open),
    ("include_fields", include_fields::open),
    ("rename", rename::open),
];

/// Reads a list of processors; nothing at all is an empty list.
///
/// # Errors
/// Which entry is wrong, and what is allowed.
pub fn parse(list: Value) -> Result<Vec<Step>, String> {
    steps(expand_dots(list)).map_err(|message| format!("processors: {message}"))
}

fn steps(list: Value) -> Result<Vec<Step>, String> {
    let list = match list {
        Value::Array(list) => list,
        Value::Null => return Ok(Vec::new()),
        single => vec![single],
    };
    let number = |(i, entry)| step(entry).map_err(|message| format!("processor {}: {message}", i + 1));
    list.into_iter().enumerate().map(number).collect()
}

fn step(entry: Value) -> Result<Step, String> {
    let Value::Object(mut entry) = entry else { return Err("each entry is a map with the processor's name as its key".to_owned()) };
    if let Some(condition) = entry.remove("if") {
        let condition = Condition::parse(&condition).map_err(|message| format!("if: {message}"))?;
        let then = steps(entry.remove("then").ok_or("an `if` needs a `then`")?).map_err(|message| format!("then: {message}"))?;
        let otherwise = steps(entry.remove("else").unwrap_or_default()).map_err(|message| format!("else: {message}"))?;
        if let Some(key) = entry.keys().next() {
            return Err(format!("`{key}` beside `if`: there are `then` and `else`"));
        }
        return Ok(Step::Branch { condition, then, otherwise });
    }
    let mut entries = entry.into_iter();
    let (Some((name, options)), None) = (entries.next(), entries.next()) else {
        return Err("an entry has one key, the processor's name; begin each processor with `- `".to_owned());
    };
    let Some((_, open)) = PROCESSORS.iter().find(|(known, _)| *known == name) else {
        let names: Vec<&str> = PROCESSORS.iter().map(|(name, _)| *name).collect();
        return Err(format!("`{name}` is not supported; take it out, or use one of {}", names.join(", ")));
    };
    let mut options = match options {
        Value::Object(options) => options,
        Value::Null => serde_json::Map::new(),
        other => return Err(format!("the options of `{name}` are a map, not `{other}`")),
    };
    let when = options.remove("when").map(|when| Condition::parse(&when)).transpose().map_err(|m| format!("{name}.when: {m}"))?;
    let processor = open(options.into()).map_err(|message| format!("{name}: {message}"))?;
    Ok(Step::Run { when, processor })
}

/// The shortest time after which one of them wants the machine looked at anew.
pub fn refresh_every(steps: &[Step]) -> Option<Duration> {
    let each = steps.iter().flat_map(|step| match step {
        Step::Run { processor, .. } => [processor.refresh_every(), None],
        Step::Branch { then, otherwise, .. } => [refresh_every(then), refresh_every(otherwise)],
    });
    each.flatten().min()
}

/// Reads a processor's options.
fn read<T: DeserializeOwned>(options: Value) -> Result<T, String> {
    serde_json::from_value(options).map_err(|error| error.to_string())
}

/// A list, for which a single value may stand.
pub(crate) fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        Many(Vec<T>),
        One(T),
        None(()),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::Many(many) => many,
        OneOrMany::One(one) => vec![one],
        OneOrMany::None(()) => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Node;

    #[test]
    fn errors_say_where_and_what_is_allowed() {
        for (yaml, message) in [
            ("- drop_field: {fields: [a]}", "processor 1: `drop_field` is not supported; take it out, or use one of add_cloud_metadata"),
            ("- drop_event:\n- drop_fields: {field: a}", "processor 2: drop_fields: unknown field `field`, expected"),
            ("- if.contains.tags: x\n  then:\n  - foo: {}", "processor 1: then: processor 1: `foo` is not supported"),
            ("- if.contains.tags: x", "processor 1: an `if` needs a `then`"),
            ("- drop_event.when.equal.a: 1", "processor 1: drop_event.when: there is no condition `equal`"),
            ("- {drop_event: ~, rename: ~}", "processor 1: an entry has one key"),
        ] {
            let error = parse(Node::parse(yaml).unwrap().read().unwrap()).unwrap_err();
            assert!(error.to_string().contains(message), "{yaml}\n{error}");
        }
    }
}
