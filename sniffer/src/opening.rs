//! The parameters that the factory of an output or a processor gets when the program opens it at start.
//!
//! A factory reads its settings from [`Opening::node`], so that errors name file, line and key.

use crate::{
    config::{Node, Paths},
    event::Field,
    time::Timestamp,
};
use std::sync::Arc;

/// The time of day. Only `app` reads the system clock; other modules get a `Clock`.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// Called by an output while it opens a connection and when the connection is open, so that the program knows the connection as its own
/// and does not report it, even if it ends at once.
pub type Connected = Arc<dyn Fn() + Send + Sync>;

/// The parameters that a factory needs to open one configured output or processor.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// The settings of this output or processor.
    pub node: &'a Node,
    /// The whole configuration: some outputs have settings outside their own section (`setup.*`, `cloud.*`).
    pub root: &'a Node,
    /// The folders of configuration, data and logs.
    pub paths: &'a Paths,
    /// Whether packets are captured live. Then no processor may wait for anything.
    pub live: bool,
    /// The time of day.
    pub clock: &'static dyn Clock,
    /// Every field that documents can have, with its type. Each name occurs once. Processors may add other fields.
    pub fields: &'a [Field],
    /// See [`Connected`]. `None` if the program does not capture on a device.
    pub connected: Option<&'a Connected>,
}

impl<'a> Opening<'a> {
    /// The same opening with `node` as the settings.
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
    static EPOCH: Fixed = Fixed(Timestamp(0));

    /// An opening with `root` as the settings, paths that do not exist, a clock at the Unix epoch, and only the fields of every
    /// transaction.
    pub fn opening(root: &Node) -> Opening<'_> {
        Opening { node: root, root, paths: &PATHS, clock: &EPOCH, live: true, fields: TRANSACTION, connected: None }
    }
}
