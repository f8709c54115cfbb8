//! The steps of a packet at a hook: `enter` counts the packet, the generated filter decides about it, and `capture` copies
//! it to a ring.

use crate::{
    copies::is_copy,
    flows, head,
    maps::{COUNTERS, COUNTING, Jump, LINK, RAW_IP, RINGS, Ring, SEVERAL_INTERFACES, SHUNTING, SNAPLEN, WAKE_AT, WORKERS},
    packet::Packet,
    parse, shunts, worker,
};
use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, bpf_ringbuf_discard, bpf_ringbuf_query, bpf_ringbuf_reserve, bpf_ringbuf_submit};
use core::ffi::c_void;
use sniffer_common::{
    AWAKE, Counters, HEAD_BYTES, RECORD_HEADER, RECORD_SIZES, RecordHeader, copies,
    flow::{counting, task},
    link, shunting, slot,
};

/// Size of a record with the task `COUNT`: its header and the head of the packet.
const HEADER_RECORD: usize = RECORD_HEADER + HEAD_BYTES;
/// Flag that makes `bpf_ringbuf_query` return the number of unread bytes.
const BPF_RB_AVAIL_DATA: u64 = 0;
const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_RB_FORCE_WAKEUP: u64 = 2;

/// Counts the packet and calls the filter for its link type, or `capture` if there is no filter. A successful tail call does not return. So
/// the function returns only if the packet is a copy, if it is not copied to user space, or if the jump table is empty. It returns true if
/// the packet belongs to a connection whose packets are captured.
#[inline(always)]
pub fn enter<P: Packet>(packet: &P, jump: &Jump, direction: u8) -> bool {
    let link = link(packet);
    let shunts = SHUNTING.load() == shunting::BEFORE_FILTER && shunts::exist();
    let examines = shunts || COUNTING.load() == counting::BEFORE_FILTER || SEVERAL_INTERFACES.load() == copies::BEFORE_FILTER;
    if examines {
        match examine(packet, direction, link, shunts) {
            Verdict::Continue => {}
            Verdict::Copy => {
                count(|counters| counters.duplicates += 1);
                return false;
            }
            Verdict::Shunt => {
                count(|counters| {
                    counters.seen += 1;
                    counters.shunted += 1;
                });
                return true;
            }
        }
    }
    count(|counters| counters.seen += 1);
    let filter = if link == link::RAW_IP { slot::FILTER_RAW_IP } else { slot::FILTER };
    // SAFETY: user space inserts only programs that take the context of this hook into the jump table, and the kernel refuses others.
    unsafe {
        jump.tail_call(packet, filter);
        jump.tail_call(packet, slot::CAPTURE);
    }
    false
}

/// How a packet continues after [`examine`].
enum Verdict {
    /// The filter decides about the packet.
    Continue,
    /// The packet was already seen on another interface.
    Copy,
    /// The packet is not copied to user space.
    Shunt,
}

/// Decides whether the filter tests the packet, and counts the packet in its flow. If `shunts` is true, the function also looks for a shunt
/// of the packet's connection.
#[inline(always)]
fn examine<P: Packet>(packet: &P, direction: u8, link: u8, shunts: bool) -> Verdict {
    let time = now();
    let work = head::load(packet, link);
    let found = work.filter(|_| parse::find_flow() != 0);
    let (mut connection, mut packets) = (0, 1);
    let mut is_counted = COUNTING.load() != counting::BEFORE_FILTER;
    if let Some(work) = found {
        // SAFETY: `work` points to the value of this CPU in the per-CPU array `WORK`. No other program uses the value meanwhile, see
        // [`head::load`].
        let parsed = unsafe { &mut (*work).parsed };
        if SEVERAL_INTERFACES.load() == copies::BEFORE_FILTER && is_copy(parsed, head::view(work), packet.ifindex(), time) {
            return Verdict::Copy;
        }
        if !is_counted {
            flows::number_connection(parsed, time);
            is_counted = flows::count(work, time);
            (connection, packets) = (parsed.key.connection, parsed.packets);
        }
    }
    if !is_counted {
        let worker = if work.is_some() { worker::choose() } else { 0 };
        let record = Record { direction, link, time, task: task::COUNT, connection };
        let written = RINGS.get(worker).is_some_and(|ring| {
            reserve_and_copy::<P, HEADER_RECORD, { HEAD_BYTES as i32 }>(packet, ring, worker, record.header(packet, HEAD_BYTES as u32))
        });
        count(|counters| {
            if written {
                counters.headers += 1;
            } else {
                counters.uncounted += u64::from(packets);
            }
        });
    }
    if shunts && found.is_some() && shunts::is_shunted(time) != 0 { Verdict::Shunt } else { Verdict::Continue }
}

/// Copies a packet that the filter accepted to the ring of its worker. If copies are recognised and packets are counted after the filter,
/// the function does this, too.
#[inline(always)]
pub fn capture<P: Packet>(packet: &P, direction: u8) {
    count(|counters| counters.matched += 1);
    let (link, time) = (link(packet), now());
    let (mut worker, mut task, mut packets) = (0, task::PARSE_AND_COUNT, 0);
    let counts = COUNTING.load() == counting::AFTER_FILTER;
    let finds_copies = SEVERAL_INTERFACES.load() == copies::AFTER_FILTER;
    let shunts = SHUNTING.load() == shunting::AFTER_FILTER && shunts::exist();
    if WORKERS.load() > 1 || counts || finds_copies || shunts {
        let work = head::load(packet, link);
        worker = if work.is_some() { worker::choose() } else { 0 };
        packets = u32::from(counts);
        if (counts || finds_copies || shunts)
            && let Some(work) = work
            && parse::find_flow() != 0
        {
            // SAFETY: `work` points to the value of this CPU in the per-CPU array `WORK`. No other program uses the value meanwhile, see
            // [`head::load`].
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
            // A packet that the kernel could not count is copied, because user space counts it.
            if shunts && packets == 0 && shunts::is_shunted(time) != 0 {
                return count(|counters| {
                    counters.shunted += 1;
                    counters.matched -= 1;
                });
            }
        }
    }
    if COUNTING.load() == counting::BEFORE_FILTER {
        task = task::PARSE;
    }
    let record = Record { direction, link, time, task, connection: 0 };
    let header = record.header(packet, SNAPLEN.load());
    let written = RINGS.get(worker).is_some_and(|ring| write(packet, ring, worker, header));
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(
        packet,
        "interface {} direction {}: {} of {} bytes for worker {}",
        packet.ifindex(),
        direction,
        header.captured,
        packet.len(),
        worker
    );
    count(|counters| {
        if written {
            counters.copied += 1;
            counters.copied_bytes += u64::from(header.captured);
        } else {
            counters.lost += 1;
            // The packets that user space would have counted by this record.
            counters.uncounted += u64::from(packets);
        }
    });
}

/// The fields of a record's header that do not come from the packet's context.
struct Record {
    direction: u8,
    link: u8,
    time: u64,
    task: u8,
    connection: u64,
}

impl Record {
    /// The header of a record that contains at most `limit` bytes of the packet.
    #[inline(always)]
    fn header<P: Packet>(&self, packet: &P, limit: u32) -> RecordHeader {
        let wire_len = packet.len();
        let (tag_tpid, tag_tci) = packet.tag().unwrap_or((0, 0));
        let (segments, segment_size) = packet.segments();
        RecordHeader {
            time: self.time,
            wire_len,
            captured: wire_len.min(limit),
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

/// Writes a record to a ring. Its size is the smallest of [`RECORD_SIZES`] that holds header and packet. Returns false if
/// the ring is full or the packet cannot be read.
#[inline(always)]
fn write<P: Packet>(packet: &P, ring: &Ring, worker: u32, header: RecordHeader) -> bool {
    let size = RECORD_HEADER as u32 + header.captured;
    macro_rules! in_size {
        ($($index:literal)*) => {
            $(if size <= RECORD_SIZES[$index] as u32 {
                const SIZE: usize = RECORD_SIZES[$index];
                return reserve_and_copy::<P, SIZE, { (SIZE - RECORD_HEADER) as i32 }>(packet, ring, worker, header);
            })*
        };
    }
    in_size!(0 1 2 3 4 5 6 7 8 9 10);
    false
}

/// Time since boot in nanoseconds.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no arguments and no preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Reserves `SIZE` bytes in the ring, and copies the header and at most `DATA` bytes of the packet into them. Returns false if the ring is
/// full or the packet cannot be read.
#[inline(always)]
fn reserve_and_copy<P: Packet, const SIZE: usize, const DATA: i32>(packet: &P, ring: &Ring, worker: u32, header: RecordHeader) -> bool {
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
        let wake = if must_wake(ring, worker) { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
        bpf_ringbuf_submit(record.cast(), wake);
    }
    true
}

/// Whether the reader of a ring sleeps and must be woken. The function must be called after the record was reserved, so that no wake-up is
/// missed: the reader sets `WAKE_AT` and then looks into the ring once more before it sleeps.
#[inline(always)]
fn must_wake(ring: *mut c_void, worker: u32) -> bool {
    let Some(wake_at) = WAKE_AT.get_ptr_mut(worker) else { return false };
    // SAFETY: the map returned the pointer to an aligned value of an array map, which exists as long as the program. Access is volatile,
    // because the reader in user space may change the value at any time.
    unsafe {
        let at = wake_at.read_volatile();
        if at == AWAKE || bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) < u64::from(at) {
            return false;
        }
        wake_at.write_volatile(AWAKE);
    }
    true
}

/// The kind of the frame's first header, one of [`sniffer_common::link`].
#[inline(always)]
fn link<P: Packet>(packet: &P) -> u8 {
    match LINK.load() as u8 {
        link::BY_INTERFACE => match packet.begins_with_ip() {
            Some(true) => link::RAW_IP,
            // SAFETY: the value is not read. The look-up only tests whether the map has the key.
            None if unsafe { RAW_IP.get(packet.ifindex()) }.is_some() => link::RAW_IP,
            _ => link::ETHERNET,
        },
        kind => kind,
    }
}

/// Changes the capture counters of this CPU.
#[inline(always)]
fn count(change: impl FnOnce(&mut Counters)) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: the pointer is to the value of this CPU in a per-CPU array, and no other program on this CPU interrupts this one.
        change(unsafe { &mut *counters });
    }
}

/// Clamps `v` to 1..=MAX. The verifier must know the bounds of the register that is passed to the helper function. The function is written
/// in assembler, because LLVM might remove the comparisons, or compare a copy in another register.
#[inline(always)]
pub fn clamp<const MAX: i32>(v: u32) -> u64 {
    let mut v = u64::from(v);
    // SAFETY: the instructions read and write one register, and access no memory.
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
