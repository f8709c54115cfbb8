//! The parameters that the factory of an output or a processor gets when the program opens it at start.
//!
//! A factory reads its settings from [`Opening::node`], so that errors name file, line and key.

use crate::{
    config::{Node, Paths},
    event::Field,
    net::OwnConnections,
    time::Timestamp,
};
use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// The time of day. Only `app` reads the system clock; other modules get a `Clock`.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// Objects that several processors of a configuration share, by name. An object lives as long as a processor has it, so the processors of a
/// configuration that was read again find the object of the previous ones.
#[derive(Debug, Default)]
pub struct SharedObjects(Mutex<HashMap<String, Weak<dyn Any + Send + Sync>>>);

impl SharedObjects {
    /// Returns the object with this name. If no processor has one, `make` makes it. Objects of different types need different names.
    pub fn get<T: Send + Sync + 'static>(&self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let mut objects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(object)) = objects.get(name).and_then(Weak::upgrade).map(Arc::downcast) {
            return object;
        }
        objects.retain(|_, object| object.strong_count() > 0);
        let object = Arc::new(make());
        let any: Arc<dyn Any + Send + Sync> = object.clone();
        objects.insert(name.to_owned(), Arc::downgrade(&any));
        object
    }
}

/// The parameters that a factory needs to open one configured output or processor.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// The settings of this output or processor.
    pub node: &'a Node,
    /// The whole configuration: some outputs have settings outside their own section (`setup.*`, `cloud.*`).
    pub root: &'a Node,
    /// The folders of configuration, data and logs.
    pub paths: &'a Paths,
    /// Whether packets are captured live. If so, no processor may wait.
    pub live: bool,
    /// The time of day.
    pub clock: &'static dyn Clock,
    /// Every field that documents can have, with its type. Each name occurs once. Processors may add other fields.
    pub fields: &'a [Field],
    /// The connections of this process, which are not reported; `None` if the program does not capture on a device. An output or
    /// processor calls [`Opening::expect`] for each port of a server; an output lists the connections again when it has opened one, so
    /// that the connection is known even if it ends at once.
    pub connections: Option<&'a Arc<OwnConnections>>,
    /// The objects that the processors of the configuration share; `None` if each processor has its own.
    pub shared: Option<&'a Arc<SharedObjects>>,
}

impl<'a> Opening<'a> {
    /// Announces that connections to this port of a server will be opened, so that they are known as this program's own.
    pub fn expect(&self, port: u16) {
        if let Some(connections) = self.connections {
            connections.expect(port);
        }
    }

    /// Returns the same parameters with `node` as the settings.
    #[must_use]
    pub fn at<'b>(&self, node: &'b Node) -> Opening<'b>
    where
        'a: 'b,
    {
        Opening { node, ..*self }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::event::TRANSACTION;
    use std::{path::Path, sync::LazyLock};

    /// A clock that always returns the same time.
    pub struct Fixed(pub Timestamp);

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    static PATHS: LazyLock<Paths> = LazyLock::new(|| Paths::below(Path::new("/nonexistent")));
    static SHARED: LazyLock<Arc<SharedObjects>> = LazyLock::new(Arc::default);
    static EPOCH: Fixed = Fixed(Timestamp(0));

    /// Makes parameters with `root` as the settings, paths that do not exist, a clock at the Unix epoch, and only those fields that every
    /// transaction has.
    pub fn opening(root: &Node) -> Opening<'_> {
        Opening {
            node: root,
            root,
            paths: &PATHS,
            clock: &EPOCH,
            live: true,
            fields: TRANSACTION,
            connections: None,
            shared: Some(&SHARED),
        }
    }
}
