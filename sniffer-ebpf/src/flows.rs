//! Counts packets in the flow table.

use crate::{
    head::Work,
    maps::{CONNECTIONS, FLOW_IDLE_MS, FLOWS, OUTPUTS, PORTS},
    parse::{ACK, Parsed, SYN},
    worker,
};
use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use sniffer_common::{
    flow::{Connection, FlowSide, FlowValue, key_flag},
    ports, protocol,
};

/// Completes the key of a TCP flow on a port that a protocol claims: each connection is a flow.
#[inline(always)]
pub fn number_connection(parsed: &mut Parsed, time: u64) {
    if parsed.key.transport == protocol::TCP && has_port(ports::CLAIMED, parsed.key.ports) {
        parsed.key.flags |= key_flag::CONNECTION;
        parsed.key.connection = connection(parsed, time);
    }
}

/// Counts a packet. Returns false if it must be counted in user space: there is no room for the flow, the flow is idle
/// and may be removed at any time, the Ethernet addresses differ from those of the flow, or the packet may belong to a
/// connection of this program to an output.
#[inline(always)]
pub fn count(work: *mut Work, time: u64) -> bool {
    // SAFETY: the work of this CPU.
    let (parsed, value) = unsafe { (&(*work).parsed, &mut (*work).value) };
    if OUTPUTS.load() != 0 && parsed.key.transport == protocol::TCP && has_port(ports::OUTPUTS, parsed.key.ports) {
        return false;
    }
    if let Some(value) = FLOWS.get_ptr_mut(&parsed.key) {
        return add(value, parsed, time);
    }
    (value.first, value.last, value.opener, value.worker) = (time, time, parsed.side, worker::choose());
    let [first, second] = &mut value.sides;
    let (from, other) = if parsed.side == 0 { (first, second) } else { (second, first) };
    (from.packets, from.bytes, from.icmp) = (parsed.packets.into(), parsed.bytes, parsed.icmp);
    set_macs(from, &parsed.macs);
    (other.packets, other.bytes, other.icmp) = (0, 0, 0);
    if FLOWS.insert(&parsed.key, &*value, BPF_NOEXIST.into()).is_ok() {
        return true;
    }
    // Another CPU inserted the flow meanwhile, or there is no room.
    FLOWS.get_ptr_mut(&parsed.key).is_some_and(|value| add(value, parsed, time))
}

#[inline(always)]
fn add(value: *mut FlowValue, parsed: &Parsed, time: u64) -> bool {
    // SAFETY: a value of the map. Other CPUs change it, too; sums are atomic, and a race between the other fields leaves
    // the value of one of two packets that were seen at the same time.
    unsafe {
        let last = (*value).last;
        if time.saturating_sub(last) > u64::from(FLOW_IDLE_MS.load()) * 1_000_000 {
            return false;
        }
        let side: *mut FlowSide = if parsed.side == 0 { &raw mut (*value).sides[0] } else { &raw mut (*value).sides[1] };
        if parsed.key.flags & key_flag::ETHERNET != 0 {
            if (*side).packets == 0 {
                set_macs(&mut *side, &parsed.macs);
            } else if differ(&(*side).macs, &parsed.macs) {
                return false;
            }
        }
        if time > last {
            (*value).last = time;
        }
        if parsed.icmp != 0 {
            (*side).icmp = parsed.icmp;
        }
        atomic_add(&raw mut (*side).packets, parsed.packets.into());
        atomic_add(&raw mut (*side).bytes, parsed.bytes);
    }
    true
}

/// Copies the addresses word by word, because the compiler calls a function to move an array.
#[inline(always)]
fn set_macs(side: &mut FlowSide, macs: &[u32; 3]) {
    let [a, b, c] = *macs;
    side.macs[0] = a;
    side.macs[1] = b;
    side.macs[2] = c;
}

#[inline(always)]
fn differ(a: &[u32; 3], b: &[u32; 3]) -> bool {
    (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) != 0
}

/// Adds to a value that other CPUs change, too. `core` has no atomic addition for this target.
///
/// # Safety
/// `to` must be a value of a map.
#[inline(always)]
unsafe fn atomic_add(to: *mut u64, amount: u64) {
    // SAFETY: guaranteed by the caller and checked by the verifier.
    unsafe { core::arch::asm!("lock *(u64 *)({to} + 0) += {amount}", to = in(reg) to, amount = in(reg) amount, options(nostack)) };
}

/// Whether one of the two TCP ports (network byte order) is in a set of [`sniffer_common::ports`].
#[inline(always)]
fn has_port(set: u32, ports: [u16; 2]) -> bool {
    let Some(set) = PORTS.get_ptr(set) else { return false };
    let has = |port: u16| {
        let port = u16::from_be(port);
        // SAFETY: the array has 1024 words.
        unsafe { *(*set).as_ptr().add(usize::from(port >> 6)) >> (port & 63) & 1 != 0 }
    };
    has(ports[0]) || has(ports[1])
}

/// The number of the connection that a segment belongs to. A SYN with another sequence number than the SYN before opens
/// a new connection.
#[inline(always)]
fn connection(parsed: &Parsed, time: u64) -> u64 {
    let key = &parsed.key;
    let opened_at = if parsed.tcp_flags & (SYN | ACK) == SYN { 1 << 32 | u64::from(parsed.sequence) } else { 0 };
    let known = CONNECTIONS.get_ptr(key);
    if let Some(known) = known {
        // SAFETY: a value of the map, which is replaced as a whole.
        let known = unsafe { *known };
        if opened_at == 0 || known.opened_at == opened_at {
            return known.number;
        }
    }
    let flags = if opened_at == 0 { BPF_NOEXIST } else { BPF_ANY };
    if CONNECTIONS.insert(key, &Connection { number: time, opened_at }, flags.into()).is_ok() {
        return time;
    }
    // Another CPU saw another packet of the connection first.
    // SAFETY: as above.
    CONNECTIONS.get_ptr(key).map_or(0, |known| unsafe { (*known).number })
}
