//! The ids of publishers.

/// The id of a publisher: a configured protocol, or flows. Chains, counters, port sets and connections refer to a
/// publisher by its id. The id stays the same when the configuration is read again, even if the protocol's place in the
/// list changes.
///
/// Ids are small consecutive numbers, so a table indexed by id is a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublisherId(pub u32);

impl PublisherId {
    /// The publisher of flows. Configured protocols have greater ids.
    pub const FLOWS: Self = Self(0);

    /// Index in a table by id.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
