//! TCP connections of a capture file, written segment by segment.

use crate::pcap::{
    Capture, End, Tcp,
    flags::{ACK, PSH, SYN},
};
use std::{
    fs::File,
    io::{self, BufWriter},
    path::Path,
};

/// Nanoseconds between two frames of a capture that is read as a file.
pub const STEP: u64 = 100;
/// The address of the server of all connections.
const SERVER: [u8; 4] = [192, 168, 0, 1];

/// A capture file on disk.
pub type CaptureFile = Capture<BufWriter<File>>;

/// Begins a capture file whose frames are `step` nanoseconds apart.
pub fn create(path: &Path, step: u64) -> io::Result<CaptureFile> {
    Capture::new(BufWriter::with_capacity(1 << 16, File::create(path)?), step)
}

/// A connection between a client and [`SERVER`], with the next sequence number of each.
pub struct Connection {
    /// The address of the client, then that of the server.
    ends: [End; 2],
    /// The next sequence number of each end, by the index in `ends`.
    next: [u32; 2],
}

impl Connection {
    /// Writes the handshake of a new client with the server's `port`. The client's address is derived from `number`.
    pub fn open(capture: &mut CaptureFile, number: u32, port: u16) -> io::Result<Self> {
        let [_, a, b, c] = number.to_be_bytes();
        let mut connection = Self { ends: [([10, a, b, c], 40_000), (SERVER, port)], next: [1000, 5000] };
        connection.segment(capture, 0, SYN, 1000, &[])?;
        connection.next[0] += 1;
        connection.segment(capture, 1, SYN | ACK, 5000, &[])?;
        connection.next[1] += 1;
        connection.segment(capture, 0, ACK, 1001, &[])?;
        Ok(connection)
    }

    /// Writes the next bytes of the client (`side` 0) or of the server (1), in one segment.
    pub fn data(&mut self, capture: &mut CaptureFile, side: usize, bytes: &[u8]) -> io::Result<()> {
        self.segment(capture, side, PSH | ACK, self.next[side], bytes)?;
        self.next[side] = self.next[side].wrapping_add(bytes.len() as u32);
        Ok(())
    }

    /// Writes the next bytes in segments of one byte each. `shuffle` permutes the offsets of the segments within every block of `block`
    /// segments.
    pub fn bytes(
        &mut self,
        capture: &mut CaptureFile,
        side: usize,
        bytes: &[u8],
        block: usize,
        shuffle: fn(&mut [usize]),
    ) -> io::Result<()> {
        let first = self.next[side];
        let mut order = Vec::with_capacity(block);
        for (number, part) in bytes.chunks(block).enumerate() {
            order.clear();
            order.extend(0..part.len());
            shuffle(&mut order);
            for &at in &order {
                let seq = first.wrapping_add((number * block + at) as u32);
                self.segment(capture, side, PSH | ACK, seq, &part[at..=at])?;
            }
        }
        self.next[side] = first.wrapping_add(bytes.len() as u32);
        Ok(())
    }

    fn segment(&self, capture: &mut CaptureFile, side: usize, flags: u8, seq: u32, payload: &[u8]) -> io::Result<()> {
        let ends = [self.ends[side], self.ends[1 - side]];
        capture.tcp(ends, Tcp { seq, ack: self.next[1 - side], flags }, payload)
    }
}
