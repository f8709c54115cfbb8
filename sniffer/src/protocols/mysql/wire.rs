//! Parses packets of the MySQL client/server protocol to borrowed structs. This module does not pair responses with commands.
//!
//! "Client/Server Protocol" of MySQL's source documentation (protocol 4.1, handshake version 10) and "Client/Server
//! Protocol" of MariaDB's knowledge base. The protocol of servers before 4.1 is not supported.

use crate::protocols::kit::reader::Reader;

/// Length of a packet header in bytes. The header has the length of the payload and the sequence number.
pub const HEADER: usize = 4;
/// Maximum length of a packet. The payload of a packet with this length continues in the next packet.
pub const FULL: u32 = 0xff_ffff;

/// Bits of the negotiated capabilities. The upper half is MariaDB's own.
pub mod caps {
    /// The server is MySQL. A server without this flag is MariaDB, which sends more capabilities in a field that is reserved in
    /// MySQL.
    pub const MYSQL: u64 = 1;
    /// Compression with zlib.
    pub const COMPRESS: u64 = 1 << 5;
    /// Protocol 4.1, the only one that this parser supports.
    pub const PROTOCOL_41: u64 = 1 << 9;
    /// The client continues with TLS.
    pub const SSL: u64 = 1 << 11;
    /// The server sends no EOF packets after column definitions and rows.
    pub const DEPRECATE_EOF: u64 = 1 << 24;
    /// A result may leave out its columns (MySQL).
    pub const OPTIONAL_METADATA: u64 = 1 << 25;
    /// Compression with zstd.
    pub const ZSTD: u64 = 1 << 26;
    /// A result may leave out its columns (MariaDB).
    pub const CACHE_METADATA: u64 = 1 << 36;
}

/// Status flags of the server, in OK and EOF packets.
pub mod status {
    /// Another result follows.
    pub const MORE_RESULTS: u16 = 0x0008;
    /// The client fetches the rows with other commands.
    pub const CURSOR_EXISTS: u16 = 0x0040;
}

/// First bytes of the client's commands.
pub mod command {
    #![allow(missing_docs)]
    pub const QUIT: u8 = 0x01;
    pub const INIT_DB: u8 = 0x02;
    pub const QUERY: u8 = 0x03;
    pub const FIELD_LIST: u8 = 0x04;
    pub const PROCESS_INFO: u8 = 0x0a;
    pub const PING: u8 = 0x0e;
    pub const CHANGE_USER: u8 = 0x11;
    pub const BINLOG_DUMP: u8 = 0x12;
    pub const STMT_PREPARE: u8 = 0x16;
    pub const STMT_EXECUTE: u8 = 0x17;
    pub const STMT_SEND_LONG_DATA: u8 = 0x18;
    pub const STMT_CLOSE: u8 = 0x19;
    pub const STMT_RESET: u8 = 0x1a;
    pub const STMT_FETCH: u8 = 0x1c;
    pub const BINLOG_DUMP_GTID: u8 = 0x1e;
    pub const RESET_CONNECTION: u8 = 0x1f;
    pub const LAST: u8 = 0x20;
    /// Only MariaDB has this command.
    pub const STMT_BULK_EXECUTE: u8 = 0xfa;
}

/// The header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the payload in bytes.
    pub len: u32,
    /// Number of the packet in a command and its response.
    pub seq: u8,
}

impl Header {
    /// Parses the header at the start of a packet.
    pub fn read(data: &[u8]) -> Option<Self> {
        let mut r = Reader::new(data);
        Some(Self { len: r.u24_le()?, seq: r.u8()? })
    }
}

/// An integer of 1, 3, 4 or 9 bytes; `None` also for the markers of NULL and errors.
pub fn lenenc(r: &mut Reader<'_>) -> Option<u64> {
    match r.u8()? {
        n @ 0..=0xfa => Some(n.into()),
        0xfc => r.u16_le().map(u64::from),
        0xfd => r.u24_le().map(u64::from),
        0xfe => r.u64_le(),
        _ => None,
    }
}

/// A string preceded by its length.
pub fn lenenc_bytes<'a>(r: &mut Reader<'a>) -> Option<&'a [u8]> {
    let len = usize::try_from(lenenc(r)?).ok()?;
    r.take(len)
}

/// The server's capabilities from its greeting; `None` if it is not a greeting.
pub fn greeting(payload: &[u8]) -> Option<u64> {
    let mut r = Reader::new(payload);
    if r.u8()? != 10 {
        return None;
    }
    let version = r.until(0)?;
    if version.is_empty() || version.len() > 255 || !version.iter().all(|b| matches!(b, b' '..=b'~')) {
        return None;
    }
    r.skip(4 + 8 + 1)?;
    let mut caps = u64::from(r.u16_le()?);
    if r.skip(1 + 2).is_some() {
        caps |= u64::from(r.u16_le()?) << 16;
        r.skip(1 + 6)?;
        let more = r.u32_le()?;
        if caps & caps::MYSQL == 0 {
            caps |= u64::from(more) << 32;
        }
    }
    Some(caps)
}

/// The client's capabilities from its response to the greeting, or from its TLS request, which has the same first
/// bytes.
pub fn login(payload: &[u8]) -> Option<u64> {
    let mut r = Reader::new(payload);
    let caps = u64::from(r.u32_le()?);
    if caps & caps::PROTOCOL_41 == 0 {
        return None;
    }
    r.skip(4 + 1)?;
    if r.take(19)?.iter().any(|b| *b != 0) {
        return None;
    }
    Some(caps | u64::from(r.u32_le()?) << 32)
}

/// Length of a TLS request in bytes.
pub const TLS_REQUEST: u32 = 32;

/// An OK packet, also one that replaces an EOF packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Number of affected rows.
    pub affected: u64,
    /// The first value generated by AUTO_INCREMENT.
    pub insert_id: u64,
    /// Status flags, see [`status`].
    pub status: u16,
}

/// Parses the payload of an OK packet, whatever its first byte is.
pub fn ok(payload: &[u8]) -> Option<Done> {
    let mut r = Reader::new(payload);
    r.skip(1)?;
    Some(Done { affected: lenenc(&mut r)?, insert_id: lenenc(&mut r)?, status: r.u16_le()? })
}

/// Number of bytes of an OK packet that are needed to parse it.
pub const OK_WANTED: usize = 1 + 9 + 9 + 2 + 2;

/// The status in an EOF packet. Servers of version 4.1 end column definitions with an EOF packet of one byte, which has
/// no status.
pub fn eof(len: u32, payload: &[u8]) -> Option<u16> {
    match payload {
        [0xfe, _, _, low, high] if len == 5 => Some(u16::from_le_bytes([*low, *high])),
        [0xfe] if len == 1 => Some(0),
        _ => None,
    }
}

/// An error packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The error number; 65535 is MariaDB's progress report, not an error.
    pub code: u16,
    /// Five characters (SQLSTATE), or empty.
    pub state: &'a [u8],
    /// The error text.
    pub message: &'a [u8],
}

/// Parses the payload of an error packet.
pub fn error(payload: &[u8]) -> Option<Failure<'_>> {
    let mut r = Reader::new(payload);
    r.skip(1)?;
    let code = r.u16_le()?;
    let state = if r.rest().first() == Some(&b'#') { r.take(6)?.get(1..)? } else { &[] };
    Some(Failure { code, state, message: r.rest() })
}

/// The response to a PREPARE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The statement's id.
    pub id: u32,
    /// Number of columns of the statement's result.
    pub columns: u16,
    /// Number of parameters of the statement.
    pub params: u16,
    /// Whether packets that describe columns and parameters follow.
    pub described: bool,
}

/// Parses the response to a PREPARE.
pub fn prepared(payload: &[u8], optional_metadata: bool) -> Option<Prepared> {
    let mut r = Reader::new(payload);
    if r.u8()? != 0 {
        return None;
    }
    let (id, columns, params) = (r.u32_le()?, r.u16_le()?, r.u16_le()?);
    r.skip(3)?;
    Some(Prepared { id, columns, params, described: !(optional_metadata && r.u8() == Some(0)) })
}

/// A column of a result, or a parameter of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    /// The database of the column.
    pub schema: &'a [u8],
    /// The table as the query names it.
    pub table: &'a [u8],
    /// The column's name in the query.
    pub name: &'a [u8],
    /// The column's type.
    pub kind: u8,
    /// Whether the numbers of the column are unsigned.
    pub unsigned: bool,
}

/// Parses the definition of a column. The definition may have MariaDB's extended metadata, and, in the response to
/// FIELD_LIST, a default value at its end.
pub fn column(payload: &[u8]) -> Option<Column<'_>> {
    let mut r = Reader::new(payload);
    lenenc_bytes(&mut r)?;
    let (schema, table) = (lenenc_bytes(&mut r)?, lenenc_bytes(&mut r)?);
    lenenc_bytes(&mut r)?;
    let name = lenenc_bytes(&mut r)?;
    lenenc_bytes(&mut r)?;
    let mut fixed = r;
    if r.remaining() != 13 && lenenc_bytes(&mut r).is_some() && r.rest().first() == Some(&12) && r.remaining() >= 13 {
        fixed = r;
    }
    if fixed.u8()? != 12 {
        return None;
    }
    fixed.skip(2 + 4)?;
    let kind = fixed.u8()?;
    let unsigned = fixed.u16_le()? & 0x20 != 0;
    Some(Column { schema, table, name, kind, unsigned })
}

/// The text of a query. With MySQL 8, query attributes may precede the text. They begin with their number and the byte 1; the text of a
/// query never does.
pub fn query(payload: &[u8]) -> &[u8] {
    attributes(payload).unwrap_or(payload)
}

fn attributes(payload: &[u8]) -> Option<&[u8]> {
    if payload.get(..2).is_none_or(|b| b[0] >= b' ' || b[1] != 1) {
        return None;
    }
    let mut r = Reader::new(payload);
    let count = usize::try_from(lenenc(&mut r)?).ok()?;
    r.skip(1)?;
    if count == 0 {
        return Some(r.rest());
    }
    let nulls = r.take(count.div_ceil(8))?;
    if r.u8()? != 1 {
        return None;
    }
    let mut types = Reader::new(r.rest());
    for _ in 0..count {
        r.skip(2)?;
        lenenc_bytes(&mut r)?;
    }
    let mut unused = Vec::new();
    for i in 0..count {
        let (kind, flags) = (types.u8()?, types.u8()?);
        lenenc_bytes(&mut types)?;
        if nulls.get(i / 8)? >> (i % 8) & 1 == 0 {
            super::values::value(&mut r, kind, flags & 0x80 != 0, super::values::Style::Text, &mut unused)?;
        }
    }
    Some(r.rest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_and_logins() {
        let mysql =
            b"\n8.0.12\0\x15\0\0\0mtZqZXnE\0\xff\xff!\x02\0\xff\xc3\x15\0\0\0\0\0\0\0\0\0\0q\x14hk]-X'{?ri\0caching_sha2_password\0";
        assert_eq!(greeting(mysql), Some(0xc3ff_ffff));
        let mariadb = b"\n5.5.5-10.11.6-MariaDB\0\x03\0\0\0abcdefgh\0\xfe\xf7-\x02\0\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0abcdefghijkl\0";
        assert_eq!(greeting(mariadb), Some(0x1d_81ff_f7fe));
        assert_eq!((greeting(b"\n8.0\0"), greeting(b"\n\x01\0"), greeting(b"")), (None, None, None));
        let mut client = b"\x05\xa2\xbf\x01\0\0\0\x01!".to_vec();
        client.extend([0; 19]);
        assert_eq!(login(&client), None);
        client.extend(b"\x04\0\0\0root\0");
        assert_eq!(login(&client), Some(0x4_01bf_a205));
    }

    #[test]
    fn lengths() {
        let all = |data: &[u8]| lenenc(&mut Reader::new(data));
        assert_eq!(all(&[0xfa]), Some(250));
        assert_eq!(all(&[0xfc, 0x2c, 1]), Some(300));
        assert_eq!(all(&[0xfd, 1, 0, 1]), Some(0x1_0001));
        assert_eq!(all(&[0xfe, 1, 0, 0, 0, 0, 0, 0, 1]), Some(0x0100_0000_0000_0001));
        assert_eq!((all(&[0xfb]), all(&[0xff]), all(&[0xfc, 1]), all(&[])), (None, None, None, None));
        assert_eq!(lenenc_bytes(&mut Reader::new(&[0xfe, 255, 255, 255, 255, 255, 255, 255, 255])), None);
    }

    #[test]
    fn packets_that_end_a_result() {
        let done = ok(b"\0\xfc<\x01\0\"\0\0\0").unwrap();
        assert_eq!(done, Done { affected: 316, insert_id: 0, status: 0x22 });
        assert_eq!(eof(5, b"\xfe\0\0\x0a\0"), Some(10));
        assert_eq!(eof(7, b"\xfe\0\0\x02\0\0\0"), None);
        assert_eq!((eof(1, b"\xfe"), eof(2, b"\xfe\0"), eof(5, b"\xfe")), (Some(0), None, None));
        let failed = error(b"\xff\x28\x04#42000You have").unwrap();
        assert_eq!(failed, Failure { code: 1064, state: b"42000", message: b"You have" });
        assert_eq!(error(b"\xff\x10\x04Too many").unwrap(), Failure { code: 1040, state: b"", message: b"Too many" });
    }

    #[test]
    fn columns() {
        let plain = b"\x03def\x04test\x01t\x04test\x01a\x01a\x0c?\0\x0b\0\0\0\x03 \0\0\0\0";
        let wanted = Column { schema: b"test", table: b"t", name: b"a", kind: 3, unsigned: true };
        assert_eq!(column(plain), Some(wanted));
        let extended = b"\x03def\x04test\x01t\x04test\x01a\x01a\x06\x00\x04json\x0c?\0\x0b\0\0\0\x03 \0\0\0\0";
        assert_eq!(column(extended), Some(wanted));
        let with_default = b"\x03def\x04test\x01t\x04test\x01a\x01a\x0c?\0\x0b\0\0\0\x03 \0\0\0\0\x010";
        assert_eq!(column(with_default), Some(wanted));
        assert_eq!(column(&plain[..28]), None);
        assert_eq!(column(b"\x0212\x011"), None);
    }

    #[test]
    fn statements() {
        let answer = b"\0\x0b\0\0\0\x01\0\x03\0\0\0\0";
        assert_eq!(prepared(answer, false), Some(Prepared { id: 11, columns: 1, params: 3, described: true }));
        assert!(!prepared(b"\0\x0b\0\0\0\x01\0\x03\0\0\0\0\0", true).unwrap().described);
    }

    #[test]
    fn query_attributes() {
        assert_eq!(query(b"select 1"), b"select 1");
        assert_eq!(query(b"\0\x01select 1"), b"select 1");
        assert_eq!(query(b"\x02\x01\x02\x01\xfe\0\x01a\x08\x80\x01b\x03xyzselect 2"), b"select 2");
        assert_eq!(query(b"\x02\x01\x00\x01\xfe"), b"\x02\x01\x00\x01\xfe");
    }
}
