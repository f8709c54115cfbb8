//! Writes capture files, mostly of TCP connections, segment by segment, over Ethernet and IPv4, without checksums. This module does not
//! keep the file in memory.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

/// Nanoseconds between two frames.
const STEP: u64 = 100;
/// A pcap file header: nanosecond timestamps, little-endian, Ethernet.
const HEADER: [u8; 24] = [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
/// The time of the first frame, in nanoseconds since 1970.
const BEGIN: u64 = 1_700_000_000_000_000_000;
/// The address of the server of all connections.
const SERVER: [u8; 4] = [192, 168, 0, 1];

/// A capture file while it is written.
pub struct Capture {
    file: BufWriter<File>,
    now: u64,
}

/// A connection between a client and [`SERVER`], with the next sequence number of each.
pub struct Connection {
    client: ([u8; 4], u16),
    port: u16,
    next: [u32; 2],
}

impl Capture {
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 16, File::create(path)?);
        file.write_all(&HEADER)?;
        Ok(Self { file, now: BEGIN })
    }

    /// Writes the handshake of a new client with `port` of the server. `number` selects the client's address.
    pub fn connect(&mut self, number: u32, port: u16) -> io::Result<Connection> {
        let [_, a, b, c] = number.to_be_bytes();
        let mut connection = Connection { client: ([10, a, b, c], 40_000), port, next: [1000, 5000] };
        self.frame(&connection, 0, 0x02, 1000, &[])?;
        connection.next[0] += 1;
        self.frame(&connection, 1, 0x12, 5000, &[])?;
        connection.next[1] += 1;
        self.frame(&connection, 0, 0x10, 1001, &[])?;
        Ok(connection)
    }

    /// Writes the next bytes of the client (`side` 0) or of the server (1), in one segment.
    pub fn data(&mut self, connection: &mut Connection, side: usize, bytes: &[u8]) -> io::Result<()> {
        self.frame(connection, side, 0x18, connection.next[side], bytes)?;
        connection.next[side] = connection.next[side].wrapping_add(bytes.len() as u32);
        Ok(())
    }

    /// Writes the next bytes in segments of one byte each. `shuffle` permutes the offsets of the segments within every block of `block`
    /// segments.
    pub fn bytes(
        &mut self,
        connection: &mut Connection,
        side: usize,
        bytes: &[u8],
        block: usize,
        shuffle: fn(&mut [usize]),
    ) -> io::Result<()> {
        let first = connection.next[side];
        let mut order = Vec::with_capacity(block);
        for (number, part) in bytes.chunks(block).enumerate() {
            order.clear();
            order.extend(0..part.len());
            shuffle(&mut order);
            for &at in &order {
                let seq = first.wrapping_add((number * block + at) as u32);
                self.frame(connection, side, 0x18, seq, &part[at..=at])?;
            }
        }
        connection.next[side] = first.wrapping_add(bytes.len() as u32);
        Ok(())
    }

    /// Advances the time of the next frame by `nanos`.
    pub fn wait(&mut self, nanos: u64) {
        self.now += nanos;
    }

    /// Writes an IPv4 packet with this payload. `fragment` is the field of flags and fragment offset.
    pub fn packet(
        &mut self,
        source: [u8; 4],
        destination: [u8; 4],
        protocol: u8,
        id: u16,
        fragment: u16,
        payload: &[&[u8]],
    ) -> io::Result<()> {
        let length = payload.iter().map(|part| part.len()).sum::<usize>();
        let mut head = [0; 34];
        head[12] = 8;
        head[14] = 0x45;
        head[16..18].copy_from_slice(&(20 + length as u16).to_be_bytes());
        head[18..20].copy_from_slice(&id.to_be_bytes());
        head[20..22].copy_from_slice(&fragment.to_be_bytes());
        (head[22], head[23]) = (64, protocol);
        head[26..30].copy_from_slice(&source);
        head[30..34].copy_from_slice(&destination);
        self.record(head.len() + length)?;
        self.file.write_all(&head)?;
        payload.iter().try_for_each(|part| self.file.write_all(part))
    }

    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn frame(&mut self, connection: &Connection, side: usize, flags: u8, seq: u32, payload: &[u8]) -> io::Result<()> {
        let (client, port) = connection.client;
        let ends = [(client, port), (SERVER, connection.port)];
        let ((source, source_port), (destination, destination_port)) = (ends[side], ends[1 - side]);
        let mut frame = [0; 54];
        frame[12] = 8;
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&(40 + payload.len() as u16).to_be_bytes());
        (frame[22], frame[23]) = (64, 6);
        frame[26..30].copy_from_slice(&source);
        frame[30..34].copy_from_slice(&destination);
        frame[34..36].copy_from_slice(&source_port.to_be_bytes());
        frame[36..38].copy_from_slice(&destination_port.to_be_bytes());
        frame[38..42].copy_from_slice(&seq.to_be_bytes());
        frame[42..46].copy_from_slice(&connection.next[1 - side].to_be_bytes());
        (frame[46], frame[47]) = (0x50, flags);
        frame[48..50].copy_from_slice(&u16::MAX.to_be_bytes());
        self.record(frame.len() + payload.len())?;
        self.file.write_all(&frame)?;
        self.file.write_all(payload)
    }

    /// Writes the header of a frame of `length` bytes.
    fn record(&mut self, length: usize) -> io::Result<()> {
        let (seconds, nanos) = (self.now / 1_000_000_000, self.now % 1_000_000_000);
        self.now += STEP;
        for number in [seconds as u32, nanos as u32, length as u32, length as u32] {
            self.file.write_all(&number.to_le_bytes())?;
        }
        Ok(())
    }
}
