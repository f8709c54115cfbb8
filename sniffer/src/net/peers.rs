//! The two ends of a conversation, and which way bytes travel between them.

use super::{CommunityId, Transport};
use std::{
    cell::OnceCell,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

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
