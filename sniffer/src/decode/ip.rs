//! One IP header, IPv4 (RFC 791) or IPv6 with its extension headers (RFC 8200, RFC 7045): addresses, what it carries, fragment or not.
//! Extension headers are walked over, not understood; what ESP hides stays hidden.

use super::{Addresses, Undecoded, next::Rest};
use etherparse::{Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice};
use sniffer_common::{length, limit::IPV6_EXTENSIONS, protocol};

/// What an IP header carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    pub addresses: Addresses<'a>,
    /// The IANA number of what `payload` is.
    pub protocol: u8,
    /// What follows the header.
    pub payload: Rest<'a>,
    /// Which part of a datagram it is, where it is not the whole.
    pub fragment: Option<Part>,
}

/// Which part of a datagram a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The datagram's number between its addresses.
    pub id: u32,
    /// Where it belongs, in bytes.
    pub offset: u32,
    /// It is not the last.
    pub more: bool,
}

/// Reads an IPv4 header.
#[inline]
pub(super) fn v4(rest: Rest<'_>) -> Result<Datagram<'_>, Undecoded> {
    let Rest { data, wire } = rest;
    check_version(data, 4)?;
    let header = Ipv4HeaderSlice::from_slice(data).map_err(|error| match error {
        etherparse::err::ipv4::HeaderSliceError::Len(_) => Undecoded::IpTruncated,
        etherparse::err::ipv4::HeaderSliceError::Content(_) => Undecoded::IpMalformed,
    })?;
    let header_len = header.slice().len();
    let total = match header.total_len() {
        // Segmentation was left to the card and the segment is longer than the field can say: as long as the frame.
        0 => wire,
        total => u32::from(total),
    };
    let wire = total.checked_sub(header_len as u32).ok_or(Undecoded::IpMalformed)?;
    let addresses = data.get(12..).and_then(|d| d.first_chunk()).ok_or(Undecoded::IpTruncated)?;
    let offset = u32::from(header.fragments_offset().value()) * 8;
    let more = header.more_fragments();
    let fragment = (more || offset != 0).then(|| Part { id: u32::from(header.identification()), offset, more });
    let payload = Rest { data: cut(data.get(header_len..).unwrap_or_default(), wire), wire };
    Ok(Datagram { addresses: Addresses::V4(addresses), protocol: header.protocol().0, payload, fragment })
}

/// Reads an IPv6 header and its extension headers.
#[inline]
pub(super) fn v6(rest: Rest<'_>) -> Result<Datagram<'_>, Undecoded> {
    let Rest { data, wire } = rest;
    check_version(data, 6)?;
    let header = Ipv6HeaderSlice::from_slice(data).map_err(|error| match error {
        etherparse::err::ipv6::HeaderSliceError::Len(_) => Undecoded::IpTruncated,
        etherparse::err::ipv6::HeaderSliceError::Content(_) => Undecoded::IpMalformed,
    })?;
    let wire = match header.payload_length() {
        // A jumbogram (RFC 2675), or segmentation left to the card: as long as the frame.
        0 => wire.saturating_sub(length::IPV6 as u32),
        length => u32::from(length),
    };
    let addresses = data.get(8..).and_then(|d| d.first_chunk()).ok_or(Undecoded::IpTruncated)?;
    let payload = Rest { data: cut(data.get(length::IPV6..).unwrap_or_default(), wire), wire };
    let mut datagram = Datagram { addresses: Addresses::V6(addresses), protocol: header.next_header().0, payload, fragment: None };
    extensions(&mut datagram)?;
    Ok(datagram)
}

/// Whether the header is of the version that the one before it announced.
#[inline]
fn check_version(data: &[u8], version: u8) -> Result<(), Undecoded> {
    if data.first().ok_or(Undecoded::IpTruncated)? >> 4 == version { Ok(()) } else { Err(Undecoded::IpMalformed) }
}

/// Walks over the extension headers at the start of the payload, up to a fragment header of a datagram that is in parts. Also for a
/// datagram that was put together, whose first part may begin with more of them.
#[inline]
pub(super) fn extensions(datagram: &mut Datagram<'_>) -> Result<(), Undecoded> {
    for _ in 0..IPV6_EXTENSIONS {
        let payload = datagram.payload.data;
        let length = match datagram.protocol {
            protocol::IPV6_FRAGMENT => {
                let header = Ipv6FragmentHeaderSlice::from_slice(payload).map_err(|_| Undecoded::IpTruncated)?;
                // A fragment that is the whole (RFC 6946) is no fragment.
                if header.is_fragmenting_payload() {
                    datagram.fragment = Some(Part {
                        id: header.identification(),
                        offset: u32::from(header.fragment_offset().value()) * 8,
                        more: header.more_fragments(),
                    });
                }
                length::IPV6_FRAGMENT
            }
            protocol::AUTHENTICATION => (extension_length(payload)? + 2) * 4,
            protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::DESTINATION_OPTIONS
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6 => (extension_length(payload)? + 1) * 8,
            _ => return Ok(()),
        };
        datagram.protocol = *payload.first().ok_or(Undecoded::IpTruncated)?;
        if payload.len() < length {
            return Err(Undecoded::IpTruncated);
        }
        datagram.payload.skip(length);
        if datagram.fragment.is_some() {
            return Ok(());
        }
    }
    Err(Undecoded::IpMalformed)
}

#[inline]
fn extension_length(payload: &[u8]) -> Result<usize, Undecoded> {
    payload.get(1).map(|&units| usize::from(units)).ok_or(Undecoded::IpTruncated)
}

/// `data` up to `wire` bytes: behind them is padding.
#[inline]
pub(super) fn cut(data: &[u8], wire: u32) -> &[u8] {
    data.get(..wire as usize).unwrap_or(data)
}
