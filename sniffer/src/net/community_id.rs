//! Community ids: a short text that identifies a conversation in every tool that implements the scheme.

use super::Transport;
use sha1::{Digest, Sha1};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// A community id, version 1: `1:` and the base64 form of 20 bytes of SHA-1.
///
/// <https://github.com/corelight/community-id-spec>. The scheme is implemented here, because the existing library has an incompatible
/// licence.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CommunityId([u8; 30]);

impl CommunityId {
    /// The id of a conversation over a transport with ports, in either order of the ends.
    pub fn ports(a: SocketAddr, b: SocketAddr, transport: Transport) -> Self {
        Self::ports_with(0, a, b, transport.number())
    }

    /// The id of a conversation over the IP protocol with this number, in either order of the ends. Protocols without ports have the ports 0.
    pub fn ports_with(seed: u16, a: SocketAddr, b: SocketAddr, protocol: u8) -> Self {
        let (low, high) = if (a.ip(), a.port()) <= (b.ip(), b.port()) { (a, b) } else { (b, a) };
        Self::hash(seed, low.ip(), high.ip(), protocol, low.port(), high.port())
    }

    /// The id of an ICMP message. `kind` (its type) takes the place of the source port. The type of the matching reply
    /// or request takes the place of the destination port, and the smaller end comes first. For a type without a
    /// counterpart the code takes that place, and the ends keep their order.
    pub fn icmp(source: IpAddr, destination: IpAddr, transport: Transport, kind: u8, code: u8) -> Self {
        Self::icmp_with(0, source, destination, transport, kind, code)
    }

    /// The id of an ICMP message as [`CommunityId::icmp`] computes it, with a seed.
    pub fn icmp_with(seed: u16, source: IpAddr, destination: IpAddr, transport: Transport, kind: u8, code: u8) -> Self {
        let counterpart = match (transport, kind) {
            (Transport::Icmp, 0) => Some(8),
            (Transport::Icmp, 8) => Some(0),
            (Transport::Icmp, 9) => Some(10),
            (Transport::Icmp, 10) => Some(9),
            (Transport::Icmp, 13 | 15 | 17) => Some(kind + 1),
            (Transport::Icmp, 14 | 16 | 18) => Some(kind - 1),
            (Transport::Icmp6, 128 | 130 | 133 | 135) => Some(kind + 1),
            (Transport::Icmp6, 129 | 131 | 134 | 136) => Some(kind - 1),
            (Transport::Icmp6, 139) => Some(140),
            (Transport::Icmp6, 140) => Some(139),
            (Transport::Icmp6, 144) => Some(145),
            (Transport::Icmp6, 145) => Some(144),
            _ => None,
        };
        let (from, to) = (u16::from(kind), u16::from(counterpart.unwrap_or(code)));
        if counterpart.is_some() && (source, from) > (destination, to) {
            return Self::hash(seed, destination, source, transport.number(), to, from);
        }
        Self::hash(seed, source, destination, transport.number(), from, to)
    }

    fn hash(seed: u16, low: IpAddr, high: IpAddr, protocol: u8, low_port: u16, high_port: u16) -> Self {
        let mut sha = Sha1::new();
        sha.update(seed.to_be_bytes());
        for ip in [low, high] {
            match ip {
                IpAddr::V4(v4) => sha.update(v4.octets()),
                IpAddr::V6(v6) => sha.update(v6.octets()),
            }
        }
        sha.update([protocol, 0]);
        sha.update(low_port.to_be_bytes());
        sha.update(high_port.to_be_bytes());
        let digest: [u8; 20] = sha.finalize().into();
        let mut text = *b"1:0000000000000000000000000000";
        // Cannot fail: 20 bytes are 28 characters of base64.
        let _ = base64::Engine::encode_slice(&base64::prelude::BASE64_STANDARD, digest, &mut text[2..]);
        Self(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for CommunityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Peers;

    #[test]
    fn community_ids_of_the_specification() {
        let tcp = Peers::new("128.232.110.120:34855".parse().unwrap(), "66.35.250.204:80".parse().unwrap(), Transport::Tcp);
        assert_eq!(tcp.community_id().as_str(), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        let udp = Peers::new("8.8.8.8:53".parse().unwrap(), "192.168.1.52:54585".parse().unwrap(), Transport::Udp);
        assert_eq!(udp.community_id().as_str(), "1:d/FP5EW3wiY1vCndhwleRRKHowQ=");
        let ping = CommunityId::icmp("192.168.0.89".parse().unwrap(), "192.168.0.1".parse().unwrap(), Transport::Icmp, 8, 0);
        assert_eq!(ping.as_str(), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
    }
}
