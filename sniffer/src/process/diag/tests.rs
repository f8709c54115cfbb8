//! Tests of the owners of real sockets on loopback, in the test's own process and in others.

use super::*;
use crate::{process::testing::*, time::Timestamp};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};

fn owners() -> DiagOwners {
    DiagOwners::new().unwrap()
}

/// There are pauses between two searches, so the look-up is repeated.
fn found(owners: &DiagOwners, socket: &Socket) -> Owner {
    wait_for(&format!("the owner of {socket:?}"), || owners.owner(socket))
}

#[track_caller]
fn is_ours(owners: &DiagOwners, transport: Transport, local: SocketAddr, remote: SocketAddr) {
    let socket = Socket { transport, local, remote, netns: None, time: Timestamp(0) };
    let found = found(owners, &socket);
    assert_eq!(found.pid, std::process::id(), "{transport:?} {local} {remote}: {found:?}");
    let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
    assert_eq!(String::from_utf8_lossy(&found.comm).trim_end_matches('\0'), comm.trim_end());
}

#[test]
fn both_ends_of_a_connection_are_found() {
    let _alone = alone();
    let owners = owners();
    for bound in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(bound).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        is_ours(&owners, Transport::Tcp, local, remote);
        // Nothing has accepted the connection yet.
        is_ours(&owners, Transport::Tcp, remote, local);
        let _accepted = listener.accept().unwrap();
        is_ours(&owners, Transport::Tcp, remote, local);
    }
}

#[test]
fn ipv4_on_ipv6_sockets_is_found() {
    let _alone = alone();
    let owners = owners();
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let _accepted = listener.accept().unwrap();
    is_ours(&owners, Transport::Tcp, client.peer_addr().unwrap(), client.local_addr().unwrap());
    let server = UdpSocket::bind("[::]:0").unwrap();
    let local = SocketAddr::from(([127, 0, 0, 1], server.local_addr().unwrap().port()));
    is_ours(&owners, Transport::Udp, local, SocketAddr::from(([127, 0, 0, 1], 9)));
}

#[test]
fn datagram_sockets_are_found() {
    let _alone = alone();
    let owners = owners();
    for (any, loopback) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "::1")] {
        let (server, client) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
        let loopback: IpAddr = loopback.parse().unwrap();
        let server = SocketAddr::new(loopback, server.local_addr().unwrap().port());
        let unconnected = SocketAddr::new(loopback, client.local_addr().unwrap().port());
        is_ours(&owners, Transport::Udp, unconnected, server);
        client.connect(server).unwrap();
        is_ours(&owners, Transport::Udp, client.local_addr().unwrap(), server);
    }
}

#[test]
fn a_process_whose_socket_is_found_is_the_one_that_has_it_open() {
    let _alone = alone();
    let owners = owners();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut children: Vec<Child> = (0..5).map(|_| Child::connected(listener.local_addr().unwrap())).collect();
    for child in &children {
        let (_, of_child) = listener.accept().unwrap();
        let socket =
            Socket { transport: Transport::Tcp, local: of_child, remote: listener.local_addr().unwrap(), netns: None, time: Timestamp(0) };
        let found = found(&owners, &socket);
        assert!(children.iter().any(|child| child.pid() == found.pid), "{found:?} is none of the children, for example {}", child.pid());
        assert_eq!(String::from_utf8_lossy(&found.comm).trim_end_matches('\0'), "bash");
    }
    children.clear();
}

#[test]
fn closed_sockets_and_other_hosts_have_no_owner() {
    let _alone = alone();
    let owners = owners();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        // The address does not belong to this host, but the test's listener has the same port.
        (Transport::Tcp, SocketAddr::from(([203, 0, 113, 1], port)), SocketAddr::from(([203, 0, 113, 2], 4000))),
        (Transport::Tcp, free, SocketAddr::from(([127, 0, 0, 1], 1))),
        (Transport::Icmp, SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([127, 0, 0, 1], 1))),
    ];
    for (transport, local, remote) in cases {
        assert_eq!(owners.owner(&Socket { transport, local, remote, netns: None, time: Timestamp(0) }), None, "{transport:?} {local}");
    }
    let local = SocketAddr::from(([127, 0, 0, 1], port));
    let other = Some(owners.netns ^ 1);
    let elsewhere = Socket { transport: Transport::Tcp, local, remote: free, netns: other, time: Timestamp(0) };
    assert_eq!(owners.owner(&elsewhere), None, "a socket in another network namespace");
}
