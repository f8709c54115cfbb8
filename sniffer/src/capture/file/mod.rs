//! Capture files: pcap and pcapng, read through one buffer of fixed size. Frames are borrowed from that buffer.
//!
//! This module does not use libpcap, which copies every packet, cannot read a file with several link types, and reads seconds as signed
//! numbers. It does not map the file into memory, because a mapping costs a page fault per four kilobytes, and a signal (SIGBUS) if another
//! program truncates the file.

mod control;
mod pcap;
mod pcapng;
mod window;

pub use control::FileControl;

use super::{Error, Frame, Polled, Source, control::DeviceStats, tally::Tally};
use pcap::Pcap;
use pcapng::PcapNg;
use std::{fs::File, io, path::Path, sync::Arc, time::Duration};
use window::{Filled, Window};

/// Largest frame in bytes. This is libpcap's limit (`MAXIMUM_SNAPLEN`) for the link types that this module reads.
const MAX_FRAME: usize = 262_144;
/// Number of times that one poll may refill the buffer without finding a packet. The limit lets timers run while a file without packets is
/// read.
const FILLS_PER_POLL: usize = 64;

/// Result of parsing the bytes in the buffer.
#[derive(Debug, Default)]
struct Parsed {
    /// Bytes consumed; may exceed the bytes in the buffer when a skipped block is larger.
    consumed: u64,
    frames: usize,
    /// Number of captured bytes in the frames handed over.
    bytes: u64,
    /// Why the input cannot be read beyond `consumed`; `None` when it can.
    broken: Option<String>,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

/// A capture file, or a pipe that delivers the contents of one.
pub struct FileSource {
    name: String,
    window: Window,
    format: Format,
    frames: u64,
    /// Number of records left out (malformed or unsupported) that were already added to `tally`.
    left_out: u64,
    tally: Arc<Tally>,
    ended: bool,
}

impl FileSource {
    /// Opens a file; `-` is standard input. Frames are counted in `tally`.
    ///
    /// # Errors
    /// When it cannot be read, is empty, is not a capture file, or has an unsupported link type.
    pub fn open(path: &Path, tally: Arc<Tally>) -> Result<Self, Error> {
        let real = if path == Path::new("-") { Path::new("/dev/stdin") } else { path };
        let open = || {
            let mut window = Window::new(File::open(real)?)?;
            while window.available().len() < pcap::FILE_HEADER && window.fill(None)? != Filled::End {}
            Ok(window)
        };
        let window = open().map_err(|e: io::Error| Error::file(path, e.to_string()))?;
        let format = detect(window.available()).map_err(|reason| Error::file(path, reason))?;
        let mut source = Self { name: path.display().to_string(), format, window, frames: 0, left_out: 0, tally, ended: false };
        if let Format::Pcap(_) = source.format {
            source.window.advance(pcap::FILE_HEADER as u64);
        }
        Ok(source)
    }

    fn count(&mut self, parsed: &Parsed) {
        let frames = parsed.frames as u64;
        let left_out = match &self.format {
            Format::Pcap(_) => 0,
            Format::PcapNg(format) => format.malformed + format.unsupported,
        };
        let unreadable = left_out - std::mem::replace(&mut self.left_out, left_out);
        self.frames += frames;
        if frames + unreadable > 0 {
            let seen = frames + unreadable;
            self.tally.add(DeviceStats { seen, unreadable, copied: frames, copied_bytes: parsed.bytes, ..DeviceStats::default() });
        }
    }

    /// Ends the input. Warns about records that were cut off or malformed.
    fn end(&mut self) -> Polled {
        self.ended = true;
        if self.window.is_cut() {
            log::warn!(
                "{}: the file is cut off at byte {}; the {} packets before that were read",
                self.name,
                self.window.offset(),
                self.frames
            );
        }
        if let Format::PcapNg(PcapNg { malformed, .. }) = self.format
            && malformed > 0
        {
            log::warn!("{}: {malformed} malformed packet blocks were left out", self.name);
        }
        Polled::Ended
    }
}

/// Detects the format by `head`, the first bytes of a file.
fn detect(head: &[u8]) -> Result<Format, String> {
    if head.is_empty() {
        return Err("is empty, not a capture file".to_owned());
    }
    let known = ["pcap", "pcapng"].join(" or ");
    match head {
        [0x1f, 0x8b, ..] => return Err(format!("is compressed with gzip; unpack it first (only {known} can be read)")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return Err(format!("is compressed with zstd; unpack it first (only {known} can be read)")),
        [0x0a, 0x0d, 0x0d, 0x0a, ..] => return Ok(Format::PcapNg(PcapNg::default())),
        _ => {}
    }
    let mut whole = [0; pcap::FILE_HEADER];
    for (to, from) in whole.iter_mut().zip(head) {
        *to = *from;
    }
    match Pcap::open(&whole) {
        Some(_) if head.len() < whole.len() => Err(format!("ends after {} bytes, inside the file header", head.len())),
        Some(format) => format.map(Format::Pcap),
        None => Err(format!("is not a capture file: it begins with {:02x?}, which is not {known}", head.get(..4).unwrap_or(head))),
    }
}

impl Source for FileSource {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        if self.ended {
            return Ok(Polled::Ended);
        }
        for _ in 0..FILLS_PER_POLL {
            let parsed = match &mut self.format {
                Format::Pcap(format) => format.frames(self.window.available(), each),
                Format::PcapNg(format) => format.frames(self.window.available(), each),
            };
            self.window.advance(parsed.consumed);
            self.count(&parsed);
            if let Some(reason) = parsed.broken {
                self.ended = true;
                let (name, at, frames) = (&self.name, self.window.offset(), self.frames);
                let text = format!("{name}: at byte {at}: {reason}; the {frames} packets before it were read");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            if parsed.frames > 0 {
                return Ok(Polled::Frames(parsed.frames));
            }
            match self.window.fill(Some(wait)) {
                Ok(Filled::More) => {}
                Ok(Filled::TimedOut) => return Ok(Polled::Idle),
                Ok(Filled::End) => return Ok(self.end()),
                Err(error) => {
                    self.ended = true;
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", self.name)));
                }
            }
        }
        Ok(Polled::Frames(0))
    }

    fn update_stats(&mut self) -> io::Result<()> {
        // Every poll has already added its counts to the tally.
        Ok(())
    }
}

#[cfg(test)]
mod tests;
