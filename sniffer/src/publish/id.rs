//! Names who publishes.

/// A configured protocol, or flows. Chains, counters, port sets and connections refer to a publisher by its id, so that it may stay the same when
/// the configuration is read again and its place in the list has changed.
///
/// Ids are small numbers given out one after the other: a table by id is a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublisherId(pub u32);

impl PublisherId {
    /// Flows. Configured protocols have the ids behind it.
    pub const FLOWS: Self = Self(0);

    /// The place in a table by id.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
