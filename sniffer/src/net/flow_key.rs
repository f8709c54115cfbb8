//! The key of a flow as bytes, its decomposition, and `flow.id`, the text that Packetbeat makes of it. `flow/id.rs`
//! makes the key of a packet.

use super::Transport;
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use smallvec::SmallVec;

/// Two Ethernet addresses: the sender's, then the receiver's.
pub type MacPair = ([u8; 6], [u8; 6]);

/// Largest key in bytes: head, two VLAN ids, two tunnel keys, two IPv4 and two IPv6 address pairs, ports, connection
/// number.
pub const MAX_KEY: usize = HEAD + 4 + TUNNELS + 2 * 8 + 2 * 32 + 4 + 8;
/// Bytes of the two tunnel keys of a realm.
const TUNNELS: usize = 16;
/// Bytes of the head: the bits of [`bit`]; the number of VLAN tags; the number of IP headers; the index of the
/// innermost header; the indices of the outer IPv4, the inner IPv4, the outer IPv6 and the inner IPv6 header
/// ([`ABSENT`] if there is none).
pub const HEAD: usize = 8;
/// Size of the largest key that is stored without an allocation: IPv6 addresses, ports, and four more bytes.
const INLINE: usize = HEAD + 32 + 4 + 4;

/// Bits in the first byte of the head.
pub mod bit {
    /// The flow is identified by Ethernet addresses too.
    pub const ETHERNET: u8 = 1;
    /// The key contains TCP ports.
    pub const TCP: u8 = 2;
    /// The key contains UDP ports.
    pub const UDP: u8 = 4;
    /// The key contains the number of a TCP connection.
    pub const CONNECTION: u8 = 8;
    /// The key contains the keys of two tunnels, the inner one first.
    pub const TUNNELS: u8 = 16;
    /// The key contains SCTP ports.
    pub const SCTP: u8 = 32;
}

/// The value in the [`HEAD`] of a key that takes the place of an index if there is no such IP header.
pub const ABSENT: u8 = 0xff;

/// The bytes that identify a flow: the head; the VLAN ids; the tunnel keys; the address pair of each IP header (without an IP header, the
/// Ethernet address pair); the port pair; the connection number. In the first pair whose values differ, the smaller value comes first, and
/// all other pairs have the same order of ends, so the packets of both directions have the same key. Numbers are little-endian, addresses
/// in network byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey(SmallVec<[u8; INLINE]>);

/// A key split into its parts. Sender and receiver are those of the flow's first packet.
pub struct Parts<'a> {
    bits: u8,
    vlan_count: u8,
    ip_count: u8,
    last: u8,
    slots: [u8; 4],
    /// The VLAN ids in the order of the key.
    vlans: &'a [u8],
    /// The two tunnel keys, the inner one first; empty if the packets came through no tunnel with a key.
    tunnels: &'a [u8],
    /// Sender's and receiver's address of each kept IP header, in the order of the headers.
    ips: SmallVec<[(&'a [u8], &'a [u8]); 4]>,
    ports: Option<([u8; 2], [u8; 2])>,
    connection: &'a [u8],
    /// Whether the sender comes first in the pairs of the key.
    sender_first: bool,
}

impl StoredKey {
    /// Stores the bytes of a key.
    pub fn new(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    /// The bytes of the key.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Splits the key into its parts. `reversed`: the sender of the flow's first packet comes second in the pairs.
    pub fn parts(&self, reversed: bool) -> Parts<'_> {
        let (head, mut rest) = self.0.split_first_chunk::<HEAD>().unwrap_or((&[0, 0, 0, 0, ABSENT, ABSENT, ABSENT, ABSENT], &[]));
        let [bits, vlan_count, ip_count, last, slots @ ..] = *head;
        let vlans = take(&mut rest, 2 * usize::from(vlan_count.min(2)));
        let tunnels = take(&mut rest, if bits & bit::TUNNELS != 0 { TUNNELS } else { 0 });
        let places = slots.iter().filter(|&&s| s != ABSENT).count();
        let mut ips = SmallVec::new();
        for place in 0..places {
            let v6 = slots.iter().skip(2).any(|&s| usize::from(s) == place);
            let size = if v6 { 16 } else { 4 };
            let (first, second) = (take(&mut rest, size), take(&mut rest, size));
            ips.push(if reversed { (second, first) } else { (first, second) });
        }
        if ip_count == 0 && bits & bit::ETHERNET != 0 {
            take(&mut rest, 12);
        }
        let ports = (bits & (bit::TCP | bit::UDP | bit::SCTP) != 0).then(|| {
            let mut port = || take(&mut rest, 2).first_chunk().copied().unwrap_or_default();
            let (first, second) = (port(), port());
            if reversed { (second, first) } else { (first, second) }
        });
        Parts { bits, vlan_count, ip_count, last, slots, vlans, tunnels, ips, ports, connection: rest, sender_first: !reversed }
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at_checked(count).unwrap_or((rest, &[]));
    *rest = left;
    taken
}

impl<'a> Parts<'a> {
    /// Whether the transport is TCP.
    pub fn is_tcp(&self) -> bool {
        self.bits & bit::TCP != 0
    }

    /// Whether the transport is UDP.
    pub fn is_udp(&self) -> bool {
        self.bits & bit::UDP != 0
    }

    /// The transport protocol that the ports belong to; `None` without ports.
    pub fn transport(&self) -> Option<Transport> {
        match self.bits {
            bits if bits & bit::TCP != 0 => Some(Transport::Tcp),
            bits if bits & bit::UDP != 0 => Some(Transport::Udp),
            bits if bits & bit::SCTP != 0 => Some(Transport::Sctp),
            _ => None,
        }
    }

    /// Whether the packets came through a tunnel that has a key.
    pub fn is_tunnelled(&self) -> bool {
        !self.tunnels.is_empty()
    }

    /// The sender's and the receiver's port.
    pub fn ports(&self) -> Option<(u16, u16)> {
        self.ports.map(|(source, destination)| (u16::from_le_bytes(source), u16::from_le_bytes(destination)))
    }

    /// The outer and the inner VLAN id. With one tag only the inner one is set.
    pub fn vlans(&self) -> (Option<u16>, Option<u16>) {
        let at = |i: usize| self.vlans.get(2 * i..).and_then(|b| b.first_chunk()).map(|b| u16::from_le_bytes(*b));
        match self.vlan_count {
            0 => (None, None),
            1 => (None, at(0)),
            count if count.is_multiple_of(2) => (at(0), at(1)),
            _ => (at(1), at(0)),
        }
    }

    /// The sender's and the receiver's address of each kept IP header: IPv4 before IPv6, outer before inner.
    pub fn ips(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> {
        let ordered: SmallVec<[_; 4]> = self.slots.iter().filter_map(|&slot| self.ips.get(usize::from(slot)).copied()).collect();
        ordered.into_iter()
    }

    /// The addresses of the innermost IP header.
    pub fn innermost(&self) -> Option<(&'a [u8], &'a [u8])> {
        self.ips.get(usize::from(self.last)).copied()
    }

    /// Which IP headers the flow has: outer IPv4, inner IPv4, outer IPv6, inner IPv6.
    pub fn headers(&self) -> [bool; 4] {
        self.slots.map(|slot| slot != ABSENT)
    }

    /// The text of `flow.id`: 17 bytes of layout (flags, the offset of each part, counts) and the key, in base64.
    /// `macs` are the Ethernet addresses of the first packet. Tunnel keys and SCTP ports come last, because Packetbeat's
    /// layout has no place for them.
    pub fn id(&self, macs: Option<MacPair>) -> String {
        let mut layout = [ABSENT; 17];
        let mut key: SmallVec<[u8; MAX_KEY + 12]> = SmallVec::new();
        let mut flags = 0_u16;
        // If the Ethernet addresses differ, they determine the order of all pairs.
        let mut sender_first = self.sender_first;
        let mut place = |flags: &mut u16, bit: usize, at: usize| {
            *flags |= 1 << bit;
            if let Some(offset) = layout.get_mut(2 + bit) {
                *offset = at as u8; // at most MAX_KEY + 12
            }
        };
        if let Some((source, destination)) = macs {
            if source != destination {
                sender_first = source < destination;
            }
            place(&mut flags, 0, key.len());
            put(&mut key, sender_first, &source, &destination);
        }
        match self.vlan_count {
            0 => {}
            1 => place(&mut flags, 2, key.len()),
            count => {
                let (outer, inner) = if count.is_multiple_of(2) { (0, 2) } else { (2, 0) };
                place(&mut flags, 1, key.len() + outer);
                place(&mut flags, 2, key.len() + inner);
            }
        }
        key.extend_from_slice(self.vlans);
        for (index, (source, destination)) in self.ips.iter().enumerate() {
            if let Some(slot) = self.slots.iter().position(|&s| usize::from(s) == index) {
                place(&mut flags, 3 + slot, key.len());
            }
            put(&mut key, sender_first, source, destination);
        }
        let (sctp, ports) = if self.bits & bit::SCTP != 0 { (self.ports, None) } else { (None, self.ports) };
        if let Some((source, destination)) = ports {
            place(&mut flags, if self.is_udp() { 9 } else { 10 }, key.len());
            put(&mut key, sender_first, &source, &destination);
        }
        if !self.connection.is_empty() {
            place(&mut flags, 11, key.len());
            key.extend_from_slice(self.connection);
        }
        key.extend_from_slice(self.tunnels);
        if let Some((source, destination)) = sctp {
            put(&mut key, sender_first, &source, &destination);
        }
        let [low, high] = flags.to_le_bytes();
        layout[0] = low;
        layout[1] = high;
        layout[14] = u8::from(macs.is_some());
        layout[15] = self.vlan_count;
        layout[16] = self.ip_count;
        let mut bytes: SmallVec<[u8; 17 + MAX_KEY + 12]> = SmallVec::from_slice(&layout);
        bytes.extend_from_slice(&key);
        BASE64_STANDARD_NO_PAD.encode(&bytes)
    }
}

fn put(key: &mut SmallVec<[u8; MAX_KEY + 12]>, sender_first: bool, source: &[u8], destination: &[u8]) {
    let (first, second) = if sender_first { (source, destination) } else { (destination, source) };
    key.extend_from_slice(first);
    key.extend_from_slice(second);
}
