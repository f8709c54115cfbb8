//! A fixed buffer that slides over a file. It never grows, whatever lengths the file claims.

use crate::capture::sys;
use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
    time::Duration,
};

/// Large enough for the largest record that is read as a whole (`MAX_FRAME` and its headers), small enough to stay in the cache
/// between the read and the decoder.
pub(super) const CAPACITY: usize = 512 << 10;

/// What [`Window::fill`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// There is more than before.
    More,
    /// A pipe had nothing within the wait.
    Nothing,
    /// The input is at its end.
    End,
}

pub(super) struct Window {
    input: File,
    /// A pipe or a terminal: reading may block, so it is polled first.
    blocks: bool,
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes still to be thrown away before the next record: the rest of a block that is larger than the buffer.
    skip: u64,
    /// Where in the input `start` is.
    offset: u64,
}

impl Window {
    pub(super) fn new(input: File) -> io::Result<Self> {
        let blocks = !input.metadata()?.is_file();
        Ok(Self { input, blocks, bytes: vec![0; CAPACITY].into_boxed_slice(), start: 0, end: 0, skip: 0, offset: 0 })
    }

    /// What has been read and not been consumed.
    pub(super) fn available(&self) -> &[u8] {
        if self.skip > 0 { &[] } else { self.bytes.get(self.start..self.end).unwrap_or_default() }
    }

    /// Where in the input [`Self::available`] begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the input ended inside a record.
    pub(super) fn is_cut(&self) -> bool {
        self.skip > 0 || self.start < self.end
    }

    /// Consumes `count` bytes, which may run past what has been read.
    pub(super) fn advance(&mut self, count: u64) {
        let here = usize::try_from(count).unwrap_or(usize::MAX).min(self.end - self.start);
        self.start += here;
        self.skip += count - here as u64;
        self.offset += count;
    }

    /// Reads once. Waits at most `wait` when the input is a pipe; `None` is for ever.
    pub(super) fn fill(&mut self, wait: Option<Duration>) -> io::Result<Filled> {
        if self.blocks
            && let Some(wait) = wait
            && sys::wait_readable(self.input.as_fd(), wait)? == sys::Ready::Nothing
        {
            return Ok(Filled::Nothing);
        }
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let Some(room) = self.bytes.get_mut(self.end..) else { return Ok(Filled::End) };
        let count = match self.input.read(room) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Filled::Nothing),
            Err(error) => return Err(error),
        };
        if count == 0 {
            return Ok(Filled::End);
        }
        self.end += count;
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(self.end);
        self.start = skipped;
        self.skip -= skipped as u64;
        Ok(Filled::More)
    }
}
