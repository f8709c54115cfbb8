//! The data of records by type: parses it, and writes it as in documents. Types whose parts are shown are listed here
//! by name. All others are shown as their bytes, with compressed names expanded (RFC 3597 forbids compression in newer
//! types; [`compressed`] lists the older ones).

use super::{
    names,
    wire::{Malformed, Name, OPT, name},
};
use crate::{event::text::Hex, time::Timestamp};
use base64::{display::Base64Display, prelude::BASE64_STANDARD};
use domain::{dep::octseq::Parser, rdata::dnssec::RtypeBitmap};
use serde::{Serialize, Serializer};
use std::{
    fmt::{self, Display, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The data of a record. Numbers have the same values as in the message.
#[derive(Clone, Copy, Debug)]
pub enum Rdata<'a> {
    /// A record without data, as in updates.
    Nothing,
    Address(IpAddr),
    /// The name in a CNAME, NS or PTR record.
    Name(Name<'a>),
    Mx(u16, Name<'a>),
    /// SRV: priority, weight and port; target.
    Srv([u16; 3], Name<'a>),
    /// SOA: primary server, mailbox; serial, refresh, retry, expire, minimum.
    Soa(Name<'a>, Name<'a>, [u32; 5]),
    /// TXT: a sequence of strings, each preceded by its length.
    Txt(&'a [u8]),
    Dnskey {
        flags: u16,
        protocol: u8,
        algorithm: u8,
        key: &'a [u8],
    },
    Ds {
        key_tag: u16,
        algorithm: u8,
        digest_type: u8,
        digest: &'a [u8],
    },
    Rrsig(Rrsig<'a>),
    Nsec {
        next: Name<'a>,
        types: &'a [u8],
    },
    Nsec3 {
        hash: u8,
        flags: u8,
        iterations: u16,
        salt: &'a [u8],
        next: &'a [u8],
        types: &'a [u8],
    },
    Nsec3param {
        hash: u8,
        flags: u8,
        iterations: u16,
        salt: &'a [u8],
    },
    /// OPT: options, each preceded by its number and length.
    Opt(&'a [u8]),
    Other(Compressed, Parser<'a, [u8]>),
}

/// The data of an RRSIG record (RFC 4034, 3.1).
#[derive(Clone, Copy, Debug)]
pub struct Rrsig<'a> {
    covered: u16,
    algorithm: u8,
    labels: u8,
    original_ttl: u32,
    expiration: u32,
    inception: u32,
    key_tag: u16,
    signer: Name<'a>,
    signature: &'a [u8],
}

/// The position of the names in record data that may be compressed. First come `fixed` bytes, then `strings` strings with
/// lengths, and then `names` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compressed {
    fixed: u8,
    strings: u8,
    names: u8,
}

/// The types of RFC 1035 and of other early RFCs whose parts are not shown but that may contain compressed names.
fn compressed(rtype: u16) -> Compressed {
    let (fixed, strings, names) = match rtype {
        3 | 4 | 7 | 8 | 9 | 23 | 30 | 39 => (0, 0, 1), // MD, MF, MB, MG, MR, NSAP-PTR, NXT, DNAME
        14 | 17 => (0, 0, 2),                          // MINFO, RP
        18 | 21 | 36 => (2, 0, 1),                     // AFSDB, RT, KX
        24 => (18, 0, 1),                              // SIG
        26 => (2, 0, 2),                               // PX
        35 => (4, 3, 1),                               // NAPTR
        _ => (0, 0, 0),
    };
    Compressed { fixed, strings, names }
}

fn rest<'a>(p: &mut Parser<'a, [u8]>) -> Result<&'a [u8], Malformed> {
    Ok(p.parse_octets(p.remaining())?)
}

/// A string preceded by its length.
fn string<'a>(p: &mut Parser<'a, [u8]>) -> Result<&'a [u8], Malformed> {
    let length = p.parse_u8()?;
    Ok(p.parse_octets(length.into())?)
}

/// The remaining bytes, if they are a valid type bitmap.
fn bitmap<'a>(p: &mut Parser<'a, [u8]>) -> Result<&'a [u8], Malformed> {
    let types = rest(p)?;
    if !types.is_empty() {
        RtypeBitmap::from_octets(types)?;
    }
    Ok(types)
}

impl<'a> Rdata<'a> {
    /// Parses the data of a record.
    ///
    /// # Errors
    /// When the data is too short for its type, or contains an invalid name.
    pub fn parse(rtype: u16, class: u16, mut parser: Parser<'a, [u8]>) -> Result<Self, Malformed> {
        let p = &mut parser;
        if p.remaining() == 0 && rtype != OPT {
            return Ok(Self::Nothing);
        }
        Ok(match (rtype, p.remaining()) {
            // Other classes have other kinds of addresses (RFC 1035, 3.4.1 applies to IN).
            (1, 4) => Self::Address(Ipv4Addr::from(p.parse_u32_be()?).into()),
            (28, 16) => Self::Address(Ipv6Addr::from(p.parse_u128_be()?).into()),
            (1 | 28, _) if class == 1 => return Err(Malformed),
            (2 | 5 | 12, _) => Self::Name(name(p)?),
            (6, _) => {
                let (primary, mailbox, mut numbers) = (name(p)?, name(p)?, [0; 5]);
                for number in &mut numbers {
                    *number = p.parse_u32_be()?;
                }
                Self::Soa(primary, mailbox, numbers)
            }
            (15, _) => Self::Mx(p.parse_u16_be()?, name(p)?),
            (16, _) => {
                let all = *p;
                while p.remaining() > 0 {
                    string(p)?;
                }
                Self::Txt(rest(&mut all.clone())?)
            }
            (33, _) => Self::Srv([p.parse_u16_be()?, p.parse_u16_be()?, p.parse_u16_be()?], name(p)?),
            (OPT, _) => Self::Opt(rest(p)?),
            (43, _) => {
                let (key_tag, algorithm, digest_type) = (p.parse_u16_be()?, p.parse_u8()?, p.parse_u8()?);
                Self::Ds { key_tag, algorithm, digest_type, digest: rest(p)? }
            }
            (46, _) => Self::Rrsig(Rrsig {
                covered: p.parse_u16_be()?,
                algorithm: p.parse_u8()?,
                labels: p.parse_u8()?,
                original_ttl: p.parse_u32_be()?,
                expiration: p.parse_u32_be()?,
                inception: p.parse_u32_be()?,
                key_tag: p.parse_u16_be()?,
                signer: name(p)?,
                signature: rest(p)?,
            }),
            (47, _) => Self::Nsec { next: name(p)?, types: bitmap(p)? },
            (48, _) => {
                let (flags, protocol, algorithm) = (p.parse_u16_be()?, p.parse_u8()?, p.parse_u8()?);
                Self::Dnskey { flags, protocol, algorithm, key: rest(p)? }
            }
            (50, _) => {
                let (hash, flags, iterations) = (p.parse_u8()?, p.parse_u8()?, p.parse_u16_be()?);
                Self::Nsec3 { hash, flags, iterations, salt: string(p)?, next: string(p)?, types: bitmap(p)? }
            }
            (51, _) => {
                let (hash, flags, iterations) = (p.parse_u8()?, p.parse_u8()?, p.parse_u16_be()?);
                Self::Nsec3param { hash, flags, iterations, salt: string(p)? }
            }
            _ => {
                let (how, whole) = (compressed(rtype), *p);
                p.advance(how.fixed.into())?;
                for _ in 0..how.strings {
                    string(p)?;
                }
                for _ in 0..how.names {
                    name(p)?;
                }
                Self::Other(how, whole)
            }
        })
    }

    /// Passes the extra keys of a record to `each`; text keys in alphabetical order.
    ///
    /// # Errors
    /// The errors of `each`.
    pub fn extras<E>(&self, each: &mut dyn FnMut(&'static str, Extra<'_>) -> Result<(), E>) -> Result<(), E> {
        use Extra::{Number, Text};
        match *self {
            Self::Mx(preference, _) => each("preference", Number(preference.into())),
            Self::Srv(numbers, _) => {
                let mut all = ["priority", "weight", "port"].into_iter().zip(numbers);
                all.try_for_each(|(key, n)| each(key, Number(n.into())))
            }
            Self::Soa(_, mailbox, numbers) => {
                each("rname", Text(&NameText(&mailbox)))?;
                let mut all = ["serial", "refresh", "retry", "expire", "minimum"].into_iter().zip(numbers);
                all.try_for_each(|(key, n)| each(key, Number(n)))
            }
            Self::Dnskey { flags, protocol, algorithm, .. } => {
                each("algorithm", Text(&names::algorithm(algorithm)))?;
                each("flags", Text(&flags))?;
                each("protocol", Text(&protocol))
            }
            Self::Ds { key_tag, algorithm, digest_type, .. } => {
                each("algorithm", Text(&names::algorithm(algorithm)))?;
                each("digest_type", Text(&names::hash(digest_type)))?;
                each("key_tag", Text(&key_tag))
            }
            Self::Rrsig(r) => {
                each("algorithm", Text(&names::algorithm(r.algorithm)))?;
                each("expiration", Text(&Seconds(r.expiration)))?;
                each("inception", Text(&Seconds(r.inception)))?;
                each("key_tag", Text(&r.key_tag))?;
                each("labels", Text(&r.labels))?;
                each("original_ttl", Text(&r.original_ttl))?;
                each("signer_name", Text(&NameText(&r.signer)))?;
                each("type_covered", Text(&names::rtype(r.covered)))
            }
            Self::Nsec { types, .. } => each("type_bits", Text(&TypeBits(types))),
            Self::Nsec3 { hash, flags, iterations, salt, types, .. } => {
                each("flags", Text(&flags))?;
                each("hash", Text(&names::hash(hash)))?;
                each("iterations", Text(&iterations))?;
                each("salt", Text(&Salt(salt)))?;
                each("type_bits", Text(&TypeBits(types)))
            }
            Self::Nsec3param { hash, flags, iterations, .. } => {
                each("flags", Text(&flags))?;
                each("hash", Text(&names::hash(hash)))?;
                each("iterations", Text(&iterations))
            }
            _ => Ok(()),
        }
    }
}

impl Serialize for Rdata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Address(ip) => ip.serialize(serializer),
            data => serializer.collect_str(data),
        }
    }
}

/// The value of an extra key.
pub enum Extra<'a> {
    /// A value that is shown as a number.
    Number(u32),
    /// A value that is shown as a string.
    Text(&'a dyn Display),
}

/// Writes the value of the field `data`.
impl Display for Rdata<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing | Self::Opt(_) => Ok(()),
            Self::Address(ip) => ip.fmt(f),
            Self::Name(n) | Self::Mx(_, n) | Self::Srv(_, n) | Self::Soa(n, ..) => NameText(n).fmt(f),
            Self::Txt(strings) => txt(strings, f),
            Self::Dnskey { key: bytes, .. } | Self::Rrsig(Rrsig { signature: bytes, .. }) => {
                Base64Display::new(bytes, &BASE64_STANDARD).fmt(f)
            }
            Self::Ds { digest, .. } => write!(f, "{:#}", Hex(digest)),
            Self::Nsec { next, .. } => {
                NameText(next).fmt(f)?;
                f.write_str(if next.is_root() { "" } else { "." })
            }
            Self::Nsec3 { next, .. } => base32hex(next, f),
            Self::Nsec3param { salt, .. } => Salt(salt).fmt(f),
            // Writing does not fail because of the data, which was parsed in the same way when the message was
            // checked.
            Self::Other(how, parser) => other(*how, *parser, f).map_err(|Malformed| fmt::Error),
        }
    }
}

/// A name without its final dot, with escapes in its labels; the root is a dot.
#[derive(Clone, Copy)]
pub struct NameText<'a>(pub &'a Name<'a>);

impl Serialize for NameText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Display for NameText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_root() {
            return f.write_char('.');
        }
        let mut first = true;
        for label in self.0.iter().filter(|l| !l.is_root()) {
            if !std::mem::take(&mut first) {
                f.write_char('.')?;
            }
            escape(label.as_slice(), f, |b| match b {
                b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => Some(b as char),
                _ => None,
            })?;
        }
        Ok(())
    }
}

/// Writes bytes as text: `special` bytes get a backslash, bytes outside printable ASCII become `\DDD`.
fn escape(bytes: &[u8], f: &mut fmt::Formatter<'_>, special: fn(u8) -> Option<char>) -> fmt::Result {
    let mut plain = 0;
    for (i, &b) in bytes.iter().enumerate() {
        let c = special(b);
        if c.is_none() && matches!(b, 0x20..=0x7e) {
            continue;
        }
        text(bytes.get(plain..i).unwrap_or_default(), f)?;
        plain = i + 1;
        match c {
            Some(c) => write!(f, "\\{c}")?,
            None => write!(f, "\\{b:03}")?,
        }
    }
    text(bytes.get(plain..).unwrap_or_default(), f)
}

/// Writes bytes that are ASCII text.
fn text(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(std::str::from_utf8(bytes).unwrap_or_default())
}

fn txt(strings: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut p = Parser::from_ref(strings);
    while let Ok(s) = string(&mut p) {
        escape(s, f, |b| matches!(b, b'"' | b'\\').then_some(b as char))?;
        if p.remaining() > 0 {
            f.write_char(' ')?;
        }
    }
    Ok(())
}

fn raw(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    escape(bytes, f, |b| match b {
        b'"' | b'\\' => Some(b as char),
        b'\t' => Some('t'),
        b'\r' => Some('r'),
        b'\n' => Some('n'),
        _ => None,
    })
}

fn other(how: Compressed, mut p: Parser<'_, [u8]>, f: &mut fmt::Formatter<'_>) -> Result<(), Malformed> {
    let mut ahead = p;
    ahead.advance(how.fixed.into())?;
    for _ in 0..how.strings {
        string(&mut ahead)?;
    }
    raw(p.parse_octets(ahead.pos() - p.pos())?, f)?;
    for _ in 0..how.names {
        for label in name(&mut p)?.iter() {
            raw(&[label.len() as u8], f)?;
            raw(label.as_slice(), f)?;
        }
    }
    raw(rest(&mut p)?, f)?;
    Ok(())
}

/// The names of the types in a bitmap, separated by spaces.
struct TypeBits<'a>(&'a [u8]);

impl Display for TypeBits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(types) = RtypeBitmap::from_octets(self.0) else { return Ok(()) };
        for (i, rtype) in types.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { " " }, names::rtype(rtype.to_int()))?;
        }
        Ok(())
    }
}

struct Salt<'a>(&'a [u8]);

impl Display for Salt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_char('-') } else { write!(f, "{:#}", Hex(self.0)) }
    }
}

/// Writes seconds since 1970 as `YYYYMMDDHHMMSS`.
struct Seconds(u32);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Timestamp(u64::from(self.0) * 1_000_000_000).text(3);
        text.as_str().chars().filter(char::is_ascii_digit).take(14).try_for_each(|c| f.write_char(c))
    }
}

/// Writes bytes in base32hex (RFC 4648, 7) without padding.
fn base32hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in bytes.chunks(5) {
        let mut group = [0; 8];
        group.iter_mut().skip(3).zip(chunk).for_each(|(to, from)| *to = *from);
        let group = u64::from_be_bytes(group);
        for i in 0..(chunk.len() * 8).div_ceil(5) {
            let digit = (group >> (35 - 5 * i) & 0x1f) as u8;
            f.write_char(char::from(if digit < 10 { b'0' + digit } else { b'A' + digit - 10 }))?;
        }
    }
    Ok(())
}
