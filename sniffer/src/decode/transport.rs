//! Decodes the transport header: TCP (RFC 9293), UDP (RFC 768), and the type and code of ICMP (RFC 792, RFC 4443). Of
//! the TCP options only the window scale of a SYN is read.

use super::{Icmp, Layer4, OtherPayload, Ports, Tcp, TcpFlags, Udp, Undecoded, ip::cut, next::Remaining};
use etherparse::{TcpHeaderSlice, UdpHeaderSlice};
use sniffer_common::{length, protocol};

/// SCTP (RFC 9260).
const SCTP: u8 = 132;

/// The ports of a transport whose header is not decoded further or is cut. `None` for other
/// protocols, and if the ports were not captured.
pub(super) fn ports(protocol: u8, Remaining { data, wire }: Remaining<'_>) -> Option<Ports> {
    let ([a, b, c, d], protocol::TCP | protocol::UDP | SCTP) = (*data.first_chunk()?, protocol) else { return None };
    let (source, destination) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some(Ports { protocol, source, destination, wire_payload: wire })
}

/// Decodes the header of the IP protocol `number` at the start of `rest`.
#[inline]
pub(super) fn decode(number: u8, rest: Remaining<'_>) -> Result<Layer4<'_>, Undecoded> {
    let Remaining { data, wire } = rest;
    match number {
        protocol::TCP => tcp(data, wire),
        protocol::UDP => udp(data, wire),
        SCTP => ports(number, rest).map(Layer4::Ports).ok_or_else(|| truncated(data, wire)),
        protocol::ICMP => icmp(data, wire).map(Layer4::Icmp),
        protocol::ICMP6 => icmp(data, wire).map(Layer4::Icmp6),
        protocol::NO_NEXT_HEADER => Ok(Layer4::None),
        protocol => Ok(Layer4::Other(OtherPayload { protocol, wire_payload: wire })),
    }
}

#[inline]
fn tcp(data: &[u8], wire: u32) -> Result<Layer4<'_>, Undecoded> {
    let header = TcpHeaderSlice::from_slice(data).map_err(|error| match error {
        etherparse::err::tcp::HeaderSliceError::Len(_) => truncated(data, wire),
        etherparse::err::tcp::HeaderSliceError::Content(_) => Undecoded::TransportMalformed,
    })?;
    let length = header.slice().len();
    let flags = TcpFlags(header.slice().get(13).copied().unwrap_or_default());
    Ok(Layer4::Tcp(Tcp {
        source: header.source_port(),
        destination: header.destination_port(),
        seq: header.sequence_number(),
        ack: header.acknowledgment_number(),
        flags,
        window: header.window_size(),
        window_scale: if flags.syn() { window_scale(header.options()) } else { None },
        payload: data.get(length..).unwrap_or_default(),
        wire_payload: wire.saturating_sub(length as u32),
    }))
}

/// The value of the window scale option (RFC 7323 section 2.2). Only this option is read, because reading all of them with
/// etherparse costs more than the rest of the header. `None` if an option before it is malformed.
fn window_scale(mut options: &[u8]) -> Option<u8> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const WINDOW_SCALE: u8 = 3;
    loop {
        options = match *options {
            [] | [END, ..] => return None,
            [NO_OPERATION, ref rest @ ..] => rest,
            [WINDOW_SCALE, 3, scale, ..] => return Some(scale),
            // The length of an option includes the bytes of its kind and its length.
            [_, length, ..] if length >= 2 => options.get(usize::from(length)..)?,
            _ => return None,
        };
    }
}

#[inline]
fn udp(data: &[u8], wire: u32) -> Result<Layer4<'_>, Undecoded> {
    const HEADER: u32 = length::UDP as u32;
    let header = UdpHeaderSlice::from_slice(data).map_err(|_| truncated(data, wire))?;
    // 0 means that the datagram extends to the end of the IP payload (RFC 2675; also a datagram that the card will
    // split).
    let wire_payload = match header.length() {
        0 => wire.saturating_sub(HEADER),
        length => u32::from(length).checked_sub(HEADER).ok_or(Undecoded::TransportMalformed)?.min(wire.saturating_sub(HEADER)),
    };
    Ok(Layer4::Udp(Udp {
        source: header.source_port(),
        destination: header.destination_port(),
        payload: cut(data.get(length::UDP..).unwrap_or_default(), wire_payload),
        wire_payload,
    }))
}

#[inline]
fn icmp(data: &[u8], wire: u32) -> Result<Icmp<'_>, Undecoded> {
    match *data {
        [kind, code, ..] => Ok(Icmp { kind, code, payload: data, wire_payload: wire }),
        _ => Err(truncated(data, wire)),
    }
}

/// The error for an incomplete header: truncated if the capture ends inside it, malformed if the datagram itself does.
fn truncated(data: &[u8], wire: u32) -> Undecoded {
    if (data.len() as u64) < u64::from(wire) { Undecoded::TransportTruncated } else { Undecoded::TransportMalformed }
}
