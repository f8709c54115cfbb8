//! The golden capture of a new protocol, and the first input of its fuzz target: one connection with two requests and their responses.

use crate::pcap::{
    Capture, End, Tcp,
    flags::{ACK, FIN, PSH, SYN},
};
use std::io;

/// The messages in order. The number is the sender: 0 for the client, 1 for the server.
const CONVERSATION: &[(usize, &[u8])] = &[(0, b"GET a\r\n"), (1, b"OK 1\r\n"), (0, b"GET b\r\n"), (1, b"ERR no such b\r\n")];

/// Addresses and ports of client and server.
const ENDS: [End; 2] = [([10, 0, 0, 1], 40000), ([10, 0, 0, 2], 7007)];

/// A pcap file of one connection, with 10 ms between its packets.
pub fn pcap() -> io::Result<Vec<u8>> {
    let mut capture = Capture::new(Vec::new(), 10_000_000)?;
    let mut next = [1000_u32, 5000];
    let handshake = [(0, SYN, &b""[..]), (1, SYN | ACK, b""), (0, ACK, b"")];
    let data = CONVERSATION.iter().map(|(from, text)| (*from, PSH | ACK, *text));
    let end = [(0, FIN | ACK, &b""[..]), (1, FIN | ACK, b""), (0, ACK, b"")];
    for (from, flags, text) in handshake.into_iter().chain(data).chain(end) {
        let ack = if flags & ACK == 0 { 0 } else { next[1 - from] };
        capture.tcp([ENDS[from], ENDS[1 - from]], Tcp { seq: next[from], ack, flags }, text)?;
        next[from] += text.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
    }
    capture.finish()
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
