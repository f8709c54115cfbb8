//! Parses messages to borrowed views: the header, the operations, and the documents in them, which are not checked yet
//! (`bson`'s raw views, which read one element at a time and do not recurse).
//!
//! <https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>,
//! <https://github.com/mongodb/specifications/blob/master/source/message/OP_MSG.md>,
//! <https://github.com/mongodb/specifications/blob/master/source/compression/OP_COMPRESSED.md>

use crate::protocols::kit::reader::Reader;
use bson::RawDocument;
use smallvec::SmallVec;

/// Length of a message header in bytes.
pub const HEADER: usize = 16;
/// `maxMessageSizeBytes` of all servers: a longer message is invalid.
pub const LONGEST: usize = 48_000_000;
/// Maximum number of document sequences of a message; drivers send one, a bulk write two.
const MOST_SEQUENCES: usize = 8;
/// Maximum number of sections of a message: a body, the sequences, and one that servers use among themselves.
const MOST_SECTIONS: usize = MOST_SEQUENCES + 2;

/// The operation of a message.
pub mod op {
    #![allow(missing_docs, reason = "the names say it")]
    pub const REPLY: i32 = 1;
    pub const OLD_MSG: i32 = 1000;
    pub const UPDATE: i32 = 2001;
    pub const INSERT: i32 = 2002;
    pub const QUERY: i32 = 2004;
    pub const GET_MORE: i32 = 2005;
    pub const DELETE: i32 = 2006;
    pub const KILL_CURSORS: i32 = 2007;
    /// The servers of a cluster of version 3.2 to 4.0 use this operation among themselves. It is known so that it can be skipped.
    pub const COMMAND: i32 = 2010;
    pub const COMMAND_REPLY: i32 = 2011;
    pub const COMPRESSED: i32 = 2012;
    pub const MSG: i32 = 2013;
}

/// Flags of an OP_MSG.
pub mod flag {
    /// The message ends with a CRC-32C.
    pub const CHECKSUM_PRESENT: u32 = 1;
    /// In a request: no reply is expected. In a reply: another reply to the same request follows.
    pub const MORE_TO_COME: u32 = 2;
    /// A message with an unknown bit among these must be rejected. Only the two bits above are assigned.
    pub const REQUIRED: u32 = 0xffff;
}

/// The header of every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the complete message in bytes.
    pub length: usize,
    /// The id of the message, chosen by the sender.
    pub id: i32,
    /// The id of the message to which it replies.
    pub to: i32,
    /// The operation, see [`op`].
    pub op: i32,
}

impl Header {
    /// Parses the header at the start of `data`; `None` if it is too short or not one of MongoDB.
    pub fn read(data: &[u8]) -> Option<Self> {
        let mut r = Reader::new(data);
        let (length, id, to, op) = (r.u32_le()?, r.i32_le()?, r.i32_le()?, r.i32_le()?);
        let length = usize::try_from(length).ok().filter(|n| (HEADER..=LONGEST).contains(n))?;
        let known = matches!(op, op::REPLY | op::OLD_MSG | op::UPDATE..=op::KILL_CURSORS | op::COMMAND..=op::MSG);
        known.then_some(Self { length, id, to, op })
    }

    /// Whether `data`, which is shorter than a header, may be the beginning of one.
    pub fn possible(data: &[u8]) -> bool {
        data.len() < HEADER && data.get(3).is_none_or(|&most| usize::from(most) <= LONGEST >> 24)
    }
}

/// The operation code of the header at the start of `data`, if all other fields of the header are valid.
pub fn unknown_operation(data: &[u8]) -> Option<i32> {
    let mut r = Reader::new(data);
    let (length, _id, _to, op) = (r.u32_le()?, r.i32_le()?, r.i32_le()?, r.i32_le()?);
    let is_length = usize::try_from(length).is_ok_and(|n| (HEADER..=LONGEST).contains(&n));
    (is_length && Header::read(data).is_none()).then_some(op)
}

/// The contents of a message.
#[derive(Debug)]
pub enum Message<'a> {
    /// An OP_MSG.
    Msg(Msg<'a>),
    /// An OP_QUERY.
    Query {
        /// The flags. Bit 6 requests all replies at once.
        flags: u32,
        /// The name of the collection, as `database.collection`.
        name: &'a [u8],
        /// Number of documents to skip.
        skip: i32,
        /// Number of documents to return.
        number: i32,
        /// The query document.
        document: &'a RawDocument,
        /// The fields to return.
        fields: Option<&'a RawDocument>,
    },
    /// An OP_REPLY.
    Reply {
        /// The id of the cursor for further documents.
        cursor: i64,
        /// The position of this reply in the result.
        from: i32,
        /// Number of documents in this reply.
        number: i32,
        /// The documents, see [`documents`].
        documents: &'a [u8],
    },
    /// An OP_GET_MORE.
    GetMore {
        /// The name of the collection, as `database.collection`.
        name: &'a [u8],
        /// Number of documents to return.
        number: i32,
        /// The cursor of the previous reply.
        cursor: i64,
    },
    /// An OP_INSERT.
    Insert {
        /// The name of the collection, as `database.collection`.
        name: &'a [u8],
    },
    /// An OP_UPDATE.
    Update {
        /// The name of the collection, as `database.collection`.
        name: &'a [u8],
        /// The document that selects the documents to change.
        selector: &'a RawDocument,
        /// The document with the changes.
        update: &'a RawDocument,
    },
    /// An OP_DELETE.
    Delete {
        /// The name of the collection, as `database.collection`.
        name: &'a [u8],
        /// The document that selects the documents to delete.
        selector: &'a RawDocument,
    },
    /// An OP_KILL_CURSORS.
    KillCursors,
    /// The legacy OP_MSG, which contains only a text.
    OldMsg(&'a [u8]),
    /// A known operation that is not reported.
    Other,
}

/// The contents of an OP_MSG.
#[derive(Debug)]
pub struct Msg<'a> {
    /// The flags of the message, see [`flag`].
    pub flags: u32,
    /// The command or the reply.
    pub body: &'a RawDocument,
    /// The document sequences. Each belongs to the body as an array with the name of the sequence.
    pub sequences: Sequences<'a>,
}

/// The names of arrays and the documents in them, see [`documents`].
pub type Sequences<'a> = SmallVec<[(&'a str, &'a [u8]); 2]>;

/// Parses the data after a message's header. Returns `None` if the data is malformed.
pub fn message(op: i32, data: &[u8]) -> Option<Message<'_>> {
    let mut r = Reader::new(data);
    Some(match op {
        op::MSG => Message::Msg(msg(data)?),
        op::QUERY => {
            let flags = r.u32_le()?;
            let name = r.until(0)?;
            let (skip, number, document) = (r.i32_le()?, r.i32_le()?, document(&mut r)?);
            Message::Query { flags, name, skip, number, document, fields: if r.is_empty() { None } else { Some(self::document(&mut r)?) } }
        }
        op::REPLY => {
            r.u32_le()?;
            Message::Reply { cursor: r.i64_le()?, from: r.i32_le()?, number: r.i32_le()?, documents: r.rest() }
        }
        op::GET_MORE => {
            r.u32_le()?;
            Message::GetMore { name: r.until(0)?, number: r.i32_le()?, cursor: r.i64_le()? }
        }
        op::INSERT => {
            r.u32_le()?;
            Message::Insert { name: r.until(0)? }
        }
        op::UPDATE => {
            r.u32_le()?;
            let name = r.until(0)?;
            r.u32_le()?;
            Message::Update { name, selector: document(&mut r)?, update: document(&mut r)? }
        }
        op::DELETE => {
            r.u32_le()?;
            let name = r.until(0)?;
            r.u32_le()?;
            Message::Delete { name, selector: document(&mut r)? }
        }
        op::KILL_CURSORS => Message::KillCursors,
        op::OLD_MSG => Message::OldMsg(r.until(0)?),
        _ => Message::Other,
    })
}

fn msg(data: &[u8]) -> Option<Msg<'_>> {
    let mut r = Reader::new(data);
    let flags = r.u32_le()?;
    if flags & flag::REQUIRED & !(flag::CHECKSUM_PRESENT | flag::MORE_TO_COME) != 0 {
        return None;
    }
    // The checksum is not verified, because TCP has one, and the capture may have cut the message.
    let end = if flags & flag::CHECKSUM_PRESENT == 0 { 0 } else { 4 };
    let mut r = Reader::new(r.rest().get(..r.remaining().checked_sub(end)?)?);
    let (mut body, mut sequences) = (None, Sequences::new());
    for _ in 0..MOST_SECTIONS {
        match r.u8() {
            None => break,
            Some(0) => body = Some(document(&mut r)?),
            Some(1) => {
                let rest = r.remaining();
                let size = usize::try_from(r.u32_le()?).ok()?;
                let name = std::str::from_utf8(r.until(0)?).ok()?;
                let documents = r.take(size.checked_sub(rest - r.remaining())?)?;
                if sequences.len() < MOST_SEQUENCES {
                    sequences.push((name, documents));
                }
            }
            // The section is a token that servers use among themselves.
            Some(2) => drop(document(&mut r)?),
            Some(_) => return None,
        }
    }
    Some(Msg { flags, body: body?, sequences })
}

/// The next document. Its end is checked, but not its elements.
fn document<'a>(r: &mut Reader<'a>) -> Option<&'a RawDocument> {
    let length = i32::from_le_bytes(*r.rest().first_chunk()?);
    RawDocument::from_bytes(r.take(usize::try_from(length).ok()?)?).ok()
}

/// The documents in `data`, up to the first malformed one. Each document takes at least five bytes, so the input
/// bounds their number.
pub fn documents(data: &[u8]) -> impl Iterator<Item = &RawDocument> {
    let mut r = Reader::new(data);
    std::iter::from_fn(move || document(&mut r))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document `{"a": 1}`.
    const DOC: &[u8] = b"\x0c\0\0\0\x10a\0\x01\0\0\0\0";

    #[test]
    fn headers() {
        let ping = b"\x30\0\0\0\x07\0\0\0\0\0\0\0\xdd\x07\0\0";
        assert_eq!(Header::read(ping), Some(Header { length: 48, id: 7, to: 0, op: op::MSG }));
        assert_eq!(Header::read(&ping[..15]), None);
        assert_eq!(Header::read(b"\x0f\0\0\0\x07\0\0\0\0\0\0\0\xdd\x07\0\0"), None, "shorter than itself");
        assert_eq!(Header::read(b"\0\0\0\x03\x07\0\0\0\0\0\0\0\xdd\x07\0\0"), None, "48 MiB");
        assert_eq!(Header::read(b"\x30\0\0\0\x07\0\0\0\0\0\0\0\xdd\x08\0\0"), None, "no such operation");
        assert!(Header::possible(&ping[..15]) && !Header::possible(b"GET / HTTP/1.1") && !Header::possible(ping));
    }

    #[test]
    fn op_msg_with_sequences_and_a_checksum() {
        let data = [b"\x03\0\0\0\x01\x1f\0\0\0ids\0" as &[u8], &DOC[..12], &[0; 11], b"\0", DOC, b"sum!"].concat();
        let Some(Message::Msg(m)) = message(op::MSG, &data) else { panic!("not read") };
        assert_eq!(m.flags, flag::CHECKSUM_PRESENT | flag::MORE_TO_COME);
        assert_eq!(m.body.as_bytes(), DOC);
        assert_eq!((m.sequences.len(), m.sequences[0].0, documents(m.sequences[0].1).count()), (1, "ids", 1));
    }

    #[test]
    fn op_msg_that_is_malformed() {
        assert!(message(op::MSG, &[b"\0\0\0\0\0" as &[u8], DOC].concat()).is_some());
        assert!(message(op::MSG, &[b"\x04\0\0\0\0" as &[u8], DOC].concat()).is_none(), "an unknown flag that must be known");
        assert!(message(op::MSG, &[b"\0\0\x01\0\0" as &[u8], DOC].concat()).is_some(), "exhaustAllowed");
        assert!(message(op::MSG, b"\0\0\0\0").is_none(), "no body");
        assert!(message(op::MSG, &[b"\0\0\0\0\x03" as &[u8], DOC].concat()).is_none(), "no such section");
        assert!(message(op::MSG, b"\0\0\0\0\x01\x03\0\0\0a\0").is_none(), "a sequence shorter than its name");
        assert!(message(op::MSG, b"\0\0\0\0\0\xff\xff\xff\xff\0").is_none(), "a negative length");
    }

    #[test]
    fn legacy_operations() {
        let query = [b"\0\0\0\0db.c\0\x01\0\0\0\xff\xff\xff\xff" as &[u8], DOC].concat();
        let Some(Message::Query { name: b"db.c", skip: 1, number: -1, fields: None, .. }) = message(op::QUERY, &query) else { panic!() };
        let query = [&query[..], DOC].concat();
        let Some(Message::Query { fields: Some(_), .. }) = message(op::QUERY, &query) else { panic!() };
        let reply = [b"\x08\0\0\0\x05\0\0\0\0\0\0\0\x02\0\0\0\x02\0\0\0" as &[u8], DOC, DOC, &DOC[..5]].concat();
        let Some(Message::Reply { cursor: 5, from: 2, number: 2, documents: d }) = message(op::REPLY, &reply) else { panic!() };
        assert_eq!(documents(d).count(), 2);
    }
}
