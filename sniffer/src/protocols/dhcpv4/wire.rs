//! Parses DHCPv4 messages: the fixed part (RFC 2131) and the options (RFC 2132; overload and concatenation: RFC 3396).
//!
//! This module uses [`Reader`] and not dhcproto: dhcproto's owned form refuses a complete message because of one option with an unusual
//! length and drops the bytes of unknown options; its borrowed form trusts `hlen` and does not tell whether there was an End option.

use crate::protocols::kit::reader::Reader;
use std::{borrow::Cow, net::Ipv4Addr};

/// The magic cookie in front of the options.
pub const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// Number of bytes before [`MAGIC`].
pub const FIXED: usize = 236;

/// Maximum number of options of a message. Real messages have some dozens; 64 KiB could contain 32,000 empty ones.
const MOST_OPTIONS: usize = 1024;

/// A message. Options are looked up by number.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// 1 for a request, 2 for a reply.
    pub op: u8,
    /// The type of the client's hardware address.
    pub hardware: u8,
    /// Number of relays on the path.
    pub hops: u8,
    /// The transaction id, chosen by the client.
    pub transaction_id: u32,
    /// Seconds since the client began.
    pub seconds: u16,
    /// Flags; the highest bit requests a broadcast.
    pub flags: u16,
    /// The client's present address, if it has one.
    pub client_ip: Ipv4Addr,
    /// The address assigned to the client.
    pub assigned_ip: Ipv4Addr,
    /// The address of the first relay.
    pub relay_ip: Ipv4Addr,
    /// The client's hardware address, with the length given in the message, at most 16 bytes.
    pub client_mac: &'a [u8],
    /// The server's name; empty if the field contains options.
    pub server_name: &'a [u8],
    /// The name of the boot file; empty if the field contains options.
    pub boot_file_name: &'a [u8],
    options: Vec<(u8, &'a [u8])>,
}

impl<'a> Message<'a> {
    /// Parses a datagram; `None` if it is not a DHCPv4 message, is malformed, or has no End option. With `cut`, the
    /// end of the datagram was not captured. Its captured fields are then parsed, if they include the client's
    /// hardware address.
    pub fn parse(data: &'a [u8], cut: bool) -> Option<Self> {
        let mut r = Reader::new(data);
        let (op, hardware, hlen, hops) = (r.u8()?, r.u8()?, r.u8()?, r.u8()?);
        let (transaction_id, seconds, flags) = (r.u32()?, r.u16()?, r.u16()?);
        let mut address = || r.array::<4>().map(Ipv4Addr::from);
        let (client_ip, assigned_ip, _next_server, relay_ip) = (address()?, address()?, address()?, address()?);
        let client_mac = r.take(16)?;
        let client_mac = client_mac.get(..usize::from(hlen)).unwrap_or(client_mac);
        let mut field = |length| match r.take(length) {
            None if cut => Some(r.take(r.remaining()).unwrap_or_default()),
            field => field,
        };
        let (mut server_name, mut boot_file_name, magic) = (field(64)?, field(128)?, field(MAGIC.len())?);
        if magic != MAGIC && !(cut && MAGIC.starts_with(magic)) {
            return None;
        }
        let mut options = Vec::with_capacity(16);
        if read_options(r.rest(), &mut options) != Some(true) && !cut {
            return None;
        }
        // With the overload option (RFC 2132, 9.3), the options continue in the fields of the server name and the
        // file name.
        let overload = options.iter().find(|(code, _)| *code == 52).and_then(|(_, data)| data.first().copied()).unwrap_or(0);
        for (bit, place) in [(1, &mut boot_file_name), (2, &mut server_name)] {
            if overload & bit != 0 {
                read_options(std::mem::take(place), &mut options)?;
            }
        }
        let (server_name, boot_file_name) = (to_nul(server_name), to_nul(boot_file_name));
        Some(Self {
            op,
            hardware,
            hops,
            transaction_id,
            seconds,
            flags,
            client_ip,
            assigned_ip,
            relay_ip,
            client_mac,
            server_name,
            boot_file_name,
            options,
        })
    }

    /// The value of an option; split options are joined.
    pub fn option(&self, code: u8) -> Option<Cow<'a, [u8]>> {
        let mut parts = self.options.iter().filter(|(c, _)| *c == code).map(|(_, data)| *data);
        let first = parts.next()?;
        let Some(second) = parts.next() else { return Some(first.into()) };
        let mut whole = [first, second].concat();
        parts.for_each(|part| whole.extend_from_slice(part));
        Some(whole.into())
    }

    /// An option that is a number of `N` bytes.
    pub fn fixed<const N: usize>(&self, code: u8) -> Option<[u8; N]> {
        self.option(code)?.as_ref().try_into().ok()
    }

    /// An option that is a non-empty list of addresses.
    pub fn addresses(&self, code: u8) -> Option<Vec<Ipv4Addr>> {
        let data = self.option(code)?;
        let (addresses, rest) = data.as_chunks::<4>();
        (rest.is_empty() && !addresses.is_empty()).then(|| addresses.iter().map(|a| Ipv4Addr::from(*a)).collect())
    }
}

/// Parses options up to End; returns whether there was one. `None` if an option is cut off or there are too many.
fn read_options<'a>(area: &'a [u8], options: &mut Vec<(u8, &'a [u8])>) -> Option<bool> {
    let mut r = Reader::new(area);
    while !r.is_empty() {
        match r.u8()? {
            0 => (),
            255 => return Some(true),
            code => {
                let length = r.u8()?;
                options.push((code, r.take(length.into())?));
                if options.len() > MOST_OPTIONS {
                    return None;
                }
            }
        }
    }
    Some(false)
}

fn to_nul(text: &[u8]) -> &[u8] {
    text.split(|b| *b == 0).next().unwrap_or_default()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A message with these options.
    pub fn message(op: u8, options: &[u8]) -> Vec<u8> {
        let mut m = vec![op, 1, 6, 0, 0, 0, 0x3d, 0x1d, 0, 5, 0x80, 0];
        m.extend([0; 16]);
        m.extend([0, 0x0b, 0x82, 1, 0xfc, 0x42]);
        m.resize(FIXED, 0);
        m.extend(MAGIC);
        m.extend(options);
        m
    }

    #[test]
    fn split_options_and_options_of_wrong_length() {
        let data = message(1, &[55, 1, 1, 0, 55, 2, 3, 6, 54, 3, 1, 2, 3, 6, 4, 9, 9, 9, 9, 255, 1]);
        let m = Message::parse(&data, false).unwrap();
        assert_eq!(m.option(55).unwrap(), &[1u8, 3, 6][..]);
        assert_eq!(m.fixed::<4>(54), None);
        assert_eq!(m.addresses(6), Some(vec![Ipv4Addr::new(9, 9, 9, 9)]));
        assert_eq!(m.client_mac.len(), 6);
    }

    #[test]
    fn invalid_messages_are_rejected() {
        assert!(Message::parse(&message(1, &[53, 1, 1]), false).is_none(), "no End");
        assert!(Message::parse(&message(1, &[53, 9, 1, 255]), false).is_none(), "cut off");
        assert!(Message::parse(&message(1, &[255])[..200], false).is_none());
        let mut other = message(1, &[255]);
        other[FIXED] = 0;
        assert!(Message::parse(&other, false).is_none() && Message::parse(&other, true).is_none(), "magic");
        other = message(1, &[255]);
        other[2] = 255;
        assert_eq!(Message::parse(&other, false).unwrap().client_mac.len(), 16);
    }

    #[test]
    fn the_captured_part_of_a_cut_message() {
        let mut data = message(1, &[53, 1, 1, 12, 4, b'n', b'a', b'm', b'e', 55, 2, 1, 3, 255]);
        data[44..50].copy_from_slice(b"server");
        let fixed = FIXED + MAGIC.len();
        for end in 0..data.len() {
            let read = Message::parse(&data[..end], true);
            assert_eq!(read.is_some(), end >= 44, "{end} bytes");
            let Some(m) = read else { continue };
            assert_eq!((m.transaction_id, m.client_mac.len()), (0x3d1d, 6), "{end} bytes");
            assert_eq!(m.server_name, &b"server"[..(end - 44).min(6)], "{end} bytes");
            assert_eq!(m.fixed(53), (end >= fixed + 3).then_some([1]), "{end} bytes");
            assert_eq!(m.option(12).is_some(), end >= fixed + 9, "{end} bytes");
            assert_eq!(m.option(55).is_some(), end >= fixed + 13, "{end} bytes");
        }
    }

    #[test]
    fn overload() {
        let mut data = message(2, &[52, 1, 3, 255]);
        data[44..48].copy_from_slice(&[53, 1, 5, 255]);
        data[108..113].copy_from_slice(&[12, 2, b'h', b'i', 255]);
        let m = Message::parse(&data, false).unwrap();
        assert_eq!((m.fixed(53), m.option(12).unwrap().as_ref()), (Some([5]), &b"hi"[..]));
        assert!(m.server_name.is_empty() && m.boot_file_name.is_empty());
    }
}
