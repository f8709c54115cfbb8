//! DNS messages (RFC 1035, EDNS by RFC 6891): header, questions and records, all of them checked once.
//!
//! Names, with their compression, are read by the library `domain` (NLnet Labs): its names borrow the message, only point
//! backwards, and are at most 255 bytes long. What records hold is [`super::rdata`].

use super::rdata::Rdata;
use domain::{base::ParsedName, dep::octseq::Parser};

/// A name within a message.
pub type Name<'a> = ParsedName<&'a [u8]>;

/// Bytes of a header.
pub const HEADER: usize = 12;

/// The least bytes that a record takes: root as its owner, type, class, time to live, no data.
const SHORTEST_RECORD: usize = 11;

/// Questions in a message that are read. No server answers more than one; more than that is not DNS.
const MOST_QUESTIONS: usize = 8;

/// A compression pointer to the end of the header.
const TO_QUESTION: [u8; 2] = [0xc0, HEADER as u8];

/// The type of the record that is no record: EDNS.
pub const OPT: u16 = 41;

/// Why a message is none: cut off, or its contents contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<E: std::error::Error> From<E> for Malformed {
    fn from(_: E) -> Self {
        Self
    }
}

/// The first four bytes: whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Chosen by who asks.
    pub id: u16,
    /// All the bits between the id and the counts.
    pub bits: u16,
}

impl Header {
    /// The header of `data`, when there are four bytes of it.
    pub fn read(data: &[u8]) -> Option<Self> {
        let [a, b, c, d] = *data.first_chunk()?;
        Some(Self { id: u16::from_be_bytes([a, b]), bits: u16::from_be_bytes([c, d]) })
    }

    /// Whether it is a response (QR).
    pub fn is_response(self) -> bool {
        self.bits & 0x8000 != 0
    }

    /// What is asked for: a query, an update…
    pub fn opcode(self) -> u8 {
        (self.bits >> 11) as u8 & 0x0f
    }

    /// AA
    pub fn authoritative(self) -> bool {
        self.bits & 0x0400 != 0
    }

    /// TC
    pub fn truncated(self) -> bool {
        self.bits & 0x0200 != 0
    }

    /// RD
    pub fn recursion_desired(self) -> bool {
        self.bits & 0x0100 != 0
    }

    /// RA
    pub fn recursion_available(self) -> bool {
        self.bits & 0x0080 != 0
    }

    /// AD
    pub fn authentic(self) -> bool {
        self.bits & 0x0020 != 0
    }

    /// CD
    pub fn checking_disabled(self) -> bool {
        self.bits & 0x0010 != 0
    }
}

/// One of the things asked for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Asked for.
    pub name: Name<'a>,
    /// Its type.
    pub rtype: u16,
    /// Its class.
    pub class: u16,
}

/// A resource record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Whose record it is.
    pub owner: Name<'a>,
    /// Whether that is the name of the first question, told by the pointer to it that nearly every answer has.
    pub is_asked: bool,
    /// Its type.
    pub rtype: u16,
    /// Its class; of OPT the size of UDP messages.
    pub class: u16,
    /// Seconds; of OPT more flags.
    pub ttl: u32,
    /// What it holds.
    pub data: Rdata<'a>,
}

impl<'a> Record<'a> {
    fn parse(parser: &mut Parser<'a, [u8]>, asked: Option<&Question<'a>>) -> Result<Self, Malformed> {
        let (owner, is_asked) = match asked {
            Some(question) if parser.peek_all().starts_with(&TO_QUESTION) => {
                parser.advance(TO_QUESTION.len())?;
                (question.name, true)
            }
            _ => (name(parser)?, false),
        };
        let (rtype, class) = (parser.parse_u16_be()?, parser.parse_u16_be()?);
        let (ttl, length) = (parser.parse_u32_be()?, parser.parse_u16_be()?);
        let data = Rdata::parse(rtype, class, parser.parse_parser(length.into())?)?;
        Ok(Self { owner, is_asked, rtype, class, ttl, data })
    }
}

/// Reads a name.
///
/// # Errors
/// When it is cut off, points forwards, or is too long.
pub fn name<'a>(parser: &mut Parser<'a, [u8]>) -> Result<Name<'a>, Malformed> {
    Ok(ParsedName::parse(parser)?)
}

/// A checked message.
#[derive(Debug)]
pub struct Message<'a> {
    octets: &'a [u8],
    /// Id and flags.
    pub header: Header,
    /// What is asked for.
    pub question: Option<Question<'a>>,
    /// And what else, though nobody answers more than one.
    more_questions: Vec<Question<'a>>,
    records: Vec<Record<'a>>,
    /// Where answers and authorities end among the records.
    ends: [usize; 2],
    questions_end: usize,
}

impl<'a> Message<'a> {
    /// Reads a message, without the length that goes before it on TCP. What the header's counts promise beyond the end of the
    /// message is not there; what follows the last record is left alone.
    ///
    /// # Errors
    /// When anything in it is cut off or contradicts itself.
    pub fn parse(octets: &'a [u8]) -> Result<Self, Malformed> {
        let mut parser = Parser::from_ref(octets);
        let header = Header { id: parser.parse_u16_be()?, bits: parser.parse_u16_be()? };
        let mut counts = [0u16; 4];
        for count in &mut counts {
            *count = parser.parse_u16_be()?;
        }
        let [asked, sections @ ..] = counts;
        let (mut question, mut more_questions) = (None, Vec::new());
        for _ in 0..asked {
            if parser.remaining() == 0 {
                break;
            }
            let name = name(&mut parser)?;
            let one = Question { name, rtype: parser.parse_u16_be()?, class: parser.parse_u16_be()? };
            match question {
                None => question = Some(one),
                Some(_) => more_questions.push(one),
            }
            if more_questions.len() >= MOST_QUESTIONS {
                return Err(Malformed);
            }
        }
        let questions_end = parser.pos();
        let promised = sections.iter().map(|n| usize::from(*n)).sum::<usize>();
        let mut records = Vec::with_capacity(promised.min(parser.remaining() / SHORTEST_RECORD));
        let mut ends = [0; 3];
        for (count, end) in sections.into_iter().zip(&mut ends) {
            // No more turns than the message has room for records.
            for _ in 0..count {
                if parser.remaining() == 0 {
                    break;
                }
                records.push(Record::parse(&mut parser, question.as_ref())?);
            }
            *end = records.len();
        }
        Ok(Self { octets, header, question, more_questions, records, ends: [ends[0], ends[1]], questions_end })
    }

    /// All that is asked for.
    pub fn questions(&self) -> impl Iterator<Item = &Question<'a>> {
        self.question.iter().chain(&self.more_questions)
    }

    /// The whole message.
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

    /// Whether there is nothing but the header.
    pub fn is_bare(&self) -> bool {
        self.question.is_none() && self.records.is_empty()
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

    /// EDNS, if the message has it.
    pub fn edns(&self) -> Option<&Record<'a>> {
        self.additionals().iter().find(|r| r.rtype == OPT)
    }

    /// The response code, with the upper eight bits that EDNS adds.
    pub fn rcode(&self) -> u16 {
        let upper = self.edns().map_or(0, |opt| (opt.ttl >> 24) as u16);
        upper << 4 | (self.header.bits & 0x0f)
    }
}

/// Whether `data` may be the beginning of a message after its length on TCP: for finding the way back into a stream, and for
/// telling a stranger. `None` when there are not enough bytes to tell.
pub fn plausible(length: u16, data: &[u8]) -> Option<bool> {
    if usize::from(length) < HEADER {
        return Some(false);
    }
    let header = data.first_chunk::<HEADER>()?;
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let bits = count(2);
    // Known operations, the reserved bit zero, one question at the most, and no more records than the length allows.
    let records = usize::from(count(6)) + usize::from(count(8)) + usize::from(count(10));
    let known = matches!(bits >> 11 & 0x0f, 0 | 1 | 2 | 4 | 5 | 6) && bits & 0x0040 == 0;
    Some(known && count(4) <= 1 && records * SHORTEST_RECORD <= usize::from(length) - HEADER)
}
