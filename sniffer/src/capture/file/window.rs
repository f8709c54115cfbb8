//! A buffer of fixed size that slides over a file. The buffer does not grow, even if the file declares larger lengths.

use crate::capture::sys;
use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
    time::Duration,
};

/// The buffer is large enough for the largest record that is read as a whole (`MAX_FRAME` and its headers). It is small enough to stay in
/// the CPU cache between reading and decoding.
pub(super) const CAPACITY: usize = 512 << 10;

/// Result of [`Window::fill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// Bytes were added to the window.
    More,
    /// A pipe delivered nothing within the wait, or a signal interrupted the read.
    TimedOut,
    /// The input has ended.
    End,
}

pub(super) struct Window {
    input: File,
    /// Whether the input is a pipe or a terminal, on which reading may block. If so, the descriptor is polled before it is read.
    blocks: bool,
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes that are still to be discarded before the next record. They are the rest of a block that is larger than the buffer.
    skip: u64,
    /// Position of `start` in the input, in bytes.
    offset: u64,
}

impl Window {
    pub(super) fn new(input: File) -> io::Result<Self> {
        let blocks = !input.metadata()?.is_file();
        Ok(Self { input, blocks, bytes: vec![0; CAPACITY].into_boxed_slice(), start: 0, end: 0, skip: 0, offset: 0 })
    }

    /// The bytes read and not yet consumed.
    pub(super) fn available(&self) -> &[u8] {
        if self.skip > 0 { &[] } else { self.bytes.get(self.start..self.end).unwrap_or_default() }
    }

    /// Position in the input where [`Self::available`] begins, in bytes.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether bytes of an incomplete record are left; at the end of the input they show that it was cut.
    pub(super) fn is_cut(&self) -> bool {
        self.skip > 0 || self.start < self.end
    }

    /// Consumes `count` bytes. If `count` is larger than the bytes in the buffer, further bytes are discarded when they are read.
    pub(super) fn advance(&mut self, count: u64) {
        let here = usize::try_from(count).unwrap_or(usize::MAX).min(self.end - self.start);
        self.start += here;
        self.skip += count - here as u64;
        self.offset += count;
    }

    /// Reads once. On a pipe waits at most `wait`; `None` waits without limit.
    pub(super) fn fill(&mut self, wait: Option<Duration>) -> io::Result<Filled> {
        if self.blocks
            && let Some(wait) = wait
            && sys::wait_readable(self.input.as_fd(), wait)? == sys::Ready::TimedOut
        {
            return Ok(Filled::TimedOut);
        }
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let Some(room) = self.bytes.get_mut(self.end..) else { return Ok(Filled::End) };
        let count = match self.input.read(room) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Filled::TimedOut),
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
