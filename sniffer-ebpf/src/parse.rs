//! Parses a packet to find its flow. Key, counts and Ethernet addresses are the same as in user space, which counts the
//! packets that this module cannot parse.

use crate::{
    head::{self, IP_AT, Work},
    maps::{ETHERNET_FLOWS, FRAGMENTS, WORK},
};
use aya_ebpf::bindings::BPF_ANY;
use sniffer_common::{
    ethertype,
    flow::{FlowKey, FragmentKey, icmp, key_flag},
    length, limit, link, protocol,
    shunt::is_greater,
};

/// The headers of a packet, as far as counting and the recognition of copies need them.
#[repr(C)]
pub struct Parsed {
    /// Key of the flow, without the connection number.
    pub key: FlowKey,
    /// Number of bytes on the wire, in all segments.
    pub bytes: u64,
    /// Index of the sender in the key.
    pub side: u32,
    /// The Ethernet addresses in the form of [`sniffer_common::flow::FlowSide::macs`]; 0 if the frame has no Ethernet header, or if
    /// Ethernet addresses do not identify flows.
    pub macs: [u32; 3],
    /// The ICMP message of the packet in the form of [`sniffer_common::flow::FlowSide::icmp`]; 0 for other packets.
    pub icmp: u32,
    /// Number of packets on the wire.
    pub packets: u32,
    /// The IP protocol.
    pub protocol: u32,
    /// Offset of the transport header.
    pub transport_at: u32,
    /// Length of the IP payload on the wire.
    pub payload: u32,
    /// The identification field of the IPv4 header or of the IPv6 fragment header; 0 without such a header.
    pub id: u32,
    /// The sequence number of a TCP segment in network byte order; 0 for other packets and incomplete headers.
    pub sequence: u32,
    /// The flags of a TCP segment plus [`TCP_KNOWN`]; 0 for other packets and incomplete headers.
    pub tcp_flags: u32,
}

/// TCP flags.
pub const FIN: u32 = 1;
pub const SYN: u32 = 2;
pub const RST: u32 = 4;
pub const ACK: u32 = 16;
/// Is set in [`Parsed::tcp_flags`] of every TCP segment, so that a segment without flags differs from the value 0 of other packets.
pub const TCP_KNOWN: u32 = 1 << 8;

/// Parses the head that [`head::load`] copied, and writes the result to [`Work::parsed`]. Returns 0 if user space has to
/// count the packet. The function is global and not inlined, so that the verifier checks it once and not at each call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_flow() -> u32 {
    let Some(work) = WORK.get_ptr_mut(0) else { return 0 };
    u32::from(parse(work).is_some())
}

#[inline(always)]
fn parse(work: *mut Work) -> Option<()> {
    let head = head::view(work);
    // SAFETY: `work` points to the value of this CPU in the per-CPU array `WORK`. No other program uses the value meanwhile, see
    // [`crate::head::load`].
    let work = unsafe { &mut *work };
    let (link, frame_len) = (work.link as u8, work.wire_len);
    let (parsed, datagram) = (&mut work.parsed, &mut work.datagram);
    let key = &mut parsed.key;
    (key.vlans, key.vlan_count, key.transport, key.flags, key.connection) = ([0; 2], 0, 0, 0, 0);
    let mut wire_len = frame_len;
    if work.tag != 0 {
        // The tag in the metadata was part of the frame on the wire.
        wire_len += length::VLAN as u32;
        push_vlan(key, work.tag);
    }
    let mut at = IP_AT;
    let mut macs = [0; 3];
    let mut version = head.byte(at) >> 4;
    if link != link::RAW_IP {
        if ETHERNET_FLOWS.load() != 0 {
            key.flags = key_flag::ETHERNET;
            macs = head.macs();
        }
        let mut next = head.be16(at - 2) as u16;
        for _ in 0..limit::KERNEL_VLAN_TAGS {
            if !ethertype::is_vlan(next) {
                break;
            }
            push_vlan(key, head.be16(at));
            next = head.be16(at + 2) as u16;
            at += length::VLAN as u32;
        }
        version = match next {
            ethertype::IPV4 => 4,
            ethertype::IPV6 => 6,
            _ => return None,
        };
    }
    if head.byte(at) >> 4 != version {
        return None;
    }
    // Bytes of the frame from the IP header to the end.
    let from_ip = frame_len.saturating_sub(at - head.start);
    let (source, destination, number, mut transport_at, payload, id, fragment, later_fragment);
    if version == 4 {
        let header = (head.byte(at) & 15) * 4;
        if at + length::IPV4 as u32 > head.end || header < length::IPV4 as u32 {
            return None;
        }
        let total = match head.be16(at + 2) {
            0 => from_ip,
            total => total,
        };
        if total < header {
            return None;
        }
        let position = head.be16(at + 6);
        (fragment, later_fragment) = (position & 0x3fff != 0, position & 0x1fff != 0);
        (source, destination) = ([head.word(at + 12), 0, 0, 0], [head.word(at + 16), 0, 0, 0]);
        (number, id, payload, transport_at) = (head.byte(at + 9), head.be16(at + 4), total - header, at + header);
    } else if version == 6 {
        if at + length::IPV6 as u32 > head.end {
            return None;
        }
        let mut left = match head.be16(at + 4) {
            0 => from_ip.saturating_sub(length::IPV6 as u32),
            length => length,
        };
        source = [head.word(at + 8), head.word(at + 12), head.word(at + 16), head.word(at + 20)];
        destination = [head.word(at + 24), head.word(at + 28), head.word(at + 32), head.word(at + 36)];
        let mut next = head.byte(at + 6);
        let (mut identification, mut position) = (0, 0);
        transport_at = at + length::IPV6 as u32;
        for _ in 0..limit::KERNEL_IPV6_EXTENSIONS {
            let length = match next as u8 {
                protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => (head.byte(transport_at + 1) + 1) * 8,
                protocol::AUTHENTICATION => (head.byte(transport_at + 1) + 2) * 4,
                protocol::IPV6_FRAGMENT => length::IPV6_FRAGMENT as u32,
                _ => break,
            };
            if transport_at + length > head.end || length > left {
                return None;
            }
            if next as u8 == protocol::IPV6_FRAGMENT {
                position = head.be16(transport_at + 2) & 0xfff9;
                identification = head.word(transport_at + 4);
            }
            next = head.byte(transport_at);
            transport_at += length;
            left -= length;
            if position != 0 {
                break;
            }
        }
        (fragment, later_fragment) = (position != 0, position & 0xfff8 != 0);
        (number, id, payload) = (next, identification, left);
    } else {
        return None;
    }
    key.version = version as u8;

    (parsed.macs, parsed.icmp, parsed.packets, parsed.bytes) = (macs, 0, 1, u64::from(wire_len));
    (parsed.protocol, parsed.transport_at, parsed.payload, parsed.id) = (number, transport_at, payload, id);
    (parsed.sequence, parsed.tcp_flags) = (0, 0);
    let (mut from, mut to) = (0, 0);
    let mut transport_header = 0;
    match number as u8 {
        number @ (protocol::TCP | protocol::UDP | protocol::SCTP) => {
            if fragment {
                *datagram = FragmentKey { addresses: [source, destination], id, vlans: parsed.key.vlans, protocol: u32::from(number) };
            }
            if later_fragment {
                // SAFETY: the memory of the value stays valid until the program ends (RCU). If another CPU replaces the entry at the same
                // time, the ports may be those of another datagram.
                let ports = unsafe { FRAGMENTS.get(&*datagram) }?;
                (from, to, parsed.key.transport) = (ports[0], ports[1], number);
            } else if payload >= 4 {
                if transport_at + 4 > head.end {
                    return None;
                }
                (from, to) = ((head.be16(transport_at) as u16).to_be(), (head.be16(transport_at + 2) as u16).to_be());
                parsed.key.transport = number;
                if fragment {
                    let _ = FRAGMENTS.insert(&*datagram, &[from, to], BPF_ANY.into());
                } else if number == protocol::TCP && payload >= length::TCP as u32 && transport_at + length::TCP as u32 <= head.end {
                    transport_header = (head.byte(transport_at + 12) >> 4) * 4;
                    (parsed.sequence, parsed.tcp_flags) = (head.word(transport_at + 4), head.byte(transport_at + 13) | TCP_KNOWN);
                } else if number == protocol::UDP {
                    transport_header = length::UDP as u32;
                }
            }
        }
        number @ (protocol::ICMP | protocol::ICMP6) if !later_fragment && payload >= 2 => {
            if transport_at + 2 > head.end {
                return None;
            }
            let v6 = if number == protocol::ICMP6 { icmp::V6 } else { 0 };
            parsed.icmp = icmp::SEEN | v6 | head.be16(transport_at);
        }
        // The inner packet of a tunnel identifies the flow, and this module does not parse tunnels.
        protocol::IPV4 | protocol::IPV6 => return None,
        // The header is an extension header that the loop above does not skip, or there are more extension headers than the limit allows.
        protocol::HOP_BY_HOP
        | protocol::ROUTING
        | protocol::DESTINATION_OPTIONS
        | protocol::AUTHENTICATION
        | protocol::IPV6_FRAGMENT
        | protocol::MOBILITY
        | protocol::HIP
        | protocol::SHIM6
            if version == 6 =>
        {
            return None;
        }
        _ => {}
    }
    let (segments, size) = (work.segments, work.segment_size);
    if segments > 1 || segments == 0 && size != 0 {
        // On the wire, each segment is a packet with its own copy of the headers.
        let data = payload.saturating_sub(transport_header);
        // With this the compiler knows that the division cannot panic.
        let size = size.max(1);
        let count = if segments != 0 { segments } else { (data.saturating_add(size - 1) / size).max(1) };
        parsed.packets = count;
        parsed.bytes += u64::from(count - 1) * u64::from(wire_len.saturating_sub(data));
    }
    let swapped = is_greater(&source, from, &destination, to);
    parsed.side = u32::from(swapped);
    (parsed.key.addresses, parsed.key.ports) =
        if swapped { ([destination, source], [to, from]) } else { ([source, destination], [from, to]) };
    Some(())
}

/// Adds a VLAN tag to the key, which keeps the ids of the innermost two.
#[inline(always)]
fn push_vlan(key: &mut FlowKey, tci: u32) {
    key.vlans = [key.vlans[1], tci as u16 & 0x0fff];
    key.vlan_count += 1;
}
