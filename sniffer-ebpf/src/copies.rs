//! Recognises copies of a packet on several interfaces. A packet that crosses a bridge, a veth pair and a network card is
//! seen on each of these interfaces.
//!
//! Each direction of a flow has an owner: the interface that saw the direction's first packet. A packet on the owner is
//! never a copy. A packet on another interface is a copy in two cases: an interface saw a packet with the same content
//! less than a second ago, or the owner saw the packet as part of a packet that the kernel had merged (GRO, GSO).
//! Therefore no packet is dropped when the packets of a direction alternate between interfaces, as on a bond.

use crate::{
    head::View,
    maps::{CONTENTS, Content, OWNERS, Owner},
    parse::Parsed,
};
use aya_ebpf::bindings::BPF_ANY;
use sniffer_common::{contents, length, protocol};

/// How long the content of a packet is remembered, in milliseconds. A packet passes from one interface to the next in less time.
const CONTENT_MS: u32 = 1000;
/// After this many nanoseconds without a packet on the owner, the next interface with a packet becomes the owner.
const SILENT_NS: u64 = 1_000_000_000;

/// Whether another interface has already seen the packet. If the packet is not a copy, the function remembers its content.
#[inline(always)]
pub fn is_copy(parsed: &Parsed, head: View, ifindex: u32, time: u64) -> bool {
    let direction = direction(parsed);
    let now = (time >> 20) as u32; // about a millisecond
    let (content, sequence, data) = content(parsed, head, direction);
    let Some(slot) = CONTENTS.get_ptr_mut((content as u32) & (contents::SLOTS - 1)) else { return false };
    // SAFETY: the map returned the pointer, and the values of an array map exist as long as the program. If another CPU writes the value at
    // the same time, a copy may be reported as a packet of its own.
    let before = unsafe { *slot };
    let fresh = Content { content, ifindex, time: now };
    let Some(owner) = OWNERS.get_ptr_mut(&direction) else {
        let owner = Owner { last: time, ifindex, merged_from: 0, merged_until: 0, reserved: 0 };
        let _ = OWNERS.insert(&direction, &owner, BPF_ANY.into());
        // SAFETY: `slot` points to a value of the array map, see the read of `before`.
        unsafe { *slot = fresh };
        return false;
    };
    // SAFETY: both pointers point to values of maps. The memory of a removed value of `OWNERS` stays valid until the program ends; at worst
    // it is already used for another direction.
    unsafe {
        if (*owner).ifindex != ifindex {
            if before.content == content && before.ifindex != ifindex && now.wrapping_sub(before.time) <= CONTENT_MS {
                return true;
            }
            let from = sequence.wrapping_sub((*owner).merged_from);
            let merged = (*owner).merged_until.wrapping_sub((*owner).merged_from);
            let active = time.saturating_sub((*owner).last) < SILENT_NS;
            if active && data != 0 && from < merged && data <= merged - from {
                return true;
            }
            if !active {
                (*owner).ifindex = ifindex;
            }
        }
        if (*owner).ifindex == ifindex {
            (*owner).last = time;
            if parsed.packets > 1 {
                ((*owner).merged_from, (*owner).merged_until) = (sequence, sequence.wrapping_add(data));
            }
        }
        *slot = fresh;
    }
    false
}

/// A hash that identifies the direction of a flow: addresses, ports, protocol, and which end is the sender.
#[inline(always)]
fn direction(parsed: &Parsed) -> u64 {
    let join = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let mut hash = u64::from(parsed.side) ^ u64::from(parsed.protocol) << 8;
    for [a, b, c, d] in parsed.key.addresses {
        hash = mix(hash ^ join(a, b));
        if parsed.key.version == 6 {
            hash = mix(hash ^ join(c, d));
        }
    }
    mix(hash ^ join(u32::from(parsed.key.ports[0]), u32::from(parsed.key.ports[1])))
}

/// A hash that distinguishes the packet from other packets of its direction. For a TCP segment the function also returns the sequence
/// number and the number of data bytes, for other packets two zeros.
#[inline(always)]
fn content(parsed: &Parsed, head: View, direction: u64) -> (u64, u32, u32) {
    let at = parsed.transport_at;
    let id = u64::from(parsed.id) << 16;
    if parsed.tcp_flags != 0 {
        let sequence = u32::from_be(parsed.sequence);
        let data = parsed.payload.saturating_sub((head.byte(at + 12) >> 4) * 4);
        // The length of the data is not part of the hash, because another interface may see the segment merged with the
        // next ones. A segment without data is identified by acknowledgement number, window and flags.
        let other = if data == 0 {
            u64::from(head.word(at + 8)) << 32 | u64::from(head.be16(at + 14)) << 8 | u64::from(parsed.tcp_flags)
        } else {
            0
        };
        return (mix(mix(direction ^ id ^ u64::from(sequence) << 24) ^ other), sequence, data);
    }
    let mut hash = mix(direction ^ id ^ u64::from(parsed.payload));
    // The UDP header is not part of the hash, because the network card may compute the checksum after one of the
    // interfaces saw the packet.
    let skip = if parsed.protocol == u32::from(protocol::UDP) { length::UDP as u32 } else { 0 };
    for place in [0, 8] {
        if at + skip + place + 8 <= head.end && skip + place + 8 <= parsed.payload {
            hash = mix(hash ^ (u64::from(head.word(at + skip + place)) << 32 | u64::from(head.word(at + skip + place + 4))));
        }
    }
    (hash, 0, 0)
}

/// The finalizer of MurmurHash3 for 64 bits.
#[inline(always)]
fn mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ h >> 33
}
