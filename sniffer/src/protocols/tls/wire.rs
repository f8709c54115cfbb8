//! Parses TLS: records, handshake messages, hellos and the lists in them. RFC 8446 (1.3), RFC 5246 (1.2).
//!
//! Lists are not parsed with `tls-parser`, which allocates a vector for each list and refuses a hello if one extension
//! is malformed.

use crate::protocols::{Probe, kit::reader::Reader};

/// Content types of records.
pub mod record {
    /// A ChangeCipherSpec: the following records of this direction are encrypted. In TLS 1.3 this record has no effect.
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// An alert: severity and description, one byte each.
    pub const ALERT: u8 = 21;
    /// Handshake messages: several in one record, or one across several records.
    pub const HANDSHAKE: u8 = 22;
    /// Application data. In TLS 1.3 all encrypted data has this type.
    pub const APPLICATION_DATA: u8 = 23;
    /// A heartbeat (RFC 6520).
    pub const HEARTBEAT: u8 = 24;
}

/// Types of handshake messages.
pub mod message {
    /// The client's first message.
    pub const CLIENT_HELLO: u8 = 1;
    /// The server's response, or its request for another hello.
    pub const SERVER_HELLO: u8 = 2;
    /// A certificate chain.
    pub const CERTIFICATE: u8 = 11;
    /// The server's part of the key exchange.
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    /// The server requests a certificate of the client.
    pub const CERTIFICATE_REQUEST: u8 = 13;
    /// The client's part of the key exchange.
    pub const CLIENT_KEY_EXCHANGE: u8 = 16;
    /// A stapled OCSP response.
    pub const CERTIFICATE_STATUS: u8 = 22;
}

/// Numbers of the extensions that are decoded.
pub mod extension {
    /// Names of the server.
    pub const SERVER_NAME: u16 = 0;
    /// Groups for the key exchange.
    pub const SUPPORTED_GROUPS: u16 = 10;
    /// Formats of points on curves.
    pub const EC_POINT_FORMATS: u16 = 11;
    /// Signature algorithms.
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    /// Application protocols (ALPN, RFC 7301).
    pub const ALPN: u16 = 16;
    /// A session ticket (RFC 5077).
    pub const SESSION_TICKET: u16 = 35;
    /// A pre-shared key of an earlier connection.
    pub const PRE_SHARED_KEY: u16 = 41;
    /// The client sends data before the server's hello.
    pub const EARLY_DATA: u16 = 42;
    /// The supported versions, which replace the version field.
    pub const SUPPORTED_VERSIONS: u16 = 43;
    /// An encrypted client hello (RFC 9849).
    pub const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
}

/// Length of a record header in bytes.
pub const RECORD_HEAD: usize = 5;
/// Maximum number of bytes of a record's content, encrypted with any cipher (RFC 5246 section 6.2.3).
pub const LONGEST_RECORD: usize = (1 << 14) + 2048;
/// Length of a handshake message header in bytes.
pub const MESSAGE_HEAD: usize = 4;
/// Maximum number of certificates of a chain that are parsed.
pub const MOST_CERTIFICATES: usize = 32;
/// Maximum number of extensions of a hello that are parsed: the registry has fewer than a hundred.
pub const MOST_EXTENSIONS: usize = 256;

/// A server hello with this random value is a HelloRetryRequest (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
    0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Type and length of the record at the start of `head`, which has at least [`RECORD_HEAD`] bytes; `None` if there is
/// no record.
pub fn record_head(head: &[u8]) -> Option<(u8, usize)> {
    let (&[kind, major, minor, high, low], _) = head.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let known = (record::CHANGE_CIPHER_SPEC..=record::HEARTBEAT).contains(&kind);
    (known && major == 3 && minor <= 4 && length <= LONGEST_RECORD).then_some((kind, length))
}

/// Type and length of the handshake message at the start of `data`.
pub fn message_head(data: &[u8]) -> Option<(u8, usize)> {
    let mut r = Reader::new(data);
    Some((r.u8()?, r.u24()? as usize))
}

/// Whether a record with a hello of this type begins here.
pub fn is_hello(data: &[u8], kind: u8) -> Probe {
    // A hello may be divided among records. Then the header of the second record is where the version would be.
    let record = data.get(3..5).and_then(|b| b.first_chunk()).map_or(usize::MAX, |b| usize::from(u16::from_be_bytes(*b)));
    let fits = |at: usize, ok: &dyn Fn(u8) -> bool| data.get(at).is_none_or(|b| ok(*b));
    let within = |at: usize| record >= at - 4;
    let good = fits(0, &|b| b == record::HANDSHAKE)
        && fits(1, &|b| b == 3)
        && fits(2, &|b| b <= 4)
        && (data.len() < 5 || (1..=LONGEST_RECORD).contains(&record))
        && fits(5, &|b| b == kind)
        && (!within(6) || fits(6, &|b| b == 0))
        && (!within(9) || fits(9, &|b| b == 3))
        && (!within(10) || fits(10, &|b| b <= 4));
    match data.len() {
        _ if !good => Probe::No,
        n @ ..11 => Probe::More(11 - n),
        _ => Probe::Yes,
    }
}

/// Whether a record with an unencrypted alert begins here.
pub fn is_alert(data: &[u8]) -> Probe {
    match data {
        [record::ALERT, 3, 0..=4, 0, 2, 1..=2, _, ..] => Probe::Yes,
        [] | [record::ALERT] | [record::ALERT, 3] | [record::ALERT, 3, 0..=4] | [record::ALERT, 3, 0..=4, 0] => Probe::More(7 - data.len()),
        [record::ALERT, 3, 0..=4, 0, 2] | [record::ALERT, 3, 0..=4, 0, 2, 1..=2] => Probe::More(7 - data.len()),
        _ => Probe::No,
    }
}

/// A hello of either side.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    /// The version field; the real version may be in an extension.
    pub version: u16,
    pub random: &'a [u8],
    pub session_id: &'a [u8],
    /// Two bytes per suite; a server's hello has one suite.
    pub ciphers: &'a [u8],
    /// One byte per method; a server's hello has one method.
    pub compressions: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Hello<'a> {
    /// Parses the body of a client's hello.
    pub fn client(body: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(body);
        let (version, random) = (r.u16()?, r.take(32)?);
        let session_id = list8(&mut r)?;
        let ciphers = list16(&mut r).filter(|c| c.len() % 2 == 0)?;
        let compressions = list8(&mut r)?;
        Some(Self { version, random, session_id, ciphers, compressions, extensions: list16(&mut r).unwrap_or_default() })
    }

    /// Parses the body of a server's hello.
    pub fn server(body: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(body);
        let (version, random) = (r.u16()?, r.take(32)?);
        let session_id = list8(&mut r)?;
        let (ciphers, compressions) = (r.take(2)?, r.take(1)?);
        Some(Self { version, random, session_id, ciphers, compressions, extensions: list16(&mut r).unwrap_or_default() })
    }

    /// Whether this is a HelloRetryRequest.
    pub fn is_retry(&self) -> bool {
        self.random == RETRY
    }

    /// The extensions in order, each with number and value. The list ends at a malformed extension.
    pub fn extensions(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut r = Reader::new(self.extensions);
        std::iter::from_fn(move || Some((r.u16()?, list16(&mut r)?))).take(MOST_EXTENSIONS)
    }

    /// The value of an extension.
    pub fn extension(&self, number: u16) -> Option<&'a [u8]> {
        self.extensions().find(|e| e.0 == number).map(|e| e.1)
    }

    /// Cipher suites as numbers.
    pub fn ciphers(&self) -> impl Iterator<Item = u16> + use<'a> {
        numbers(self.ciphers)
    }

    /// The first server name that the client requests.
    pub fn server_name(&self) -> Option<&'a [u8]> {
        server_names(self.extension(extension::SERVER_NAME)?)?.next()
    }

    /// The first protocol of ALPN.
    pub fn protocol(&self) -> Option<&'a [u8]> {
        protocols(self.extension(extension::ALPN)?)?.next()
    }

    /// The version that a server's hello selects.
    pub fn settled_version(&self) -> u16 {
        match self.extension(extension::SUPPORTED_VERSIONS) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => self.version,
        }
    }
}

/// Whether the version is TLS 1.3 or one of its drafts.
pub fn is_13(version: u16) -> bool {
    version == 0x0304 || version >> 8 == 0x7f
}

/// A list preceded by its length in one byte.
pub fn list8<'a>(r: &mut Reader<'a>) -> Option<&'a [u8]> {
    let mut ahead = *r;
    let n = ahead.u8()?;
    let list = ahead.take(usize::from(n))?;
    *r = ahead;
    Some(list)
}

/// A list preceded by its length in two bytes.
pub fn list16<'a>(r: &mut Reader<'a>) -> Option<&'a [u8]> {
    let mut ahead = *r;
    let n = ahead.u16()?;
    let list = ahead.take(usize::from(n))?;
    *r = ahead;
    Some(list)
}

/// The value as one list preceded by its length in one byte; `None` if data follows the list.
pub fn whole8(value: &[u8]) -> Option<&[u8]> {
    let mut r = Reader::new(value);
    list8(&mut r).filter(|_| r.is_empty())
}

/// The value as one list of numbers preceded by its length in two bytes; `None` if data follows the list.
pub fn whole16(value: &[u8]) -> Option<&[u8]> {
    let mut r = Reader::new(value);
    list16(&mut r).filter(|list| r.is_empty() && list.len() % 2 == 0)
}

/// Numbers of two bytes each.
pub fn numbers(list: &[u8]) -> impl Iterator<Item = u16> + use<'_> {
    list.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// The host names in the value of `server_name` (RFC 6066 section 3).
pub fn server_names(value: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let mut r = Reader::new(value);
    let mut names = Reader::new(list16(&mut r).filter(|list| !list.is_empty())?);
    let entries = std::iter::from_fn(move || Some((names.u8()?, list16(&mut names)?)));
    Some(entries.filter(|(kind, _)| *kind == 0).map(|(_, name)| name))
}

/// The protocol names in the value of ALPN (RFC 7301).
pub fn protocols(value: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let mut r = Reader::new(value);
    let mut names = Reader::new(list16(&mut r)?);
    Some(std::iter::from_fn(move || list8(&mut names)))
}

/// The certificates of a chain (up to TLS 1.2), the holder's first.
pub fn certificates(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut r = Reader::new(body.get(3..).unwrap_or_default());
    std::iter::from_fn(move || {
        let n = r.u24()?;
        r.take(n as usize)
    })
    .take(MOST_CERTIFICATES)
}

/// The status of an OCSP response (RFC 6066 section 8, RFC 6960 section 4.2.1): `responseStatus` of the first response.
pub fn ocsp_status(body: &[u8]) -> Option<u8> {
    let mut r = Reader::new(body);
    if r.u8()? != 1 {
        return None;
    }
    r.skip(3)?;
    let (0x30, response) = der(&mut r)? else { return None };
    match der(&mut Reader::new(response))? {
        (0x0a, [status]) => Some(*status),
        _ => None,
    }
}

/// Reads a DER element, and returns its tag (one byte) and its content. Content that is cut off is returned as far as
/// it was captured.
pub fn der<'a>(r: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let tag = r.u8()?;
    let length = match r.u8()? {
        short @ ..0x80 => usize::from(short),
        long => {
            let digits = r.take(usize::from(long & 0x7f)).filter(|d| d.len() <= 4)?;
            digits.iter().fold(0, |n, d| n << 8 | usize::from(*d))
        }
    };
    Some((tag, r.take(length.min(r.remaining()))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_hello() {
        let hello = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        assert_eq!(is_hello(&hello, 1), Probe::Yes);
        assert_eq!((is_hello(&hello, 2), is_hello(&hello[..4], 1), is_hello(&[], 1)), (Probe::No, Probe::More(7), Probe::More(11)));
        assert_eq!(is_hello(b"EHLO x\r\nSTARTTLS", 1), Probe::No);
        assert_eq!(is_hello(&[22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 1, 0], 1), Probe::Yes, "a record of one byte");
        assert_eq!(is_alert(&[21, 3, 3, 0, 2, 2, 40]), Probe::Yes);
        assert_eq!((is_alert(&[21, 3, 3]), is_alert(&[21, 3, 3, 0, 26])), (Probe::More(4), Probe::No));
        assert_eq!((record_head(&hello), record_head(b"HTTP/")), (Some((22, 512)), None));
        assert_eq!(record_head(&[23, 3, 3, 0xff, 0xff]), None);
    }

    #[test]
    fn hostile_lengths() {
        assert!(Hello::client(&[3; 34]).is_none());
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0, 0, 9, 0, 0, 0, 0, 0, 35, 0xff, 0xff, 0]);
        let hello = Hello::client(&body).unwrap();
        assert_eq!((hello.ciphers().collect::<Vec<_>>(), hello.extensions().collect::<Vec<_>>()), (vec![0x1301], vec![(0, &[][..])]));
        assert_eq!(hello.server_name(), None);
        assert_eq!(certificates(&[0, 0, 9, 0, 0, 1, 7, 0, 0, 9, 1]).collect::<Vec<_>>(), [&[7u8][..]]);
        assert_eq!(ocsp_status(&[1, 0, 0, 5, 0x30, 3, 0x0a, 1, 6]), Some(6));
        assert_eq!(ocsp_status(&[1, 0, 0, 5, 0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x0a]), None);
    }
}
