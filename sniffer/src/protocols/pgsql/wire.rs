//! Parses the frontend/backend protocol, version 3: message headers, and the contents of the messages that are needed.
//!
//! PostgreSQL manual, "Frontend/Backend Protocol" (chapter 55), "Message Formats".

use crate::{net::Direction, protocols::kit::reader::Reader};
use memchr::memmem;

/// Longest message that the server accepts (`PQ_LARGE_MESSAGE_LIMIT`).
const LONGEST: u32 = 0x3fff_ffff;
/// Longest tag of a CommandComplete, which has one or two words and numbers.
const LONGEST_TAG: u32 = 256;
/// Longest message at the start of a connection (the server's `MAX_STARTUP_PACKET_LENGTH`).
const LONGEST_STARTUP: u32 = 10_000;
/// Longest message that [`chain`] recognises by its header alone. Text that looks like a header announces at least 512 MiB.
const LONGEST_UNSEEN: u64 = 16 << 20;
/// Maximum number of columns of a result: the server's limit is 1664.
const MOST_COLUMNS: u16 = 1664;

/// The header of a message: its first five bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The type byte of the message.
    pub kind: u8,
    /// The length, including the header.
    pub length: u64,
}

/// Length of a message header in bytes.
pub const HEAD: usize = 5;

impl Frame {
    /// Length of the part after the header.
    pub fn body(self) -> u64 {
        self.length - HEAD as u64
    }
}

/// The result of parsing a message header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A valid header of a message.
    Message(Frame),
    /// This number of further bytes is needed to decide.
    More(usize),
    /// The data is not of this protocol.
    Nonsense,
}

/// Parses the message header at the start of `data`, sent in direction `dir`.
pub fn start(dir: Direction, data: &[u8]) -> Start {
    let Some((&kind, rest)) = data.split_first() else { return Start::More(HEAD) };
    let Some((low, high)) = lengths(dir, kind) else { return Start::Nonsense };
    match rest.first_chunk().map(|&bytes| u32::from_be_bytes(bytes)) {
        Some(length) if (low..=high).contains(&length) => Start::Message(Frame { kind, length: u64::from(length) + 1 }),
        Some(_) => Start::Nonsense,
        None => Start::More(HEAD - data.len()),
    }
}

/// Smallest and largest length of a type of message, without its first byte; `None` if that side does not send this
/// type.
fn lengths(dir: Direction, kind: u8) -> Option<(u32, u32)> {
    let least = match (dir, kind) {
        (Direction::ToServer, b'Q' | b'f') => 5,
        (Direction::ToServer, b'P') => 8,
        (Direction::ToServer, b'B') => 12,
        (Direction::ToServer, b'D' | b'C') => 6,
        (Direction::ToServer, b'E') => 9,
        (Direction::ToServer, b'F') => 14,
        (Direction::ToServer, b'S' | b'H' | b'X') => return Some((4, 4)),
        (Direction::ToServer, b'p') => 4,
        (_, b'd') => 4,
        (_, b'c') => return Some((4, 4)),
        (Direction::ToClient, b'1' | b'2' | b'3' | b'n' | b's' | b'I') => return Some((4, 4)),
        (Direction::ToClient, b'Z') => return Some((5, 5)),
        (Direction::ToClient, b'C') => return Some((5, LONGEST_TAG)),
        (Direction::ToClient, b'D' | b'T' | b't' | b'S') => 6,
        (Direction::ToClient, b'E' | b'N') => 5,
        (Direction::ToClient, b'G' | b'H' | b'W') => 7,
        (Direction::ToClient, b'R' | b'V') => 8,
        (Direction::ToClient, b'A') => 10,
        (Direction::ToClient, b'K' | b'v') => return Some((12, 1024)),
        _ => return None,
    };
    Some((least, LONGEST))
}

/// Whether `data` consists of consecutive messages of direction `dir`, as far as it goes, and how many are complete. `None` also if it ends
/// inside a message that is longer than [`LONGEST_UNSEEN`].
pub fn chain(dir: Direction, mut data: &[u8]) -> Option<usize> {
    /// Number of complete messages that are sufficient.
    const ENOUGH: usize = 8;
    let mut whole = 0;
    while whole < ENOUGH {
        match start(dir, data) {
            Start::Message(frame) => match usize::try_from(frame.length).ok().and_then(|n| data.get(n..)) {
                Some(rest) => (whole, data) = (whole + 1, rest),
                None if frame.length > LONGEST_UNSEEN => return None,
                None => break,
            },
            Start::More(_) => break,
            Start::Nonsense => return None,
        }
    }
    Some(whole)
}

/// The end of the next ReadyForQuery. Other data contains these bytes only by chance.
pub fn after_ready(data: &[u8]) -> Option<usize> {
    memmem::find_iter(data, b"Z\0\0\0\x05").map(|at| at + READY).find(|&end| matches!(data.get(end - 1), Some(b'I' | b'T' | b'E')))
}

/// Length of a ReadyForQuery in bytes.
pub const READY: usize = 6;

/// A message without a type, at the start of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// StartupMessage of version 3.
    Startup,
    /// SSLRequest: the client requests TLS.
    Ssl,
    /// GSSENCRequest: the client requests GSSAPI encryption.
    Gss,
    /// CancelRequest, which is the only message of its connection.
    Cancel,
}

/// The message at the start of a connection, and its length. `Err` has the number of missing bytes; 0 if it is not such
/// a message.
pub fn opening(data: &[u8]) -> Result<(Opening, usize), usize> {
    let mut r = Reader::new(data);
    let (Some(length), Some(code)) = (r.u32(), r.u32()) else {
        return Err(if data.iter().take(2).all(|&b| b == 0) { 8 - data.len() } else { 0 });
    };
    let opening = match (code, length) {
        (80_877_102, 16..=1024) => Opening::Cancel,
        (80_877_103, 8) => Opening::Ssl,
        (80_877_104, 8) => Opening::Gss,
        (0x0003_0000..=0x0003_ffff, 8..=LONGEST_STARTUP) => Opening::Startup,
        _ => return Err(0),
    };
    Ok((opening, length as usize))
}

/// A column of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    /// The column's name.
    pub name: &'a [u8],
    /// Object id of the type.
    pub oid: u32,
    /// The format: 0 is text, 1 is binary.
    pub format: u16,
}

/// Parses the columns of a RowDescription and passes them to `each`. Returns the number of columns; `None` if it is
/// malformed.
pub fn columns<'a>(body: &'a [u8], mut each: impl FnMut(Column<'a>)) -> Option<u16> {
    let mut r = Reader::new(body);
    let count = r.u16().filter(|&n| n <= MOST_COLUMNS)?;
    for _ in 0..count {
        let name = r.until(0)?;
        r.skip(6)?; // This skips the numbers of table and column.
        let oid = r.u32()?;
        r.skip(6)?; // This skips the size and the modifier of the type.
        each(Column { name, oid, format: r.u16()? });
    }
    Some(count)
}

/// The values of a DataRow, which may be incomplete. `None` is NULL; a value that is cut off is the last one.
pub struct Values<'a> {
    left: u16,
    r: Reader<'a>,
}

impl<'a> Values<'a> {
    /// Parses the body of a DataRow; `None` if it is malformed.
    pub fn new(body: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(body);
        let left = r.u16().filter(|&n| n <= MOST_COLUMNS)?;
        Some(Self { left, r })
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let Ok(length) = usize::try_from(self.r.i32()?) else { return Some(None) };
        let value = self.r.take(length).or_else(|| self.r.take(self.r.remaining()));
        Some(Some(value.unwrap_or_default()))
    }
}

/// A Bind, without its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal that the Bind defines.
    pub portal: &'a [u8],
    /// The name of the prepared statement.
    pub statement: &'a [u8],
    /// The formats of the result columns, two bytes each: none (all text), one for all columns, or one for each; `None`
    /// if unknown, because the message is longer than `body`.
    pub formats: Option<&'a [u8]>,
}

/// Parses the captured part of a Bind.
pub fn bind(body: &[u8]) -> Option<Bind<'_>> {
    let mut r = Reader::new(body);
    let (portal, statement) = (r.until(0)?, r.until(0)?);
    let mut formats = || {
        let count = r.u16()?;
        r.skip(usize::from(count) * 2)?;
        for _ in 0..r.u16()? {
            if let Ok(length) = usize::try_from(r.i32()?) {
                r.skip(length)?;
            }
        }
        let count = r.u16()?;
        r.take(usize::from(count) * 2)
    };
    let formats = formats();
    Some(Bind { portal, statement, formats })
}

/// The reported fields of an ErrorResponse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failure<'a> {
    /// S: the severity in the server's language.
    pub severity: &'a [u8],
    /// C: five characters (SQLSTATE).
    pub code: &'a [u8],
    /// M: the message.
    pub message: &'a [u8],
}

/// Parses an ErrorResponse; fields that are cut off are left out.
pub fn failure(body: &[u8]) -> Failure<'_> {
    let (mut failure, mut r) = (Failure::default(), Reader::new(body));
    while let Some(kind) = r.u8().filter(|&kind| kind != 0) {
        let Some(value) = r.until(0) else { break };
        match kind {
            b'S' => failure.severity = value,
            b'C' => failure.code = value,
            b'M' => failure.message = value,
            _ => {}
        }
    }
    failure
}

/// The number of rows in the tag of a CommandComplete of a COPY.
pub fn copied(tag: &[u8]) -> Option<u64> {
    std::str::from_utf8(tag.strip_prefix(b"COPY ")?.strip_suffix(b"\0")?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{ToClient, ToServer};

    #[test]
    fn heads() {
        assert_eq!(start(ToServer, b"Q\0\0\0\x05\0"), Start::Message(Frame { kind: b'Q', length: 6 }));
        assert_eq!(start(ToServer, b"Q\0\0\0\x04"), Start::Nonsense);
        assert_eq!(start(ToServer, b"Q\x40\0\0\0"), Start::Nonsense);
        assert_eq!(start(ToServer, b"S\0\0"), Start::More(2));
        assert_eq!(start(ToServer, b"GET / HTTP/1.1"), Start::Nonsense);
        assert_eq!(start(ToClient, b"Q\0\0\0\x05\0"), Start::Nonsense);
        assert_eq!(start(ToClient, b"C\0\0\x10\0"), Start::Nonsense);
        assert_eq!(chain(ToClient, b"1\0\0\0\x042\0\0\0\x04Z\0\0\0\x05I"), Some(3));
        assert_eq!(chain(ToServer, b"1\0\0\0\x04"), None);
        assert_eq!(chain(ToServer, b"Q\0\0\0\x09sel"), Some(0));
        assert_eq!((chain(ToClient, b"T 1\0Z\0\0\0\x05I"), chain(ToServer, b"Q\x01\0\0\0sel")), (None, None));
    }

    #[test]
    fn ready_is_found_anywhere() {
        assert_eq!(after_ready(b"xxZ\0\0\0\x05xxZ\0\0\0\x05Tyy"), Some(15));
        assert_eq!(after_ready(b"Z\0\0\0\x05"), None);
    }

    #[test]
    fn openings() {
        assert_eq!(opening(b"\0\0\0\x08\x04\xd2\x16\x2f"), Ok((Opening::Ssl, 8)));
        assert_eq!(opening(b"\0\0\0\x08\x04\xd2\x16\x30"), Ok((Opening::Gss, 8)));
        assert_eq!(opening(b"\0\0\0\x10\x04\xd2\x16\x2e"), Ok((Opening::Cancel, 16)));
        assert_eq!(opening(b"\0\0\0\x09\0\x03\0\0\0"), Ok((Opening::Startup, 9)));
        assert_eq!(opening(b"\0\0\0"), Err(5));
        assert_eq!(opening(b"\0\x01\0"), Err(0));
        assert_eq!(opening(b"\0\0\0\x09\0\x02\0\0\0"), Err(0));
    }

    #[test]
    fn descriptions_and_rows() {
        let body = b"\0\x02a\0\0\0\0\x01\0\x02\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01b\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
        let mut seen = vec![];
        assert_eq!(columns(body, |c| seen.push((c.name, c.oid, c.format))), Some(2));
        assert_eq!(seen, [(&b"a"[..], 23, 1), (&b"b"[..], 25, 0)]);
        assert_eq!(columns(&body[..30], |_| ()), None);
        assert_eq!(columns(b"\xff\xff", |_| ()), None);

        let row = b"\0\x03\0\0\0\x01a\xff\xff\xff\xff\0\0\0\x04bcde";
        assert_eq!(Values::new(row).unwrap().collect::<Vec<_>>(), [Some(&b"a"[..]), None, Some(b"bcde")]);
        assert_eq!(Values::new(&row[..17]).unwrap().last(), Some(Some(&b"bc"[..])));
    }

    #[test]
    fn binds() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x01\0\x01";
        assert_eq!(bind(body), Some(Bind { portal: b"p", statement: b"s", formats: Some(b"\0\x01") }));
        assert_eq!(bind(&body[..12]), Some(Bind { portal: b"p", statement: b"s", formats: None }));
        assert_eq!(bind(b"p\0s"), None);
    }

    #[test]
    fn errors_and_tags() {
        let want = Failure { severity: b"ERROR", code: b"42601", message: b"syntax" };
        assert_eq!(failure(b"SERROR\0VERROR\0C42601\0Msyntax\0P1\0\0"), want);
        assert_eq!(failure(b"SERROR\0C42"), Failure { severity: b"ERROR", ..Failure::default() });
        assert_eq!((copied(b"COPY 12\0"), copied(b"SELECT 1\0"), copied(b"COPY\0")), (Some(12), None, None));
    }
}
