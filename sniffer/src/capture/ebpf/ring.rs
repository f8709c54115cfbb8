//! A worker's ring as a [`Source`]. Frames are borrowed from the ring; nothing is copied.

use super::{control::EbpfControl, owner::Owners, sys, watch::Watch};
use crate::{
    capture::{Frame, Link, Polled, Segments, Source, StrippedTag, control::DeviceStats, sys::wait_readable},
    time::Timestamp,
};
use aya::maps::{MapData, RingBuf};
use sniffer_common::{RECORD_HEADER, RecordHeader, link};
use std::{
    io,
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

/// Records of one call of `poll`, so that timers and signals get their turn.
const BATCH: usize = 1024;
/// The kernel wakes us only when much is pending; little is found by looking.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often the clocks are compared (the wall clock may be set or slewed) and the devices are looked for.
const CHECK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct RingSource {
    ring: RingBuf<MapData>,
    control: Arc<EbpfControl>,
    watch: Option<Watch>,
    owners: Option<Owners>,
    /// What was counted since the tally was brought up to date: frames handed over, and those that another interface owns.
    counted: DeviceStats,
    boot_to_wall: u64,
    check_at: Instant,
}

impl RingSource {
    pub fn new(ring: RingBuf<MapData>, control: Arc<EbpfControl>, watch: Option<Watch>, on_any: bool) -> Self {
        let (owners, boot_to_wall) = (on_any.then(Owners::new), sys::boot_to_wall());
        Self { ring, control, watch, owners, counted: DeviceStats::default(), boot_to_wall, check_at: Instant::now() + CHECK_EVERY }
    }

    fn drain(&mut self, each: &mut dyn FnMut(Frame<'_>)) -> usize {
        let mut records = 0;
        while records < BATCH {
            let Some(record) = self.ring.next() else { break };
            records += 1;
            let Some(frame) = frame(&record, self.boot_to_wall) else { continue };
            if self.owners.as_mut().is_none_or(|owners| owners.owns(&frame)) {
                self.counted.copied += 1;
                self.counted.copied_bytes += frame.data.len() as u64;
                each(frame);
            } else {
                self.counted.duplicates += 1;
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
            let until = Instant::now() + wait;
            loop {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                wait_readable(self.ring.as_fd(), left.min(LOOK_EVERY))?;
                records = self.drain(each);
                if records > 0 {
                    break;
                }
            }
        }
        Ok(if records > 0 { Polled::Frames(records) } else { Polled::Idle })
    }

    fn update_stats(&mut self) -> io::Result<()> {
        // The rest is counted by the kernel half, where the control reads it.
        self.control.tally().add(std::mem::take(&mut self.counted));
        Ok(())
    }
}

/// The frame in a record.
fn frame(record: &[u8], boot_to_wall: u64) -> Option<Frame<'_>> {
    let (header, data) = record.split_at_checked(RECORD_HEADER)?;
    let header = header_of(header.try_into().ok()?);
    let data = data.get(..header.captured as usize)?;
    let tag = (header.tag_tpid != 0).then_some(StrippedTag { tpid: header.tag_tpid, tci: header.tag_tci });
    let link = if header.link == link::RAW_IP { Link::RawIp } else { Link::Ethernet };
    Some(Frame {
        time: Timestamp(header.time.wrapping_add(boot_to_wall)),
        link,
        data,
        wire_len: header.wire_len,
        tag,
        ifindex: header.ifindex,
        segments: Segments::Count(header.segments.max(1)),
    })
}

/// The kernel half wrote it on this machine: native byte order, the layout of [`RecordHeader`].
fn header_of(bytes: &[u8; RECORD_HEADER]) -> RecordHeader {
    let [
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        w0,
        w1,
        w2,
        w3,
        c0,
        c1,
        c2,
        c3,
        i0,
        i1,
        i2,
        i3,
        s0,
        s1,
        s2,
        s3,
        p0,
        p1,
        t0,
        t1,
        hook,
        direction,
        link,
        reserved,
    ] = *bytes;
    RecordHeader {
        time: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        wire_len: u32::from_ne_bytes([w0, w1, w2, w3]),
        captured: u32::from_ne_bytes([c0, c1, c2, c3]),
        ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
        segments: u32::from_ne_bytes([s0, s1, s2, s3]),
        tag_tpid: u16::from_ne_bytes([p0, p1]),
        tag_tci: u16::from_ne_bytes([t0, t1]),
        hook,
        direction,
        link,
        reserved,
    }
}
