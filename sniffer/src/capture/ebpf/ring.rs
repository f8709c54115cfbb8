//! A worker's ring as a [`Source`]. Frames borrow from the ring; packet data is not copied.

use super::{
    control::EbpfControl,
    sys,
    waker::{Ring, Waker},
    watch::Watch,
};
use crate::{
    capture::{Frame, Link, Polled, Segments, Source, StrippedTag, Task},
    time::Timestamp,
};
use aya::maps::{MapData, RingBuf};
use sniffer_common::{RecordHeader, flow::task, link};
use std::{
    io,
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};
use zerocopy::FromBytes;

/// Maximum number of records per call of `poll`, so that the worker can also handle timers and signals.
const BATCH: usize = 1024;
/// Longest sleep while packets arrive. During the sleep packets collect in the ring, because a wake-up costs the kernel
/// more than a packet. The sleep ends early when [`super::loaded::WAKE_AT`] bytes are pending. After a sleep in which
/// no packet arrived, the reader sleeps as long as the caller allows, and the first packet ends the sleep.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often the offset between boot time and wall clock is measured again (the wall clock may be set or slewed), and how often the device
/// is checked.
const CHECK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct RingSource {
    ring: RingBuf<MapData>,
    waker: Waker,
    /// Whether no packet arrived during the last sleep.
    quiet: bool,
    control: Arc<EbpfControl>,
    watch: Option<Watch>,
    boot_to_wall: u64,
    check_at: Instant,
}

impl RingSource {
    pub fn new(ring: Ring, control: Arc<EbpfControl>, watch: Option<Watch>) -> Self {
        let Ring { ring, waker } = ring;
        let (boot_to_wall, check_at) = (sys::boot_to_wall(), Instant::now() + CHECK_EVERY);
        Self { ring, waker, quiet: true, control, watch, boot_to_wall, check_at }
    }

    fn drain(&mut self, each: &mut dyn FnMut(Frame<'_>)) -> usize {
        let mut records = 0;
        while records < BATCH {
            let Some(record) = self.ring.next() else { break };
            records += 1;
            if let Some(frame) = frame(&record, self.boot_to_wall) {
                each(frame);
            }
        }
        records
    }

    fn check(&mut self) {
        let now = Instant::now();
        if now < self.check_at {
            return;
        }
        self.check_at = now + CHECK_EVERY;
        self.boot_to_wall = sys::boot_to_wall();
        if let Some(watch) = &mut self.watch {
            watch.look(&self.control, now);
            self.control.flush_log();
        }
    }
}

impl Source for RingSource {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        let mut records = self.drain(each);
        self.check();
        if records == 0 {
            let (longest, bytes) = if self.quiet { (wait, 1) } else { (wait.min(LOOK_EVERY), self.waker.when_busy) };
            self.waker.sleep(self.ring.as_fd(), longest, bytes)?;
            records = self.drain(each);
            self.quiet = records == 0;
        }
        Ok(if records > 0 { Polled::Frames(records) } else { Polled::Idle })
    }

    fn update_stats(&mut self) -> io::Result<()> {
        // The eBPF programs maintain all counters; `control` reads them.
        Ok(())
    }
}

/// Parses a record of the ring; `None` if it is truncated. `boot_to_wall` is the difference from the time since boot to wall-clock time, in nanoseconds.
fn frame(record: &[u8], boot_to_wall: u64) -> Option<Frame<'_>> {
    // Native byte order: the eBPF program wrote the record on this machine.
    let (header, data) = RecordHeader::read_from_prefix(record).ok()?;
    let data = data.get(..header.captured as usize)?;
    let tag = (header.tag_tpid != 0).then_some(StrippedTag { tpid: header.tag_tpid, tci: header.tag_tci });
    let link = if header.link == link::RAW_IP { Link::RawIp } else { Link::Ethernet };
    let segments = match (header.segments, header.segment_size) {
        (0 | 1, 0) => Segments::default(),
        (0, size) => Segments::OfSize(size.into()),
        (count, _) => Segments::Count(count.into()),
    };
    let task = match header.task {
        task::COUNT => Task::Count((header.connection != 0).then_some(header.connection)),
        task::PARSE => Task::Parse,
        _ => Task::ParseAndCount,
    };
    Some(Frame {
        time: Timestamp(header.time.wrapping_add(boot_to_wall)),
        link,
        data,
        wire_len: header.wire_len,
        tag,
        ifindex: header.ifindex,
        segments,
        task,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn record(header: RecordHeader, data: &[u8]) -> Vec<u8> {
        [header.as_bytes(), data].concat()
    }

    #[test]
    fn a_record_is_a_frame() {
        let header = RecordHeader {
            time: 5,
            wire_len: 3000,
            captured: 4,
            ifindex: 7,
            tag_tpid: 0x88a8,
            tag_tci: 0x2005,
            link: link::RAW_IP,
            ..RecordHeader::default()
        };
        let record = record(header, b"data and what the ring rounds up to");
        let frame = frame(&record, 1000).unwrap();
        assert_eq!((frame.time, frame.wire_len, frame.data, frame.ifindex), (Timestamp(1005), 3000, &b"data"[..], 7));
        assert_eq!((frame.link, frame.tag), (Link::RawIp, Some(StrippedTag { tpid: 0x88a8, tci: 0x2005 })));
    }

    #[test]
    fn the_segments_of_a_record() {
        for ((segments, segment_size), expected) in [
            ((0, 0), Segments::Count(1)),
            ((1, 0), Segments::Count(1)),
            ((3, 1448), Segments::Count(3)),
            ((0, 1448), Segments::OfSize(1448)),
        ] {
            let record = record(RecordHeader { segments, segment_size, ..RecordHeader::default() }, &[]);
            assert_eq!(frame(&record, 0).unwrap().segments, expected, "{segments} of {segment_size}");
        }
    }

    #[test]
    fn records_shorter_than_their_header_says_are_rejected() {
        let whole = record(RecordHeader { captured: 4, ..RecordHeader::default() }, b"data");
        for cut in 0..whole.len() {
            assert!(frame(&whole[..cut], 0).is_none(), "{cut} bytes of {}", whole.len());
        }
    }
}
