//! The compressed form of a connection: packets that each contain a piece of the stream, compressed with zlib or zstd, or uncompressed. The
//! pieces are decompressed incrementally, so that no packet is buffered.
//!
//! "Compressed Packet" of MySQL's source documentation. The algorithm is recognised from the first byte, so it need not be known. flate2
//! and zstd are the usual libraries for these formats.

use super::wire::{Header, command};
use crate::{
    protocols::kit::{held::Held, reader::Reader},
    time::Timestamp,
};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as Zstd, InBuffer, Operation, OutBuffer};

/// Length of the header in bytes. The header has the length, the sequence number, and the length before compression.
pub const HEADER: usize = 7;
/// Number of bytes that are decompressed at a time.
pub const PIECE: usize = 16 << 10;
/// Largest window of the zstd decoder, as a power of two. It bounds the decoder's memory; packets have at most 16 MiB.
const WINDOW: u32 = 24;
/// The first bytes of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Approximate memory of a decoder in bytes. For zlib it includes the window, for zstd it does not.
const ZLIB_STATE: usize = 48 << 10;
const ZSTD_STATE: usize = 256 << 10;

enum Decoder {
    /// The algorithm is not known yet. The first byte of the payload determines it.
    Unknown,
    Stored,
    Zlib(Box<Decompress>),
    Zstd(Box<Zstd<'static>>),
}

/// The state of one direction.
pub struct Side {
    decoder: Decoder,
    /// Number of remaining bytes of the payload.
    pub left: u32,
    /// Number of remaining bytes of a packet with a gap. They cannot be decompressed.
    pub unreadable: u64,
    /// Number of bytes to which the remaining payload may still be decompressed.
    room: u32,
    /// Length of the decompressed packet.
    size: u32,
    /// Decompressed bytes that were not consumed.
    pub kept: Vec<u8>,
    /// Packet time of the first byte of `kept`.
    pub since: Timestamp,
    /// Number of further decompressed bytes that are skipped.
    pub skip: u64,
    /// Number of further decompressed bytes that are needed.
    pub need: usize,
}

impl Default for Side {
    fn default() -> Self {
        Self {
            decoder: Decoder::Stored,
            left: 0,
            unreadable: 0,
            room: 0,
            size: 0,
            kept: Vec::new(),
            since: Timestamp::default(),
            skip: 0,
            need: 0,
        }
    }
}

/// The memory of the decoders is estimated, because they do not report it.
impl Held for Side {
    fn held(&self) -> usize {
        let decoder = match self.decoder {
            Decoder::Unknown | Decoder::Stored => 0,
            Decoder::Zlib(_) => ZLIB_STATE,
            Decoder::Zstd(_) => ZSTD_STATE + self.size as usize,
        };
        self.kept.held() + decoder
    }
}

impl Side {
    /// Starts a packet; `None` if there are too few bytes.
    pub fn begin(&mut self, data: &[u8]) -> Option<()> {
        let mut r = Reader::new(data);
        let (len, _seq, before) = (r.u24_le()?, r.u8()?, r.u24_le()?);
        self.left = len;
        (self.decoder, self.room) = match before {
            0 => (Decoder::Stored, len),
            room => (Decoder::Unknown, room),
        };
        self.size = self.room;
        Some(())
    }

    /// Notes that `lost` bytes are missing. The length of the packet shows where the next one begins, unless the gap is
    /// longer.
    pub fn lose(&mut self, lost: u64) {
        let left = u64::from(self.left).max(self.unreadable);
        *self = Self { unreadable: left.saturating_sub(lost), ..Self::default() };
    }

    /// Decompresses `data`, which belongs to the packet. Returns the number of consumed bytes, and the number of
    /// bytes written to `out`. `None` if the data cannot be decompressed.
    pub fn unpack(&mut self, data: &[u8], out: &mut [u8; PIECE]) -> Option<(usize, usize)> {
        let most = (self.room as usize).min(PIECE);
        if matches!(self.decoder, Decoder::Unknown) {
            self.decoder = match data.first()? {
                0x28 => {
                    let mut zstd = Zstd::new().ok()?;
                    zstd.set_parameter(DParameter::WindowLogMax(WINDOW)).ok()?;
                    Decoder::Zstd(Box::new(zstd))
                }
                byte if byte & 15 == 8 => Decoder::Zlib(Box::new(Decompress::new(true))),
                _ => return None,
            };
        }
        let out = out.get_mut(..most)?;
        let (taken, written) = match &mut self.decoder {
            Decoder::Unknown | Decoder::Stored => {
                let n = data.len().min(most);
                out.get_mut(..n)?.copy_from_slice(data.get(..n)?);
                (n, n)
            }
            // Data after the end of the compressed stream is ignored.
            _ if most == 0 => (data.len(), 0),
            Decoder::Zlib(zlib) => {
                let before = (zlib.total_in(), zlib.total_out());
                let status = zlib.decompress(data, out, FlushDecompress::None).ok()?;
                let taken = usize::try_from(zlib.total_in() - before.0).ok()?;
                let written = usize::try_from(zlib.total_out() - before.1).ok()?;
                if status == Status::StreamEnd { (data.len(), written) } else { (taken, written) }
            }
            Decoder::Zstd(zstd) => {
                let (mut from, mut to) = (InBuffer::around(data), OutBuffer::around(out));
                let rest = zstd.run(&mut from, &mut to).ok()?;
                if rest == 0 { (data.len(), to.pos()) } else { (from.pos(), to.pos()) }
            }
        };
        self.left = self.left.checked_sub(u32::try_from(taken).ok()?)?;
        self.room -= written as u32;
        // A decoder that neither consumes nor produces bytes would loop forever.
        (taken > 0 || written > 0 || data.is_empty()).then_some((taken, written))
    }

    /// Whether the packet has to be decompressed.
    pub fn is_compressed(&self) -> bool {
        !matches!(self.decoder, Decoder::Stored)
    }

    /// Frees the memory of the decoder at the end of a packet.
    pub fn end(&mut self) {
        if self.left == 0 {
            self.decoder = Decoder::Stored;
        }
    }
}

/// Whether `data` begins with a compressed packet that begins with a command; `None` if it is too short.
pub fn plausible(data: &[u8]) -> Option<bool> {
    let mut r = Reader::new(data);
    let (len, seq, before) = (r.u24_le()?, r.u8()?, r.u24_le()?);
    if seq != 0 || len < 5 {
        return Some(false);
    }
    Some(match before {
        0 => {
            let inner = Header::read(r.rest())?;
            let first = *r.rest().get(4)?;
            inner.seq == 0 && inner.len + 4 <= len && (1..=command::LAST).contains(&first)
        }
        // Commands of less than 50 bytes are sent uncompressed.
        before => before >= 50 && before > len && begins_compressed(r.rest())?,
    })
}

/// Whether `data` begins with the magic number of zstd, or with a header of zlib for the largest window, whose two bytes are a multiple
/// of 31; `None` if it is too short.
fn begins_compressed(data: &[u8]) -> Option<bool> {
    Some(match *data {
        [] | [0x78] => return None,
        [0x78, flags, ..] => u16::from_be_bytes([0x78, flags]).is_multiple_of(31),
        _ if data.len() < ZSTD_MAGIC.len() && ZSTD_MAGIC.starts_with(data) => return None,
        _ => data.starts_with(&ZSTD_MAGIC),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plausible_compressed_packets() {
        let packet = |start: &[u8]| plausible(&[b"\x40\0\0\0\x50\0\0", start].concat());
        assert_eq!((packet(b"\x78\x9c"), packet(b"\x78\x01\x05"), packet(&ZSTD_MAGIC)), (Some(true), Some(true), Some(true)));
        assert_eq!((packet(b"xylophone"), packet(b"(select"), packet(b"\0")), (Some(false), Some(false), Some(false)));
        assert_eq!((packet(b""), packet(b"\x78"), packet(b"\x28\xb5\x2f")), (None, None, None));
    }
}
