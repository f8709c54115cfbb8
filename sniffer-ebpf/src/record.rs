//! The path of a packet through a hook: `enter` counts it, the generated filter decides about it, `capture` copies it
//! to a ring.

use crate::{
    maps::{COUNTERS, Jump, LINK, RAW_IP, RINGS, SCRATCH, SNAPLEN, Scratch, WAKE_AT},
    packet::Packet,
    worker,
};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_ringbuf_output, bpf_ringbuf_query};
use sniffer_common::{Counters, MAX_SNAPLEN, RECORD_HEADER, RecordHeader, link, slot};

const BPF_RB_AVAIL_DATA: u64 = 0;
const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_RB_FORCE_WAKEUP: u64 = 2;

/// Counts the packet and calls the filter for its link type; if there is none, calls `capture`. Returns only if no
/// program is loaded.
#[inline(always)]
pub fn enter<P: Packet>(packet: &P, jump: &Jump) {
    count(0, |counters| counters.seen += 1);
    let filter = if link(packet) == link::RAW_IP { slot::FILTER_RAW_IP } else { slot::FILTER };
    // SAFETY: all programs of a table take the context of this hook.
    unsafe {
        jump.tail_call(packet, filter);
        jump.tail_call(packet, slot::CAPTURE);
    }
}

/// Copies the packet to the ring of its worker.
#[inline(always)]
pub fn capture<P: Packet>(packet: &P, direction: u8) {
    let Some(scratch) = scratch() else { return };
    let wire_len = packet.len();
    let link = link(packet);
    let wanted = wire_len.min(SNAPLEN.load());
    let captured = clamp(wanted);
    // SAFETY: `clamp` returns at most MAX_SNAPLEN, and `data` is larger.
    let copied = wanted != 0 && unsafe { packet.copy((&raw mut (*scratch).data).cast(), captured) }.is_ok();
    // SAFETY: the scratch buffer of this CPU, and no other program interrupts this one.
    let owner = if copied { worker::of(unsafe { &*scratch }, wanted, link) } else { 0 };
    let (tag_tpid, tag_tci) = packet.tag().unwrap_or((0, 0));
    let (segments, segment_size) = packet.segments();
    let header = RecordHeader {
        // SAFETY: a helper without arguments.
        time: unsafe { bpf_ktime_get_boot_ns() },
        wire_len,
        captured: captured as u32,
        ifindex: packet.ifindex(),
        segments,
        segment_size,
        tag_tpid,
        tag_tci,
        hook: P::HOOK,
        direction,
        link,
        reserved: 0,
    };
    // SAFETY: the scratch buffer of this CPU, and no other program interrupts this one.
    unsafe { (&raw mut (*scratch).header).write(header) };
    // SAFETY: header and data are adjacent.
    let written = copied && unsafe { output(owner, scratch, captured) };
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(
        packet,
        "interface {} direction {}: {} of {} bytes for worker {}",
        packet.ifindex(),
        direction,
        captured,
        wire_len,
        owner
    );
    count(owner, |counters| {
        counters.matched += 1;
        if written {
            counters.copied += 1;
        } else {
            counters.lost += 1;
        }
    });
}

/// Writes the header and `captured` bytes of data. The reader also polls, so it is woken only when `WAKE_AT` bytes are
/// pending.
#[inline(always)]
unsafe fn output(owner: u32, scratch: *mut Scratch, captured: u64) -> bool {
    let Some(ring) = RINGS.get(owner) else { return false };
    let ring = core::ptr::from_ref(ring).cast_mut().cast();
    // SAFETY: the verifier checks that `ring` is a ring buffer and that the record is inside the scratch buffer.
    unsafe {
        let pending = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
        let wake = if pending >= u64::from(WAKE_AT.load()) { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
        bpf_ringbuf_output(ring, scratch.cast(), RECORD_HEADER as u64 + captured, wake) == 0
    }
}

#[inline(always)]
fn link<P: Packet>(packet: &P) -> u8 {
    match LINK.load() as u8 {
        // SAFETY: the value is not used, only whether the key exists.
        link::BY_INTERFACE if unsafe { RAW_IP.get(packet.ifindex()) }.is_some() => link::RAW_IP,
        link::BY_INTERFACE => link::ETHERNET,
        kind => kind,
    }
}

#[inline(always)]
fn scratch() -> Option<*mut Scratch> {
    // SAFETY: a helper without arguments.
    SCRATCH.get_ptr_mut(unsafe { bpf_get_smp_processor_id() } as u32)
}

#[inline(always)]
fn count(worker: u32, change: impl FnOnce(&mut Counters)) {
    if let Some(counters) = COUNTERS.get_ptr_mut(worker) {
        // SAFETY: the counters of this CPU.
        change(unsafe { &mut *counters });
    }
}

/// Clamps `v` to 1..=MAX_SNAPLEN. Uses assembler, so that LLVM neither removes the comparisons nor copies the value to
/// another register: the verifier must know the bounds of the register that is passed to the helper.
#[inline(always)]
fn clamp(v: u32) -> u64 {
    let mut v = u64::from(v);
    // SAFETY: arithmetic on one register.
    unsafe {
        core::arch::asm!(
            "if {v} s> 0 goto +1",
            "{v} = 1",
            "if {v} s<= {max} goto +1",
            "{v} = {max}",
            v = inout(reg) v,
            max = const MAX_SNAPLEN as i32,
            options(pure, nomem, nostack)
        );
    }
    v
}
