//! How far a parser looks for the next message start, after a gap or where the capture joined a connection in its middle.
//!
//! How a message start is recognised is the protocol's business. Protocols that recognise one at every line or in every segment
//! (SIP, Redis) never give up and do not use this.

use crate::protocols::Recovery;

/// Bytes in a row without a message start after which a connection is given up. It is more than the longest results, values and
/// file transfers that a parser may have to pass over before the next message begins.
pub const MOST_SEARCHED: u64 = 64 << 20;
/// The same part of [`MOST_SEARCHED`] (16 MiB) applies while no message was found at all: then it is likely another protocol, and the
/// sooner it is left alone the better. It is as long as the longest message of most servers.
const UNKNOWN_SHARE: u64 = 4;

/// The search in one direction, or in a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resync {
    searched: u64,
    found: bool,
}

impl Resync {
    /// `bytes` more were searched in vain.
    #[must_use = "the search must end some time"]
    pub fn passed(&mut self, bytes: usize) -> Recovery {
        self.searched = self.searched.saturating_add(bytes as u64);
        let most = if self.found { MOST_SEARCHED } else { MOST_SEARCHED / UNKNOWN_SHARE };
        if self.searched > most { Recovery::GiveUp } else { Recovery::Resume }
    }

    /// A message begins here.
    pub fn found(&mut self) {
        *self = Self { searched: 0, found: true };
    }

    /// Bytes searched in vain since the last message.
    pub fn searched(&self) -> u64 {
        self.searched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_up_sooner_where_nothing_was_ever_found() {
        let mut r = Resync::default();
        assert_eq!((r.passed(16 << 20), r.passed(1)), (Recovery::Resume, Recovery::GiveUp));
        r.found();
        assert_eq!((r.searched(), r.passed(64 << 20), r.passed(1)), (0, Recovery::Resume, Recovery::GiveUp));
    }
}
