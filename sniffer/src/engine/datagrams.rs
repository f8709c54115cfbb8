//! Remembers the protocol of the datagrams between two ends, on a port that several protocols share. The protocol is
//! recognised from one datagram. Other datagrams of the conversation may not identify the protocol: an RPC reply does not
//! name its program, and the second datagram of a response has no command.

use crate::{net::Realm, publish::PublisherId, time::Timestamp};
use hashbrown::HashMap;
use std::{mem, net::SocketAddr, time::Duration};

/// Maximum number of conversations of one generation. Two generations are kept, about 3 MiB per worker.
const MAX_CONVERSATIONS: usize = 16 << 10;
/// Length of a generation in packet time. A conversation is forgotten after it was idle for 60 to 120 s.
const GENERATION: Duration = Duration::from_secs(60);

type Generation = HashMap<(SocketAddr, SocketAddr, Realm), PublisherId, foldhash::fast::RandomState>;

/// The recognised conversations. The number is limited: conversations that were idle longest are forgotten first.
#[derive(Default)]
pub(super) struct Conversations {
    young: Generation,
    old: Generation,
    begun: Timestamp,
}

impl Conversations {
    /// The protocol of the conversation between two ends: the one recognised before, or else the one that `recognise`
    /// returns.
    pub fn protocol(
        &mut self,
        (a, b, realm): (SocketAddr, SocketAddr, Realm),
        now: Timestamp,
        recognise: impl FnOnce() -> Option<PublisherId>,
    ) -> Option<PublisherId> {
        let ends = (a.min(b), a.max(b), realm);
        if self.young.len() >= MAX_CONVERSATIONS || now.since(self.begun) >= GENERATION.as_nanos() as u64 {
            self.old = mem::take(&mut self.young);
            self.begun = now;
        }
        if let Some(&known) = self.young.get(&ends) {
            return Some(known);
        }
        let protocol = self.old.remove(&ends).or_else(recognise)?;
        self.young.insert(ends, protocol);
        Some(protocol)
    }

    /// Forgets all conversations, because the configured protocols have changed.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(port: u16) -> (SocketAddr, SocketAddr, Realm) {
        (SocketAddr::from(([10, 0, 0, 1], port)), SocketAddr::from(([10, 0, 0, 2], 2049)), Realm::default())
    }

    #[test]
    fn both_directions_are_one_conversation() {
        let mut all = Conversations::default();
        let now = Timestamp(1_000_000_000);
        assert_eq!(all.protocol(ends(1), now, || None), None);
        assert_eq!(all.protocol(ends(1), now, || Some(PublisherId(7))), Some(PublisherId(7)));
        let (a, b, realm) = ends(1);
        assert_eq!(all.protocol((b, a, realm), now, || None), Some(PublisherId(7)));
        assert_eq!(all.protocol(ends(2), now, || Some(PublisherId(8))), Some(PublisherId(8)));
        all.clear();
        assert_eq!(all.protocol(ends(1), now, || None), None);
    }

    #[test]
    fn idle_conversations_are_forgotten_and_the_number_is_bounded() {
        let mut all = Conversations::default();
        let at = |seconds: u64| Timestamp(seconds * 1_000_000_000);
        let known = |all: &mut Conversations, port, seconds| all.protocol(ends(port), at(seconds), || None).is_some();
        all.protocol(ends(1), at(1000), || Some(PublisherId(1)));
        all.protocol(ends(2), at(1000), || Some(PublisherId(1)));
        assert!(known(&mut all, 1, 1059) && known(&mut all, 1, 1100));
        assert!(known(&mut all, 1, 1159), "used in between");
        assert!(!known(&mut all, 2, 1300));
        for port in 0..u16::MAX {
            all.protocol(ends(port), at(2000), || Some(PublisherId(1)));
            assert!(all.young.len() + all.old.len() <= 2 * MAX_CONVERSATIONS);
        }
        assert!(known(&mut all, u16::MAX - 1, 2000));
    }
}
