//! Reads the records of a segment one after the other, and finds the next valid record after a damaged part.

use super::frame::{self, HEADER, MARK, Parsed, Place};
use crate::publish::Record;
use memchr::memmem;
use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

/// Number of bytes that are read at once, unless a record is larger.
const CHUNK: usize = 128 << 10;

/// The result of [`Reader::next`].
pub(super) enum Next {
    /// A record, its number, and its place in the file.
    Record {
        sequence: u64,
        place: Place,
        record: Record,
    },
    /// These bytes of the file contain no valid record.
    Damaged(Range<u64>),
    End,
}

pub(super) struct Reader {
    /// The first sequence number of the segment. It is the name of the file.
    pub(super) segment: u64,
    file: File,
    /// Where `buffer` begins in the file.
    offset: u64,
    buffer: Vec<u8>,
    /// The place in `buffer` that is read next.
    at: usize,
    /// The smallest sequence number that the next record may have.
    from: u64,
}

impl Reader {
    pub(super) fn new(segment: u64, file: File) -> Self {
        Self { segment, file, offset: 0, buffer: Vec::new(), at: 0, from: segment }
    }

    /// The place in the file that is read next.
    pub(super) fn position(&self) -> u64 {
        self.offset + self.at as u64
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Reads until `bytes` bytes from the current place are in the buffer. Returns false if the file, of `size` bytes, has fewer.
    fn fill(&mut self, bytes: usize, size: u64) -> io::Result<bool> {
        if self.rest().len() >= bytes {
            return Ok(true);
        }
        self.buffer.drain(..self.at);
        self.offset += self.at as u64;
        self.at = 0;
        self.buffer.shrink_to(2 * CHUNK);
        let have = self.buffer.len();
        // The file is shorter than expected if another program has cut it. Then fewer bytes are read.
        let left = usize::try_from(size.saturating_sub(self.offset + have as u64)).unwrap_or(usize::MAX);
        self.buffer.resize(have + left.min(bytes.max(CHUNK) - have), 0);
        let mut filled = have;
        while let Some(space) = self.buffer.get_mut(filled..).filter(|space| !space.is_empty()) {
            match self.file.read_at(space, self.offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.buffer.truncate(filled);
                    return Err(error);
                }
            }
        }
        self.buffer.truncate(filled);
        Ok(self.buffer.len() >= bytes)
    }

    /// The record at the current place; `None` if there is no valid record.
    fn valid(&mut self, size: u64, below: u64) -> io::Result<Option<(u64, usize)>> {
        let mut bytes = HEADER;
        loop {
            if !self.fill(bytes, size)? {
                return Ok(None);
            }
            match frame::parse(self.rest()) {
                Parsed::Needs(more) if more > bytes => bytes = more,
                Parsed::Frame { sequence, payload } if (self.from..below).contains(&sequence) => {
                    return Ok(Some((sequence, HEADER + payload.len())));
                }
                Parsed::Needs(_) | Parsed::Bad | Parsed::Frame { .. } => return Ok(None),
            }
        }
    }

    /// Returns what comes next in the first `size` bytes of the file. Numbers of valid records are less than `below`.
    ///
    /// # Errors
    /// When the file cannot be read or is shorter than `size`.
    pub(super) fn next(&mut self, size: u64, below: u64) -> io::Result<Next> {
        let start = self.position();
        if start >= size {
            return Ok(Next::End);
        }
        while self.position() < size {
            if !self.fill(1, size)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some((sequence, length)) = self.valid(size, below)? {
                if self.position() > start {
                    // The next call returns this record.
                    return Ok(Next::Damaged(start..self.position()));
                }
                let payload = self.rest().get(HEADER..length).unwrap_or_default();
                let record = frame::record(payload);
                self.at += length;
                self.from = sequence + 1;
                return Ok(match (record, u32::try_from(length)) {
                    (Some(record), Ok(size)) => Next::Record { sequence, place: Place { at: start, size }, record },
                    _ => Next::Damaged(start..self.position()),
                });
            }
            self.seek_mark(size)?;
        }
        Ok(Next::Damaged(start..size))
    }

    /// Advances to the next place where a record may begin, or to the end of the readable bytes. Documents do not contain the mark of a
    /// record, so no damaged bytes are searched twice.
    fn seek_mark(&mut self, size: u64) -> io::Result<()> {
        self.at += 1;
        loop {
            self.fill(MARK.len(), size)?;
            if self.rest().len() < MARK.len() {
                self.at = self.buffer.len();
                return Ok(());
            }
            if let Some(found) = memmem::find(self.rest(), &MARK) {
                self.at += found;
                return Ok(());
            }
            self.at = self.buffer.len() - (MARK.len() - 1);
        }
    }
}

/// Reads a record again at its place. `None` if the record is no longer there.
pub(super) fn read_at(file: &File, sequence: u64, place: Place) -> io::Result<Option<Record>> {
    let mut bytes = vec![0; place.size as usize];
    match file.read_exact_at(&mut bytes, place.at) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    Ok(match frame::parse(&bytes) {
        Parsed::Frame { sequence: found, payload } if found == sequence => frame::record(payload),
        _ => None,
    })
}
