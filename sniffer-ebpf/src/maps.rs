//! Maps and globals that the programs share with each other and with user space. The loader sets sizes that depend on
//! the machine.

use aya_ebpf::{
    Global,
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuArray, ProgramArray, RingBuf},
    macros::btf_map,
};
use sniffer_common::{Counters, MAX_SNAPLEN, MAX_WORKERS, RecordHeader, link, slot};

/// Buffer in which a record is assembled. Reads of headers may extend into `tail`, so they need no bounds check of
/// their own.
#[repr(C, align(8))]
pub struct Scratch {
    pub header: RecordHeader,
    pub data: [u8; MAX_SNAPLEN as usize + 1],
    pub tail: [u8; 64],
}

/// Placeholder ring of the smallest size that every page size allows; user space inserts larger ones.
pub type Ring = RingBuf<RecordHeader, 65536>;

/// The rings, indexed by worker.
#[btf_map]
pub static RINGS: ArrayOfMaps<Ring, { MAX_WORKERS as usize }> = ArrayOfMaps::new();

/// Indexed by CPU. Not a per-CPU map, whose values are limited to 32 KiB. Hooks run with bottom halves disabled, so no
/// hook on the same CPU interrupts another.
#[btf_map]
pub static SCRATCH: Array<Scratch, 1> = Array::new();

/// Indexed by worker.
#[btf_map]
pub static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// Interfaces without a link header; used if [`LINK`] is `BY_INTERFACE`.
#[btf_map]
pub static RAW_IP: HashMap<u32, u32, 1024> = HashMap::new();

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
pub static WAKE_AT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static LINK: Global<u32> = Global::new(link::ETHERNET as u32);
#[unsafe(no_mangle)]
pub static LOOPBACK: Global<u32> = Global::new(0);
