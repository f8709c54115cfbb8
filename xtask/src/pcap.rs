//! Writes the capture files that xtask generates: pcap with nanosecond timestamps, and Ethernet frames of IPv4 packets. The file is not
//! kept in memory. <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html>

use etherparse::{EtherType, Ethernet2Header, IpFragOffset, IpNumber, Ipv4Header, TcpHeader, UdpHeader};
use std::io::{self, Write};

/// Magic number of nanosecond timestamps, version 2.4, two unused words, snap length, `LINKTYPE_ETHERNET`.
const FILE_HEADER: [u32; 6] = [0xa1b2_3c4d, 0x0004_0002, 0, 0, 262_144, 1];
/// The time of the first frame, in nanoseconds since 1970.
const BEGIN: u64 = 1_700_000_000_000_000_000;
/// Destination and source of all frames.
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]];

/// Address and port.
pub type End = ([u8; 4], u16);

/// The flags of a TCP header.
pub mod flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
}

/// The fields of a TCP header that the callers choose.
#[derive(Clone, Copy)]
pub struct Tcp {
    pub seq: u32,
    pub ack: u32,
    /// The flags that are set, a combination of [`flags`].
    pub flags: u8,
}

/// The fields of an IPv4 header that describe a fragment.
#[derive(Clone, Copy, Default)]
pub struct Fragment {
    pub id: u16,
    /// Whether another fragment follows.
    pub more: bool,
    /// The offset of the fragment, in units of eight bytes.
    pub offset: u16,
}

/// A capture file while it is written.
pub struct Capture<W> {
    out: W,
    /// Nanoseconds between two frames.
    step: u64,
    now: u64,
}

impl<W: Write> Capture<W> {
    /// Begins a file whose frames are `step` nanoseconds apart.
    pub fn new(mut out: W, step: u64) -> io::Result<Self> {
        write_words(&mut out, FILE_HEADER)?;
        Ok(Self { out, step, now: BEGIN })
    }

    /// Advances the time of the next frame by `nanos`.
    pub fn wait(&mut self, nanos: u64) {
        self.now += nanos;
    }

    /// Writes a segment from the first end to the second.
    pub fn tcp(&mut self, [from, to]: [End; 2], tcp: Tcp, payload: &[u8]) -> io::Result<()> {
        let is_set = |flag| tcp.flags & flag != 0;
        let mut header = TcpHeader::new(from.1, to.1, tcp.seq, u16::MAX);
        header.acknowledgment_number = tcp.ack;
        header.fin = is_set(flags::FIN);
        header.syn = is_set(flags::SYN);
        header.rst = is_set(flags::RST);
        header.psh = is_set(flags::PSH);
        header.ack = is_set(flags::ACK);
        header.checksum = header.calc_checksum_ipv4_raw(from.0, to.0, payload).map_err(io::Error::other)?;
        self.ipv4(from.0, to.0, IpNumber::TCP, Fragment::default(), &[&header.to_bytes(), payload])
    }

    /// Writes a datagram from the first end to the second.
    pub fn udp(&mut self, [from, to]: [End; 2], payload: &[u8]) -> io::Result<()> {
        let length = u16::try_from(UdpHeader::LEN + payload.len()).map_err(io::Error::other)?;
        let mut header = UdpHeader { source_port: from.1, destination_port: to.1, length, checksum: 0 };
        header.checksum = header.calc_checksum_ipv4_raw(from.0, to.0, payload).map_err(io::Error::other)?;
        self.ipv4(from.0, to.0, IpNumber::UDP, Fragment::default(), &[&header.to_bytes(), payload])
    }

    /// Writes a packet. `payload`: the parts of the data after the IPv4 header.
    pub fn ipv4(
        &mut self,
        source: [u8; 4],
        destination: [u8; 4],
        protocol: IpNumber,
        fragment: Fragment,
        payload: &[&[u8]],
    ) -> io::Result<()> {
        let length = payload.iter().map(|part| part.len()).sum::<usize>();
        let payload_len = u16::try_from(length).map_err(io::Error::other)?;
        let mut ip = Ipv4Header::new(payload_len, 64, protocol, source, destination).map_err(io::Error::other)?;
        ip.identification = fragment.id;
        ip.dont_fragment = false;
        ip.more_fragments = fragment.more;
        ip.fragment_offset = IpFragOffset::try_new(fragment.offset).map_err(io::Error::other)?;
        ip.header_checksum = ip.calc_header_checksum();
        let ethernet = Ethernet2Header { destination: MACS[0], source: MACS[1], ether_type: EtherType::IPV4 };
        let (ethernet, ip) = (ethernet.to_bytes(), ip.to_bytes());
        self.record(ethernet.len() + ip.len() + length)?;
        self.out.write_all(&ethernet)?;
        self.out.write_all(&ip)?;
        payload.iter().try_for_each(|part| self.out.write_all(part))
    }

    /// Writes the buffered bytes, and returns the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    /// Writes the record header of a frame of `length` bytes.
    fn record(&mut self, length: usize) -> io::Result<()> {
        let (seconds, nanos) = (self.now / 1_000_000_000, self.now % 1_000_000_000);
        self.now += self.step;
        write_words(&mut self.out, [seconds as u32, nanos as u32, length as u32, length as u32])
    }
}

fn write_words<const N: usize>(out: &mut impl Write, words: [u32; N]) -> io::Result<()> {
    words.into_iter().try_for_each(|word| out.write_all(&word.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    const ENDS: [End; 2] = [([10, 0, 0, 1], 40_000), ([10, 0, 0, 2], 53)];

    /// Returns the frames of a file.
    fn frames(file: &[u8]) -> Vec<&[u8]> {
        let (mut frames, mut rest) = (Vec::new(), &file[24..]);
        while let Some((header, after)) = rest.split_at_checked(16) {
            let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
            frames.push(&after[..length]);
            rest = &after[length..];
        }
        assert!(rest.is_empty(), "{} bytes after the last frame", rest.len());
        frames
    }

    #[test]
    fn another_parser_reads_the_same_fields_and_checksums() {
        let mut capture = Capture::new(Vec::new(), 1).unwrap();
        capture.tcp(ENDS, Tcp { seq: 7, ack: 9, flags: flags::PSH | flags::ACK }, b"abc").unwrap();
        capture.udp(ENDS, b"defg").unwrap();
        capture.ipv4(ENDS[0].0, ENDS[1].0, IpNumber::UDP, Fragment { id: 5, more: true, offset: 7000 }, &[b"1234", b"5678"]).unwrap();
        let file = capture.finish().unwrap();
        let frames = frames(&file);
        let parsed: Vec<_> = frames.iter().map(|frame| SlicedPacket::from_ethernet(frame).unwrap()).collect();
        let [tcp, udp, fragment] = parsed.as_slice() else { panic!("{} frames instead of 3", parsed.len()) };

        for packet in &parsed {
            let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4: {packet:?}") };
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!((header.source, header.destination), (ENDS[0].0, ENDS[1].0));
        }
        let Some(TransportSlice::Tcp(tcp)) = &tcp.transport else { panic!("no TCP: {tcp:?}") };
        let header = tcp.to_header();
        assert_eq!((header.source_port, header.destination_port, tcp.payload()), (40_000, 53, &b"abc"[..]));
        assert_eq!((header.sequence_number, header.acknowledgment_number), (7, 9));
        assert_eq!([header.psh, header.ack, header.syn, header.fin, header.rst], [true, true, false, false, false]);
        assert_eq!(Ok(header.checksum), header.calc_checksum_ipv4_raw(ENDS[0].0, ENDS[1].0, b"abc"));
        let Some(TransportSlice::Udp(udp)) = &udp.transport else { panic!("no UDP: {udp:?}") };
        assert_eq!((udp.source_port(), udp.destination_port(), udp.payload()), (40_000, 53, &b"defg"[..]));
        let Some(NetSlice::Ipv4(ip)) = &fragment.net else { panic!("no IPv4: {fragment:?}") };
        let header = ip.header().to_header();
        assert_eq!((header.identification, header.more_fragments, header.fragment_offset.value()), (5, true, 7000));
        assert_eq!(ip.payload().payload, b"12345678");
    }
}
