//! Writes the `dhcpv4` fields of a document.

use super::{names, wire::Message};
use crate::{
    event::text::{Hex, Mac, Text},
    protocols::kit::reader::Reader,
};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};
use std::{fmt::Display, net::Ipv4Addr};

/// The fields of this protocol in addition to those that all transactions have.
#[derive(Serialize)]
pub struct Body<'a> {
    /// The object `dhcpv4`.
    pub dhcpv4: Fields<'a>,
}

/// The fields of one message.
pub struct Fields<'a>(pub &'a Message<'a>);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let m = self.0;
        let mut map = serializer.serialize_map(None)?;
        match m.op {
            1 => map.serialize_entry("op_code", "bootrequest")?,
            2 => map.serialize_entry("op_code", "bootreply")?,
            n => map.serialize_entry("op_code", &Unknown(n))?,
        }
        map.serialize_entry("hardware_type", names::hardware(m.hardware))?;
        map.serialize_entry("hops", &m.hops)?;
        map.serialize_entry("transaction_id", &Shown(format_args!("0x{:08x}", m.transaction_id)))?;
        map.serialize_entry("seconds", &m.seconds)?;
        let way = if m.flags & 0x8000 != 0 { "broadcast" } else { "unicast" };
        let reserved = if m.flags & 0x00fe != 0 { " (reserved bits not zeroed)" } else { "" };
        map.serialize_entry("flags", &Shown(format_args!("{way}{reserved}")))?;
        if !m.client_mac.is_empty() {
            map.serialize_entry("client_mac", &Mac(m.client_mac))?;
        }
        for (key, ip) in [("client_ip", m.client_ip), ("assigned_ip", m.assigned_ip), ("relay_ip", m.relay_ip)] {
            if !ip.is_unspecified() {
                map.serialize_entry(key, &ip)?;
            }
        }
        for (key, text) in [("server_name", m.server_name), ("boot_file_name", m.boot_file_name)] {
            if !text.is_empty() {
                map.serialize_entry(key, &Text(text))?;
            }
        }
        map.serialize_entry("option", &Options(m))?;
        map.end()
    }
}

struct Options<'a>(&'a Message<'a>);

/// Options with a text: the key in documents, the number of the option, and whether trailing NULs are removed.
const TEXTS: [(&str, u8, bool); 5] = [
    ("class_identifier", 60, false),
    ("domain_name", 15, false),
    ("message", 56, false),
    ("hostname", 12, true),
    ("boot_file_name", 67, true),
];
const ADDRESSES: [(&str, u8); 4] = [("requested_ip_address", 50), ("server_identifier", 54), ("broadcast_address", 28), ("subnet_mask", 1)];
const LISTS: [(&str, u8); 4] = [("dns_servers", 6), ("router", 3), ("time_servers", 4), ("ntp_servers", 42)];
const TIMES: [(&str, u8); 3] = [("ip_address_lease_time_sec", 51), ("renewal_time_sec", 58), ("rebinding_time_sec", 59)];

impl Serialize for Options<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let m = self.0;
        let mut map = serializer.serialize_map(None)?;
        match m.fixed::<1>(53) {
            None | Some([0]) => (),
            Some([n]) => match names::MESSAGES.get(usize::from(n) - 1) {
                Some(name) => map.serialize_entry("message_type", name)?,
                None => map.serialize_entry("message_type", &Unknown(n))?,
            },
        }
        if let Some(codes) = m.option(55).filter(|codes| !codes.is_empty()) {
            map.serialize_entry("parameter_request_list", &Parameters(&codes))?;
        }
        for (key, code) in ADDRESSES {
            if let Some(address) = m.fixed::<4>(code) {
                map.serialize_entry(key, &Ipv4Addr::from(address))?;
            }
        }
        for (key, code) in LISTS {
            if let Some(addresses) = m.addresses(code) {
                map.serialize_entry(key, &addresses)?;
            }
        }
        for (key, code) in TIMES {
            if let Some(seconds) = m.fixed(code).map(u32::from_be_bytes).filter(|s| *s != 0) {
                map.serialize_entry(key, &seconds)?;
            }
        }
        for (key, code, cut) in TEXTS {
            let Some(text) = m.option(code) else { continue };
            let nuls = if cut { text.iter().rev().take_while(|b| **b == 0).count() } else { 0 };
            let text = &text[..text.len() - nuls];
            if !text.is_empty() {
                map.serialize_entry(key, &Text(text))?;
            }
        }
        if let Some(size) = m.fixed(57).map(u16::from_be_bytes) {
            map.serialize_entry("max_dhcp_message_size", &size)?;
        }
        if let Some(offset) = m.fixed(2).map(i32::from_be_bytes) {
            map.serialize_entry("utc_time_offset_sec", &offset)?;
        }
        if let Some(data) = m.option(124)
            && let Some(classes) = vendor_classes(&data)
        {
            map.serialize_entry("vendor_identifying_options", &classes)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct VendorClass<'a> {
    id: u32,
    data: Hex<'a>,
}

/// Parses vendor classes (RFC 3925, 3): enterprise number, length, data. The length of an option bounds their number
/// to some hundreds.
fn vendor_classes(data: &[u8]) -> Option<Vec<VendorClass<'_>>> {
    let mut r = Reader::new(data);
    let mut classes = Vec::new();
    while !r.is_empty() {
        let (id, length) = (r.u32()?, r.u8()?);
        classes.push(VendorClass { id, data: Hex(r.take(length.into())?) });
    }
    (!classes.is_empty()).then_some(classes)
}

struct Parameters<'a>(&'a [u8]);

impl Serialize for Parameters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for code in self.0 {
            match names::option(*code) {
                Some(name) => seq.serialize_element(name)?,
                None => seq.serialize_element(&Unknown(*code))?,
            }
        }
        seq.end()
    }
}

/// Writes `unknown (N)`.
struct Unknown(u8);

impl Serialize for Unknown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("unknown ({})", self.0))
    }
}

/// A value that is serialised as the text in which it is displayed.
struct Shown<D>(D);

impl<D: Display> Serialize for Shown<D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
