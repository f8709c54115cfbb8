//! Recognises the packets of the program's own connections to its outputs, and of its own look-ups, so that they are not reported. They are
//! recognised by the sockets of this process, not by the addresses of the outputs: other programs on this host may use
//! the same servers, and a name may resolve to another address at any time.
//!
//! Connections to a socket on which this process listens, the page of `web`, are recognised by its address alone: nobody else can listen
//! there, and the connection of a client is not a socket of this process before it is accepted.

use crate::net::{FlowDelta, OwnConnections, Transport, own::Ends};
use hashbrown::HashMap;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Maximum number of connections to ports of outputs whose owner is remembered. Beyond this number, all owners are
/// forgotten and looked up again.
const MAX_DECIDED: usize = 4096;

/// Maximum number of times that the sockets are listed between two polls. Segments other than SYNs cause only the first listing.
const MAX_LISTINGS: u8 = 8;

/// The data by which the program's own connections are recognised.
#[derive(Clone)]
pub struct Own {
    /// The server ports of the outputs. Connections without one of these ports, or of those announced in `connections`, are not examined.
    pub ports: Vec<u16>,
    /// The addresses of this host.
    pub local: Vec<IpAddr>,
    /// The connections of this process.
    pub connections: Arc<OwnConnections>,
    /// The addresses on which this process listens and whose connections are not reported.
    pub listens: Vec<SocketAddr>,
}

impl Own {
    /// Whether a segment with these ports may belong to a connection of this process.
    #[inline]
    pub(super) fn has_port(&self, source: u16, destination: u16) -> bool {
        self.is_server(source) || self.is_server(destination) || self.listens.iter().any(|own| [source, destination].contains(&own.port()))
    }

    /// Whether one end is a socket on which this process listens.
    fn is_to_listener(&self, a: SocketAddr, b: SocketAddr) -> bool {
        let is_listener = |end: SocketAddr| self.listens.iter().any(|own| own.port() == end.port() && own.ip() == end.ip().to_canonical());
        is_listener(a) || is_listener(b)
    }

    /// Whether this program connects to servers with this port.
    #[inline]
    fn is_server(&self, port: u16) -> bool {
        self.connections.expects(port) || self.ports.contains(&port)
    }

    /// Whether one end is this host and the other end has a port of an output.
    fn may_be(&self, a: SocketAddr, b: SocketAddr) -> bool {
        let is_local = |ip: IpAddr| ip.is_loopback() || self.local.contains(&ip);
        let [a, b] = [a, b].map(|end| (end.ip().to_canonical(), end.port()));
        let leads = |from: (IpAddr, u16), to: (IpAddr, u16)| self.is_server(to.1) && is_local(from.0);
        leads(a, b) || leads(b, a)
    }
}

/// The owner of a connection.
#[derive(Clone, Copy)]
enum Owner {
    /// This process; the socket with this cookie.
    Own(u64),
    /// Another process, or another host. Valid for this version of [`OwnConnections`].
    Other(u64),
}

/// The owners of the connections that a worker has seen.
#[derive(Default)]
pub(super) struct Owners {
    decided: HashMap<Ends, Owner, foldhash::fast::RandomState>,
    /// How often the sockets were listed since the last poll.
    listings: u8,
}

impl Owners {
    /// The worker calls this function between two polls. The sockets may then be listed again, [`MAX_LISTINGS`] times until the next call.
    pub(super) fn next_poll(&mut self) {
        self.listings = 0;
    }

    /// Whether a segment belongs to a connection of this process. `opens`: it is a SYN without ACK.
    pub(super) fn is_own(&mut self, own: &Own, source: SocketAddr, destination: SocketAddr, opens: bool) -> bool {
        if own.is_to_listener(source, destination) {
            return true;
        }
        let ends = Ends::new(source, destination);
        let before = self.decided.get(&ends).copied();
        match before {
            Some(Owner::Own(_)) if !opens => return true,
            Some(Owner::Other(version)) if !opens && version == own.connections.version() => return false,
            _ => {}
        }
        if self.decided.len() >= MAX_DECIDED {
            self.forget();
        }
        let owner = self.decide(own, (source, destination), opens, before);
        match owner {
            Some(owner) => self.decided.insert(ends, owner),
            None => self.decided.remove(&ends),
        };
        matches!(owner, Some(Owner::Own(_)))
    }

    /// Whether packets that the kernel has counted belong to a connection of this process.
    pub(super) fn is_own_delta(&mut self, own: &Own, delta: &FlowDelta) -> bool {
        let Some((transport, source, destination)) = delta.ports else { return false };
        let ends = || (SocketAddr::new(delta.source, source), SocketAddr::new(delta.destination, destination));
        match transport {
            Transport::Tcp if own.has_port(source, destination) => {
                let (source, destination) = ends();
                self.is_own(own, source, destination, false)
            }
            Transport::Udp if own.connections.may_send_datagrams(source, destination) => {
                let (source, destination) = ends();
                own.connections.is_own_datagram(source, destination)
            }
            _ => false,
        }
    }

    /// Forgets the connections of other owners. If too many connections of this process remain, forgets them too.
    #[cold]
    fn forget(&mut self) {
        self.decided.retain(|_, owner| matches!(owner, Owner::Own(_)));
        if self.decided.len() > MAX_DECIDED / 2 {
            self.decided.clear();
        }
    }

    /// Finds the owner of a connection. The function is called for the first segment, and again if the connection belonged to another owner
    /// and the set of sockets has changed since then. Returns `None` if the owner is not known before the next poll.
    #[cold]
    fn decide(&mut self, own: &Own, (source, destination): (SocketAddr, SocketAddr), opens: bool, before: Option<Owner>) -> Option<Owner> {
        let ends = Ends::new(source, destination);
        // The version is read first: if the set changes in between, the connection is examined again.
        let version = own.connections.version();
        let found = own.connections.find(&ends);
        match (before, found) {
            // The connection belongs to a socket of this process. This is its first packet since the socket was listed.
            (None | Some(Owner::Other(_)), Some((cookie, _))) => return Some(Owner::Own(cookie)),
            (Some(Owner::Own(known)), Some((cookie, _))) if cookie != known => return Some(Owner::Own(cookie)),
            _ if !own.may_be(source, destination) => return Some(Owner::Other(version)),
            _ => {}
        }
        // Either the connection is unknown, or the ends of a known one are used again, maybe by another process.
        // A socket is listed from the moment before it sends its SYN, but a listing that is older than the SYN does not have it.
        let lists = self.listings < if opens { MAX_LISTINGS } else { 1 };
        if lists {
            self.listings += 1;
            own.connections.refresh();
        }
        let version = own.connections.version();
        match own.connections.find(&ends) {
            Some((cookie, true)) => Some(Owner::Own(cookie)),
            // The socket was opened and closed since the look-up above.
            Some((cookie, false)) if !matches!(before, Some(Owner::Own(known)) if known == cookie) => Some(Owner::Own(cookie)),
            _ if lists => Some(Owner::Other(version)),
            // The sockets were listed earlier in this poll, possibly before this connection was opened.
            _ => None,
        }
    }
}
