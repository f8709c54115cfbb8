//! Reports a statement and its result as a document, and formats the result as text.

use super::{value, wire};
use crate::{
    event::{Head, Status, Text},
    protocols::{CommonOptions, Context, kit::held::Held},
    time::Timestamp,
};
use serde::Serialize;
use std::{borrow::Cow, ops::Range};

/// A statement with its result.
pub struct Statement<'a> {
    /// The text of the statement.
    pub sql: &'a [u8],
    /// Time of the request.
    pub start: Option<Timestamp>,
    /// Time at which the response began.
    pub end: Option<Timestamp>,
    /// Bytes of the request.
    pub request: u64,
    /// Bytes of the response.
    pub response: u64,
    /// Number of columns of the result.
    pub fields: u16,
    /// Number of rows of the result.
    pub rows: u64,
    /// The result as text.
    pub text: &'a [u8],
    /// The error that the server reported.
    pub failure: Option<wire::Failure<'a>>,
    /// Notes about the statement, see [`Head::notes`].
    pub notes: &'a [&'a str],
}

#[derive(Serialize)]
struct Body<'a> {
    pgsql: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    num_fields: u16,
    num_rows: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_severity: Option<Text<'a>>,
}

/// Reports the statement.
pub fn emit(statement: &Statement<'_>, common: &CommonOptions, cx: &mut Context<'_>) {
    let method = super::sql::method(statement.sql);
    let failure = statement.failure;
    let head = Head {
        status: if failure.is_some() { Status::Error } else { Status::OK },
        start: statement.start,
        end: statement.end,
        source_bytes: statement.request,
        destination_bytes: statement.response,
        method: Some(Text(&method)),
        query: Some(Text(statement.sql)),
        request: common.send_request.then_some(Text(statement.sql)),
        response: common.send_response.then_some(Text(statement.text)),
        notes: statement.notes,
        ..Head::new("pgsql")
    };
    let fields = Fields {
        num_fields: statement.fields,
        num_rows: statement.rows,
        error_code: failure.map(|f| Text(f.code)),
        error_message: failure.map(|f| Text(f.message)),
        error_severity: failure.map(|f| Text(f.severity)),
    };
    cx.emit(&head, &Body { pgsql: fields });
}

/// The formats of the columns of a portal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Formats {
    /// The formats in the RowDescription.
    #[default]
    Described,
    /// The formats in the Bind: no format (all columns are text), one for all columns, or one for each.
    Bound(smallvec::SmallVec<[bool; 8]>),
    /// The formats are unknown, because the Bind was too long to be buffered.
    Unknown,
}

/// The known properties of the columns of a result.
#[derive(Debug, Default)]
pub struct Columns {
    /// Number of columns.
    pub count: u16,
    /// Type and format of each column; empty if results are not shown.
    types: Vec<(u32, bool)>,
    /// The column names, as the first line of the reported rows.
    header: Vec<u8>,
}

impl Columns {
    /// Parses a RowDescription. Names and types are kept only if the text is needed.
    pub fn read(body: &[u8], wanted: bool) -> Option<Self> {
        let mut columns = Self::default();
        if !wanted {
            columns.count = wire::columns(body, |_| ())?;
            return Some(columns);
        }
        columns.count = wire::columns(body, |column| {
            if !columns.types.is_empty() {
                columns.header.push(b',');
            }
            write_field(&mut columns.header, column.name, false);
            columns.types.push((column.oid, column.format == 1));
        })?;
        if columns.count > 0 {
            columns.header.push(b'\n');
        }
        Some(columns)
    }

    /// Starts the text of a result.
    pub fn write_header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header);
    }
}

impl Held for Columns {
    fn held(&self) -> usize {
        self.header.held() + self.types.held()
    }
}

impl Held for Formats {
    fn held(&self) -> usize {
        match self {
            Self::Bound(formats) => formats.held(),
            Self::Described | Self::Unknown => 0,
        }
    }
}

/// Adds a row to the text: at most `most` bytes of values, of which the last may be cut.
pub fn write_row(out: &mut Vec<u8>, values: wire::Values<'_>, columns: Option<&Columns>, formats: &Formats, most: usize) {
    let (mut room, mut scratch) = (most, Vec::new());
    for (i, value) in values.enumerate() {
        if room == 0 {
            break;
        }
        if i > 0 {
            out.push(b',');
        }
        let Some(value) = value else {
            out.extend_from_slice(b"NULL");
            room = room.saturating_sub(4);
            continue;
        };
        let kind = columns.and_then(|c| c.types.get(i)).copied();
        let binary = match formats {
            Formats::Described => kind.is_some_and(|(_, binary)| binary),
            Formats::Bound(list) => if list.len() == 1 { list.first() } else { list.get(i) }.copied().unwrap_or_default(),
            Formats::Unknown => std::str::from_utf8(value).is_err() || value.contains(&0),
        };
        let text: Cow<'_, [u8]> = if binary {
            scratch.clear();
            value::write(&mut scratch, kind.map_or(0, |(oid, _)| oid), value);
            (&scratch[..]).into()
        } else {
            value.into()
        };
        let shown = text.get(..room).unwrap_or(&text);
        room -= shown.len();
        write_field(out, shown, true);
    }
    out.push(b'\n');
}

/// Writes a field of a line. Line breaks become two characters, a backslash and a letter. The field is quoted if a CSV reader would
/// otherwise read another value.
fn write_field(out: &mut Vec<u8>, field: &[u8], row: bool) {
    let space = field.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next()).is_some_and(char::is_whitespace);
    let breaks = matches!(field.first(), Some(b'\n')) || row && matches!(field.first(), Some(b'\r'));
    let quoted = field == b"\\." || space && !breaks || field.iter().any(|b| matches!(b, b',' | b'"') || *b == b'\r' && !row);
    if quoted {
        out.push(b'"');
    }
    let mut rest = field;
    while let Some(n) = memchr::memchr3(b'\n', b'\r', b'"', rest) {
        let (plain, after) = rest.split_at(n);
        out.extend_from_slice(plain);
        match after.first() {
            Some(b'\n') => out.extend_from_slice(b"\\n"),
            Some(b'\r') if row => out.extend_from_slice(b"\\r"),
            Some(b'"') => out.extend_from_slice(b"\"\""),
            other => out.extend(other),
        }
        rest = after.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    if quoted {
        out.push(b'"');
    }
}

/// The part of a response that was read.
#[derive(Debug, Default)]
pub struct Answer {
    /// Whether the columns are known, from a RowDescription or the portal.
    pub described: bool,
    /// Number of columns.
    pub fields: u16,
    /// Number of rows.
    pub rows: u64,
    /// Number of messages of a COPY.
    pub copied: u64,
    /// Whether bytes are missing in the capture.
    pub lost: bool,
    /// The rows as text.
    pub text: Vec<u8>,
}

impl Answer {
    /// Capacity in bytes of a buffer that is kept for the next response. A large result must not hold its memory for the rest of the
    /// connection.
    const KEPT: usize = 64 << 10;

    /// Clears the answer for the next response.
    pub fn clear(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        text.shrink_to(Self::KEPT);
        *self = Self { text, ..Self::default() };
    }
}

/// The range of a statement that was sent alone, without white space around it and without a `;` at its end.
pub fn trimmed(sql: &[u8]) -> Range<usize> {
    let parts = super::sql::split(sql);
    match (parts.first(), parts.last()) {
        (Some(&(from, _)), Some(&(_, to))) => from..to,
        _ => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str, row: bool) -> String {
        let mut out = vec![];
        write_field(&mut out, text.as_bytes(), row);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields() {
        assert_eq!(field("plain text", true), "plain text");
        assert_eq!(field("a,b", true), "\"a,b\"");
        assert_eq!(field(" a", true), "\" a\"");
        assert_eq!(field("say \"x\"", true), "\"say \"\"x\"\"\"");
        assert_eq!(field("a\r\nb", true), "a\\r\\nb");
        assert_eq!(field("a\nb\r", false), "\"a\\nb\r\"");
        assert_eq!(field("\nb", true), "\\nb");
        assert_eq!((field("", true), field("\\.", true)), (String::new(), "\"\\.\"".into()));
    }

    #[test]
    fn rows_are_cut() {
        let body = b"\0\x03\0\0\0\x03abc\0\0\0\x03def\0\0\0\x03ghi";
        let row = |most| {
            let mut out = vec![];
            write_row(&mut out, wire::Values::new(body).unwrap(), None, &Formats::Described, most);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            (row(100), row(9), row(6), row(4)),
            ("abc,def,ghi\n".into(), "abc,def,ghi\n".into(), "abc,def\n".into(), "abc,d\n".into())
        );
    }
}
