//! Finds the flow of a packet: the same key, counts and Ethernet addresses that the decoder of user space finds. Packets
//! with headers that this module does not know are counted in user space.

use crate::{
    head::{self, IP_AT, Work},
    maps::{ETHERNET_FLOWS, FRAGMENTS, WORK},
};
use aya_ebpf::bindings::BPF_ANY;
use sniffer_common::{
    ethertype,
    flow::{FlowKey, FragmentKey, icmp, key_flag},
    length, limit, link, protocol,
};

/// A packet of a flow.
#[repr(C)]
pub struct Parsed {
    pub key: FlowKey,
    /// Number of bytes on the wire.
    pub bytes: u64,
    /// Index in the key of the sender.
    pub side: u32,
    /// The Ethernet addresses, as the frame begins; 0 if they do not belong to the key.
    pub macs: [u32; 3],
    /// See [`sniffer_common::flow::FlowSide::icmp`].
    pub icmp: u32,
    /// Number of packets on the wire.
    pub packets: u32,
    /// The IP protocol.
    pub protocol: u32,
    /// Offset of the transport header.
    pub transport_at: u32,
    /// Length of the IP payload on the wire.
    pub payload: u32,
    /// Identification of the IPv4 packet or the fragment; 0 for other IPv6 packets.
    pub id: u32,
    /// The sequence number of a TCP segment in network byte order, and its flags plus [`TCP_KNOWN`]; 0 for other packets
    /// and incomplete headers.
    pub sequence: u32,
    pub tcp_flags: u32,
}

/// TCP flags.
pub const SYN: u32 = 2;
pub const ACK: u32 = 16;
/// Added to the flags of a segment.
pub const TCP_KNOWN: u32 = 1 << 8;

/// Finds the flow of the packet whose head was loaded, in [`Work::parsed`]. Returns 0 if the packet has to be counted in
/// user space. The verifier checks a global function once, not at each call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_flow() -> u32 {
    let Some(work) = WORK.get_ptr_mut(0) else { return 0 };
    u32::from(parse(work).is_some())
}

#[inline(always)]
fn parse(work: *mut Work) -> Option<()> {
    let head = head::view(work);
    // SAFETY: the work of this CPU.
    let work = unsafe { &mut *work };
    let (link, frame_len) = (work.link as u8, work.wire_len);
    let (parsed, datagram) = (&mut work.parsed, &mut work.datagram);
    let key = &mut parsed.key;
    (key.vlans, key.vlan_count, key.transport, key.flags, key.connection) = ([0; 2], 0, 0, 0, 0);
    let mut wire_len = frame_len;
    if work.tag != 0 {
        // A stripped tag was on the wire.
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
    // Bytes of the frame from the IP header on.
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
                // SAFETY: an entry that is replaced meanwhile gives the ports of another datagram at worst.
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
        // The packet inside identifies the flow.
        protocol::IPV4 | protocol::IPV6 => return None,
        // Extension headers that are not skipped above.
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
        // Each segment is a packet with its own copy of the headers.
        let data = payload.saturating_sub(transport_header);
        // Written so that the compiler sees that nothing can panic.
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

#[inline(always)]
fn push_vlan(key: &mut FlowKey, tci: u32) {
    key.vlans = [key.vlans[1], tci as u16 & 0x0fff];
    key.vlan_count += 1;
}

/// Whether the first end is greater than the second one. Any total order will do.
#[inline(always)]
fn is_greater(a: &[u32; 4], a_port: u16, b: &[u32; 4], b_port: u16) -> bool {
    let double = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let (high_a, high_b) = (double(a[0], a[1]), double(b[0], b[1]));
    if high_a != high_b {
        return high_a > high_b;
    }
    let (low_a, low_b) = (double(a[2], a[3]), double(b[2], b[3]));
    if low_a != low_b { low_a > low_b } else { a_port > b_port }
}
