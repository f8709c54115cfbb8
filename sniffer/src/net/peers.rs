//! The two ends of a conversation, and the direction of data between them.

use super::{CommunityId, Realm, Transport};
use std::{
    cell::OnceCell,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// The direction of data. Which end is the client is a guess until a protocol corrects it
/// ([`crate::protocols::Context::flip`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Data from the client, which sends requests.
    #[default]
    ToServer,
    /// Data from the server, which sends responses.
    ToClient,
}

impl Direction {
    /// The opposite direction.
    #[must_use]
    pub fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    /// 0 for `ToServer`, 1 for `ToClient`: an index into arrays with one entry per direction.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// The two ends of a conversation. A clone is cheap, so that each pending request can have its own copy.
#[derive(Clone, Debug)]
pub struct Peers {
    /// The end that sends requests.
    pub client: SocketAddr,
    /// The end that sends responses.
    pub server: SocketAddr,
    /// The transport; for ICMP the ports are 0.
    pub transport: Transport,
    /// The network that the addresses belong to; without VLAN ids unless `track_vlans` is on.
    pub realm: Realm,
    /// ICMP type and code of the first message of the conversation, which determine the community id; `None` for other
    /// transports.
    pub icmp: Option<(u8, u8)>,
    community: OnceCell<CommunityId>,
}

impl Peers {
    /// Makes the peers of a conversation between `client` and `server`.
    pub fn new(client: SocketAddr, server: SocketAddr, transport: Transport) -> Self {
        Self { client, server, transport, realm: Realm::default(), icmp: None, community: OnceCell::new() }
    }

    /// The same conversation in `realm`.
    #[must_use]
    pub fn with_realm(self, realm: Realm) -> Self {
        Self { realm, ..self }
    }

    /// Unspecified addresses, for a [`crate::protocols::Context`] that belongs to no conversation.
    pub fn unspecified() -> Self {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self::new(any, any, Transport::Tcp)
    }

    /// The end that sends in direction `dir`.
    pub fn sender(&self, dir: Direction) -> SocketAddr {
        match dir {
            Direction::ToServer => self.client,
            Direction::ToClient => self.server,
        }
    }

    /// The end that receives in direction `dir`.
    pub fn receiver(&self, dir: Direction) -> SocketAddr {
        self.sender(dir.reverse())
    }

    /// Exchanges client and server.
    pub fn flip(&mut self) {
        std::mem::swap(&mut self.client, &mut self.server);
    }

    /// The community id of the conversation. It is computed at the first call.
    pub fn community_id(&self) -> &CommunityId {
        self.community.get_or_init(|| match self.icmp {
            Some((kind, code)) => CommunityId::icmp(self.client.ip(), self.server.ip(), self.transport, kind, code),
            None => CommunityId::ports(self.client, self.server, self.transport),
        })
    }
}
