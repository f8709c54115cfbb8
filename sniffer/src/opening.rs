//! What the factory of an output or a processor is given when the configuration names it. Not what it is given per event.
//!
//! A setting of the factory's own is read from [`Opening::node`], so that errors name file, line and key.

use crate::{
    config::{Node, Paths},
    time::Timestamp,
};

/// The time of day. Only the program's outermost part asks the system for it; whoever else needs it is handed a clock.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the Unix epoch, now.
    fn now(&self) -> Timestamp;
}

/// The surroundings of one configured output or processor.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// The settings of what is opened.
    pub node: &'a Node,
    /// The whole configuration: some outputs have settings outside their own section (`setup.*`, `cloud.*`).
    pub root: &'a Node,
    /// Where configuration, data and logs are.
    pub paths: &'a Paths,
    /// The time of day.
    pub clock: &'a dyn Clock,
}

impl<'a> Opening<'a> {
    /// The same surroundings for other settings.
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
    use std::{path::Path, sync::LazyLock};

    /// A clock that stands still.
    pub struct Fixed(pub Timestamp);

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    static PATHS: LazyLock<Paths> = LazyLock::new(|| Paths::below(Path::new("/nonexistent")));
    static EPOCH: Fixed = Fixed(Timestamp(0));

    /// An opening at `root` with paths that do not exist, at the epoch.
    pub fn opening(root: &Node) -> Opening<'_> {
        Opening { node: root, root, paths: &PATHS, clock: &EPOCH }
    }
}
