//! Decodes one IP header: IPv4 (RFC 791), or IPv6 with its extension headers (RFC 8200, RFC 7045). Extension headers
//! are skipped without interpreting them. A payload encrypted with ESP is not decoded.

use super::{Addresses, Undecoded, next::Remaining};
use etherparse::{Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice};
use sniffer_common::{length, limit::IPV6_EXTENSIONS, protocol};

/// An IP packet: the contents of its header that later steps need, and its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpPacket<'a> {
    pub addresses: Addresses<'a>,
    /// IANA protocol number of the payload.
    pub protocol: u8,
    /// The bytes after the header and its extensions.
    pub payload: Remaining<'a>,
    /// The position in the datagram if the packet is a fragment; `None` for a complete datagram.
    pub fragment: Option<FragmentPosition>,
}

/// The position of a fragment in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FragmentPosition {
    /// The identification field, which is unique between the two addresses.
    pub id: u32,
    /// Offset of the fragment in the datagram, in bytes.
    pub offset: u32,
    /// Whether more fragments follow (the MF flag).
    pub more: bool,
}

/// Decodes an IPv4 header.
#[inline]
pub(super) fn v4(rest: Remaining<'_>) -> Result<IpPacket<'_>, Undecoded> {
    let Remaining { data, wire } = rest;
    check_version(data, 4)?;
    let header = Ipv4HeaderSlice::from_slice(data).map_err(|error| match error {
        etherparse::err::ipv4::HeaderSliceError::Len(_) => Undecoded::IpTruncated,
        etherparse::err::ipv4::HeaderSliceError::Content(_) => Undecoded::IpMalformed,
    })?;
    let header_len = header.slice().len();
    let total = match header.total_len() {
        // The network card will split the packet, which is longer than the length field can
        // express. The packet extends to the end of the frame.
        0 => wire,
        total => u32::from(total),
    };
    let wire = total.checked_sub(header_len as u32).ok_or(Undecoded::IpMalformed)?;
    let addresses = data.get(12..).and_then(|d| d.first_chunk()).ok_or(Undecoded::IpTruncated)?;
    let offset = u32::from(header.fragments_offset().value()) * 8;
    let more = header.more_fragments();
    let fragment = (more || offset != 0).then(|| FragmentPosition { id: u32::from(header.identification()), offset, more });
    let payload = Remaining { data: cut(data.get(header_len..).unwrap_or_default(), wire), wire };
    Ok(IpPacket { addresses: Addresses::V4(addresses), protocol: header.protocol().0, payload, fragment })
}

/// Decodes an IPv6 header without its extension headers, which [`extensions`] skips.
#[inline]
pub(super) fn v6(rest: Remaining<'_>) -> Result<IpPacket<'_>, Undecoded> {
    let Remaining { data, wire } = rest;
    check_version(data, 6)?;
    let header = Ipv6HeaderSlice::from_slice(data).map_err(|error| match error {
        etherparse::err::ipv6::HeaderSliceError::Len(_) => Undecoded::IpTruncated,
        etherparse::err::ipv6::HeaderSliceError::Content(_) => Undecoded::IpMalformed,
    })?;
    let wire = match header.payload_length() {
        // A jumbogram (RFC 2675), or a packet that the network card will split. The packet extends
        // to the end of the frame.
        0 => wire.saturating_sub(length::IPV6 as u32),
        length => u32::from(length),
    };
    let addresses = data.get(8..).and_then(|d| d.first_chunk()).ok_or(Undecoded::IpTruncated)?;
    let payload = Remaining { data: cut(data.get(length::IPV6..).unwrap_or_default(), wire), wire };
    Ok(IpPacket { addresses: Addresses::V6(addresses), protocol: header.next_header().0, payload, fragment: None })
}

/// Checks that the version field is the one that the previous header announced.
#[inline]
fn check_version(data: &[u8], version: u8) -> Result<(), Undecoded> {
    if data.first().ok_or(Undecoded::IpTruncated)? >> 4 == version { Ok(()) } else { Err(Undecoded::IpMalformed) }
}

/// Skips the extension headers at the start of the payload, up to and including a fragment header that belongs to a fragment. The function
/// is also called for a reassembled datagram, whose first fragment may begin with more extension headers.
#[inline]
pub(super) fn extensions(packet: &mut IpPacket<'_>) -> Result<(), Undecoded> {
    for _ in 0..IPV6_EXTENSIONS {
        let payload = packet.payload.data;
        let length = match packet.protocol {
            protocol::IPV6_FRAGMENT => {
                let header = Ipv6FragmentHeaderSlice::from_slice(payload).map_err(|_| Undecoded::IpTruncated)?;
                // An atomic fragment (RFC 6946) contains the complete datagram and needs no reassembly.
                if header.is_fragmenting_payload() {
                    packet.fragment = Some(FragmentPosition {
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
        packet.protocol = *payload.first().ok_or(Undecoded::IpTruncated)?;
        if payload.len() < length {
            return Err(Undecoded::IpTruncated);
        }
        packet.payload.skip(length);
        if packet.fragment.is_some() {
            return Ok(());
        }
    }
    Err(Undecoded::IpMalformed)
}

#[inline]
fn extension_length(payload: &[u8]) -> Result<usize, Undecoded> {
    payload.get(1).map(|&units| usize::from(units)).ok_or(Undecoded::IpTruncated)
}

/// Cuts `data` to `wire` bytes; the bytes after them are padding.
#[inline]
pub(super) fn cut(data: &[u8], wire: u32) -> &[u8] {
    data.get(..wire as usize).unwrap_or(data)
}
