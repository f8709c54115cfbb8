//! Where records begin: at the first byte, or after a conversation in plain text (STARTTLS and its like in SMTP, POP3, IMAP, FTP,
//! LDAP, XMPP …), whatever that was about.

use super::wire::{self, message, record};
use crate::protocols::Probe;

/// Bytes of plain text of one side after which nobody will ask for TLS any more: such conversations begin with it.
pub const MOST_PLAIN: usize = 16 << 10;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Records begin there; with a hello of that kind, or 0 for something else.
    Found(usize, u8),
    /// From there on it may be a record, which so many bytes more will tell.
    More(usize, usize),
    /// Not in these bytes.
    Nothing,
    /// Encrypted already: the beginning is gone.
    Hopeless,
}

/// Looks for a record in the data of one side, which is its `first`; `other`: the other side's records have begun.
pub fn search(data: &[u8], first: bool, other: bool) -> Search {
    if let Some(kind) = data.first().filter(|k| (record::CHANGE_CIPHER_SPEC..=record::HEARTBEAT).contains(k)) {
        match wire::record_head(data) {
            Some(_) if other => return Search::Found(0, hello_kind(data)),
            Some(_) if first && *kind != record::HANDSHAKE && *kind != record::ALERT => return Search::Hopeless,
            None if other && data.len() < wire::RECORD_HEAD => return Search::More(0, wire::RECORD_HEAD - data.len()),
            _ => {}
        }
    }
    for at in memchr::memchr2_iter(record::HANDSHAKE, record::ALERT, data) {
        let rest = data.get(at..).unwrap_or_default();
        let kinds = [message::CLIENT_HELLO, message::SERVER_HELLO].map(|kind| (kind, wire::is_hello(rest, kind)));
        let alert = (0, if other { wire::is_alert(rest) } else { Probe::No });
        let mut more = None;
        for (kind, answer) in kinds.into_iter().chain([alert]) {
            match answer {
                Probe::Yes => return Search::Found(at, kind),
                Probe::More(n) => more = Some(n.min(more.unwrap_or(n))),
                Probe::No => {}
            }
        }
        if let Some(n) = more {
            return Search::More(at, n);
        }
    }
    Search::Nothing
}

fn hello_kind(data: &[u8]) -> u8 {
    match data {
        [record::HANDSHAKE, _, _, _, _, kind, ..] => *kind,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: [u8; 11] = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

    #[test]
    fn after_plain_text() {
        let data = [&b"220 \x16\x15 x\r\n"[..], &HELLO].concat();
        assert_eq!(search(&data, true, false), Search::Found(10, 1));
        assert_eq!(search(&data[..14], true, false), Search::More(10, 7));
        assert_eq!(search(b"EHLO", true, false), Search::Nothing);
    }

    #[test]
    fn joined_in_the_middle() {
        assert_eq!(search(&[23, 3, 3, 0, 50, 1, 2], true, false), Search::Hopeless);
        assert_eq!(search(&[20, 3, 3, 0, 1, 1], false, true), Search::Found(0, 0));
        assert_eq!(search(&[21, 3], false, true), Search::More(0, 3));
        assert_eq!(search(&[b'-', 21, 3, 1, 0, 2, 2, 40], false, true), Search::Found(1, 0));
    }
}
