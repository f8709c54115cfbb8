//! Counts packets in the kernel's flow table (the map `FLOWS`).

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

/// Adds the connection number to the key of a TCP packet on a port that a protocol parser uses. Each connection on such
/// ports is a flow of its own.
#[inline(always)]
pub fn number_connection(parsed: &mut Parsed, time: u64) {
    if parsed.key.transport == protocol::TCP && has_port(ports::CLAIMED, parsed.key.ports) {
        parsed.key.flags |= key_flag::CONNECTION;
        parsed.key.connection = connection(parsed, time);
    }
}

/// Counts a packet in its flow. Returns false if user space must count the packet, for one of these reasons: the table is
/// full; the flow is idle, so user space may remove it at any time; the packet's Ethernet addresses are not those of the
/// flow; the packet has the port of an output, so it may belong to a connection of this program, which is not counted.
#[inline(always)]
pub fn count(work: *mut Work, time: u64) -> bool {
    // SAFETY: `work` points to the value of this CPU in the per-CPU array `WORK`. No other program uses the value meanwhile, see
    // [`crate::head::load`].
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
    // The table is full, or another CPU has just inserted the flow.
    FLOWS.get_ptr_mut(&parsed.key).is_some_and(|value| add(value, parsed, time))
}

/// Adds a packet to a flow of the table. Returns false in the cases that [`count`] documents.
#[inline(always)]
fn add(value: *mut FlowValue, parsed: &Parsed, time: u64) -> bool {
    // SAFETY: `value` points to a value of the hash map, whose memory stays valid until the program ends (RCU). Other CPUs change the value
    // at the same time: counters are added to atomically, and each of the other fields keeps the value that one of the CPUs wrote.
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

/// Copies the addresses word by word. For the copy of an array the compiler would call a function, which needs stack.
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

/// Adds to a value that other CPUs change at the same time. The addition is written in assembler, because `core` has no atomic addition for
/// this target.
///
/// # Safety
/// `to` must point to a value of a map.
#[inline(always)]
unsafe fn atomic_add(to: *mut u64, amount: u64) {
    // SAFETY: the caller guarantees that `to` points to a value of a map, and the verifier refuses a program that writes elsewhere.
    unsafe { core::arch::asm!("lock *(u64 *)({to} + 0) += {amount}", to = in(reg) to, amount = in(reg) amount, options(nostack)) };
}

/// Whether one of the two TCP ports (network byte order) is in a set of [`sniffer_common::ports`].
#[inline(always)]
fn has_port(set: u32, ports: [u16; 2]) -> bool {
    let Some(set) = PORTS.get_ptr(set) else { return false };
    let has = |port: u16| {
        let port = u16::from_be(port);
        // SAFETY: the map returned the pointer to an array of 1024 words with 64 bits each, and the index `port >> 6` is less than 1024.
        unsafe { *(*set).as_ptr().add(usize::from(port >> 6)) >> (port & 63) & 1 != 0 }
    };
    has(ports[0]) || has(ports[1])
}

/// The number of the connection that a segment belongs to. A SYN opens a new connection, unless it has the sequence number
/// of the connection's SYN and so repeats it.
#[inline(always)]
fn connection(parsed: &Parsed, time: u64) -> u64 {
    let key = &parsed.key;
    let opened_at = if parsed.tcp_flags & (SYN | ACK) == SYN { 1 << 32 | u64::from(parsed.sequence) } else { 0 };
    let known = CONNECTIONS.get_ptr(key);
    if let Some(known) = known {
        // SAFETY: the map returned the pointer, and its memory stays valid until the program ends (RCU). A value of this map is never
        // changed in place but replaced as a whole.
        let known = unsafe { *known };
        if opened_at == 0 || known.opened_at == opened_at {
            return known.number;
        }
    }
    let flags = if opened_at == 0 { BPF_NOEXIST } else { BPF_ANY };
    if CONNECTIONS.insert(key, &Connection { number: time, opened_at }, flags.into()).is_ok() {
        return time;
    }
    // Another CPU has just inserted the connection.
    // SAFETY: the map returned the pointer, and its memory stays valid until the program ends (RCU).
    CONNECTIONS.get_ptr(key).map_or(0, |known| unsafe { (*known).number })
}
