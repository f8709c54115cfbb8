//! Limits the search for the start of the next message, after a gap or in the middle of a connection.
//!
//! The protocol itself recognises the start of a message. Protocols that can recognise one in every line or segment
//! (SIP, Redis) never give up a connection, and do not use this module.

use crate::protocols::Recovery;

/// Number of consecutive bytes without the start of a message after which a connection is given up. It exceeds the
/// longest results, values and file transfers that a parser may have to skip before the next message.
pub const MOST_SEARCHED: u64 = 64 << 20;
/// Before the first message is found, the limit is [`MOST_SEARCHED`] divided by this number (16 MiB), because the connection
/// is then likely of another protocol. 16 MiB is the length of the longest message of most servers.
const UNKNOWN_SHARE: u64 = 4;

/// The search in one direction, or in a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resync {
    searched: u64,
    found: bool,
}

impl Resync {
    /// Notes that `bytes` more were searched without finding a message.
    #[must_use = "the search must end some time"]
    pub fn passed(&mut self, bytes: usize) -> Recovery {
        self.searched = self.searched.saturating_add(bytes as u64);
        let most = if self.found { MOST_SEARCHED } else { MOST_SEARCHED / UNKNOWN_SHARE };
        if self.searched > most { Recovery::GiveUp } else { Recovery::Resume }
    }

    /// Notes that a message begins here.
    pub fn found(&mut self) {
        *self = Self { searched: 0, found: true };
    }

    /// Number of bytes searched since the last message.
    pub fn searched(&self) -> u64 {
        self.searched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_lower_before_the_first_message() {
        let mut r = Resync::default();
        assert_eq!((r.passed(16 << 20), r.passed(1)), (Recovery::Resume, Recovery::GiveUp));
        r.found();
        assert_eq!((r.searched(), r.passed(64 << 20), r.passed(1)), (0, Recovery::Resume, Recovery::GiveUp));
    }
}
