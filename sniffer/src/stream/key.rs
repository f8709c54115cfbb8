//! The key by which the table finds the connection of a segment.

use crate::net::Realm;
use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
};

/// The key of a connection. Addresses are in network byte order; an IPv4 address is followed by zeros. Comparing and
/// hashing these arrays costs a fraction of the same operations on [`SocketAddr`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// The addresses, that of the lower end first.
    ips: [[u8; 16]; 2],
    ports: [u16; 2],
    is_v6: bool,
    pub realm: Realm,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b] = self.ips.map(u128::from_ne_bytes);
        if self.is_v6 {
            state.write_u128(a);
            state.write_u128(b);
        } else {
            state.write_u64(a as u64);
            state.write_u64(b as u64);
        }
        state.write_u32(u32::from(self.ports[0]) << 16 | u32::from(self.ports[1]));
        // Without tunnel keys and VLAN ids, only the ends are hashed.
        if self.realm != Realm::default() {
            self.realm.hash(state);
        }
    }
}

impl Key {
    /// The key of a connection, and which of its ends is `source`.
    #[inline]
    pub fn new(source: SocketAddr, destination: SocketAddr, realm: Realm) -> (Self, usize) {
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
            }
            IpAddr::V6(ip) => ip.octets(),
        };
        let (from, to) = ((octets(source.ip()), source.port()), (octets(destination.ip()), destination.port()));
        let (low, high, half) = if from <= to { (from, to, 0) } else { (to, from, 1) };
        (Self { ips: [low.0, high.0], ports: [low.1, high.1], is_v6: source.is_ipv6(), realm }, half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_have_one_key_and_everything_else_another() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let key = |a: &str, b: &str| Key::new(parse(a), parse(b), Realm::default());
        let all = [
            ("10.0.0.1:80", "10.0.0.2:1000"),
            ("10.0.0.1:1000", "10.0.0.2:80"),
            ("10.0.0.1:80", "10.0.0.1:1000"),
            ("10.0.0.2:80", "10.0.1.0:1000"),
            ("[a00:1::]:80", "[a00:2::]:1000"),
            ("[::1]:80", "[::ffff:10.0.0.2]:1000"),
        ];
        for (n, (a, b)) in all.into_iter().enumerate() {
            let ((forth, from), (back, to)) = (key(a, b), key(b, a));
            assert!(forth == back && from == 0 && to == 1, "{a} {b}: source at {from} and {to}");
            for (c, d) in &all[..n] {
                assert!(forth != key(c, d).0, "{a} {b} and {c} {d}");
            }
        }
        let mut realm = Realm::default();
        realm.vlans.push(7);
        assert!(Key::new(parse(all[0].0), parse(all[0].1), realm).0 != key(all[0].0, all[0].1).0, "another realm");
    }
}
