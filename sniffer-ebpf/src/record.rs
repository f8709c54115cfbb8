//! The path of a packet through a hook: `enter` counts it, the generated filter decides about it, `capture` copies it
//! to a ring.

use crate::{
    copies::is_copy,
    flows, head,
    maps::{COUNTERS, COUNTING, Jump, LINK, RAW_IP, RINGS, Ring, SEVERAL_INTERFACES, SNAPLEN, WAKE_AT, WORKERS},
    packet::Packet,
    parse, worker,
};
use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, bpf_ringbuf_discard, bpf_ringbuf_query, bpf_ringbuf_reserve, bpf_ringbuf_submit};
use core::ffi::c_void;
use sniffer_common::{
    AWAKE, Counters, HEAD_BYTES, RECORD_HEADER, RECORD_SIZES, RecordHeader, copies,
    flow::{counting, task},
    link, slot,
};

/// Size of a record with the head of a packet.
const HEADER_RECORD: usize = RECORD_HEADER + HEAD_BYTES;
const BPF_RB_AVAIL_DATA: u64 = 0;
const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_RB_FORCE_WAKEUP: u64 = 2;

/// Counts the packet, unless it is a copy, and calls the filter for its link
/// type; if there is none, calls `capture`. Returns only if the packet goes no further.
#[inline(always)]
pub fn enter<P: Packet>(packet: &P, jump: &Jump, direction: u8) {
    let link = link(packet);
    let examines = COUNTING.load() == counting::BEFORE_FILTER || SEVERAL_INTERFACES.load() == copies::BEFORE_FILTER;
    if examines && !examine(packet, direction, link) {
        return;
    }
    count(|counters| counters.seen += 1);
    let filter = if link == link::RAW_IP { slot::FILTER_RAW_IP } else { slot::FILTER };
    // SAFETY: all programs of a table take the context of this hook.
    unsafe {
        jump.tail_call(packet, filter);
        jump.tail_call(packet, slot::CAPTURE);
    }
}

/// Whether the filter is to see the packet. Counts the packet in its flow.
#[inline(always)]
fn examine<P: Packet>(packet: &P, direction: u8, link: u8) -> bool {
    let time = now();
    let work = head::load(packet, link);
    let found = work.filter(|_| parse::find_flow() != 0);
    let (mut connection, mut packets) = (0, 1);
    if let Some(work) = found {
        // SAFETY: the work of this CPU.
        let parsed = unsafe { &mut (*work).parsed };
        if SEVERAL_INTERFACES.load() == copies::BEFORE_FILTER && is_copy(parsed, head::view(work), packet.ifindex(), time) {
            count(|counters| counters.duplicates += 1);
            return false;
        }
        if COUNTING.load() == counting::BEFORE_FILTER {
            flows::number_connection(parsed, time);
            if flows::count(work, time) {
                return true;
            }
            (connection, packets) = (parsed.key.connection, parsed.packets);
        }
    }
    if COUNTING.load() == counting::BEFORE_FILTER {
        let owner = if work.is_some() { worker::choose() } else { 0 };
        let of = Record { direction, link, time, task: task::COUNT, connection };
        let written = RINGS.get(owner).is_some_and(|ring| {
            reserve_and_copy::<P, HEADER_RECORD, { HEAD_BYTES as i32 }>(packet, ring, owner, of.header(packet, HEAD_BYTES as u32))
        });
        count(|counters| {
            if written {
                counters.headers += 1;
            } else {
                counters.uncounted += u64::from(packets);
            }
        });
    }
    true
}

/// Copies the packet to the ring of its worker.
#[inline(always)]
pub fn capture<P: Packet>(packet: &P, direction: u8) {
    count(|counters| counters.matched += 1);
    let (link, time) = (link(packet), now());
    let (mut owner, mut task, mut packets) = (0, task::PARSE_AND_COUNT, 0);
    let counts = COUNTING.load() == counting::AFTER_FILTER;
    let finds_copies = SEVERAL_INTERFACES.load() == copies::AFTER_FILTER;
    if WORKERS.load() > 1 || counts || finds_copies {
        let work = head::load(packet, link);
        owner = if work.is_some() { worker::choose() } else { 0 };
        packets = u32::from(counts);
        if (counts || finds_copies)
            && let Some(work) = work
            && parse::find_flow() != 0
        {
            // SAFETY: the work of this CPU.
            let parsed = unsafe { &mut (*work).parsed };
            if finds_copies && is_copy(parsed, head::view(work), packet.ifindex(), time) {
                return count(|counters| {
                    counters.duplicates += 1;
                    counters.seen -= 1;
                    counters.matched -= 1;
                });
            }
            if counts {
                packets = parsed.packets;
                flows::number_connection(parsed, time);
                if flows::count(work, time) {
                    (task, packets) = (task::PARSE, 0);
                }
            }
        }
    }
    if COUNTING.load() == counting::BEFORE_FILTER {
        task = task::PARSE;
    }
    let of = Record { direction, link, time, task, connection: 0 };
    let header = of.header(packet, SNAPLEN.load());
    let written = RINGS.get(owner).is_some_and(|ring| write(packet, ring, owner, header));
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(
        packet,
        "interface {} direction {}: {} of {} bytes for worker {}",
        packet.ifindex(),
        direction,
        header.captured,
        packet.len(),
        owner
    );
    count(|counters| {
        if written {
            counters.copied += 1;
            counters.copied_bytes += u64::from(header.captured);
        } else {
            counters.lost += 1;
            // If user space had to count the packet, its flow lacks it.
            counters.uncounted += u64::from(packets);
        }
    });
}

/// What a record says of its packet, except for what the packet's context says.
struct Record {
    direction: u8,
    link: u8,
    time: u64,
    task: u8,
    connection: u64,
}

impl Record {
    /// The header of a record with at most `most` bytes of the packet.
    #[inline(always)]
    fn header<P: Packet>(&self, packet: &P, most: u32) -> RecordHeader {
        let wire_len = packet.len();
        let (tag_tpid, tag_tci) = packet.tag().unwrap_or((0, 0));
        let (segments, segment_size) = packet.segments();
        RecordHeader {
            time: self.time,
            wire_len,
            captured: wire_len.min(most),
            ifindex: packet.ifindex(),
            segments,
            segment_size,
            tag_tpid,
            tag_tci,
            hook: P::HOOK,
            direction: self.direction,
            link: self.link,
            task: self.task,
            connection: self.connection,
        }
    }
}

/// Writes a record to a ring, in the smallest size that holds it.
#[inline(always)]
fn write<P: Packet>(packet: &P, ring: &Ring, owner: u32, header: RecordHeader) -> bool {
    let size = RECORD_HEADER as u32 + header.captured;
    macro_rules! in_size {
        ($($index:literal)*) => {
            $(if size <= RECORD_SIZES[$index] as u32 {
                const SIZE: usize = RECORD_SIZES[$index];
                return reserve_and_copy::<P, SIZE, { (SIZE - RECORD_HEADER) as i32 }>(packet, ring, owner, header);
            })*
        };
    }
    in_size!(0 1 2 3 4 5 6 7 8 9 10);
    false
}

/// Time since boot in nanoseconds.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Reserves `SIZE` bytes and copies header and packet into them. `DATA` are the bytes that a packet may have at most.
#[inline(always)]
fn reserve_and_copy<P: Packet, const SIZE: usize, const DATA: i32>(packet: &P, ring: &Ring, owner: u32, header: RecordHeader) -> bool {
    let ring = core::ptr::from_ref(ring).cast_mut().cast();
    // SAFETY: the verifier checks that `ring` is a ring buffer, that header and packet fit in the reserved bytes, and
    // that these are submitted or discarded.
    unsafe {
        let record: *mut u8 = bpf_ringbuf_reserve(ring, SIZE as u64, 0).cast();
        if record.is_null() {
            return false;
        }
        record.cast::<RecordHeader>().write(header);
        if header.captured != 0 && packet.copy(record.add(RECORD_HEADER), clamp::<DATA>(header.captured)).is_err() {
            bpf_ringbuf_discard(record.cast(), BPF_RB_NO_WAKEUP);
            return false;
        }
        let wake = if must_wake(ring, owner) { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
        bpf_ringbuf_submit(record.cast(), wake);
    }
    true
}

/// Whether the reader of a ring sleeps and has to be woken. Called after the record was reserved: either the reader
/// sees the record when it looks into the ring before it sleeps, or this function sees that the reader sleeps.
#[inline(always)]
fn must_wake(ring: *mut c_void, owner: u32) -> bool {
    let Some(wake_at) = WAKE_AT.get_ptr_mut(owner) else { return false };
    // SAFETY: a value of the map, which the reader changes at any time.
    unsafe {
        let at = wake_at.read_volatile();
        if at == AWAKE || bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) < u64::from(at) {
            return false;
        }
        wake_at.write_volatile(AWAKE);
    }
    true
}

#[inline(always)]
fn link<P: Packet>(packet: &P) -> u8 {
    match LINK.load() as u8 {
        link::BY_INTERFACE => match packet.begins_with_ip() {
            Some(true) => link::RAW_IP,
            // SAFETY: the value is not used, only whether the key exists.
            None if unsafe { RAW_IP.get(packet.ifindex()) }.is_some() => link::RAW_IP,
            _ => link::ETHERNET,
        },
        kind => kind,
    }
}

#[inline(always)]
fn count(change: impl FnOnce(&mut Counters)) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: the counters of this CPU.
        change(unsafe { &mut *counters });
    }
}

/// Clamps `v` to 1..=MAX. Uses assembler, so that LLVM neither removes the comparisons nor copies the value to another
/// register: the verifier must know the bounds of the register that is passed to the helper.
#[inline(always)]
pub fn clamp<const MAX: i32>(v: u32) -> u64 {
    let mut v = u64::from(v);
    // SAFETY: arithmetic on one register.
    unsafe {
        core::arch::asm!(
            "if {v} s> 0 goto +1",
            "{v} = 1",
            "if {v} s<= {max} goto +1",
            "{v} = {max}",
            v = inout(reg) v,
            max = const MAX,
            options(pure, nomem, nostack)
        );
    }
    v
}
