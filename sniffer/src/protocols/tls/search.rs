//! Finds the first record: at the first byte, after a conversation in plain text, or after a known binary message.
//! Plain text comes before TLS in STARTTLS and similar commands (SMTP, POP3, IMAP, FTP, XMPP …), a binary message in
//! LDAP, PROXY protocol, PostgreSQL, RDP and AMQP. Other binary data is not TLS, even if it contains a hello, because
//! other protocols carry their own TLS handshakes (OpenVPN over TCP).

use super::wire::{self, message, record};
use crate::protocols::Probe;

/// Maximum number of bytes of plain text of one side before TLS. A conversation in plain text requests TLS near its
/// beginning.
pub const MOST_PLAIN: usize = 16 << 10;

/// The result of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Records begin at this offset, with a hello of this type, or 0 for another record.
    Found(usize, u8),
    /// A record may begin at this offset; this number of further bytes is needed to decide.
    More(usize, usize),
    /// These bytes contain no record.
    Nothing,
    /// No handshake will be found, because the data is already encrypted (the handshake was not captured) or is of another
    /// binary protocol.
    NoHandshake,
}

/// The result of looking for a known binary message before the first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preamble {
    /// The data does not begin with a known binary message.
    None,
    /// This number of further bytes is needed to decide.
    More(usize),
    /// The data begins with a known binary message, which has this length in bytes.
    Bytes(usize),
}

/// The signature of the PROXY protocol, version 2 (HAProxy, proxy-protocol.txt, 2.2).
const PROXY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// PostgreSQL's requests for TLS and for GSSAPI encryption.
const POSTGRES: [&[u8]; 2] = [b"\0\0\0\x08\x04\xd2\x16\x2f", b"\0\0\0\x08\x04\xd2\x16\x30"];
/// The header with which a client of AMQP 1.0 requests TLS (OASIS AMQP 1.0, 5.2.1).
const AMQP: &[u8] = b"AMQP\x02\x01\0\0";

/// Whether the first bytes of one side are a known binary message after which TLS begins.
pub fn preamble(data: &[u8]) -> Preamble {
    let begins = |fixed: &[u8]| data.starts_with(fixed) || fixed.starts_with(data);
    let whole = |length: usize| if length > MOST_PLAIN { Preamble::None } else { Preamble::Bytes(length) };
    if data.is_empty() {
        return Preamble::More(1);
    }
    if begins(PROXY) {
        return match data.get(14..16) {
            Some(length) => whole(16 + usize::from(length[0]) * 256 + usize::from(length[1])),
            None => Preamble::More(16 - data.len()),
        };
    }
    if let Some(fixed) = POSTGRES.into_iter().chain([AMQP]).find(|fixed| begins(fixed)) {
        return if data.len() < fixed.len() { Preamble::More(fixed.len() - data.len()) } else { whole(fixed.len()) };
    }
    match *data {
        // LDAP: a SEQUENCE (RFC 4511, 4.1.1) that begins with the message id.
        [0x30] => Preamble::More(1),
        [0x30, length @ ..=0x7f, ..] => sequence(data, 2, usize::from(length), whole),
        [0x30, 0x81] | [0x30, 0x82, ..] if data.len() < 4 => Preamble::More(4 - data.len()),
        [0x30, 0x81, length, ..] => sequence(data, 3, usize::from(length), whole),
        [0x30, 0x82, a, b, ..] => sequence(data, 4, usize::from(a) * 256 + usize::from(b), whole),
        // RDP: TPKT (RFC 1006).
        [3] | [3, 0] | [3, 0, _] => Preamble::More(4 - data.len()),
        [3, 0, a, b, ..] => whole((usize::from(a) * 256 + usize::from(b)).max(4)),
        _ => Preamble::None,
    }
}

fn sequence(data: &[u8], head: usize, length: usize, whole: impl Fn(usize) -> Preamble) -> Preamble {
    match data.get(head) {
        None => Preamble::More(1),
        Some(2) => whole(head + length),
        Some(_) => Preamble::None,
    }
}

/// Whether the bytes are a text. A text in any encoding contains no NUL.
fn is_text(data: &[u8]) -> bool {
    memchr::memchr(0, data).is_none()
}

/// Searches for a record in the data of one side. `first`: the data begins with the first bytes of the side. `other`:
/// the records of the other side have begun.
pub fn search(data: &[u8], first: bool, other: bool) -> Search {
    let found = find(data, first, other);
    let before = match found {
        Search::Found(at, _) | Search::More(at, _) => data.get(..at).unwrap_or_default(),
        Search::Nothing => data,
        Search::NoHandshake => &[],
    };
    if is_text(before) { found } else { Search::NoHandshake }
}

fn find(data: &[u8], first: bool, other: bool) -> Search {
    if let Some(kind) = data.first().filter(|k| (record::CHANGE_CIPHER_SPEC..=record::HEARTBEAT).contains(k)) {
        match wire::record_head(data) {
            Some(_) if other => return Search::Found(0, hello_kind(data)),
            Some(_) if first && *kind != record::HANDSHAKE && *kind != record::ALERT => return Search::NoHandshake,
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

    #[test]
    fn known_binary_messages() {
        let proxy = [PROXY, &[0x21, 0x11, 0, 12], &[7; 12]].concat();
        let ldap = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
        let long_ldap = [&[0x30, 0x81, 200, 2][..], &[1; 199]].concat();
        let rdp = [&[3, 0, 0, 19, 14, 0xe0][..], &[0; 13]].concat();
        for whole in [&proxy[..], ldap, &long_ldap, &rdp, POSTGRES[0], POSTGRES[1], AMQP] {
            assert_eq!(preamble(&[whole, &HELLO].concat()), Preamble::Bytes(whole.len()), "{whole:x?}");
            for end in 0..whole.len() {
                assert!(matches!(preamble(&whole[..end]), Preamble::More(1..) | Preamble::Bytes(_)), "{:x?}", &whole[..end]);
            }
        }
        for other in [&b"220 mail\r\n"[..], &HELLO, b"\x30\x05\x04\x03abc", b"\0\x2a\x38", b"0 text"] {
            assert_eq!(preamble(other), Preamble::None, "{other:x?}");
        }
    }

    #[test]
    fn other_binary_data_is_not_tls() {
        let openvpn = [&[0, 0x2a, 0x38, 1, 2, 3][..], &HELLO].concat();
        assert_eq!(search(&openvpn, true, false), Search::NoHandshake);
        assert_eq!(search(&openvpn[..6], true, false), Search::NoHandshake);
        assert_eq!(search(&[b"250 go\r\n\0", &HELLO[..]].concat(), false, true), Search::NoHandshake);
    }

    const HELLO: [u8; 11] = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

    #[test]
    fn records_after_plain_text() {
        let data = [&b"220 \x16\x15 x\r\n"[..], &HELLO].concat();
        assert_eq!(search(&data, true, false), Search::Found(10, 1));
        assert_eq!(search(&data[..14], true, false), Search::More(10, 7));
        assert_eq!(search(b"EHLO", true, false), Search::Nothing);
    }

    #[test]
    fn records_in_the_middle_of_a_connection() {
        assert_eq!(search(&[23, 3, 3, 0, 50, 1, 2], true, false), Search::NoHandshake);
        assert_eq!(search(&[20, 3, 3, 0, 1, 1], false, true), Search::Found(0, 0));
        assert_eq!(search(&[21, 3], false, true), Search::More(0, 3));
        assert_eq!(search(&[b'-', 21, 3, 1, 0, 2, 2, 40], false, true), Search::Found(1, 0));
    }
}
