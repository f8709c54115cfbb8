//! The keys under which the eBPF programs may have recorded a socket.

use crate::{net::Transport, process::owner::Socket};
use sniffer_common::{
    process::{MAPPED, SocketKey},
    protocol,
};
use std::net::{IpAddr, SocketAddr};

/// What is looked up for a [`Socket`].
pub struct Lookup {
    /// The key of a connected socket, whose `netns` is that of the socket.
    connected: SocketKey,
    is_v4: bool,
}

impl Lookup {
    /// Makes the keys of a socket. `netns` is the network namespace of this program; it stands for loopback addresses, because the program
    /// sees no packets of other namespaces on them. `None` if the transport is neither TCP nor UDP, or there is no port.
    pub fn new(of: &Socket, netns: u32) -> Option<Self> {
        let transport = match of.transport {
            Transport::Tcp => protocol::TCP,
            Transport::Udp => protocol::UDP,
            _ => return None,
        };
        let is_v4 = of.local.ip().to_canonical().is_ipv4();
        let (local, remote) = (words(of.local), words(of.remote));
        let connected = SocketKey {
            netns: of.netns.unwrap_or(netns),
            transport: transport.into(),
            local_port: of.local.port(),
            remote_port: of.remote.port(),
            reserved: 0,
            local,
            remote,
        };
        (connected.local_port != 0).then_some(Self { connected, is_v4 })
    }

    /// Keys with both ends: a connected socket, then a socket that is bound to no address and exchanged datagrams with the remote end.
    pub fn connected(&self) -> impl Iterator<Item = SocketKey> {
        let is_udp = self.connected.transport == u16::from(protocol::UDP);
        let unbound = is_udp.then_some(SocketKey { local: [0; 4], ..self.connected });
        // A remote port 0 is no remote end in a key.
        let known = self.connected.remote_port != 0;
        [Some(self.connected), unbound].into_iter().flatten().filter(move |_| known).map(scoped)
    }

    /// Keys without a remote end: a socket that is bound to the local address, then one that is bound to none.
    pub fn unconnected(&self) -> impl Iterator<Item = SocketKey> {
        let key = SocketKey { remote_port: 0, remote: [0; 4], ..self.connected };
        let any_v4 = self.is_v4.then_some(SocketKey { local: [0, 0, MAPPED, 0], ..key });
        [Some(key), any_v4, Some(SocketKey { local: [0; 4], ..key })].into_iter().flatten().map(scoped)
    }
}

fn scoped(mut key: SocketKey) -> SocketKey {
    key.scope();
    key
}

/// An address in the form of [`SocketKey`].
fn words(address: SocketAddr) -> [u32; 4] {
    let bytes = match address.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    zerocopy::transmute!(bytes)
}
