//! Parses DNS messages (RFC 1035, EDNS: RFC 6891): header, questions and records. Of a message that is cut off or has a
//! malformed record the readable part is parsed, and the fault is noted.
//!
//! The library `domain` (NLnet Labs) parses names and their compression: its names borrow the message, point only
//! backwards, and have at most 255 bytes. [`super::rdata`] parses the data of records.

use super::rdata::Rdata;
use domain::{
    base::{ParsedName, wire::ParseError},
    dep::octseq::{Parser, ShortInput},
};

/// A name in a message.
pub type Name<'a> = ParsedName<&'a [u8]>;

/// Length of a header in bytes.
pub const HEADER: usize = 12;

/// Minimum length of a record in bytes: root as its owner, type, class, TTL, no data.
const SHORTEST_RECORD: usize = 11;

/// Maximum number of questions in a message. Servers answer only one question; a message with more questions than
/// this is not DNS.
const MOST_QUESTIONS: usize = 8;

/// A compression pointer to offset 12, the end of the header, where the first question begins.
const TO_QUESTION: [u8; 2] = [0xc0, HEADER as u8];

/// The type of the pseudo-record of EDNS.
pub const OPT: u16 = 41;

/// The data is not a valid message or record: it is cut off or inconsistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<E: std::error::Error> From<E> for Malformed {
    fn from(_: E) -> Self {
        Self
    }
}

/// Why only a part of a message could be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The message ends before the questions and records that its header announces.
    Cut,
    /// A question or record is malformed.
    Malformed,
}

impl From<ShortInput> for Fault {
    fn from(_: ShortInput) -> Self {
        Self::Cut
    }
}

impl From<ParseError> for Fault {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::ShortInput => Self::Cut,
            ParseError::Form(_) => Self::Malformed,
        }
    }
}

/// The first four bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The id, chosen by the client.
    pub id: u16,
    /// The bits between the id and the counts.
    pub bits: u16,
}

impl Header {
    /// Parses the first four bytes of `data`. Returns `None` if `data` is shorter.
    pub fn read(data: &[u8]) -> Option<Self> {
        let [a, b, c, d] = *data.first_chunk()?;
        Some(Self { id: u16::from_be_bytes([a, b]), bits: u16::from_be_bytes([c, d]) })
    }

    /// Whether the message is a response (QR).
    pub fn is_response(self) -> bool {
        self.bits & 0x8000 != 0
    }

    /// The operation: a query, an update and so on.
    pub fn opcode(self) -> u8 {
        (self.bits >> 11) as u8 & 0x0f
    }

    /// The flag AA (authoritative answer).
    pub fn authoritative(self) -> bool {
        self.bits & 0x0400 != 0
    }

    /// The flag TC (truncated).
    pub fn truncated(self) -> bool {
        self.bits & 0x0200 != 0
    }

    /// The flag RD (recursion desired).
    pub fn recursion_desired(self) -> bool {
        self.bits & 0x0100 != 0
    }

    /// The flag RA (recursion available).
    pub fn recursion_available(self) -> bool {
        self.bits & 0x0080 != 0
    }

    /// The flag AD (authentic data).
    pub fn authentic(self) -> bool {
        self.bits & 0x0020 != 0
    }

    /// The flag CD (checking disabled).
    pub fn checking_disabled(self) -> bool {
        self.bits & 0x0010 != 0
    }
}

/// A record of the question section.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The name that the question is about.
    pub name: Name<'a>,
    /// The type that the question is about.
    pub rtype: u16,
    /// The class that the question is about.
    pub class: u16,
}

impl<'a> Question<'a> {
    fn parse(parser: &mut Parser<'a, [u8]>) -> Result<Self, Fault> {
        Ok(Self { name: ParsedName::parse(parser)?, rtype: parser.parse_u16_be()?, class: parser.parse_u16_be()? })
    }
}

/// A resource record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The name of the record.
    pub owner: Name<'a>,
    /// Whether this is the name of the first question. It is detected by the pointer that nearly every response contains in its place.
    pub is_asked: bool,
    /// The data of the record.
    pub rtype: u16,
    /// The class; for OPT the size of UDP messages.
    pub class: u16,
    /// TTL in seconds; for OPT further flags.
    pub ttl: u32,
    /// The data of the record.
    pub data: Rdata<'a>,
}

impl<'a> Record<'a> {
    /// Parses a record. `None` if its data is malformed, but the next record can be parsed.
    fn parse(parser: &mut Parser<'a, [u8]>, asked: Option<&Question<'a>>) -> Result<Option<Self>, Fault> {
        let (owner, is_asked) = match asked {
            Some(question) if parser.peek_all().starts_with(&TO_QUESTION) => {
                parser.advance(TO_QUESTION.len())?;
                (question.name, true)
            }
            _ => (ParsedName::parse(parser)?, false),
        };
        let (rtype, class) = (parser.parse_u16_be()?, parser.parse_u16_be()?);
        let (ttl, length) = (parser.parse_u32_be()?, parser.parse_u16_be()?);
        let data = Rdata::parse(rtype, class, parser.parse_parser(length.into())?);
        Ok(data.ok().map(|data| Self { owner, is_asked, rtype, class, ttl, data }))
    }
}

/// Parses a name.
///
/// # Errors
/// When the name is cut off, points forwards, or is too long.
pub fn name<'a>(parser: &mut Parser<'a, [u8]>) -> Result<Name<'a>, Malformed> {
    Ok(ParsedName::parse(parser)?)
}

/// The parsed part of a message.
#[derive(Debug)]
pub struct Message<'a> {
    octets: &'a [u8],
    /// Id and flags.
    pub header: Header,
    /// The first question.
    pub question: Option<Question<'a>>,
    /// Further questions. They are rare, because servers answer only one.
    more_questions: Vec<Question<'a>>,
    records: Vec<Record<'a>>,
    /// Ends of the answer and authority sections in the list of records.
    ends: [usize; 2],
    questions_end: usize,
    /// Why a part of the message could not be parsed.
    pub fault: Option<Fault>,
    /// Whether bytes follow the last record.
    has_rest: bool,
}

impl<'a> Message<'a> {
    /// Parses a message, without the length field of TCP. Data after the last record is ignored.
    ///
    /// # Errors
    /// When the header is incomplete, or announces more questions than any message has.
    pub fn parse(octets: &'a [u8]) -> Result<Self, Malformed> {
        let mut parser = Parser::from_ref(octets);
        let header = Header { id: parser.parse_u16_be()?, bits: parser.parse_u16_be()? };
        let mut counts = [0u16; 4];
        for count in &mut counts {
            *count = parser.parse_u16_be()?;
        }
        let [asked, sections @ ..] = counts;
        let (mut question, mut more_questions) = (None, Vec::new());
        if usize::from(asked) > MOST_QUESTIONS {
            return Err(Malformed);
        }
        let mut fault = None;
        let mut questions_end = parser.pos();
        for _ in 0..asked {
            match Question::parse(&mut parser) {
                Ok(one) if question.is_none() => question = Some(one),
                Ok(one) => more_questions.push(one),
                Err(why) => {
                    fault = Some(why);
                    break;
                }
            }
            questions_end = parser.pos();
        }
        let promised = sections.iter().map(|n| usize::from(*n)).sum::<usize>();
        let mut records = Vec::with_capacity(promised.min(parser.remaining() / SHORTEST_RECORD));
        let mut ends = [0; 3];
        // Whether the start of the next record is unknown.
        let mut unframed = fault.is_some();
        for (count, end) in sections.into_iter().zip(&mut ends) {
            // The loop has at most as many iterations as records fit into the message, because a fault ends the loop.
            for _ in 0..count {
                if unframed {
                    break;
                }
                match Record::parse(&mut parser, question.as_ref()) {
                    Ok(Some(record)) => records.push(record),
                    Ok(None) => fault = Some(Fault::Malformed),
                    Err(why) => {
                        unframed = true;
                        fault = fault.or(Some(why));
                    }
                }
            }
            *end = records.len();
        }
        let has_rest = parser.remaining() > 0;
        Ok(Self { octets, header, question, more_questions, records, ends: [ends[0], ends[1]], questions_end, fault, has_rest })
    }

    /// Whether this is certainly a message: all of it can be parsed, nothing follows, and it has a question.
    pub fn is_certain(&self) -> bool {
        self.fault.is_none() && !self.has_rest && self.question.is_some() && self.more_questions.is_empty()
    }

    /// All questions.
    pub fn questions(&self) -> impl Iterator<Item = &Question<'a>> {
        self.question.iter().chain(&self.more_questions)
    }

    /// The complete message.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// The bytes of the questions.
    pub fn question_octets(&self) -> &'a [u8] {
        self.octets.get(HEADER..self.questions_end).unwrap_or_default()
    }

    /// The message up to the end of its questions.
    pub fn head_octets(&self) -> &'a [u8] {
        self.octets.get(..self.questions_end).unwrap_or_default()
    }

    /// Whether the data is accepted as DNS without a matching query. The data must be longer than a header. Incomplete
    /// data must also have a plausible header and a complete question. `length` is the length of the data on the wire.
    pub fn is_acceptable(&self, length: usize) -> bool {
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        match self.fault {
            None => self.question.is_some() || !self.records.is_empty(),
            Some(_) => self.question.is_some() && plausible(length, self.octets) == Some(true),
        }
    }

    /// The answer section.
    pub fn answers(&self) -> &[Record<'a>] {
        self.records.get(..self.ends[0]).unwrap_or_default()
    }

    /// The authority section.
    pub fn authorities(&self) -> &[Record<'a>] {
        self.records.get(self.ends[0]..self.ends[1]).unwrap_or_default()
    }

    /// The additional section, OPT included.
    pub fn additionals(&self) -> &[Record<'a>] {
        self.records.get(self.ends[1]..).unwrap_or_default()
    }

    /// The EDNS record, if the message has one.
    pub fn edns(&self) -> Option<&Record<'a>> {
        self.additionals().iter().find(|r| r.rtype == OPT)
    }

    /// The response code, with the upper eight bits that EDNS adds.
    pub fn rcode(&self) -> u16 {
        let upper = self.edns().map_or(0, |opt| (opt.ttl >> 24) as u16);
        upper << 4 | (self.header.bits & 0x0f)
    }
}

/// Whether `data` may be the beginning of a message of `length` bytes. The function serves to find the next message after a gap, and to
/// recognise DNS. `None` if more bytes are needed.
pub fn plausible(length: u16, data: &[u8]) -> Option<bool> {
    if usize::from(length) < HEADER {
        return Some(false);
    }
    let header = data.first_chunk::<HEADER>()?;
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let bits = count(2);
    // A plausible header has a known operation, a reserved bit of zero, at most one question, and no more records than the length
    // allows.
    let records = usize::from(count(6)) + usize::from(count(8)) + usize::from(count(10));
    let known = matches!(bits >> 11 & 0x0f, 0 | 1 | 2 | 4 | 5 | 6) && bits & 0x0040 == 0;
    Some(known && count(4) <= 1 && records * SHORTEST_RECORD <= usize::from(length) - HEADER)
}
