//! Makes the flow key of a packet. `net/flow_key.rs` describes its bytes.

use crate::{
    decode::{Addresses, Ips, Layer4, Macs, Packet, Ports},
    net::{
        FlowDelta, Realm, StoredKey, Vlans,
        flow_key::{MAX_KEY, bit},
    },
};
use std::net::IpAddr;

/// The key bit of the transport, and its ports. `None` for a transport that has no bit.
fn with_bit(ports: Ports) -> Option<(u8, u16, u16)> {
    let bit = match ports.protocol {
        6 => bit::TCP,
        17 => bit::UDP,
        132 => bit::SCTP,
        _ => return None,
    };
    Some((bit, ports.source, ports.destination))
}

/// The bytes of a [`StoredKey`] for one packet, without an allocation.
#[derive(Clone)]
pub(super) struct Key {
    bytes: [u8; MAX_KEY],
    len: usize,
    /// Whether the sender of this packet comes second in the pairs.
    pub reversed: bool,
}

/// The parts of a packet that its key is made of, besides the ports.
struct Conversation<'a> {
    ips: &'a Ips<'a>,
    realm: Realm,
    macs: Option<Macs<'a>>,
}

impl<'a> Conversation<'a> {
    #[inline]
    fn of(packet: &'a Packet<'a>) -> Self {
        Self { ips: &packet.ips, realm: packet.realm, macs: packet.macs }
    }
}

impl Key {
    /// The transport of the flow, as a place in the list of counters by transport (`table.rs`).
    #[inline]
    pub fn transport(&self, is_icmp: bool) -> usize {
        match self.bytes[0] & (bit::TCP | bit::UDP | bit::SCTP) {
            bit::TCP => 0,
            bit::UDP => 1,
            bit::SCTP => 2,
            _ if is_icmp => 3,
            _ => 4,
        }
    }

    /// The key of the flow that a packet belongs to. `connection` is the number of its TCP connection, if it is
    /// analysed. With `ethernet` the Ethernet addresses identify the flow, too.
    #[inline]
    pub fn of(packet: &Packet<'_>, connection: Option<u64>, ethernet: bool) -> Self {
        let ports = match packet.layer4 {
            Layer4::Tcp(tcp) => Some((bit::TCP, tcp.source, tcp.destination)),
            Layer4::Udp(udp) => Some((bit::UDP, udp.source, udp.destination)),
            Layer4::Ports(ports) => with_bit(ports),
            _ => None,
        };
        Self::new(&Conversation::of(packet), ports, connection, ethernet)
    }

    /// The key of a flow that the kernel has counted; `reversed` says whether the sender comes second.
    pub fn of_delta(delta: &FlowDelta) -> Self {
        let (mut v4, mut v6, mut macs) = ([0; 8], [0; 32], [0; 12]);
        let mut ips = Ips::default();
        match (delta.source, delta.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                v4[..4].copy_from_slice(&source.octets());
                v4[4..].copy_from_slice(&destination.octets());
                ips.push(Addresses::V4(&v4));
            }
            (source, destination) => {
                let octets = |ip| match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                    IpAddr::V6(ip) => ip.octets(),
                };
                v6[..16].copy_from_slice(&octets(source));
                v6[16..].copy_from_slice(&octets(destination));
                ips.push(Addresses::V6(&v6));
            }
        }
        if let Some((source, destination)) = delta.macs {
            macs[..6].copy_from_slice(&destination);
            macs[6..].copy_from_slice(&source);
        }
        let realm = Realm { vlans: delta.vlans, ..Realm::default() };
        let ports = delta.ports.and_then(|(transport, source, destination)| {
            with_bit(Ports { protocol: transport.number(), source, destination, wire_payload: 0 })
        });
        let of = Conversation { ips: &ips, realm, macs: delta.macs.map(|_| Macs(&macs)) };
        Self::new(&of, ports, delta.connection, delta.macs.is_some())
    }

    /// The key of the flow that a fragment belongs to. It has the ports of its datagram if they are known, otherwise no ports.
    pub fn of_fragment(packet: &Packet<'_>, ports: Option<Ports>, ethernet: bool) -> Self {
        Self::new(&Conversation::of(packet), ports.and_then(with_bit), None, ethernet)
    }

    #[inline]
    fn new(of: &Conversation<'_>, ports: Option<(u8, u16, u16)>, connection: Option<u64>, ethernet: bool) -> Self {
        let Conversation { ips, realm, macs } = *of;
        let bits = ports.map_or(0, |(bit, ..)| bit);
        let ports = ports.map(|(_, source, destination)| (source, destination));
        // Packetbeat compares the ports' bytes in little-endian order, and this order is visible in `flow.id`.
        let ports = ports.map(|(source, destination)| (source.to_le_bytes(), destination.to_le_bytes()));
        let connection = connection.filter(|_| bits == bit::TCP);
        let reversed = reversed(of, ports);

        let mut key = Self { bytes: [0; MAX_KEY], len: 0, reversed };
        let [s0, s1, s2, s3] = ips.positions();
        let tunnelled = realm.is_tunnelled();
        let bits = bits
            | (u8::from(ethernet) * bit::ETHERNET)
            | (u8::from(connection.is_some()) * bit::CONNECTION)
            | (u8::from(tunnelled) * bit::TUNNELS);
        key.put(&[bits, realm.vlans.count, ips.count(), ips.last(), s0, s1, s2, s3]);
        key.put_vlans(realm.vlans);
        if tunnelled {
            realm.tunnels.iter().for_each(|tunnel| key.put(&tunnel.0.to_le_bytes()));
        }
        for ip in ips.kept() {
            match ip {
                Addresses::V4(pair) => key.put_pair::<8>(pair),
                Addresses::V6(pair) => key.put_pair::<32>(pair),
            }
        }
        if ips.count() == 0
            && let Some(Macs(pair)) = macs
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
        StoredKey::new(self.bytes())
    }

    fn put_vlans(&mut self, vlans: Vlans) {
        let (outer, inner) = (vlans.outer.to_le_bytes(), vlans.inner.to_le_bytes());
        match vlans.count {
            0 => {}
            1 => self.put(&inner),
            // The third id takes the place of the first, the fourth that of the second, and so on, as IP addresses do.
            count => {
                let (first, second) = if count.is_multiple_of(2) { (outer, inner) } else { (inner, outer) };
                self.put(&first);
                self.put(&second);
            }
        }
    }

    /// Appends a pair of addresses, in the order of the key.
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
fn reversed(of: &Conversation<'_>, ports: Option<([u8; 2], [u8; 2])>) -> bool {
    for ip in of.ips.kept() {
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
    match (ports, of.macs) {
        (Some((source, destination)), _) if source != destination => source > destination,
        // Addresses and ports are equal, so only the Ethernet addresses distinguish the directions.
        (_, Some(macs)) => macs.source() > macs.destination(),
        _ => false,
    }
}
