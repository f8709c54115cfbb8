//! The loop over the headers of a frame, from its first byte to the payload of the innermost IP header. Each step
//! returns which header comes next. One limit bounds the number of headers, however they are nested.

use super::{
    FragmentOf, Ips, Layer4, Packet, Undecoded,
    fragments::{AddResult, Beginning, Fragment, Fragments},
    ip::{self, IpPacket},
    link,
    next::{Next, Remaining},
    transport, tunnel,
};
use crate::{
    capture::{Frame, Segments},
    net::Realm,
};
use sniffer_common::{length, limit, protocol};

/// Decodes all headers of `frame`. A fragment that completes its datagram yields the headers of the complete datagram,
/// borrowed from `fragments`, which has one entry per level of fragments inside fragments.
#[inline]
pub(super) fn decode<'a>(fragments: &'a mut [Fragments], frame: &Frame<'a>) -> Result<Packet<'a>, Undecoded> {
    let mut packet = Packet {
        time: frame.time,
        // The bytes of a stripped tag count, because the tag was on the wire. Flows then have the same byte counts on every backend.
        wire_len: if frame.tag.is_some() { frame.wire_len.saturating_add(length::VLAN as u32) } else { frame.wire_len },
        segments: frame.segments,
        ifindex: frame.ifindex,
        macs: None,
        realm: Realm::default(),
        ips: Ips::default(),
        layer4: Layer4::None,
        fragment: None,
        undecoded: None,
    };
    if let Some(tag) = frame.tag {
        packet.realm.vlans.push(tag.tci);
    }
    match headers(fragments, frame, &mut packet) {
        Ok(()) => Ok(packet),
        // If an earlier header was decoded, the packet is returned with the headers decoded until now.
        Err(reason) if reason != Undecoded::NotIp && (packet.ips.count() > 0 || packet.macs.is_some()) => {
            packet.undecoded = Some(reason);
            Ok(packet)
        }
        Err(reason) => Err(reason),
    }
}

/// Decodes the headers into `packet`, up to the first that cannot be decoded.
#[inline]
fn headers<'a>(fragments: &'a mut [Fragments], frame: &Frame<'a>, packet: &mut Packet<'a>) -> Result<(), Undecoded> {
    let mut levels = fragments.iter_mut();
    let mut rest = Remaining { data: frame.data, wire: frame.wire_len.max(frame.data.len() as u32) };
    let mut next = link::first(frame.link, &mut rest)?;
    for _ in 0..limit::HEADERS {
        next = match next {
            Next::Ethernet => link::ethernet(&mut rest, &mut packet.macs)?,
            Next::Vlan => link::vlan(&mut rest, &mut packet.realm.vlans)?,
            Next::Ipv4 | Next::Ipv6 => {
                let mut ip_packet = if next == Next::Ipv4 { ip::v4(rest)? } else { ip::v6(rest)? };
                packet.ips.push(ip_packet.addresses);
                if next == Next::Ipv6 {
                    ip::extensions(&mut ip_packet)?;
                }
                if let Some(position) = ip_packet.fragment {
                    let ports = if position.offset == 0 { transport::ports(ip_packet.protocol, ip_packet.payload) } else { None };
                    packet.fragment = Some(FragmentOf { id: position.id, ports });
                    match levels.next().map(|level| reassemble(level, packet, ip_packet, position)).transpose()?.flatten() {
                        Some(whole) => ip_packet = whole,
                        None => {
                            packet.layer4 = Layer4::Fragment;
                            return Ok(());
                        }
                    }
                }
                rest = ip_packet.payload;
                Next::of_protocol(ip_packet.protocol)
            }
            Next::Tunnel(tunnel) => tunnel::decode(tunnel, &mut rest, &mut packet.realm)?,
            Next::Transport(protocol) => {
                packet.layer4 = transport::decode(protocol, rest).inspect_err(|_| {
                    packet.layer4 = transport::ports(protocol, rest).map_or(Layer4::None, Layer4::Ports);
                })?;
                return Ok(());
            }
            Next::Unknown => break,
        }
    }
    match (next, packet.ips.count()) {
        // There is no IP header, so only the Ethernet addresses are known.
        (_, 0) if packet.macs.is_some() => Ok(()),
        (_, 0) => Err(Undecoded::NotIp),
        (Next::Unknown, _) => Ok(()),
        // There are more headers than [`limit::HEADERS`].
        _ => Err(Undecoded::IpMalformed),
    }
}

/// Decodes the beginning of a datagram whose other fragments are missing. Returns `None` if its protocol is none of
/// TCP, UDP and ICMP, or if the captured part does not contain the transport header.
///
/// A TCP segment is returned as if it ended where its captured bytes end. The missing rest is then a hole in the stream
/// like any other: a retransmission may fill the hole, and the sequence numbers of later segments show its length. A
/// FIN is removed, because it belongs to the end of the segment, whose position is not known.
pub(super) fn beginning(of: &Beginning) -> Option<Packet<'_>> {
    let payload = Remaining { data: &of.data, wire: of.wire };
    let mut ip_packet = IpPacket { addresses: of.addresses(), protocol: of.protocol, payload, fragment: None };
    if !ip_packet.addresses.is_v4() {
        ip::extensions(&mut ip_packet).ok().filter(|()| ip_packet.fragment.is_none())?;
    }
    if !matches!(ip_packet.protocol, protocol::TCP | protocol::UDP | protocol::ICMP | protocol::ICMP6) {
        return None;
    }
    if ip_packet.protocol == protocol::TCP {
        ip_packet.payload.wire = ip_packet.payload.data.len() as u32;
    }
    let mut layer4 = transport::decode(ip_packet.protocol, ip_packet.payload).ok()?;
    if let Layer4::Tcp(tcp) = &mut layer4 {
        tcp.flags = tcp.flags.without_fin();
    }
    let mut packet = Packet {
        time: of.time,
        wire_len: of.wire,
        segments: Segments::default(),
        ifindex: 0,
        macs: None,
        realm: of.realm(),
        ips: Ips::default(),
        layer4,
        fragment: None,
        undecoded: None,
    };
    packet.ips.push(ip_packet.addresses);
    Some(packet)
}

/// Adds a fragment to its datagram; returns the datagram if it is now complete.
#[cold]
fn reassemble<'a>(
    level: &'a mut Fragments,
    packet: &Packet<'a>,
    ip_packet: IpPacket<'a>,
    position: ip::FragmentPosition,
) -> Result<Option<IpPacket<'a>>, Undecoded> {
    let IpPacket { addresses, protocol, payload: Remaining { data, wire }, .. } = ip_packet;
    match level.add(&Fragment { time: packet.time, realm: packet.realm, addresses, protocol, position, data, wire }) {
        AddResult::Incomplete => Ok(None),
        AddResult::Complete(protocol) => {
            let data = level.whole();
            let payload = Remaining { data, wire: data.len() as u32 };
            let mut whole = IpPacket { addresses, protocol, payload, fragment: None };
            if !addresses.is_v4() {
                ip::extensions(&mut whole)?;
                if whole.fragment.is_some() {
                    return Err(Undecoded::IpMalformed); // The fragment is the content of a reassembled datagram.
                }
            }
            Ok(Some(whole))
        }
    }
}
