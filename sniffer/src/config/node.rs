//! [`Node`]: a value of the configuration with its file and line. It records whether any module has read it.

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

/// A value of the configuration. Clones are cheap and share the record of whether it was read.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    /// The dotted key from the root.
    key: String,
    place: Place,
    value: Held,
    asked: AtomicBool,
}

/// A [`Value`] whose children are nodes.
pub(super) enum Held {
    Null,
    Scalar(String, Style),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    Broken(String),
}

/// A setting that no module has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The dotted key from the root.
    pub key: String,
    /// Where it was written.
    place: Place,
}

impl Unknown {
    /// `message` with file, line and key in front.
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
    /// When the text is not YAML, or contains a setting twice.
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

    /// Deserialises the value. A struct marks all its fields as known; keys that no module ever reads are warned about at the end
    /// ([`Node::unknown`]). A missing key, `~` and a key without a value give the default.
    ///
    /// # Errors
    /// With file, line, key and what is allowed.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.0.asked.store(true, Relaxed);
        T::deserialize(self).map_err(|e| e.into_error(self))
    }

    /// An error with the file, line and key of this node in front.
    pub fn error(&self, message: impl Into<String>) -> Error {
        let message = message.into();
        match self.key() {
            "" => self.0.place.error(message),
            key => self.0.place.error(format_args!("{key}: {message}")),
        }
    }

    /// The value at a dotted path below this node; a null node with that key when there is none. Marks the keys on the path as known, but not
    /// those below it.
    pub fn get(&self, path: &str) -> Self {
        let mut at = self.clone();
        for name in path.split('.') {
            if matches!(at.0.value, Held::Broken(_)) {
                // Reading this node reports the unresolved variable.
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

    /// The keys and values of a map in the order written; empty for other values. Marks the keys as known.
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

    /// This map without the entry `name`, for a reader that does not know it. All else, a map without that entry too, stays as it is.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let Held::Map(entries) = &self.0.value else { return self.clone() };
        if !entries.iter().any(|(key, _)| key == name) {
            return self.clone();
        }
        self.0.asked.store(true, Relaxed);
        let rest = entries.iter().filter(|(key, _)| key != name).cloned().collect();
        let (key, place) = (self.0.key.clone(), self.0.place.clone());
        Self(Arc::new(Inner { key, place, value: Held::Map(rest), asked: AtomicBool::new(true) }))
    }

    /// The items of a list. A single value is a list of one; `a,b` from a variable or the command line is a list of two.
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

    /// All values below that are not maps, with their dotted path from here: `{a: {b: 1}}` gives `a.b`. Lists are not descended into.
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

    /// Whether there is no value, or `~`.
    pub fn is_null(&self) -> bool {
        matches!(self.0.value, Held::Null)
    }

    /// Whether it is a map, empty or not.
    pub fn is_map(&self) -> bool {
        matches!(self.0.value, Held::Map(_))
    }

    /// Whether it is a list, empty or not.
    pub fn is_list(&self) -> bool {
        matches!(self.0.value, Held::List(_))
    }

    /// The text of a scalar as it was written, also of numbers and booleans. `None` for other values and for an unresolved variable; where an
    /// unresolved variable must be an error, use [`Node::read`] with a `String`.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0.value {
            Held::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Whether the same was written at both places, apart from comments and formatting. The order of a map's keys counts.
    pub fn has_same_content(&self, other: &Self) -> bool {
        match (&self.0.value, &other.0.value) {
            (Held::Null, Held::Null) => true,
            (Held::Scalar(a, _), Held::Scalar(b, _)) | (Held::Broken(a), Held::Broken(b)) => a == b,
            (Held::List(a), Held::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.has_same_content(b)),
            (Held::Map(a), Held::Map(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1.has_same_content(&b.1)),
            _ => false,
        }
    }

    /// Marks everything below as known, for values that are free-form data or deliberately not read.
    pub fn accept(&self) {
        self.0.asked.store(true, Relaxed);
        match &self.0.value {
            Held::List(items) => items.iter().for_each(Self::accept),
            Held::Map(entries) => entries.iter().for_each(|(_, node)| node.accept()),
            _ => {}
        }
    }

    /// The settings that were never read, in the order written. For an unread map only the map itself is listed, not its keys.
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

    /// Marks this node as known.
    pub(super) fn known(&self) {
        self.0.asked.store(true, Relaxed);
    }

    /// Marks the child with this key as known.
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
            // The value may be a password: do not show it.
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
