//! Maps and globals that the programs share with each other and with user space. The loader sets sizes that depend on
//! the machine.

use crate::head::Head;
use aya_ebpf::{
    Global,
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuArray, ProgramArray, RingBuf},
    macros::btf_map,
};
use sniffer_common::{Counters, MAX_SNAPLEN, MAX_WORKERS, RecordHeader, link, slot};

/// Placeholder ring of the smallest size that every page size allows; user space inserts larger ones.
pub type Ring = RingBuf<RecordHeader, 65536>;

/// The rings, indexed by worker.
#[btf_map]
pub static RINGS: ArrayOfMaps<Ring, { MAX_WORKERS as usize }> = ArrayOfMaps::new();

/// The head of the frame that a CPU is working on.
#[btf_map]
pub static HEAD: PerCpuArray<Head, 1> = PerCpuArray::new();

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
