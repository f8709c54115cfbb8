//! A place in the configuration: a value, where it was written, and whether anybody asked for it.

use super::{
    error::{Error, Place},
    overrides,
    tree::{self, Raw, Style, Value},
    yaml,
};
use serde::de::DeserializeOwned;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// A place in the configuration. Cheap to clone; clones are the same place.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    /// Dotted, from the root.
    key: String,
    place: Place,
    value: Held,
    asked: AtomicBool,
}

/// [`Value`], made of nodes.
pub(super) enum Held {
    Null,
    Scalar(String, Style),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    Broken(String),
}

/// A setting that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Dotted, from the root.
    pub key: String,
    /// Where it was written.
    place: Place,
}

impl Unknown {
    /// `message`, after file, line and key.
    pub fn message(&self, message: impl fmt::Display) -> String {
        self.place.error(format_args!("{}: {message}", self.key)).0
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message("unknown setting, ignored"))
    }
}

impl Node {
    /// Reads YAML text.
    ///
    /// # Errors
    /// When it is not YAML, or a setting is there twice.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (raw, _) = yaml::read(text, None)?;
        Ok(Self::freeze(tree::nest(raw)?, String::new()))
    }

    pub(super) fn freeze(raw: Raw, key: String) -> Self {
        let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        let value = match raw.value {
            Value::Null => Held::Null,
            Value::Scalar(text, style) => Held::Scalar(text, style),
            Value::Broken(message) => Held::Broken(message),
            Value::List(items) => {
                Held::List(items.into_iter().enumerate().map(|(i, item)| Self::freeze(item, below(&i.to_string()))).collect())
            }
            Value::Map(entries) => Held::Map(
                entries
                    .into_iter()
                    .map(|(name, value)| {
                        let node = Self::freeze(value, below(&name));
                        (name, node)
                    })
                    .collect(),
            ),
        };
        Self(Arc::new(Inner { key, place: raw.place, value, asked: AtomicBool::new(false) }))
    }

    /// Turns this place into what a module wants to know. Keys that no module ever asked for are warned about at the end
    /// ([`Node::unknown`]); a struct asks for all its fields. Nothing (`~`, a missing key) and keys without a value give the defaults.
    ///
    /// # Errors
    /// With file, line, key and what is allowed.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.0.asked.store(true, Relaxed);
        T::deserialize(self).map_err(|e| e.into_error(self))
    }

    /// An error that points here.
    pub fn error(&self, message: impl Into<String>) -> Error {
        let message = message.into();
        match self.key() {
            "" => self.0.place.error(message),
            key => self.0.place.error(format_args!("{key}: {message}")),
        }
    }

    /// What is at a dotted path below; where there is nothing, a node that is null and knows its key. The keys on the way are known
    /// from here on; what is below the path is not.
    pub fn get(&self, path: &str) -> Self {
        let mut at = self.clone();
        for name in path.split('.') {
            if matches!(at.0.value, Held::Broken(_)) {
                // Reading it says why.
                return at;
            }
            let next = match &at.0.value {
                Held::Map(entries) => entries.iter().find(|(k, _)| k == name).map(|(_, node)| node.clone()),
                Held::List(items) => name.parse::<usize>().ok().and_then(|i| items.get(i).cloned()),
                _ => None,
            };
            at = next.unwrap_or_else(|| {
                let key = if at.key().is_empty() { name.to_owned() } else { format!("{}.{name}", at.key()) };
                Self::freeze(Raw::new(Value::Null, &at.0.place), key)
            });
            at.0.asked.store(true, Relaxed);
        }
        at
    }

    /// The keys and values of a map, in the order written; nothing for all else. The keys are known from here on.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        let entries = match &self.0.value {
            Held::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|(name, node)| {
            node.0.asked.store(true, Relaxed);
            (name.as_str(), node)
        })
    }

    /// The items of a list; a single value is a list of one, a variable's or the command line's `a,b` of two.
    pub fn items(&self) -> Vec<Self> {
        match &self.0.value {
            Held::List(items) => items.clone(),
            Held::Null => Vec::new(),
            Held::Scalar(text, Style::Given) => match overrides::list(text, &self.0.place) {
                Some(items) => items.into_iter().enumerate().map(|(i, raw)| Self::freeze(raw, format!("{}.{i}", self.key()))).collect(),
                None => vec![self.clone()],
            },
            _ => vec![self.clone()],
        }
    }

    /// Every value below that is neither map nor list, with its dotted path from here: `{a: {b: 1}}` is `a.b`. Lists are values.
    pub fn leaves(&self) -> Vec<(String, Self)> {
        let mut leaves = Vec::new();
        self.collect_leaves("", &mut leaves);
        leaves
    }

    fn collect_leaves(&self, path: &str, leaves: &mut Vec<(String, Self)>) {
        for (name, node) in self.entries() {
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            match &node.0.value {
                Held::Map(_) => node.collect_leaves(&path, leaves),
                _ => leaves.push((path, node.clone())),
            }
        }
    }

    /// The dotted path from the root, empty at the root.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// File and line: `packetbeat.yml:12`.
    pub fn place(&self) -> String {
        self.0.place.to_string()
    }

    /// Nothing was written here (or `~`).
    pub fn is_null(&self) -> bool {
        matches!(self.0.value, Held::Null)
    }

    /// A map, be it empty.
    pub fn is_map(&self) -> bool {
        matches!(self.0.value, Held::Map(_))
    }

    /// A list, be it empty.
    pub fn is_list(&self) -> bool {
        matches!(self.0.value, Held::List(_))
    }

    /// The text of a scalar as it was written, numbers and booleans too. `None` for an unresolved variable as well: where that must be
    /// an error, [`Node::read`] a `String`.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0.value {
            Held::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Declares all below known: whatever the user writes there is data, or of no interest.
    pub fn accept(&self) {
        self.0.asked.store(true, Relaxed);
        match &self.0.value {
            Held::List(items) => items.iter().for_each(Self::accept),
            Held::Map(entries) => entries.iter().for_each(|(_, node)| node.accept()),
            _ => {}
        }
    }

    /// What nobody asked for, in the order written; of a map nobody asked for only the map.
    pub fn unknown(&self) -> Vec<Unknown> {
        let mut unknown = Vec::new();
        self.collect_unknown(&mut unknown);
        unknown
    }

    fn collect_unknown(&self, unknown: &mut Vec<Unknown>) {
        match &self.0.value {
            Held::Map(entries) => {
                for (_, node) in entries {
                    if node.0.asked.load(Relaxed) {
                        node.collect_unknown(unknown);
                    } else {
                        unknown.push(Unknown { key: node.0.key.clone(), place: node.0.place.clone() });
                    }
                }
            }
            Held::List(items) => items.iter().for_each(|item| item.collect_unknown(unknown)),
            _ => {}
        }
    }

    pub(super) fn held(&self) -> &Held {
        &self.0.value
    }

    /// Somebody asked for this.
    pub(super) fn known(&self) {
        self.0.asked.store(true, Relaxed);
    }

    /// A struct has a field of this name.
    pub(super) fn knows(&self, name: &str) {
        if let Held::Map(entries) = &self.0.value
            && let Some((_, node)) = entries.iter().find(|(k, _)| k == name)
        {
            node.0.asked.store(true, Relaxed);
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::freeze(Raw::empty(), String::new())
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.value {
            Held::Null => f.write_str("~"),
            // May be a password.
            Held::Scalar(..) => f.write_str("…"),
            Held::List(items) => f.debug_list().entries(items).finish(),
            Held::Map(entries) => f.debug_map().entries(entries.iter().map(|(k, v)| (k, v))).finish(),
            Held::Broken(message) => f.write_str(message),
        }
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
