//! Who talks to whom: addresses, directions, the two ends of a conversation. Not the flow table.

use sha1::{Digest, Sha1};
use std::{
    cell::OnceCell,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// What carries a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// RFC 9293
    Tcp,
    /// RFC 768
    Udp,
    /// RFC 792
    Icmp,
    /// RFC 4443
    Icmp6,
}

impl Transport {
    /// As `network.transport` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Icmp6 => "ipv6-icmp",
        }
    }

    /// The IANA protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmp6 => 58,
        }
    }
}

/// Which way bytes travel, as far as is known who the client is ([`crate::protocols::Context::flip`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client, the side that asks.
    #[default]
    ToServer,
    /// From the server, the side that answers.
    ToClient,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    /// 0 for `ToServer`, 1 for `ToClient`: for arrays with a place per side.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// The two ends of a conversation. Cloning is cheap enough for a pending request to keep its own.
#[derive(Clone, Debug)]
pub struct Peers {
    /// The side that asks.
    pub client: SocketAddr,
    /// The side that answers.
    pub server: SocketAddr,
    /// What carries it; ports are 0 for ICMP.
    pub transport: Transport,
    /// ICMP type and code of the message that made this conversation known; it decides the community id.
    pub icmp: Option<(u8, u8)>,
    community: OnceCell<CommunityId>,
}

impl Peers {
    /// A conversation between `client` and `server`.
    pub fn new(client: SocketAddr, server: SocketAddr, transport: Transport) -> Self {
        Self { client, server, transport, icmp: None, community: OnceCell::new() }
    }

    /// Nobody with nobody, where a [`crate::protocols::Context`] concerns no conversation.
    pub fn nobody() -> Self {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self::new(any, any, Transport::Tcp)
    }

    /// Who sends in direction `dir`.
    pub fn sender(&self, dir: Direction) -> SocketAddr {
        match dir {
            Direction::ToServer => self.client,
            Direction::ToClient => self.server,
        }
    }

    /// Who receives in direction `dir`.
    pub fn receiver(&self, dir: Direction) -> SocketAddr {
        self.sender(dir.reverse())
    }

    /// Exchanges client and server.
    pub fn flip(&mut self) {
        std::mem::swap(&mut self.client, &mut self.server);
    }

    /// The community id of the conversation, computed once.
    pub fn community_id(&self) -> &CommunityId {
        self.community.get_or_init(|| match self.icmp {
            Some((kind, code)) => CommunityId::icmp(self.client.ip(), self.server.ip(), self.transport, kind, code),
            None => CommunityId::ports(self.client, self.server, self.transport),
        })
    }
}

/// A community id v1 with seed 0: `1:` and 20 bytes of SHA-1 in base64.
///
/// <https://github.com/corelight/community-id-spec>; the one library there is has a licence that does not fit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CommunityId([u8; 30]);

impl CommunityId {
    /// For transports with ports.
    pub fn ports(a: SocketAddr, b: SocketAddr, transport: Transport) -> Self {
        let (low, high) = if (a.ip(), a.port()) <= (b.ip(), b.port()) { (a, b) } else { (b, a) };
        Self::hash(low.ip(), high.ip(), transport.number(), low.port(), high.port())
    }

    /// For ICMP: `kind` stands for the source port. Its counterpart stands for the destination port, and the smaller end goes
    /// first; a message without a counterpart has its code there and is never turned round.
    pub fn icmp(source: IpAddr, destination: IpAddr, transport: Transport, kind: u8, code: u8) -> Self {
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
            return Self::hash(destination, source, transport.number(), to, from);
        }
        Self::hash(source, destination, transport.number(), from, to)
    }

    fn hash(low: IpAddr, high: IpAddr, protocol: u8, low_port: u16, high_port: u16) -> Self {
        let mut sha = Sha1::new();
        sha.update([0, 0]); // the seed
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
        // 20 bytes are exactly 28 characters with padding, so this cannot fail.
        let _ = base64::Engine::encode_slice(&base64::prelude::BASE64_STANDARD, digest, &mut text[2..]);
        Self(text)
    }

    /// The text form.
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
