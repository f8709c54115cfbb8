//! Parses the start of messages: frames, headers, and the message headers of the binary protocol (strict and old) and
//! the compact protocol.
//!
//! <https://github.com/apache/thrift/tree/master/doc/specs>: thrift-binary-protocol.md, thrift-compact-protocol.md,
//! HeaderFormat.md.

use crate::protocols::kit::reader::Reader;

/// Longest name of a method in bytes that is accepted.
const LONGEST_NAME: usize = 1024;
/// Longest frame in bytes that is accepted: by default servers accept 16 MB, some are configured to 256 MB.
const LONGEST_FRAME: u32 = 256 << 20;
/// The first byte of a message in the compact protocol.
const COMPACT: u8 = 0x82;

/// The encoding of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The binary protocol: fixed lengths, big-endian.
    Binary,
    /// The compact protocol: integers of variable length.
    Compact,
}

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call that has a reply.
    Call,
    /// A reply, which may be a declared exception.
    Reply,
    /// An error of the server (TApplicationException).
    Exception,
    /// A call without a reply.
    Oneway,
}

/// The header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The type of the message.
    pub kind: Kind,
    /// The encoding of the values.
    pub encoding: Encoding,
    /// The name of the method, as `method` or `service:method`.
    pub name: &'a [u8],
    /// The sequence number, chosen by the client.
    pub sequence: i32,
}

/// The start of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Begin<'a> {
    /// A message: its header, the number of bytes up to its values, and the length of the frame from its first byte on
    /// (without the length field).
    Message(Head<'a>, usize, Option<u32>),
    /// A frame whose content is transformed (compressed): the number of bytes to skip.
    Transformed(u64),
    /// This number of further bytes is needed.
    More(usize),
    /// The data is not a message.
    No,
}

/// Parses the start of a message, whatever the transport.
pub fn begin(data: &[u8]) -> Begin<'_> {
    match head(data) {
        Found::Head(head, length) => return Begin::Message(head, length, None),
        Found::More(n) if data.len() < 4 || data.first() != Some(&0) => return Begin::More(n),
        _ => {}
    }
    let mut r = Reader::new(data);
    let Some(length) = r.u32().filter(|length| (4..=LONGEST_FRAME).contains(length)) else { return Begin::No };
    let framed = match r.rest() {
        [0x0f, 0xff, ..] => return header(r, length),
        [] | [0x0f] => return Begin::More(2 - r.rest().len()),
        rest => head(rest),
    };
    match (framed, head(data)) {
        (Found::Head(head, n), _) if n as u64 <= u64::from(length) => Begin::Message(head, 4 + n, Some(length)),
        (Found::More(a), Found::More(b)) => Begin::More(a.min(b)),
        (Found::More(n), _) | (_, Found::More(n)) => Begin::More(n),
        _ => Begin::No,
    }
}

/// Parses the header of the header transport (HeaderFormat.md): the length is followed by magic, flags, sequence
/// number, and the size of the header in words.
fn header(mut r: Reader<'_>, length: u32) -> Begin<'_> {
    let lacking = 10usize.saturating_sub(r.remaining());
    let fixed = (|| {
        r.skip(8)?;
        r.u16()
    })();
    let Some(words) = fixed else { return Begin::More(lacking.max(1)) };
    let size = usize::from(words) * 4;
    let at = r.position() + size;
    if 10 + size as u64 > u64::from(length) {
        return Begin::No;
    }
    let Some(mut header) = r.take(size).map(Reader::new) else { return Begin::More(size - r.remaining()) };
    match (varint(&mut header), varint(&mut header)) {
        (Some(Ok(_)), Some(Ok(0))) => {}
        (Some(Ok(_)), Some(Ok(_))) => return Begin::Transformed(4 + u64::from(length)),
        _ => return Begin::No,
    }
    match head(r.rest()) {
        Found::Head(head, n) if (at - 4 + n) as u64 <= u64::from(length) => Begin::Message(head, at + n, Some(length)),
        Found::More(n) => Begin::More(n),
        _ => Begin::No,
    }
}

enum Found<'a> {
    Head(Head<'a>, usize),
    More(usize),
    No,
}

/// Parses a message header of any of the protocols.
fn head(data: &[u8]) -> Found<'_> {
    let mut r = Reader::new(data);
    let found = match data {
        [0x80, 0x01, ..] => strict(&mut r),
        [COMPACT, ..] => compact(&mut r),
        [0x80] | [] => return Found::More(1),
        [0, ..] => old(&mut r),
        _ => return Found::No,
    };
    match found {
        Ok(head) => Found::Head(head, r.position()),
        Err(Some(n)) => Found::More(n),
        Err(None) => Found::No,
    }
}

/// Why no header could be parsed: the number of missing bytes, or `None` if the data is not a header.
type MissingBytes = Option<usize>;

fn strict<'a>(r: &mut Reader<'a>) -> Result<Head<'a>, MissingBytes> {
    let version = need(r, 4, Reader::u32)?;
    let kind = kind(version & 0xff).filter(|_| version & 0xff00 == 0).ok_or(None)?;
    let length = need(r, 4, Reader::u32)?;
    let name = name(r, length.into())?;
    let sequence = need(r, 4, Reader::i32)?;
    Ok(Head { kind, encoding: Encoding::Binary, name, sequence })
}

/// Parses a header of the old binary protocol, in which no version precedes the name. The length and the letters of
/// the name must be sufficient to recognise it.
fn old<'a>(r: &mut Reader<'a>) -> Result<Head<'a>, MissingBytes> {
    let length = need(r, 4, Reader::u32)?;
    let name = name(r, length.into())?;
    let kind = kind(need(r, 1, Reader::u8)?.into()).ok_or(None)?;
    let sequence = need(r, 4, Reader::i32)?;
    Ok(Head { kind, encoding: Encoding::Binary, name, sequence })
}

fn compact<'a>(r: &mut Reader<'a>) -> Result<Head<'a>, MissingBytes> {
    need(r, 1, Reader::u8)?;
    let version = need(r, 1, Reader::u8)?;
    let kind = kind(u32::from(version >> 5)).filter(|_| version & 0x1f == 1).ok_or(None)?;
    let sequence = varint(r).ok_or(Some(1))??;
    let length = varint(r).ok_or(Some(1))??;
    let name = name(r, length)?;
    Ok(Head { kind, encoding: Encoding::Compact, name, sequence: sequence as u32 as i32 })
}

fn need<'a, T>(r: &mut Reader<'a>, bytes: usize, read: impl FnOnce(&mut Reader<'a>) -> Option<T>) -> Result<T, MissingBytes> {
    let lacking = bytes.saturating_sub(r.remaining());
    read(r).ok_or(Some(lacking))
}

fn name<'a>(r: &mut Reader<'a>, length: u64) -> Result<&'a [u8], MissingBytes> {
    let length = usize::try_from(length).ok().filter(|n| (1..=LONGEST_NAME).contains(n)).ok_or(None)?;
    let seen = r.rest().get(..length).unwrap_or(r.rest());
    if !seen.iter().all(|b| b.is_ascii_graphic() || *b >= 0x80) {
        return Err(None);
    }
    need(r, length, |r| r.take(length))
}

fn kind(number: u32) -> Option<Kind> {
    [Kind::Call, Kind::Reply, Kind::Exception, Kind::Oneway].get(number.checked_sub(1)? as usize).copied()
}

/// Reads a number with seven bits per byte, the lowest bits first. `Some(Err)` if the number is too long.
pub fn varint(r: &mut Reader<'_>) -> Option<Result<u64, MissingBytes>> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = r.u8()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(Ok(value));
        }
    }
    Some(Err(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: Head<'_> = Head { kind: Kind::Call, encoding: Encoding::Binary, name: b"ping", sequence: 5 };
    const STRICT: &[u8] = b"\x80\x01\0\x01\0\0\0\x04ping\0\0\0\x05\0";
    const OLD: &[u8] = b"\0\0\0\x04ping\x01\0\0\0\x05\0";
    const SMALL: &[u8] = b"\x82\x21\x05\x04ping\0";

    fn framed(message: &[u8]) -> Vec<u8> {
        [&(message.len() as u32).to_be_bytes(), message].concat()
    }

    #[test]
    fn every_form_of_a_message_start() {
        let compact = Head { encoding: Encoding::Compact, ..PING };
        let header = [&b"\x0f\xff\0\0\0\0\0\x01\0\x01\x02\0\0\0"[..], SMALL].concat();
        for (bytes, want) in [
            (STRICT.to_vec(), Begin::Message(PING, 16, None)),
            (OLD.to_vec(), Begin::Message(PING, 13, None)),
            (SMALL.to_vec(), Begin::Message(compact, 8, None)),
            (framed(STRICT), Begin::Message(PING, 20, Some(17))),
            (framed(OLD), Begin::Message(PING, 17, Some(14))),
            (framed(SMALL), Begin::Message(compact, 12, Some(9))),
            (framed(&header), Begin::Message(compact, 26, Some(23))),
            (framed(b"\x0f\xff\0\0\0\0\0\x01\0\x01\x02\x01\x01\0zzzz"), Begin::Transformed(22)),
        ] {
            assert_eq!(begin(&bytes), want);
            let Begin::Message(_, length, _) = want else { continue };
            for n in 0..length {
                assert!(matches!(begin(&bytes[..n]), Begin::More(1..)), "{n} of {bytes:?}: {:?}", begin(&bytes[..n]));
            }
        }
    }

    #[test]
    fn data_that_is_not_a_message() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"\x80\x01\0\x09\0\0\0\x04ping\0\0\0\x05",
            b"\x80\x01\0\x01\xff\0\0\0x",
            b"\0\0\0\x04\x01\x02\x03\x04\x05\x06",
        ] {
            assert_eq!(begin(bytes), Begin::No, "{bytes:?}");
        }
    }
}
