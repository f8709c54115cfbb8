//! What the programs share with each other and with user space. Sizes that depend on the machine are set by the loader.

use aya_ebpf::{
    Global,
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuArray, ProgramArray, RingBuf},
    macros::btf_map,
};
use sniffer_common::{Counters, MAX_SNAPLEN, MAX_WORKERS, RecordHeader, link, slot};

/// Where a frame is put together. The tail is room that a reader of headers may run into without a check of its own.
#[repr(C, align(8))]
pub struct Scratch {
    pub header: RecordHeader,
    pub data: [u8; MAX_SNAPLEN as usize + 1],
    pub tail: [u8; 64],
}

/// A ring of the smallest size every page size allows; user space puts bigger ones in.
pub type Ring = RingBuf<RecordHeader, 65536>;

/// One ring per worker.
#[btf_map]
pub static RINGS: ArrayOfMaps<Ring, { MAX_WORKERS as usize }> = ArrayOfMaps::new();

/// One per CPU (a per-CPU map takes values of 32 KiB at most). Hooks run with bottom halves off, so none interrupts another.
#[btf_map]
pub static SCRATCH: Array<Scratch, 1> = Array::new();

/// One per worker.
#[btf_map]
pub static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// Interfaces without a link header, where [`LINK`] says to look.
#[btf_map]
pub static RAW_IP: HashMap<u32, u32, 1024> = HashMap::new();

// A table per hook and direction: the kernel wants all programs of a table to be of one kind, and the direction is known by who calls.
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
