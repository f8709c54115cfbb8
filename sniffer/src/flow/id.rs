//! What makes two packets of one flow, in either direction; and the text that names it, in Packetbeat's form.

use crate::decode::{Addresses, Layer4, Macs, Packet, Vlans};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use smallvec::SmallVec;

/// Head, two VLAN ids, two IPv4 and two IPv6 address pairs, ports, connection number.
const MAX_KEY: usize = HEAD + 4 + 2 * 8 + 2 * 32 + 4 + 8;
/// Bits, number of VLAN tags, number of IP headers, which of them is the innermost, and their places ([`crate::decode::Ips::slots`]).
const HEAD: usize = 8;
/// What a flow keeps of its key without an allocation: IPv6 and ports.
const INLINE: usize = HEAD + 32 + 4 + 4;

/// In the first byte of the head.
mod bit {
    pub const ETHERNET: u8 = 1;
    pub const TCP: u8 = 2;
    pub const UDP: u8 = 4;
    pub const CONNECTION: u8 = 8;
}

/// No such header.
const ABSENT: u8 = 0xff;

/// What both directions of a conversation have in common, as bytes: a head that says what follows; the VLAN ids; of every IP header
/// the pair of addresses (where there is none: of Ethernet addresses); the pair of ports; the connection number. In the first pair
/// that differs the smaller comes first, and all others follow it, so that both directions meet.
pub(super) struct Key {
    bytes: [u8; MAX_KEY],
    len: usize,
    /// The sender of this packet comes second in the pairs.
    pub reversed: bool,
}

impl Key {
    #[inline]
    pub fn of(packet: &Packet<'_>, connection: Option<u64>, ethernet: bool) -> Self {
        let ips = &packet.ips;
        let (ports, bits) = match packet.layer4 {
            Layer4::Tcp(tcp) => (Some((tcp.source, tcp.destination)), bit::TCP),
            Layer4::Udp(udp) => (Some((udp.source, udp.destination)), bit::UDP),
            _ => (None, 0),
        };
        // Packetbeat compares ports by their low byte first, and the order shows in the id.
        let ports = ports.map(|(source, destination)| (source.to_le_bytes(), destination.to_le_bytes()));
        let connection = connection.filter(|_| bits == bit::TCP);
        let reversed = reversed(packet, ports);

        let mut key = Self { bytes: [0; MAX_KEY], len: 0, reversed };
        let [s0, s1, s2, s3] = ips.slots();
        let bits = bits | (u8::from(ethernet) * bit::ETHERNET) | (u8::from(connection.is_some()) * bit::CONNECTION);
        key.put(&[bits, packet.vlans.count, ips.count(), ips.last(), s0, s1, s2, s3]);
        key.put_vlans(packet.vlans);
        for ip in ips.kept() {
            match ip {
                Addresses::V4(pair) => key.put_pair::<8>(pair),
                Addresses::V6(pair) => key.put_pair::<32>(pair),
            }
        }
        if ips.count() == 0
            && let Some(Macs(pair)) = packet.macs
        {
            key.put_pair::<12>(pair);
        }
        if let Some((source, destination)) = ports {
            let (first, second) = if reversed { (destination, source) } else { (source, destination) };
            key.put(&first);
            key.put(&second);
        }
        if let Some(number) = connection {
            key.put(&number.to_le_bytes());
        }
        key
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub fn to_stored(&self) -> StoredKey {
        StoredKey(SmallVec::from_slice(self.bytes()))
    }

    fn put_vlans(&mut self, vlans: Vlans) {
        let (outer, inner) = (vlans.outer.to_le_bytes(), vlans.inner.to_le_bytes());
        match vlans.count {
            0 => {}
            1 => self.put(&inner),
            // As with addresses: the third takes the place of the first, and so on.
            count => {
                let (first, second) = if count.is_multiple_of(2) { (outer, inner) } else { (inner, outer) };
                self.put(&first);
                self.put(&second);
            }
        }
    }

    /// Two addresses, the one of the key's first end first.
    #[inline]
    fn put_pair<const N: usize>(&mut self, pair: &[u8; N]) {
        let mut pair = *pair;
        if self.reversed {
            pair.rotate_left(N / 2);
        }
        self.put(&pair);
    }

    #[inline]
    fn put<const N: usize>(&mut self, bytes: &[u8; N]) {
        if let Some(place) = self.bytes.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut::<N>()) {
            *place = *bytes;
            self.len += N;
        }
    }
}

/// Whether the receiver comes first in the pairs of the key.
#[inline]
fn reversed(packet: &Packet<'_>, ports: Option<([u8; 2], [u8; 2])>) -> bool {
    for ip in packet.ips.kept() {
        let less = match ip {
            Addresses::V4(pair) => {
                let both = u64::from_be_bytes(**pair);
                (both >> 32).cmp(&(both & 0xffff_ffff))
            }
            Addresses::V6(pair) => pair[..16].cmp(&pair[16..]),
        };
        if less.is_ne() {
            return less.is_gt();
        }
    }
    match (ports, packet.macs) {
        (Some((source, destination)), _) if source != destination => source > destination,
        // Nothing but these says which direction it is.
        (_, Some(macs)) => macs.source() > macs.destination(),
        _ => false,
    }
}

/// A [`Key`] as a flow keeps it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct StoredKey(SmallVec<[u8; INLINE]>);

/// Two Ethernet addresses, sender first.
pub(super) type MacPair = ([u8; 6], [u8; 6]);

/// A key taken apart; the ends are sender and receiver of the flow's first packet.
pub(super) struct Parts<'a> {
    bits: u8,
    vlan_count: u8,
    ip_count: u8,
    last: u8,
    slots: [u8; 4],
    /// In the key's own order.
    vlans: &'a [u8],
    /// Sender's and receiver's, in the order of the headers.
    ips: SmallVec<[(&'a [u8], &'a [u8]); 4]>,
    ports: Option<([u8; 2], [u8; 2])>,
    connection: &'a [u8],
    /// The sender comes first in the key.
    sender_first: bool,
}

impl StoredKey {
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes the key of a flow apart whose first packet was `reversed`.
    pub fn parts(&self, reversed: bool) -> Parts<'_> {
        let (head, mut rest) = self.0.split_first_chunk::<HEAD>().unwrap_or((&[0, 0, 0, 0, ABSENT, ABSENT, ABSENT, ABSENT], &[]));
        let [bits, vlan_count, ip_count, last, slots @ ..] = *head;
        let vlans = take(&mut rest, 2 * usize::from(vlan_count.min(2)));
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
        let ports = (bits & (bit::TCP | bit::UDP) != 0).then(|| {
            let mut port = || take(&mut rest, 2).first_chunk().copied().unwrap_or_default();
            let (first, second) = (port(), port());
            if reversed { (second, first) } else { (first, second) }
        });
        Parts { bits, vlan_count, ip_count, last, slots, vlans, ips, ports, connection: rest, sender_first: !reversed }
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at_checked(count).unwrap_or((rest, &[]));
    *rest = left;
    taken
}

impl<'a> Parts<'a> {
    pub fn is_tcp(&self) -> bool {
        self.bits & bit::TCP != 0
    }

    pub fn is_udp(&self) -> bool {
        self.bits & bit::UDP != 0
    }

    /// Sender's and receiver's ports.
    pub fn ports(&self) -> Option<(u16, u16)> {
        self.ports.map(|(source, destination)| (u16::from_le_bytes(source), u16::from_le_bytes(destination)))
    }

    /// Outer and inner id, as far as they are there.
    pub fn vlans(&self) -> (Option<u16>, Option<u16>) {
        let at = |i: usize| self.vlans.get(2 * i..).and_then(|b| b.first_chunk()).map(|b| u16::from_le_bytes(*b));
        match self.vlan_count {
            0 => (None, None),
            1 => (None, at(0)),
            count if count.is_multiple_of(2) => (at(0), at(1)),
            _ => (at(1), at(0)),
        }
    }

    /// Sender's and receiver's addresses: IPv4 before IPv6, outer before inner.
    pub fn ips(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> {
        let ordered: SmallVec<[_; 4]> = self.slots.iter().filter_map(|&slot| self.ips.get(usize::from(slot)).copied()).collect();
        ordered.into_iter()
    }

    /// The addresses of the header that carries the transport.
    pub fn innermost(&self) -> Option<(&'a [u8], &'a [u8])> {
        self.ips.get(usize::from(self.last)).copied()
    }

    /// Outer IPv4, IPv4, outer IPv6, IPv6: which are there.
    pub fn has(&self) -> [bool; 4] {
        self.slots.map(|slot| slot != ABSENT)
    }

    /// `flow.id`: 17 bytes that say what is where, and the key, in base64. `macs` are those of the first packet.
    pub fn id(&self, macs: Option<MacPair>) -> String {
        let mut layout = [ABSENT; 17];
        let mut key: SmallVec<[u8; MAX_KEY + 12]> = SmallVec::new();
        let mut flags = 0_u16;
        // The Ethernet addresses decide the order of everything, where they differ.
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
        if let Some((source, destination)) = self.ports {
            place(&mut flags, if self.is_udp() { 9 } else { 10 }, key.len());
            put(&mut key, sender_first, &source, &destination);
        }
        if !self.connection.is_empty() {
            place(&mut flags, 11, key.len());
            key.extend_from_slice(self.connection);
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
