//! Parses frames of AMQP 0-9-1, arguments of methods and properties of messages. The results borrow from the packet.
//!
//! <https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf>, section 4.2. Where its field types differ from RabbitMQ's
//! (<https://www.rabbitmq.com/amqp-0-9-1-errata>), RabbitMQ's are used.

use super::{
    methods::{Arg, Method, method},
    table::Table,
};
use crate::{event::Text, protocols::kit::reader::Reader};
use smallvec::SmallVec;

/// The first bytes that a client sends.
pub const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\0\0\x09\x01";
/// The last byte of a frame.
pub const FRAME_END: u8 = 0xce;
/// Length of a frame header: type, channel and size.
pub const FRAME_HEAD: usize = 7;
/// Largest method or content header frame that is accepted, in bytes. Servers negotiate 128 KiB, some up to 1 MiB.
pub const LARGEST_FRAME: u32 = 1 << 20;
/// Largest body frame in bytes: RabbitMQ's largest message.
pub const LARGEST_BODY_FRAME: u32 = 128 << 20;
/// Largest method frame in bytes that is accepted in the search for a frame.
const LARGEST_SOUGHT: u32 = 16 << 10;

/// The type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Method,
    Header,
    Body,
    Heartbeat,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub channel: u16,
    /// Length of the payload in bytes.
    pub size: u32,
}

impl Frame {
    /// Parses a frame header from data that is long enough; `None` if it is invalid.
    pub fn head(data: &[u8]) -> Option<Self> {
        let mut r = Reader::new(data);
        let (kind, channel, size) = (r.u8()?, r.u16()?, r.u32()?);
        let (kind, least, most) = match kind {
            1 => (Kind::Method, 4, LARGEST_FRAME),
            2 => (Kind::Header, 14, LARGEST_FRAME),
            3 => (Kind::Body, 0, LARGEST_BODY_FRAME),
            8 => (Kind::Heartbeat, 0, 0),
            _ => return None,
        };
        (least..=most).contains(&size).then_some(Self { kind, channel, size })
    }

    /// The payload of a frame that is complete in `data`, and the frame's length. `None` if it is incomplete or has no
    /// end marker.
    pub fn whole(data: &[u8]) -> Option<(Self, &[u8], usize)> {
        let head = Self::head(data)?;
        let end = FRAME_HEAD + head.size as usize;
        let payload = data.get(FRAME_HEAD..end)?;
        (data.get(end) == Some(&FRAME_END)).then_some((head, payload, end + 1))
    }
}

/// The method in the payload of a method frame, if it is known, and its arguments.
pub fn method_in(payload: &[u8]) -> Option<(&'static Method, &[u8])> {
    let mut r = Reader::new(payload);
    let (class, id) = (r.u16()?, r.u16()?);
    Some((method(class, id)?, r.rest()))
}

/// Result of the search for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchResult {
    /// A method frame begins at this offset.
    At(usize),
    /// A method frame may begin at this offset; this number of further bytes is needed to decide.
    Perhaps(usize, usize),
    /// No frame begins before this offset.
    Nowhere(usize),
}

/// Searches for a method frame with a known method and a correct end marker. The function does not search for other frames, because they
/// are useless without their method.
pub fn seek(data: &[u8]) -> SearchResult {
    for at in memchr::memchr_iter(1, data) {
        let rest = &data[at..];
        if rest.len() < FRAME_HEAD + 4 {
            return SearchResult::Perhaps(at, FRAME_HEAD + 4 - rest.len());
        }
        let Some(head) = Frame::head(rest).filter(|head| head.size <= LARGEST_SOUGHT) else { continue };
        if method_in(&rest[FRAME_HEAD..]).is_none() {
            continue;
        }
        let end = FRAME_HEAD + head.size as usize;
        match rest.get(end) {
            Some(&FRAME_END) => return SearchResult::At(at),
            Some(_) => {}
            None => return SearchResult::Perhaps(at, end + 1 - rest.len()),
        }
    }
    SearchResult::Nowhere(data.len())
}

/// A complete message directly after its method frame.
pub struct Content<'a> {
    /// The payload of the message's header frame.
    pub header: &'a [u8],
    pub body: &'a [u8],
    /// Bytes of the header frame and the body frame on the wire, including the frame header and the end octet of each.
    pub len: usize,
}

/// Parses a message of at most one body frame.
pub fn content(data: &[u8], channel: u16) -> Option<Content<'_>> {
    let (frame, header, len) = Frame::whole(data)?;
    if (frame.kind, frame.channel) != (Kind::Header, channel) {
        return None;
    }
    let size = body_size(header)?;
    if size == 0 {
        return Some(Content { header, body: &[], len });
    }
    let (frame, body, more) = Frame::whole(data.get(len..)?)?;
    let whole = (frame.kind, frame.channel, u64::from(frame.size)) == (Kind::Body, channel, size);
    whole.then_some(Content { header, body, len: len + more })
}

/// The size of the body that a content header of class `basic` announces.
pub fn body_size(header: &[u8]) -> Option<u64> {
    let mut r = Reader::new(header);
    let (class, _weight) = (r.u16()?, r.u16()?);
    if class == 60 { r.u64() } else { None }
}

/// A value in the form in which it is shown.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Bool(bool),
    Number(u64),
    Text(Text<'a>),
    Table(Table<'a>),
    /// Seconds since 1970.
    Time(i64),
}

/// Names and values; no name occurs twice.
#[derive(Debug, Default)]
pub struct Fields<'a>(pub SmallVec<[(&'static str, Value<'a>); 16]>);

impl<'a> Fields<'a> {
    /// The value of the field `name`.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }

    /// The value of the field `name`, if it is text; otherwise empty.
    pub fn text(&self, name: &str) -> &'a [u8] {
        if let Some(Value::Text(text)) = self.get(name) { text.0 } else { b"" }
    }

    /// The value of the field `name`, if it is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        if let Some(Value::Number(n)) = self.get(name) { Some(n) } else { None }
    }

    /// Whether the field `name` is a bit that is set.
    pub fn is_set(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Bool(true)))
    }

    fn put(&mut self, name: &'static str, value: Value<'a>) {
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some(field) => field.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// Adds the arguments of a method; an existing name gets the new value. `None` if they are incomplete.
    pub fn arguments(&mut self, method: &Method, args: &'a [u8], with_tables: bool) -> Option<()> {
        let mut r = Reader::new(args);
        for arg in method.args {
            match *arg {
                Arg::Reserved(n) => r.skip(n)?,
                Arg::Short(name) => self.put(name, Value::Text(short(&mut r)?)),
                Arg::NotEmpty(name) => {
                    let text = short(&mut r)?;
                    if !text.is_empty() {
                        self.put(name, Value::Text(text));
                    }
                }
                Arg::ExchangeType => {
                    let text = short(&mut r)?;
                    self.put("exchange-type", Value::Text(if text.is_empty() { Text(b"direct") } else { text }));
                }
                Arg::Long(name) => self.put(name, Value::Text(Text(long(&mut r)?))),
                Arg::Secret => drop(long(&mut r)?),
                Arg::U8(name) => self.put(name, Value::Number(r.u8()?.into())),
                Arg::U16(name) => self.put(name, Value::Number(r.u16()?.into())),
                Arg::U32(name) => self.put(name, Value::Number(r.u32()?.into())),
                // Numbers in documents are signed.
                Arg::U64(name) => self.put(name, Value::Number(r.u64()? & (u64::MAX >> 1))),
                Arg::Bits(names) => {
                    let octet = r.u8()?;
                    for (i, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                        self.put(name, Value::Bool(octet >> i & 1 == 1));
                    }
                }
                Arg::Table(name) => self.table(name, &mut r)?,
                Arg::Arguments if with_tables => self.table("arguments", &mut r)?,
                Arg::Arguments => {}
            }
        }
        Some(())
    }

    fn table(&mut self, name: &'static str, r: &mut Reader<'a>) -> Option<()> {
        let bytes = long(r)?;
        if !bytes.is_empty() {
            self.put(name, Value::Table(Table::new(bytes)));
        }
        Some(())
    }

    /// Adds the properties of a message from the payload of its header frame. `None` if they are incomplete; those
    /// before are kept.
    pub fn properties(&mut self, header: &'a [u8]) -> Option<()> {
        let mut r = Reader::new(header);
        r.skip(12)?;
        let flags = r.u16()?;
        // More flags would follow if the lowest bit is set, but none are defined.
        let mut more = flags & 1 == 1;
        while more {
            more = r.u16()? & 1 == 1;
        }
        const NAMES: [&str; 13] = [
            "content-type",
            "content-encoding",
            "headers",
            "delivery-mode",
            "priority",
            "correlation-id",
            "reply-to",
            "expiration",
            "message-id",
            "timestamp",
            "type",
            "user-id",
            "app-id",
        ];
        for (i, name) in NAMES.into_iter().enumerate().filter(|(i, _)| flags << i & 0x8000 != 0) {
            match i {
                2 => self.table(name, &mut r)?,
                3 => match r.u8()? {
                    1 => self.put(name, Value::Text(Text(b"non-persistent"))),
                    2 => self.put(name, Value::Text(Text(b"persistent"))),
                    _ => {}
                },
                4 => self.put(name, Value::Number(r.u8()?.into())),
                9 => self.put(name, Value::Time(r.i64()?)),
                _ => self.put(name, Value::Text(short(&mut r)?)),
            }
        }
        Some(())
    }
}

fn short<'a>(r: &mut Reader<'a>) -> Option<Text<'a>> {
    let len = r.u8()?;
    r.take(len.into()).map(Text)
}

fn long<'a>(r: &mut Reader<'a>) -> Option<&'a [u8]> {
    let len = r.u32()?;
    r.take(usize::try_from(len).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: &[u8] = b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50\x00\x00\x00\x00\x00\x00\x00\x07\x01\xce";

    #[test]
    fn frames() {
        let (frame, payload, len) = Frame::whole(ACK).unwrap();
        assert_eq!((frame, len), (Frame { kind: Kind::Method, channel: 1, size: 13 }, ACK.len()));
        let (method, args) = method_in(payload).unwrap();
        let mut fields = Fields::default();
        fields.arguments(method, args, true).unwrap();
        assert_eq!((method.name(), fields.number("delivery-tag"), fields.is_set("multiple")), ("basic.ack", Some(7), true));
        assert!(Fields::default().arguments(method, &args[..8], true).is_none());
        assert_eq!(Frame::whole(&ACK[..20]).map(|w| w.2), None);
        let kinds = |bytes: &[u8]| Frame::head(bytes).map(|f| f.kind);
        assert_eq!(kinds(b"\x08\0\0\0\0\0\0"), Some(Kind::Heartbeat));
        assert_eq!(kinds(b"\x08\0\0\0\0\0\x01"), None);
        assert_eq!(kinds(b"\x01\0\0\xff\xff\xff\xff"), None);
        assert_eq!(kinds(b"\x04\0\0\0\0\0\0"), None);
    }

    #[test]
    fn the_beginning_of_a_frame_is_found() {
        let before = [&b"\x01\x01\x00\x01\0\0\0\x04\0\x3c\0\x50\0 body\xce"[..], ACK].concat();
        assert_eq!(seek(&before), SearchResult::At(before.len() - ACK.len()));
        assert_eq!(seek(&ACK[..20]), SearchResult::Perhaps(0, 1));
        assert_eq!(seek(&ACK[..5]), SearchResult::Perhaps(0, 6));
        assert_eq!(seek(b"nothing of it"), SearchResult::Nowhere(13));
    }

    #[test]
    fn properties_and_their_limits() {
        let header = b"\0\x3c\0\0\0\0\0\0\0\0\0\x05\x88\x40\x04text\0\0\0\0\0\0\0\x3c";
        let header = [&header[..12], b"\x80\x40", b"\x0atext/plain", b"\0\0\0\0\0\0\0\x3c"].concat();
        let mut fields = Fields::default();
        fields.properties(&header).unwrap();
        assert_eq!(body_size(&header), Some(5));
        assert_eq!(fields.text("content-type"), b"text/plain");
        assert!(matches!(fields.get("timestamp"), Some(Value::Time(60))), "{fields:?}");
        assert!(Fields::default().properties(&header[..header.len() - 1]).is_none());
        assert!(Fields::default().properties(&[0xff; 14]).is_none());
    }

    #[test]
    fn a_later_value_takes_the_place_of_an_earlier_one() {
        let mut fields = Fields::default();
        fields.arguments(method(50, 10).unwrap(), b"\0\0\0\x04\0\0\0\0", true).unwrap();
        fields.arguments(method(50, 11).unwrap(), b"\x01q\0\0\0\x01\0\0\0\x02", true).unwrap();
        assert_eq!((fields.text("queue"), fields.is_set("exclusive")), (&b"q"[..], true));
        assert_eq!(fields.0.iter().filter(|f| f.0 == "queue").count(), 1);
    }
}
