//! Writes the `dns` fields of a document from the message, and the one-line form of a message for `request` and
//! `response`.

use super::{
    names,
    opt::{self, Opt},
    rdata::{Extra, NameText, Rdata},
    wire::{Message, OPT, Question, Record},
};
use psl::Psl;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};
use std::{
    fmt::{self, Display},
    net::IpAddr,
};

/// Maximum number of records of one section that are shown. Without the limit, a message of 64 KiB whose names all
/// point to one long name would become a document of 9 MB.
pub const MOST_SHOWN: usize = 1000;

/// The fields of this protocol in addition to those that all transactions have.
#[derive(Serialize)]
pub struct Body<'a> {
    /// The object `dns`.
    pub dns: Fields<'a>,
}

/// A message, and which parts of it are shown.
pub struct Fields<'a> {
    /// The response, or the query if there is no response.
    pub message: &'a Message<'a>,
    /// The name in the message's first question, as text.
    pub name: &'a str,
    /// The result of [`addresses`].
    pub resolved: &'a [IpAddr],
    /// Show the authority section.
    pub authorities: bool,
    /// Show the additional section.
    pub additionals: bool,
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let m = self.message;
        let edns = m.edns();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", if m.header.is_response() { "answer" } else { "query" })?;
        map.serialize_entry("id", &m.header.id)?;
        map.serialize_entry("op_code", &names::opcode(m.header.opcode()))?;
        map.serialize_entry("response_code", &names::Rcode(m.rcode()))?;
        map.serialize_entry("flags", &Flags::new(m))?;
        map.serialize_entry("header_flags", &HeaderFlags(m, edns.is_some_and(opt::dnssec_ok)))?;
        if let Some(question) = &m.question {
            map.serialize_entry("question", &Asked(question, self.name))?;
        }
        map.serialize_entry("answers_count", &m.answers().len())?;
        if m.answers().iter().any(is_shown) {
            map.serialize_entry("answers", &Records(m.answers(), self.name))?;
        }
        if !self.resolved.is_empty() {
            map.serialize_entry("resolved_ip", self.resolved)?;
        }
        map.serialize_entry("authorities_count", &m.authorities().len())?;
        if self.authorities && m.authorities().iter().any(is_shown) {
            map.serialize_entry("authorities", &Records(m.authorities(), self.name))?;
        }
        let additional = m.additionals().iter().filter(|r| r.rtype != OPT).count();
        map.serialize_entry("additionals_count", &additional)?;
        if self.additionals && m.additionals().iter().any(is_shown) {
            map.serialize_entry("additionals", &Records(m.additionals(), self.name))?;
        }
        if let Some(edns) = edns {
            map.serialize_entry("opt", &Opt(edns))?;
        }
        map.end()
    }
}

/// The addresses in the answer section.
pub fn addresses<'a>(message: &'a Message<'_>) -> impl Iterator<Item = IpAddr> + 'a {
    message.answers().iter().take(MOST_SHOWN).filter_map(|record| match record.data {
        Rdata::Address(ip) => Some(ip),
        _ => None,
    })
}

#[derive(Serialize)]
struct Flags {
    authoritative: bool,
    truncated_response: bool,
    recursion_desired: bool,
    recursion_available: bool,
    authentic_data: bool,
    checking_disabled: bool,
}

impl Flags {
    fn new(m: &Message<'_>) -> Self {
        let h = m.header;
        Self {
            authoritative: h.authoritative(),
            truncated_response: h.truncated(),
            recursion_desired: h.recursion_desired(),
            recursion_available: h.recursion_available(),
            authentic_data: h.authentic(),
            checking_disabled: h.checking_disabled(),
        }
    }

    /// The flags with their upper- and lower-case names, in the order of the header.
    fn named(&self) -> [(bool, &'static str, &'static str); 6] {
        [
            (self.authoritative, "AA", "aa"),
            (self.truncated_response, "TC", "tc"),
            (self.recursion_desired, "RD", "rd"),
            (self.recursion_available, "RA", "ra"),
            (self.authentic_data, "AD", "ad"),
            (self.checking_disabled, "CD", "cd"),
        ]
    }
}

struct HeaderFlags<'a>(&'a Message<'a>, bool);

impl Serialize for HeaderFlags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let set = Flags::new(self.0).named().into_iter().filter(|f| f.0).map(|f| f.1);
        serializer.collect_seq(set.chain(self.1.then_some("DO")))
    }
}

struct Asked<'a>(&'a Question<'a>, &'a str);

impl Serialize for Asked<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(question, name) = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", name)?;
        map.serialize_entry("type", &names::rtype(question.rtype))?;
        map.serialize_entry("class", &names::class(question.class))?;
        let domain = Domain::of(name);
        if domain.is_below_suffix {
            map.serialize_entry("etld_plus_one", domain.registered)?;
        }
        for (key, text) in [("registered_domain", domain.registered), ("top_level_domain", domain.suffix), ("subdomain", domain.subdomain)]
        {
            if !text.is_empty() {
                map.serialize_entry(key, text)?;
            }
        }
        map.end()
    }
}

/// A name that is divided with the public suffix list. Upper and lower case are not changed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Domain<'a> {
    is_below_suffix: bool,
    registered: &'a str,
    suffix: &'a str,
    subdomain: &'a str,
}

impl<'a> Domain<'a> {
    fn of(name: &'a str) -> Self {
        if name == "." {
            return Self { registered: name, ..Self::default() };
        }
        let after_dot = |text: &'a str| text.split_once('.').map_or("", |(_, rest)| rest);
        match psl::List.domain(name.as_bytes()) {
            Some(domain) => {
                // The library splits names only at dots, so both offsets are positions of whole characters in the name.
                let at = name.len() - domain.as_bytes().len();
                let registered = name.get(at..).unwrap_or_default();
                let subdomain = name.get(..at.saturating_sub(1)).unwrap_or_default();
                Self { is_below_suffix: true, registered, suffix: after_dot(registered), subdomain }
            }
            // A suffix of two labels is itself a registered domain.
            None if name.bytes().filter(|b| *b == b'.').count() == 1 => {
                Self { registered: name, suffix: after_dot(name), ..Self::default() }
            }
            None => Self::default(),
        }
    }
}

/// Whether a record is shown in the list of its section. The result is false for EDNS, which has its own field, and for address records
/// without an address.
fn is_shown(record: &Record<'_>) -> bool {
    match record.data {
        Rdata::Opt(_) => false,
        Rdata::Nothing => !matches!(record.rtype, 1 | 28),
        _ => true,
    }
}

struct Records<'a>(&'a [Record<'a>], &'a str);

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for record in self.0.iter().take(MOST_SHOWN).filter(|record| is_shown(record)) {
            seq.serialize_element(&Shown { record, asked: self.1 })?;
        }
        seq.end()
    }
}

struct Shown<'a> {
    record: &'a Record<'a>,
    asked: &'a str,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.record.is_asked {
            map.serialize_entry("name", self.asked)?;
        } else {
            map.serialize_entry("name", &NameText(&self.record.owner))?;
        }
        map.serialize_entry("type", &names::rtype(self.record.rtype))?;
        map.serialize_entry("class", &names::class(self.record.class))?;
        map.serialize_entry("ttl", itoa::Buffer::new().format(self.record.ttl))?;
        self.record.data.extras(&mut |key, value| match value {
            Extra::Number(n) => map.serialize_entry(key, &n),
            Extra::Text(text) => map.serialize_entry(key, &Collected(text)),
        })?;
        map.serialize_entry("data", &self.record.data)?;
        map.end()
    }
}

struct Collected<'a>(&'a dyn Display);

impl Serialize for Collected<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// Writes `class C, type T, NAME`.
impl Display for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "class {}, type {}, {}", names::class(self.class), names::rtype(self.rtype), NameText(&self.name))
    }
}

/// Formats a message as one line.
pub struct Dump<'a>(pub &'a Message<'a>);

impl Display for Dump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = self.0;
        let way = if m.header.is_response() { "response" } else { "query" };
        write!(f, "ID {}; QR {way}; OPCODE {}; FLAGS ", m.header.id, names::opcode(m.header.opcode()))?;
        let set = Flags::new(m).named().into_iter().filter(|flag| flag.0);
        for (i, (_, _, name)) in set.enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { " " })?;
        }
        write!(f, "; RCODE {}", names::Rcode(m.rcode()))?;
        section(f, "QUESTION", m.questions(), |q, f| q.fmt(f))?;
        section(f, "ANSWER", m.answers().iter(), in_line)?;
        section(f, "AUTHORITY", m.authorities().iter(), in_line)?;
        section(f, "ADDITIONAL", m.additionals().iter(), in_line)
    }
}

fn section<'r, T: 'r>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    all: impl Iterator<Item = &'r T>,
    show: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (i, one) in all.take(MOST_SHOWN).enumerate() {
        match i {
            0 => write!(f, "; {name} ")?,
            _ => f.write_str("; ")?,
        }
        show(one, f)?;
    }
    Ok(())
}

fn in_line(record: &Record<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let data = &record.data;
    data.extras(&mut |key, value| match value {
        Extra::Number(_) => Ok(()),
        Extra::Text(text) => write!(f, "{key} {text}, "),
    })?;
    data.fmt(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        let d = |is_below_suffix, registered, suffix, subdomain| Domain { is_below_suffix, registered, suffix, subdomain };
        assert_eq!(Domain::of("www.mail.example.co.uk"), d(true, "example.co.uk", "co.uk", "www.mail"));
        assert_eq!(Domain::of("example.com"), d(true, "example.com", "com", ""));
        assert_eq!(Domain::of("a.b.github.io"), d(true, "b.github.io", "github.io", "a"));
        assert_eq!(Domain::of("co.uk"), d(false, "co.uk", "uk", ""));
        assert_eq!(Domain::of("."), d(false, ".", "", ""));
        assert_eq!(Domain::of("localhost"), d(false, "", "", ""));
        assert_eq!(Domain::of("x.Co.uK"), d(true, "Co.uK", "uK", "x"));
    }
}
