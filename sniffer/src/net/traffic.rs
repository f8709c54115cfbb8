//! [`Traffic`]: counts of the packets that arrived for the protocols of an interface, for the HTTP endpoint. Flows are counted elsewhere.

use super::Transport;
use crate::time::{Durations, Timestamp};

/// Counts of the packets that arrived on one interface for the protocols on TCP and on UDP. Each worker has its own counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// TCP segments to or from ports that a protocol claims.
    pub tcp: Arrivals,
    /// UDP datagrams to or from ports that a protocol claims.
    pub udp: Arrivals,
    /// TCP segments by their control bits: the index is the 14th byte of the header. One counter is incremented for each segment.
    flags: Box<[u64; 256]>,
    /// The transport of the last packet; `None` if that packet was not counted.
    last: Option<Transport>,
}

/// Packets of one transport.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrivals {
    /// Packets with data.
    pub with_data: u64,
    /// Packets without data.
    pub headers: u64,
    /// Bytes of data on the wire.
    pub bytes: u64,
    /// Times between the arrivals of two successive packets.
    pub between: Durations,
    /// Times from the arrival of a packet to the end of its processing. Only the last packet of each poll is measured.
    pub processing: Durations,
    latest: Option<Timestamp>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { tcp: Arrivals::default(), udp: Arrivals::default(), flags: Box::new([0; 256]), last: None }
    }
}

impl Traffic {
    /// Counts a TCP segment with its control bits and the length of its data on the wire.
    pub fn segment(&mut self, time: Timestamp, flags: u8, bytes: u32) {
        self.flags[usize::from(flags)] += 1;
        self.tcp.add(time, bytes);
        self.last = Some(Transport::Tcp);
    }

    /// Counts a UDP datagram with the length of its data on the wire.
    pub fn datagram(&mut self, time: Timestamp, bytes: u32) {
        self.udp.add(time, bytes);
        self.last = Some(Transport::Udp);
    }

    /// Records how long after its arrival the last packet was processed, if that packet was counted.
    pub fn processed(&mut self, nanos: u64) {
        match self.last.take() {
            Some(Transport::Tcp) => self.tcp.processing.add(nanos),
            Some(Transport::Udp) => self.udp.processing.add(nanos),
            _ => {}
        }
    }

    /// Number of segments with a control bit. Bit 0 is FIN, followed by SYN, RST, PSH, ACK, URG, ECE and CWR.
    pub fn with_flag(&self, bit: u8) -> u64 {
        self.flags.iter().enumerate().filter(|(flags, _)| flags >> bit & 1 == 1).map(|(_, n)| n).sum()
    }

    /// Adds the counts of another worker.
    pub fn merge(&mut self, other: &Self) {
        self.tcp.merge(&other.tcp);
        self.udp.merge(&other.udp);
        self.flags.iter_mut().zip(other.flags.iter()).for_each(|(sum, n)| *sum += n);
    }
}

impl Arrivals {
    fn add(&mut self, time: Timestamp, bytes: u32) {
        if bytes > 0 {
            self.with_data += 1;
            self.bytes += u64::from(bytes);
        } else {
            self.headers += 1;
        }
        if let Some(before) = self.latest.replace(time) {
            self.between.add(time.since(before));
        }
    }

    fn merge(&mut self, other: &Self) {
        self.with_data += other.with_data;
        self.headers += other.headers;
        self.bytes += other.bytes;
        self.between.merge(&other.between);
        self.processing.merge(&other.processing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_counted_by_transport_and_flags() {
        let mut traffic = Traffic::default();
        for (at, flags, bytes) in [(10, 0x02, 0), (20, 0x12, 0), (30, 0x10, 0), (50, 0x18, 78), (90, 0x18, 1000), (95, 0x11, 0)] {
            traffic.segment(Timestamp(at), flags, bytes);
        }
        traffic.processed(7);
        traffic.processed(8);
        traffic.datagram(Timestamp(5), 22);
        let mut both = Traffic::default();
        both.segment(Timestamp(1), 0xc4, 1);
        both.merge(&traffic);
        assert_eq!((both.tcp.with_data, both.tcp.headers, both.tcp.bytes), (3, 4, 1079));
        assert_eq!((both.udp.with_data, both.udp.headers, both.udp.bytes), (1, 0, 22));
        let flags: Vec<u64> = (0..8).map(|bit| both.with_flag(bit)).collect();
        assert_eq!(flags, [1, 2, 1, 2, 5, 0, 1, 1], "FIN SYN RST PSH ACK URG ECE CWR");
        assert_eq!((both.tcp.between.count(), both.tcp.between.min(), both.tcp.between.max()), (5, 5, 40));
        assert_eq!((both.tcp.processing.count(), both.tcp.processing.max()), (1, 7), "the second call has no packet of its own");
    }
}
