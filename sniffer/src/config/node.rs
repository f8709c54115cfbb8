//! [`Node`]: a value of the configuration with its file and line. A node records whether any module has read its value.

use super::{
    error::{Error, Place},
    overrides,
    tree::{self, Raw, Style, Value},
    yaml,
};
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Maximum number of settings of one section that may be set to an empty text where something else is expected.
const MAX_EMPTY: usize = 200;

/// A value of the configuration. Clones are cheap and share the record of whether it was read.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    /// The dotted key from the root.
    key: String,
    place: Place,
    value: Held,
    asked: AtomicBool,
    /// The keys below this node for which modules have asked, whether they exist or not. They are the suggestions for a key that no
    /// module reads.
    names: Mutex<BTreeSet<Box<str>>>,
    /// Whether the value is an empty text while the setting expects another type. Such a setting counts as not set.
    unset: AtomicBool,
}

/// A [`Value`] whose children are nodes.
pub(super) enum Held {
    Null,
    Scalar(String, Style),
    /// A text from a variable or the command line that can also be parsed as a list or a map (`Node`). The module that reads the setting
    /// decides which of the two it is.
    Either(String, Node),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    Broken(String),
}

/// A setting that no module has read.
#[derive(Clone, Debug)]
pub struct Unknown {
    /// The dotted key from the root.
    pub key: String,
    /// The last part of the key.
    pub(super) name: String,
    /// The place in the configuration where the setting was written.
    place: Place,
    /// The map that contains the setting.
    pub(super) parent: Node,
}

impl PartialEq for Unknown {
    fn eq(&self, other: &Self) -> bool {
        (&self.key, &self.place) == (&other.key, &other.place)
    }
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
    /// When the text is not YAML.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (raw, mut warnings) = yaml::read(text, None)?;
        Ok(Self::freeze(tree::nest(raw, &mut warnings)?, String::new()))
    }

    pub(super) fn freeze(raw: Raw, key: String) -> Self {
        let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        let value = match raw.value {
            Value::Null => Held::Null,
            Value::Scalar(text, style @ (Style::Given | Style::Variable)) => {
                match overrides::structure(&text, style == Style::Given, &raw.place) {
                    Some(structure) => Held::Either(text, Self::freeze(structure, key.clone())),
                    None => Held::Scalar(text, style),
                }
            }
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
        Self(Arc::new(Inner {
            key,
            place: raw.place,
            value,
            asked: AtomicBool::new(false),
            names: Mutex::default(),
            unset: AtomicBool::new(false),
        }))
    }

    /// Deserialises the value. A struct marks all its fields as known; keys that no module ever reads cause a warning at the end
    /// ([`Node::unknown`]). A missing key, `~` and a key without a value give the default. An empty text gives the default too if another
    /// type is expected (`timeout: "${TIMEOUT:}"`).
    ///
    /// # Errors
    /// When a value is invalid. The error names file, line, key and the allowed values.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.0.asked.store(true, Relaxed);
        // Only the type that is being read knows whether an empty text is a valid value. If the type refuses an empty text, the setting is
        // marked as not set, and the whole value is read again.
        for _ in 0..MAX_EMPTY {
            match T::deserialize(self) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    let empty = error.node().filter(|node| node.is_empty_text()).cloned();
                    match empty {
                        Some(node) if !node.0.unset.swap(true, Relaxed) => {}
                        _ => return Err(error.into_error(self)),
                    }
                }
            }
        }
        Err(self.error(format!("more than {MAX_EMPTY} settings are set to an empty text")))
    }

    /// Returns an error with the file, line and key of this node in front. If the message begins with the key of a setting below this node
    /// (`ssl.key: …`), the error has the file, line and key of that setting.
    pub fn error(&self, message: impl Into<String>) -> Error {
        let message = message.into();
        if let Some((path, rest)) = message.split_once(": ")
            && let Some(below) = self.find(path)
        {
            return below.error(rest);
        }
        match self.key() {
            "" => self.0.place.error(message),
            key => self.0.place.error(format_args!("{key}: {message}")),
        }
    }

    /// Returns the value at a dotted path below this node. If there is none, returns a null node with that path as its key. The method
    /// marks the keys on the path as known, but not the keys below the path.
    pub fn get(&self, path: &str) -> Self {
        let mut at = self.clone();
        for name in path.split('.') {
            if matches!(at.0.value, Held::Broken(_)) {
                // Reading this node reports the unresolved variable.
                return at;
            }
            at.remember(name);
            let next = match at.structure() {
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

    /// Returns the node at a dotted path, if there is one. The function marks no key as known.
    fn find(&self, path: &str) -> Option<Self> {
        path.split('.').try_fold(self.clone(), |at, name| match at.structure() {
            Held::Map(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, node)| node.clone()),
            _ => None,
        })
    }

    /// Whether a map has the key, with or without a value.
    pub fn contains(&self, name: &str) -> bool {
        matches!(self.structure(), Held::Map(entries) if entries.iter().any(|(key, _)| key == name))
    }

    /// The keys and values of a map in the order written; empty for other values. The method marks the keys as known.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        let entries = match self.structure() {
            Held::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|(name, node)| {
            node.0.asked.store(true, Relaxed);
            (name.as_str(), node)
        })
    }

    /// The keys and values of a map that are set, without marking them as known.
    pub fn keys(&self) -> Vec<(String, Self)> {
        match self.structure() {
            Held::Map(entries) => entries.iter().filter(|(_, node)| !node.is_unset()).cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// This map without the entry `name`, for a struct that refuses unknown keys. Any other value is returned unchanged.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let Held::Map(entries) = self.structure() else { return self.clone() };
        if !entries.iter().any(|(key, _)| key == name) {
            return self.clone();
        }
        self.0.asked.store(true, Relaxed);
        self.with_entries(entries.iter().filter(|(key, _)| key != name).cloned().collect())
    }

    /// This map with the entries of `base` whose keys it does not have. `base` if this node is not set; a value that is no map is returned
    /// unchanged.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        if self.is_unset() {
            return base.clone();
        }
        let (Held::Map(own), Held::Map(of_base)) = (self.structure(), base.structure()) else { return self.clone() };
        self.0.asked.store(true, Relaxed);
        let missing = of_base.iter().filter(|(key, _)| !own.iter().any(|(other, node)| other == key && !node.is_unset()));
        let set = own.iter().filter(|(_, node)| !node.is_unset());
        self.with_entries(set.chain(missing).cloned().collect())
    }

    /// A map at the place of this node.
    fn with_entries(&self, entries: Vec<(String, Self)>) -> Self {
        self.with_value(Held::Map(entries))
    }

    /// A node at the place of this node, with another value.
    pub(super) fn with_value(&self, value: Held) -> Self {
        let (key, place) = (self.0.key.clone(), self.0.place.clone());
        let (asked, unset) = (AtomicBool::new(true), AtomicBool::new(false));
        Self(Arc::new(Inner { key, place, value, asked, names: Mutex::default(), unset }))
    }

    /// The items of a list. A single value is a list of one; `a,b` from a variable or the command line is a list of two.
    pub fn items(&self) -> Vec<Self> {
        match &self.0.value {
            Held::List(items) => items.clone(),
            Held::Null => Vec::new(),
            Held::Either(_, node) => node.items(),
            _ => vec![self.clone()],
        }
    }

    /// Returns the items of a list of texts or numbers. If an item is a variable whose value has several items (`hosts: ["${HOSTS}"]`),
    /// each of them becomes an item of the result.
    pub(super) fn flat_items(&self) -> Vec<Self> {
        let inner = |item: Self| match &item.0.value {
            Held::Either(_, node) if node.is_list() => node.items(),
            _ => vec![item],
        };
        self.items().into_iter().flat_map(inner).collect()
    }

    /// All values below this node that are not maps, each with its dotted path from this node: `{a: {b: 1}}` gives `a.b`. A list is one
    /// value.
    pub fn leaves(&self) -> Vec<(String, Self)> {
        let mut leaves = Vec::new();
        self.collect_leaves("", &mut leaves);
        leaves
    }

    fn collect_leaves(&self, path: &str, leaves: &mut Vec<(String, Self)>) {
        for (name, node) in self.entries() {
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            match node.structure() {
                Held::Map(_) => node.collect_leaves(&path, leaves),
                _ => leaves.push((path, node.clone())),
            }
        }
    }

    /// Whether a map below this node, at any depth, has this key.
    pub fn mentions(&self, key: &str) -> bool {
        match self.structure() {
            Held::Map(entries) => entries.iter().any(|(name, node)| name == key || node.mentions(key)),
            Held::List(items) => items.iter().any(|node| node.mentions(key)),
            _ => false,
        }
    }

    /// The dotted path from the root, empty at the root.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// The file and line of the value, for messages: `packetbeat.yml:12`.
    pub fn place(&self) -> String {
        self.0.place.to_string()
    }

    /// The line of the value, counted from 1; 0 if it does not come from a file.
    pub fn line(&self) -> usize {
        self.0.place.line
    }

    /// Whether the value is missing or `~`.
    pub fn is_null(&self) -> bool {
        matches!(self.0.value, Held::Null) || self.0.unset.load(Relaxed)
    }

    /// Whether the value is missing, `~`, or an empty text. An empty text counts as not set wherever a text is not expected.
    pub fn is_unset(&self) -> bool {
        self.is_null() || self.is_empty_text()
    }

    pub(super) fn is_empty_text(&self) -> bool {
        matches!(&self.0.value, Held::Scalar(text, _) if text.is_empty())
    }

    /// Returns the value. A text that can also be parsed as a list or a map is returned as that list or map.
    pub(super) fn structure(&self) -> &Held {
        match &self.0.value {
            Held::Either(_, node) => &node.0.value,
            value => value,
        }
    }

    /// Whether the value is a map, empty or not.
    pub fn is_map(&self) -> bool {
        matches!(self.structure(), Held::Map(_))
    }

    /// Whether the value is a list, empty or not.
    pub fn is_list(&self) -> bool {
        matches!(self.structure(), Held::List(_))
    }

    /// The text of a scalar as it was written, also of numbers and booleans. `None` for other values and for an unresolved variable; where
    /// an unresolved variable must be an error, use [`Node::read`] with a `String`.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0.value {
            Held::Scalar(text, _) | Held::Either(text, _) => Some(text),
            _ => None,
        }
    }

    /// Whether both values were written in the same way, apart from comments and formatting. Maps whose keys have another order are
    /// different.
    pub fn has_same_content(&self, other: &Self) -> bool {
        match (&self.0.value, &other.0.value) {
            (Held::Null, Held::Null) => true,
            (Held::Scalar(a, _) | Held::Either(a, _), Held::Scalar(b, _) | Held::Either(b, _)) | (Held::Broken(a), Held::Broken(b)) => {
                a == b
            }
            (Held::List(a), Held::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.has_same_content(b)),
            (Held::Map(a), Held::Map(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1.has_same_content(&b.1)),
            _ => false,
        }
    }

    /// Marks this node and all nodes below it as known, for values that are free-form data or deliberately not read.
    pub fn accept(&self) {
        self.0.asked.store(true, Relaxed);
        match self.structure() {
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
        match self.structure() {
            Held::Map(entries) => {
                for (name, node) in entries {
                    if node.0.asked.load(Relaxed) {
                        node.collect_unknown(unknown);
                    } else {
                        let (key, place) = (node.0.key.clone(), node.0.place.clone());
                        unknown.push(Unknown { key, name: name.clone(), place, parent: self.clone() });
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

    /// Records that a module asked for a key of this map.
    fn remember(&self, name: &str) {
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.contains(name) {
            names.insert(name.into());
        }
    }

    /// The keys of this map that modules have asked for.
    pub(super) fn names(&self) -> Vec<String> {
        let own = match &self.0.value {
            Held::Either(_, node) => node,
            _ => self,
        };
        own.0.names.lock().unwrap_or_else(PoisonError::into_inner).iter().map(ToString::to_string).collect()
    }

    /// The maps of this tree, this one first.
    pub(super) fn maps(&self) -> Vec<Self> {
        let mut maps = Vec::new();
        self.collect_maps(&mut maps);
        maps
    }

    fn collect_maps(&self, maps: &mut Vec<Self>) {
        match self.structure() {
            Held::Map(entries) => {
                maps.push(self.clone());
                entries.iter().for_each(|(_, node)| node.collect_maps(maps));
            }
            Held::List(items) => items.iter().for_each(|item| item.collect_maps(maps)),
            _ => {}
        }
    }

    /// Marks this node as known.
    pub(super) fn known(&self) {
        self.0.asked.store(true, Relaxed);
    }

    /// Marks the child with this key as known.
    pub(super) fn knows(&self, name: &str) {
        self.remember(name);
        if let Held::Map(entries) = self.structure()
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
            Held::Scalar(..) | Held::Either(..) => f.write_str("…"),
            Held::List(items) => f.debug_list().entries(items).finish(),
            Held::Map(entries) => f.debug_map().entries(entries.iter().map(|(k, v)| (k, v))).finish(),
            Held::Broken(message) => f.write_str(message),
        }
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
