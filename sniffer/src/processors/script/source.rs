//! Data that the sessions of a script share: its text and options, and the processors that it makes.

use crate::{
    config::{Error, Node, Paths},
    event::Field,
    net::OwnConnections,
    opening::{Clock, Opening, SharedObjects},
    processors::{Factory, PROCESSORS},
};
use hashbrown::HashMap;
use regex::Regex;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Maximum size of one file, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// Maximum number of different processors that a script makes.
const MAX_FACTORIES: usize = 1000;

/// The text of a script and its parameters.
pub(super) struct Source {
    /// The scripts and their names.
    pub(super) texts: Vec<(String, String)>,
    /// The parameters for `register`, as JSON.
    pub(super) params: Option<String>,
    /// The option `tag`: the name of the script in the log.
    pub(super) tag: String,
    place: Place,
    /// The processors that the script has made, by name and options, so that all workers share their state.
    factories: Mutex<HashMap<(String, String), Arc<dyn Factory>>>,
}

/// The data from which an [`Opening`] of a processor is made.
struct Place {
    root: Node,
    paths: Paths,
    live: bool,
    clock: &'static dyn Clock,
    fields: Vec<Field>,
    connections: Option<Arc<OwnConnections>>,
    shared: Option<Arc<SharedObjects>>,
}

impl Source {
    pub(super) fn new(opening: &Opening<'_>, texts: Vec<(String, String)>, params: Option<String>, tag: String) -> Self {
        let place = Place {
            root: opening.root.clone(),
            paths: opening.paths.clone(),
            live: opening.live,
            clock: opening.clock,
            fields: opening.fields.to_vec(),
            connections: opening.connections.cloned(),
            shared: opening.shared.cloned(),
        };
        Self { texts, params, tag, place, factories: Mutex::default() }
    }

    /// The name of the script in the log.
    pub(super) fn name(&self) -> &str {
        match self.texts.as_slice() {
            _ if !self.tag.is_empty() => &self.tag,
            [(name, _), ..] => name,
            [] => "",
        }
    }

    /// The processor with these options, in JSON.
    ///
    /// # Errors
    /// When the options are not valid.
    pub(super) fn factory(&self, name: &str, json: &str) -> Result<Arc<dyn Factory>, String> {
        let mut factories = self.factories.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), json.to_owned());
        if let Some(factory) = factories.get(&key) {
            return Ok(factory.clone());
        }
        if factories.len() >= MAX_FACTORIES {
            return Err(format!("a script can make {MAX_FACTORIES} different processors at most"));
        }
        let kind = PROCESSORS.iter().find(|kind| kind.name == name).ok_or("this processor is not supported")?;
        let node = Node::parse(json).map_err(|error| error.to_string())?;
        let Place { root, paths, live, clock, fields, connections, shared } = &self.place;
        let (connections, shared) = (connections.as_ref(), shared.as_ref());
        let opening = Opening { node: &node, root, paths, live: *live, clock: *clock, fields, connections, shared };
        let factory: Arc<dyn Factory> = (kind.open)(&opening).map_err(|error| error.to_string())?.into();
        factories.insert(key, factory.clone());
        Ok(factory)
    }
}

/// Reads the files of a script. Relative names are below `folder`.
///
/// # Errors
/// When a file cannot be read or a pattern has no file.
pub(super) fn read(node: &Node, folder: &Path, patterns: &[String]) -> Result<Vec<(String, String)>, Error> {
    let mut texts = Vec::new();
    for pattern in patterns {
        let files = expand(folder, pattern).map_err(|error| node.error(format!("{pattern}: {error}")))?;
        if files.is_empty() {
            return Err(node.error(format!("there is no file `{}`", folder.join(pattern).display())));
        }
        for file in files {
            let text = read_file(&file).map_err(|error| node.error(format!("{}: {error}", file.display())))?;
            texts.push((file.file_name().unwrap_or_default().to_string_lossy().into_owned(), text));
        }
    }
    Ok(texts)
}

fn read_file(file: &Path) -> std::io::Result<String> {
    let data = fs::metadata(file)?;
    if !data.is_file() || data.len() > MAX_FILE {
        return Err(std::io::Error::other("not a regular file of 4 MiB or less"));
    }
    fs::read_to_string(file)
}

/// The files of a name with `*`, `?` and `[…]`, sorted.
fn expand(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = vec![if pattern.starts_with('/') { PathBuf::from("/") } else { folder.to_owned() }];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        if !part.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(part));
            found.retain(|path| path.exists());
            continue;
        }
        let expression: String = part
            .chars()
            .map(|c| match c {
                '*' => ".*".to_owned(),
                '?' => ".".to_owned(),
                '[' | ']' | '-' | '^' => c.to_string(),
                c => regex::escape(&c.to_string()),
            })
            .collect();
        let expression = Regex::new(&format!("^(?s:{expression})$")).map_err(|_| "not a valid pattern")?;
        let mut next = Vec::new();
        for path in &found {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            next.extend(entries.filter(|entry| expression.is_match(&entry.file_name().to_string_lossy())).map(|entry| entry.path()));
        }
        next.sort();
        found = next;
    }
    Ok(found)
}
