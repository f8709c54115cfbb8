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
    config::{Error, Node},
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
/// Which entry is wrong, where it stands, and what is allowed.
pub fn parse(list: &Node) -> Result<Vec<Step>, Error> {
    list.items().iter().map(step).collect()
}

fn step(entry: &Node) -> Result<Step, Error> {
    let keys: Vec<(&str, &Node)> = entry.entries().collect();
    if keys.iter().any(|(key, _)| *key == "if") {
        if let Some((key, node)) = keys.iter().find(|(key, _)| !["if", "then", "else"].contains(key)) {
            return Err(node.error(format!("`{key}` beside `if`: there are `then` and `else`")));
        }
        let then = entry.get("then");
        if then.is_null() {
            return Err(entry.error("an `if` needs a `then`"));
        }
        return Ok(Step::Branch { condition: condition(&entry.get("if"))?, then: parse(&then)?, otherwise: parse(&entry.get("else"))? });
    }
    let [(name, node)] = keys.as_slice() else {
        return Err(entry.error("an entry is a map with one key, the processor's name; begin each processor with `- `"));
    };
    let Some((_, open)) = PROCESSORS.iter().find(|(known, _)| known == name) else {
        let names: Vec<&str> = PROCESSORS.iter().map(|(name, _)| *name).collect();
        return Err(node.error(format!("this processor is not supported; take it out, or use one of {}", names.join(", "))));
    };
    let when = Some(node.get("when")).filter(|when| !when.is_null());
    let when = when.map(|when| condition(&when)).transpose()?;
    let mut options = match value(node)? {
        Value::Object(options) => options,
        Value::Null => serde_json::Map::new(),
        other => return Err(node.error(format!("the options of a processor are a map, not `{other}`"))),
    };
    options.remove("when");
    let processor = open(options.into()).map_err(|message| node.error(message))?;
    Ok(Step::Run { when, processor })
}

fn condition(node: &Node) -> Result<Condition, Error> {
    Condition::parse(&value(node)?).map_err(|message| node.error(message))
}

/// What stands there, all of it known and meant.
fn value(node: &Node) -> Result<Value, Error> {
    node.accept();
    if node.is_null() { Ok(Value::Null) } else { node.read().map(expand_dots) }
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

    #[test]
    fn errors_say_where_and_what_is_allowed() {
        for (yaml, message) in [
            ("- drop_field: {fields: [a]}", "0.drop_field: this processor is not supported; take it out, or use one of add_cloud_metadata"),
            ("- drop_event:\n- drop_fields: {field: a}", "1.drop_fields: unknown field `field`, expected"),
            ("- if.contains.tags: x\n  then:\n  - foo: {}", "0.then.0.foo: this processor is not supported"),
            ("- if.contains.tags: x", "0: an `if` needs a `then`"),
            ("- {if.contains.tags: x, then: [], otherwise: []}", "0.otherwise: `otherwise` beside `if`"),
            ("- drop_event.when.equal.a: 1", "0.drop_event.when: there is no condition `equal`"),
            ("- {drop_event: ~, rename: ~}", "0: an entry is a map with one key"),
            ("- drop_event", "0: an entry is a map with one key"),
        ] {
            let error = parse(&Node::parse(yaml).unwrap()).unwrap_err();
            assert!(error.to_string().contains(message), "{yaml}\n{error}");
        }
    }
}
