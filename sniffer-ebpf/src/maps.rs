//! Maps and globals that the programs share with each other and with user space. The loader sets sizes that depend on
//! the machine.

use crate::head::Work;
use aya_ebpf::{
    Global,
    btf_maps::{Array, ArrayOfMaps, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
    macros::btf_map,
};
use sniffer_common::{
    Counters, MAX_SNAPLEN, MAX_WORKERS, RecordHeader,
    flow::{Connection, FlowKey, FlowValue, FragmentKey, counting},
    link, ports, slot,
};

/// Placeholder ring of the smallest size that every page size allows; user space inserts larger ones.
pub type Ring = RingBuf<RecordHeader, 65536>;

/// The rings, indexed by worker.
#[btf_map]
pub static RINGS: ArrayOfMaps<Ring, { MAX_WORKERS as usize }> = ArrayOfMaps::new();

/// The packet that a CPU works on.
#[btf_map]
pub static WORK: PerCpuArray<Work, 1> = PerCpuArray::new();

/// Indexed by worker: the number of pending bytes at which its sleeping reader is to be woken, or [`sniffer_common::AWAKE`]. The
/// reader sets it before it sleeps; the program that wakes the reader sets it to `AWAKE`.
#[btf_map]
pub static WAKE_AT: Array<u32, 1> = Array::new();

/// The counters of each CPU.
#[btf_map]
pub static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// Interfaces without a link header; used if [`LINK`] is `BY_INTERFACE` and the content of a frame does not tell.
#[btf_map]
pub static RAW_IP: HashMap<u32, u32, 1024> = HashMap::new();

/// The flow table. User space sets the number of entries.
#[btf_map]
pub static FLOWS: HashMap<FlowKey, FlowValue, 1> = HashMap::new();

/// The TCP connections on ports that a protocol claims. The key is that of the flow with the connection number 0.
#[btf_map]
pub static CONNECTIONS: LruHashMap<FlowKey, Connection, 64> = LruHashMap::new();

/// The ports in the first fragments of datagrams (sender, receiver; network byte order).
#[btf_map]
pub static FRAGMENTS: LruHashMap<FragmentKey, [u16; 2], 64> = LruHashMap::new();

/// Sets of TCP ports with one bit for each port, by [`sniffer_common::ports`].
#[btf_map]
pub static PORTS: Array<[u64; 1024], { ports::COUNT as usize }> = Array::new();

/// The owner of each direction of a flow, by a hash of the direction; see [`crate::copies`].
#[btf_map]
pub static OWNERS: LruHashMap<u64, Owner, 64> = LruHashMap::new();

/// The packets that were seen last, by a hash of their content.
#[btf_map]
pub static CONTENTS: Array<Content, 1> = Array::new();

/// The interface that owns a direction.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Owner {
    /// Time of its last packet in nanoseconds.
    pub last: u64,
    pub ifindex: u32,
    /// Sequence numbers of the last packet that the kernel had merged from several segments.
    pub merged_from: u32,
    pub merged_until: u32,
    pub reserved: u32,
}

/// A packet that was seen.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Content {
    pub content: u64,
    pub ifindex: u32,
    /// When, in units of 2^20 nanoseconds.
    pub time: u32,
}

// One table per hook and direction: the kernel requires that all programs of a table have the same type, and the
// `capture` program of each table knows its direction.
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
pub static FLOW_IDLE_MS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static ETHERNET_FLOWS: Global<u32> = Global::new(1);
#[unsafe(no_mangle)]
pub static OUTPUTS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static SEVERAL_INTERFACES: Global<u32> = Global::new(0);
