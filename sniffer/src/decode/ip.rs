//! One IP header, IPv4 (RFC 791) or IPv6 with its extension headers (RFC 8200, RFC 7045): addresses, what it carries, fragment or not.
//! Extension headers are walked over, not understood; what ESP hides stays hidden.

use super::{Addresses, Undecoded};
use etherparse::{Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice};

/// Extension headers followed in one IPv6 header: RFC 8200 has six kinds, each once but one.
const MAX_EXTENSIONS: usize = 8;

/// Numbers of <https://www.iana.org/assignments/protocol-numbers> that are extension headers.
mod number {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const AUTHENTICATION: u8 = 51;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const MOBILITY: u8 = 135;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;
}

/// What an IP header carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    pub addresses: Addresses<'a>,
    /// The IANA number of what `payload` is.
    pub protocol: u8,
    /// What was captured, without padding.
    pub payload: &'a [u8],
    /// How long it is by the header.
    pub wire: u32,
    /// It is only a part.
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

/// Reads an IP header of the version that the layer below promised. `on_wire`: bytes from `data`'s first on that the layer below had on
/// the wire.
#[inline]
pub(super) fn decode(data: &[u8], on_wire: u32, version: u8) -> Result<Datagram<'_>, Undecoded> {
    match (data.first().ok_or(Undecoded::IpTruncated)? >> 4, version) {
        (4, 4) => v4(data, on_wire),
        (6, 6) => v6(data, on_wire),
        _ => Err(Undecoded::IpMalformed),
    }
}

#[inline]
fn v4(data: &[u8], on_wire: u32) -> Result<Datagram<'_>, Undecoded> {
    let header = Ipv4HeaderSlice::from_slice(data).map_err(|error| match error {
        etherparse::err::ipv4::HeaderSliceError::Len(_) => Undecoded::IpTruncated,
        etherparse::err::ipv4::HeaderSliceError::Content(_) => Undecoded::IpMalformed,
    })?;
    let header_len = header.slice().len();
    let total = match header.total_len() {
        // Segmentation was left to the card and the segment is longer than the field can say: as long as the frame.
        0 => on_wire,
        total => u32::from(total),
    };
    let wire = total.checked_sub(header_len as u32).ok_or(Undecoded::IpMalformed)?;
    let addresses = data.get(12..).and_then(|d| d.first_chunk()).ok_or(Undecoded::IpTruncated)?;
    let offset = u32::from(header.fragments_offset().value()) * 8;
    let more = header.more_fragments();
    let fragment = (more || offset != 0).then(|| Part { id: u32::from(header.identification()), offset, more });
    let payload = cut(data.get(header_len..).unwrap_or_default(), wire);
    Ok(Datagram { addresses: Addresses::V4(addresses), protocol: header.protocol().0, payload, wire, fragment })
}

#[inline]
fn v6(data: &[u8], on_wire: u32) -> Result<Datagram<'_>, Undecoded> {
    let header = Ipv6HeaderSlice::from_slice(data).map_err(|error| match error {
        etherparse::err::ipv6::HeaderSliceError::Len(_) => Undecoded::IpTruncated,
        etherparse::err::ipv6::HeaderSliceError::Content(_) => Undecoded::IpMalformed,
    })?;
    let wire = match header.payload_length() {
        // A jumbogram (RFC 2675), or segmentation left to the card: as long as the frame.
        0 => on_wire.saturating_sub(40),
        length => u32::from(length),
    };
    let addresses = data.get(8..).and_then(|d| d.first_chunk()).ok_or(Undecoded::IpTruncated)?;
    let payload = cut(data.get(40..).unwrap_or_default(), wire);
    let mut datagram = Datagram { addresses: Addresses::V6(addresses), protocol: header.next_header().0, payload, wire, fragment: None };
    extensions(&mut datagram)?;
    Ok(datagram)
}

/// Walks over the extension headers at the start of the payload, up to a fragment header that means it. Also needed for what a
/// datagram put together begins with.
#[inline]
pub(super) fn extensions(datagram: &mut Datagram<'_>) -> Result<(), Undecoded> {
    for _ in 0..MAX_EXTENSIONS {
        let length = match datagram.protocol {
            number::FRAGMENT => {
                let header = Ipv6FragmentHeaderSlice::from_slice(datagram.payload).map_err(|_| Undecoded::IpTruncated)?;
                // A fragment that is the whole (RFC 6946) is no fragment.
                if header.is_fragmenting_payload() {
                    datagram.fragment = Some(Part {
                        id: header.identification(),
                        offset: u32::from(header.fragment_offset().value()) * 8,
                        more: header.more_fragments(),
                    });
                }
                8
            }
            number::AUTHENTICATION => (extension_length(datagram.payload)? + 2) * 4,
            number::HOP_BY_HOP | number::ROUTING | number::DESTINATION_OPTIONS | number::MOBILITY | number::HIP | number::SHIM6 => {
                (extension_length(datagram.payload)? + 1) * 8
            }
            _ => return Ok(()),
        };
        datagram.protocol = *datagram.payload.first().ok_or(Undecoded::IpTruncated)?;
        datagram.payload = datagram.payload.get(length..).ok_or(Undecoded::IpTruncated)?;
        datagram.wire = datagram.wire.saturating_sub(length as u32);
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
