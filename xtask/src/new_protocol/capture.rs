//! The golden capture of a new protocol, and the first input of its fuzz target: one connection with two requests and their responses.

use crate::checksum::checksum;

/// The messages in order: 0 is sent by the client, 1 by the server.
const CONVERSATION: &[(usize, &[u8])] = &[(0, b"GET a\r\n"), (1, b"OK 1\r\n"), (0, b"GET b\r\n"), (1, b"ERR no such b\r\n")];

/// Addresses and ports of client and server.
const ENDS: [([u8; 4], u16); 2] = [([10, 0, 0, 1], 40000), ([10, 0, 0, 2], 7007)];

const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// A pcap file of raw IPv4 packets, 10 ms apart.
pub fn pcap() -> Vec<u8> {
    // https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html; link type 101 is LINKTYPE_RAW.
    let mut file: Vec<u8> = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 101].into_iter().flat_map(u32::to_le_bytes).collect();
    let mut next = [1000_u32, 5000];
    let handshake = [(0, SYN, &b""[..]), (1, SYN | ACK, b""), (0, ACK, b"")];
    let data = CONVERSATION.iter().map(|(from, text)| (*from, PSH | ACK, *text));
    let end = [(0, FIN | ACK, &b""[..]), (1, FIN | ACK, b""), (0, ACK, b"")];
    for (number, (from, flags, text)) in handshake.into_iter().chain(data).chain(end).enumerate() {
        let packet = packet(from, next, flags, text);
        next[from] += text.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
        let (micros, length) = (number as u32 * 10_000, packet.len() as u32);
        file.extend([1_700_000_000, micros, length, length].into_iter().flat_map(u32::to_le_bytes));
        file.extend(packet);
    }
    file
}

/// An input of the fuzz target: a byte that switches all options on, then each message as its direction, its length (2 bytes, big endian)
/// and its bytes.
pub fn fuzz_input() -> Vec<u8> {
    let mut input = vec![1];
    for (from, text) in CONVERSATION {
        input.push(*from as u8);
        input.extend((text.len() as u16).to_be_bytes());
        input.extend(*text);
    }
    input
}

/// An IPv4 packet with a TCP segment that `from` sends. `next` has the next sequence number of each end.
fn packet(from: usize, next: [u32; 2], flags: u8, data: &[u8]) -> Vec<u8> {
    let ((source, source_port), (destination, destination_port)) = (ENDS[from], ENDS[1 - from]);
    let length = (40 + data.len()) as u16;
    let mut packet = [&[0x45, 0][..], &length.to_be_bytes(), &[0, 0, 0x40, 0, 64, 6, 0, 0], &source, &destination].concat();
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let acknowledged = if flags & ACK == 0 { 0 } else { next[1 - from] };
    packet.extend([source_port, destination_port].into_iter().flat_map(u16::to_be_bytes));
    packet.extend([next[from], acknowledged].into_iter().flat_map(u32::to_be_bytes));
    packet.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend(data);
    let pseudo = [&source[..], &destination, &[0, 6], &(length - 20).to_be_bytes(), &packet[20..]].concat();
    let sum = checksum(&pseudo);
    packet[36..38].copy_from_slice(&sum.to_be_bytes());
    packet
}
