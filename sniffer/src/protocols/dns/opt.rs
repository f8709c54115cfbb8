//! Writes `dns.opt` (EDNS, RFC 6891): the flags and the known options.

use super::{names, rdata::Rdata, wire::Record};
use crate::{event::text::Hex, protocols::kit::reader::Reader};
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::{
    fmt::{self, Display},
    net::{Ipv4Addr, Ipv6Addr},
};

/// The object `dns.opt`.
pub struct Opt<'a>(pub &'a Record<'a>);

/// Options with a number below this have a key of their own in `dns.opt`.
const KNOWN: usize = 11;

/// Whether the DO flag is set: the client wants DNSSEC records.
pub fn dnssec_ok(opt: &Record<'_>) -> bool {
    opt.ttl & 0x8000 != 0
}

impl Serialize for Opt<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let mut known: [Option<&[u8]>; KNOWN] = [None; KNOWN];
        let mut unknown = None;
        let Rdata::Opt(options) = record.data else { return serializer.serialize_map(Some(0))?.end() };
        let mut r = Reader::new(options);
        // The loop has at most as many iterations as options fit into the record.
        while let (Some(code), Some(length)) = (r.u16(), r.u16()) {
            let Some(data) = r.take(length.into()) else { break };
            match known.get_mut(usize::from(code)) {
                Some(place) if code != 0 => *place = Some(data),
                // The option is known, but documents do not show it (UPDATE-LEASE and others).
                _ if matches!(code, 11 | 12 | 15 | 18 | 19) => (),
                _ => unknown = Some((code, data)),
            }
        }
        let [_, llq, lease, nsid, _, dau, dhu, n3u, subnet, expire, cookie] = known;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("do", &dnssec_ok(record))?;
        map.serialize_entry("version", itoa::Buffer::new().format(record.ttl >> 16 & 0xff))?;
        map.serialize_entry("udp_size", &record.class)?;
        map.serialize_entry("ext_rcode", &names::Rcode((record.ttl >> 24) as u16 * 16))?;
        if let Some(text) = llq.and_then(llq_text) {
            map.serialize_entry("llq", &text)?;
        }
        if let Some(text) = lease.and_then(lease_text) {
            map.serialize_entry("ul", &text)?;
        }
        for (key, bytes) in [("nsid", nsid), ("cookie", cookie)] {
            if let Some(bytes) = bytes {
                map.serialize_entry(key, &Hex(bytes))?;
            }
        }
        for (key, codes, name) in [("dau", dau, names::algorithm as Name), ("dhu", dhu, names::hash), ("n3u", n3u, names::hash)] {
            if let Some(codes) = codes {
                map.serialize_entry(key, &Codes(codes, name))?;
            }
        }
        if let Some(text) = subnet.and_then(subnet_text) {
            map.serialize_entry("subnet", &text)?;
        }
        if let Some((code, data)) = unknown {
            map.serialize_entry("local", &Local(code, data))?;
        } else if let Some(data) = expire {
            match (data.is_empty(), Reader::new(data).u32()) {
                (true, _) => map.serialize_entry("local", "")?,
                (_, Some(seconds)) => map.serialize_entry("local", itoa::Buffer::new().format(seconds))?,
                _ => (),
            }
        }
        map.end()
    }
}

/// The text of the LLQ option (RFC 8764, 3.2). The option is rare, so an allocation is acceptable.
fn llq_text(data: &[u8]) -> Option<String> {
    let mut r = Reader::new(data);
    Some(format!("{} {} {} {} {}", r.u16()?, r.u16()?, r.u16()?, r.u64()?, r.u32()?))
}

/// The text of the UPDATE-LEASE option (RFC 9664, 4).
fn lease_text(data: &[u8]) -> Option<String> {
    let mut r = Reader::new(data);
    Some(format!("{} {}", r.u32()?, r.u32().unwrap_or(0)))
}

/// The text of the client subnet option (RFC 7871, 6).
fn subnet_text(data: &[u8]) -> Option<String> {
    let mut r = Reader::new(data);
    let (family, source, scope) = (r.u16()?, r.u8()?, r.u8()?);
    let bytes = r.rest();
    let mut address = [0; 16];
    address.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let [a, b, c, d, ..] = address;
    match family {
        0 | 1 if bytes.len() <= 4 => Some(format!("{}/{source}/{scope}", Ipv4Addr::new(a, b, c, d))),
        2 => Some(format!("[{}]/{source}/{scope}", Ipv6Addr::from(address))),
        _ => None,
    }
}

type Name = fn(u8) -> names::Named;

/// Writes numbers as names, each with a leading space.
struct Codes<'a>(&'a [u8], Name);

impl Display for Codes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|code| write!(f, " {}", (self.1)(*code)))
    }
}

impl Serialize for Codes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct Local<'a>(u16, &'a [u8]);

impl Serialize for Local<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:0x{}", self.0, Hex(self.1)))
    }
}
