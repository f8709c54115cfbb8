//! Maps and global variables that the programs share with each other and with user space. Sizes that depend on the machine or the
//! configuration are placeholders here: user space sets them before it creates the maps.

use crate::head::Work;
use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, ArrayOfMaps, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
    macros::btf_map,
};
use sniffer_common::{
    Counters, MAX_SNAPLEN, MAX_WORKERS, RecordHeader,
    flow::{Connection, FlowKey, FlowValue, FragmentKey, counting},
    link, ports,
    shunt::{self, Shunt, ShuntKey},
    shunting, slot,
};

/// The type of the rings. The size of 64 KiB is a placeholder that is valid with every page size; user space inserts larger rings.
pub type Ring = RingBuf<RecordHeader, 65536>;

/// The rings, indexed by worker.
#[btf_map]
pub static RINGS: ArrayOfMaps<Ring, { MAX_WORKERS as usize }> = ArrayOfMaps::new();

/// The packet that each CPU processes.
#[btf_map]
pub static WORK: PerCpuArray<Work, 1> = PerCpuArray::new();

/// Indexed by worker: how many unread bytes its ring must contain until a program wakes the sleeping reader, or
/// [`sniffer_common::AWAKE`]. The reader sets the value before it sleeps. The program that wakes the reader sets `AWAKE`.
#[btf_map]
pub static WAKE_AT: Array<u32, 1> = Array::new();

/// The capture counters of each CPU.
#[btf_map]
pub static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// Keys are the indices of the interfaces without a link header. The map is used if [`LINK`] is `BY_INTERFACE` and the frame itself does
/// not show whether it has one.
#[btf_map]
pub static RAW_IP: HashMap<u32, u32, 1024> = HashMap::new();

/// The flow table.
#[btf_map]
pub static FLOWS: HashMap<FlowKey, FlowValue, 1> = HashMap::new();

/// The TCP connections on ports that a protocol parser uses. The key is a flow's key whose `connection` is 0.
#[btf_map]
pub static CONNECTIONS: LruHashMap<FlowKey, Connection, 64> = LruHashMap::new();

/// The connections of which segments are not copied. Only user space adds entries.
#[btf_map]
pub static SHUNTS: HashMap<ShuntKey, Shunt, { shunt::ENTRIES as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// Not 0 if [`SHUNTS`] may have entries.
#[btf_map]
pub static SHUNTED: Array<u32, 1> = Array::new();

/// The ports of sender and receiver in network byte order, from the first fragment of each datagram.
#[btf_map]
pub static FRAGMENTS: LruHashMap<FragmentKey, [u16; 2], 64> = LruHashMap::new();

/// Sets of TCP ports with one bit for each port, indexed by [`sniffer_common::ports`].
#[btf_map]
pub static PORTS: Array<[u64; 1024], { ports::COUNT as usize }> = Array::new();

/// The owner of each direction of a flow, see [`crate::copies`]. The key is a hash of the direction.
#[btf_map]
pub static OWNERS: LruHashMap<u64, Owner, 64> = LruHashMap::new();

/// The packets that were seen last, indexed by the low bits of a hash of their content.
#[btf_map]
pub static CONTENTS: Array<Content, 1> = Array::new();

/// The interface that owns a direction of a flow, see [`crate::copies`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Owner {
    /// Time of the direction's last packet on this interface in nanoseconds.
    pub last: u64,
    pub ifindex: u32,
    /// Sequence number of the first byte in the last packet that the kernel had merged from several segments.
    pub merged_from: u32,
    /// Sequence number after the last byte of that packet.
    pub merged_until: u32,
    pub reserved: u32,
}

/// A packet that an interface has seen.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Content {
    /// A hash of the content.
    pub content: u64,
    pub ifindex: u32,
    /// Time of the packet in units of 2^20 nanoseconds.
    pub time: u32,
}

// There is one jump table for each hook and direction. The kernel requires that all programs of a table have the same
// type, and the direction is a constant in each `capture` program.
#[btf_map]
pub static JUMP_XDP: Jump = ProgramArray::new();
#[btf_map]
pub static JUMP_INGRESS: Jump = ProgramArray::new();
#[btf_map]
pub static JUMP_EGRESS: Jump = ProgramArray::new();
#[btf_map]
pub static JUMP_SOCKET: Jump = ProgramArray::new();

pub type Jump = ProgramArray<{ slot::COUNT as usize }>;

#[unsafe(no_mangle)]
pub static SNAPLEN: Global<u32> = Global::new(MAX_SNAPLEN);
#[unsafe(no_mangle)]
pub static WORKERS: Global<u32> = Global::new(1);
#[unsafe(no_mangle)]
pub static LINK: Global<u32> = Global::new(link::ETHERNET as u32);
#[unsafe(no_mangle)]
pub static LOOPBACK: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static COUNTING: Global<u32> = Global::new(counting::OFF);
#[unsafe(no_mangle)]
pub static SHUNTING: Global<u32> = Global::new(shunting::OFF);
#[unsafe(no_mangle)]
pub static TRACK_VLANS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static DROP_MATCHES: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static FLOW_IDLE_MS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static ETHERNET_FLOWS: Global<u32> = Global::new(1);
#[unsafe(no_mangle)]
pub static OUTPUTS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static SEVERAL_INTERFACES: Global<u32> = Global::new(0);
