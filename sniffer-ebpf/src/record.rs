//! A packet's way through a hook: counted by `enter`, judged by the generated filter, copied to a ring by `capture`.

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

/// Counts the packet and calls the filter for its kind; without one everything is captured. Comes back only when nothing is loaded.
#[inline(always)]
pub fn enter<P: Packet>(packet: &P, jump: &Jump) {
    count(0, |counters| counters.seen += 1);
    let filter = if link(packet) == link::RAW_IP { slot::FILTER_RAW_IP } else { slot::FILTER };
    // SAFETY: the programs of a table take the context of their hook.
    unsafe {
        jump.tail_call(packet, filter);
        jump.tail_call(packet, slot::CAPTURE);
    }
}

/// Copies the packet to the ring of the worker whose it is.
#[inline(always)]
pub fn capture<P: Packet>(packet: &P, direction: u8) {
    let Some(scratch) = scratch() else { return };
    let wire_len = packet.len();
    let link = link(packet);
    let wanted = wire_len.min(SNAPLEN.load());
    let captured = clamp(wanted);
    // SAFETY: `clamp` leaves at most MAX_SNAPLEN, and `data` has more.
    let copied = wanted != 0 && unsafe { packet.copy((&raw mut (*scratch).data).cast(), captured) }.is_ok();
    // SAFETY: the scratch of this CPU, and nobody interrupts.
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
    // SAFETY: as above.
    unsafe { (&raw mut (*scratch).header).write(header) };
    // SAFETY: header and data follow each other without a gap.
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

/// Writes header and `captured` bytes of data. The reader polls too, so it is woken only when much is pending.
#[inline(always)]
unsafe fn output(owner: u32, scratch: *mut Scratch, captured: u64) -> bool {
    let Some(ring) = RINGS.get(owner) else { return false };
    let ring = core::ptr::from_ref(ring).cast_mut().cast();
    // SAFETY: the verifier knows `ring` for a ring buffer, and that the record lies inside the scratch.
    unsafe {
        let pending = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
        let wake = if pending >= u64::from(WAKE_AT.load()) { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
        bpf_ringbuf_output(ring, scratch.cast(), RECORD_HEADER as u64 + captured, wake) == 0
    }
}

#[inline(always)]
fn link<P: Packet>(packet: &P) -> u8 {
    match LINK.load() as u8 {
        // SAFETY: only the presence of a key matters.
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
        // SAFETY: this CPU's own.
        change(unsafe { &mut *counters });
    }
}

/// Brings `v` into 1..=MAX_SNAPLEN in a way that LLVM can neither see through nor move to another register: the verifier must know the
/// bounds of the very register that is passed on.
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
