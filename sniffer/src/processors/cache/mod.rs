//! `cache`: keeps values of events under a key, and adds them to later events. Processors with the same id share their store.

mod file;
mod store;
#[cfg(test)]
mod tests;

use super::{Decision, Factory, ProcessorKind, Shared, kit::Span, options::options, shared};
use crate::{
    config::{Error, Node},
    enrich::HostData,
    event::tree::Tree,
    opening::{Clock, Opening},
};
use std::{fmt, sync::Arc, time::Duration};
use store::Store;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "cache",
    about: "Keeps values of events under a key (`put`), adds them to later events (`get`), or removes them (`delete`). The processors with the \
            same id share their values, in all lists of the configuration. The value of `key_field` must be a text. A store has room for \
            `backend.capacity` values and 64 MiB; those that expire first are removed. With `backend.file` the values are kept in a file \
            between runs. If the operation fails, the event stays as it is, and the reason is in the log at debug level.",
    example: "backend: {memory: {id: users}, capacity: 10000}\nput: {key_field: source.ip, value_field: user.name, ttl: 1h}",
    options: &[
        ("", Options::OPTIONS),
        ("backend.", Backend::OPTIONS),
        ("backend.memory.", Memory::OPTIONS),
        ("backend.file.", File::OPTIONS),
        ("put.", Put::OPTIONS),
        ("get.", Get::OPTIONS),
        ("delete.", Delete::OPTIONS),
    ],
    open,
};

options! {
    #[derive(Debug)]
    #[allow(dead_code, reason = "options that have no effect here")]
    struct Options {
        /// Where the values are kept.
        backend: Backend,
        /// Keeps a value. Exactly one of `put`, `get` and `delete` is required.
        put: Option<Put> = None,
        /// Adds a value to the event.
        get: Option<Get> = None,
        /// Removes a value.
        delete: Option<Delete> = None,
        /// Whether `get` may replace the value of `target_field`.
        overwrite_keys: bool = false,
        /// Whether a missing field is no failure. A failure is only in the log.
        ignore_missing: bool = false,
        /// Accepted for compatibility. A failure is only in the log.
        ignore_failure: bool = false,
    }
}

options! {
    #[derive(Debug)]
    struct Backend {
        /// Keeps the values in memory. Exactly one of `memory` and `file` is required.
        memory: Option<Memory> = None,
        /// Keeps the values in memory, and in a file between runs.
        file: Option<File> = None,
        /// Maximum number of values. 0 means 100,000, which is the largest number. If processors with the same id have different numbers, the
        /// largest applies.
        capacity: u64 = 0,
    }
}

options! {
    #[derive(Debug)]
    struct Memory {
        /// The name of the store.
        id: String,
    }
}

options! {
    #[derive(Debug)]
    struct File {
        /// The name of the store, and of its file in the folder `cache_processor` of `path.data`.
        id: String,
        /// The interval at which the file is written. 0 means only when the program ends.
        write_interval: Span = Span(Duration::from_secs(0)),
    }
}

options! {
    #[derive(Debug)]
    struct Put {
        /// The field with the key.
        key_field: String,
        /// The field whose value is kept.
        value_field: String,
        /// How long the value is kept.
        ttl: Span,
    }
}

options! {
    #[derive(Debug)]
    struct Get {
        /// The field with the key.
        key_field: String,
        /// The field that the value is written to.
        target_field: String,
    }
}

options! {
    #[derive(Debug)]
    struct Delete {
        /// The field with the key.
        key_field: String,
    }
}

/// What the processor does with an event.
enum Operation {
    Put(Put),
    Get(Get),
    Delete(Delete),
}

struct Cache {
    operation: Operation,
    overwrite: bool,
    ignore_missing: bool,
    kept: Arc<Kept>,
    clock: &'static dyn Clock,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let node = opening.node;
    let Options { backend, put, get, delete, overwrite_keys, ignore_missing, ignore_failure: _ } = Options::read(node)?;
    let operation = match (put, get, delete) {
        (Some(put), None, None) => Operation::Put(put),
        (None, Some(get), None) => Operation::Get(get),
        (None, None, Some(delete)) => Operation::Delete(delete),
        (None, None, None) => return Err(node.error("the operation is missing: set one of `put`, `get` and `delete`")),
        _ => return Err(node.error("only one of `put`, `get` and `delete` can be set")),
    };
    let kept = open_store(opening, &node.get("backend"), backend)?;
    Ok(shared(Cache { operation, overwrite: overwrite_keys, ignore_missing, kept, clock: opening.clock }))
}

/// The store with this id. All processors with the id share it.
struct Kept {
    store: Arc<Store>,
    _writer: Option<file::Writer>,
}

fn open_store(opening: &Opening<'_>, node: &Node, backend: Backend) -> Result<Arc<Kept>, Error> {
    let (name, file) = match (backend.memory, backend.file) {
        (Some(Memory { id }), None) => (format!("cache memory {id}"), None),
        (None, Some(File { id, write_interval })) => {
            if id.is_empty() || id.starts_with('.') || id.contains(['/', '\0']) {
                return Err(node.get("file.id").error("must be the name of a file: not empty, without '/', not beginning with '.'"));
            }
            (format!("cache file {id}"), Some((opening.paths.data.join("cache_processor").join(id), write_interval.0)))
        }
        (None, None) => return Err(node.error("the backend is missing: set one of `memory` and `file`")),
        _ => return Err(node.error("only one of `memory` and `file` can be set")),
    };
    let capacity = usize::try_from(backend.capacity).unwrap_or(usize::MAX);
    let make = || {
        let store = Arc::new(Store::default());
        store.reserve(capacity);
        let writer = file.and_then(|(path, interval)| file::open(path, interval, &store, opening.clock));
        Kept { store, _writer: writer }
    };
    let kept = match opening.shared {
        Some(shared) => shared.get(&name, make),
        None => Arc::new(make()),
    };
    kept.store.reserve(capacity);
    Ok(kept)
}

impl Cache {
    fn apply(&self, event: &mut Tree) -> Result<(), String> {
        let field = |name: &str| event.fetch(name).map_err(|error| format!("{name}: {error}"));
        let key = |name: &str| Ok::<_, String>(field(name)?.as_str().ok_or_else(|| format!("{name}: the key is not a text"))?.to_owned());
        let now = self.clock.now();
        match &self.operation {
            Operation::Put(put) => {
                let (key, value) = (key(&put.key_field)?, field(&put.value_field)?.clone());
                self.kept.store.put(key, value, now, now.after(put.ttl.0))
            }
            Operation::Get(get) => {
                let key = key(&get.key_field)?;
                if !self.overwrite && event.get(&get.target_field).is_some_and(|value| !value.is_null()) {
                    return Err(format!("{}: the field exists and overwrite_keys is false", get.target_field));
                }
                let Some(value) = self.kept.store.get(&key, now) else { return Ok(()) };
                event.put(&get.target_field, value).map_err(|error| format!("{}: {error}", get.target_field))
            }
            Operation::Delete(delete) => {
                self.kept.store.delete(&key(&delete.key_field)?);
                Ok(())
            }
        }
    }

    /// Whether the error says that the event lacks a field which the processor reads.
    fn lacks_field(&self, event: &Tree) -> bool {
        let [first, second] = match &self.operation {
            Operation::Put(Put { key_field, value_field, .. }) => [key_field, value_field],
            Operation::Get(Get { key_field, .. }) | Operation::Delete(Delete { key_field }) => [key_field, key_field],
        };
        !event.has(first) || !event.has(second)
    }
}

impl Shared for Cache {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        if self.ignore_missing && self.lacks_field(event) {
            return Decision::Keep;
        }
        if let Err(error) = self.apply(event) {
            log::debug!("cache: {error}");
        }
        Decision::Keep
    }
}
