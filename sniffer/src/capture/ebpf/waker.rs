//! A worker's ring, and the waker: it tells the eBPF programs when to wake the reader of the ring. The reader itself is in `ring`.

use crate::capture::sys::wait_readable;
use aya::maps::{Array, MapData, RingBuf};
use sniffer_common::AWAKE;
use std::{io, os::fd::BorrowedFd, time::Duration};

/// A worker's ring, and the waker of its reader.
pub(super) struct Ring {
    pub ring: RingBuf<MapData>,
    pub waker: Waker,
}

/// Tells the programs when to wake the reader of a ring.
pub(super) struct Waker {
    /// The map `WAKE_AT`: the number of pending bytes at which a program wakes the reader of a ring.
    pub map: Array<MapData, u32>,
    worker: u32,
    /// The number of pending bytes at which a short sleep ends.
    pub when_busy: u32,
}

impl Waker {
    pub fn new(map: Array<MapData, u32>, worker: u32, when_busy: u32) -> Self {
        Self { map, worker, when_busy }
    }

    /// Sleeps for at most `wait`, until `bytes` are pending in the ring `fd`. Returns at once if the ring is not empty.
    pub fn sleep(&mut self, fd: BorrowedFd<'_>, wait: Duration, bytes: u32) -> io::Result<()> {
        if wait.is_zero() {
            return Ok(());
        }
        let failed = |error| io::Error::other(format!("map WAKE_AT: {error}"));
        self.map.set(self.worker, bytes, 0).map_err(failed)?;
        wait_readable(fd, wait)?;
        self.map.set(self.worker, AWAKE, 0).map_err(failed)
    }
}
