//! Tests of the owners of real sockets. Each process sends its own pid, so that the test knows the right answer.

use super::*;
use crate::{
    capture::testing::{in_a_network, run},
    process::testing::*,
    time::Timestamp,
};
use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    process::Stdio,
    thread,
};

/// Number of short connections.
const CONNECTIONS: usize = 200;

fn owners() -> KernelOwners {
    let (owners, attached) = KernelOwners::new().unwrap();
    println!("{attached}");
    owners
}

fn socket(transport: Transport, local: SocketAddr, remote: SocketAddr) -> Socket {
    Socket { transport, local, remote, netns: None, time: Timestamp(0) }
}

#[track_caller]
fn is_owner(owners: &KernelOwners, transport: Transport, local: SocketAddr, remote: SocketAddr, pid: u32) -> Owner {
    let Some(owner) = owners.recorded(&socket(transport, local, remote)) else {
        panic!("no owner of {transport:?} {local} {remote}, want {pid}")
    };
    assert_eq!(owner.pid, pid, "{transport:?} {local} {remote}: {owner:?}");
    owners.owner(&socket(transport, local, remote)).unwrap()
}

fn read_pid(mut from: impl Read) -> u32 {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn connections_of_processes_that_are_gone_have_their_owners() {
    in_a_network("connections_of_processes_that_are_gone_have_their_owners", || {
        let _alone = alone();
        let owners = owners();
        for bound in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(bound).unwrap();
            let server = listener.local_addr().unwrap();
            for round in 0..CONNECTIONS / 2 {
                Child::bash(&format!("echo $$ >/dev/tcp/{}/{}", server.ip(), server.port())).wait();
                let (stream, client) = listener.accept().unwrap();
                let pid = read_pid(&stream);
                let owner = is_owner(&owners, Transport::Tcp, client, server, pid);
                assert_eq!((&owner.comm[..5], owner.uid), (&b"bash\0"[..], 0), "{owner:?}");
                is_owner(&owners, Transport::Tcp, server, client, std::process::id());
                let command = owners.command(&owner).unwrap_or_else(|| panic!("round {round}: no command of {owner:?}"));
                assert!(command.executable.ends_with(b"/bash"), "{command:?}");
                assert_eq!(command.args[..2], [b"bash".to_vec(), b"-c".to_vec()], "{command:?}");
                assert_eq!(command.args.len(), 3, "{command:?}");
            }
        }
    });
}

#[test]
fn ends_without_data_have_owners() {
    in_a_network("ends_without_data_have_owners", || {
        let _alone = alone();
        let owners = owners();
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        is_owner(&owners, Transport::Tcp, local, remote, std::process::id());
        // The connection is not accepted, and the listener is bound to no address.
        is_owner(&owners, Transport::Tcp, remote, local, std::process::id());
        // No socket has a connection that was refused; the process that tried it is known.
        let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let from = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "45000 45000").unwrap();
        let child = Child::bash(&format!("exec 3<>/dev/tcp/127.0.0.1/{}; true", refused.port()));
        let pid = child.pid();
        child.wait();
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", from).unwrap();
        is_owner(&owners, Transport::Tcp, SocketAddr::from(([127, 0, 0, 1], 45_000)), refused, pid);
    });
}

#[test]
fn datagrams_of_processes_that_are_gone_have_their_owners() {
    in_a_network("datagrams_of_processes_that_are_gone_have_their_owners", || {
        let _alone = alone();
        let owners = owners();
        for bound in ["127.0.0.1:0", "[::1]:0"] {
            let server = UdpSocket::bind(bound).unwrap();
            let address = server.local_addr().unwrap();
            let receive = || {
                let mut bytes = [0; 16];
                let (length, from) = server.recv_from(&mut bytes).unwrap();
                (std::str::from_utf8(&bytes[..length]).unwrap().trim().parse().unwrap(), from)
            };
            for _ in 0..20 {
                Child::helper(&format!("send {address}"), Stdio::null()).wait();
                let (pid, client) = receive();
                is_owner(&owners, Transport::Udp, client, address, pid);
                is_owner(&owners, Transport::Udp, address, client, std::process::id());
                // The shell connects its datagram socket.
                Child::bash(&format!("echo $$ >/dev/udp/{}/{}", address.ip(), address.port())).wait();
                let (pid, client) = receive();
                is_owner(&owners, Transport::Udp, client, address, pid);
            }
        }
    });
}

#[test]
fn of_processes_that_share_a_datagram_socket_the_one_that_answers_is_named() {
    in_a_network("of_processes_that_share_a_datagram_socket_the_one_that_answers_is_named", || {
        let _alone = alone();
        let owners = owners();
        for (bound, loopback) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "::1"), ("[::]:0", "127.0.0.1")] {
            let socket = UdpSocket::bind(bound).unwrap();
            let server = SocketAddr::new(loopback.parse::<IpAddr>().unwrap(), socket.local_addr().unwrap().port());
            let input = || OwnedFd::from(socket.try_clone().unwrap());
            let _children = [Child::helper("answer", input()), Child::helper("answer", input())];
            let any = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
            let clients: Vec<UdpSocket> = (0..20).map(|_| UdpSocket::bind(any).unwrap()).collect();
            let mut answers = Vec::new();
            for client in &clients {
                client.send_to(b"?", server).unwrap();
                let mut bytes = [0; 16];
                let length = client.recv(&mut bytes).unwrap();
                let pid: u32 = std::str::from_utf8(&bytes[..length]).unwrap().parse().unwrap();
                answers.push((client.local_addr().unwrap(), pid));
            }
            // The owners are looked up only now: later answers must not change the owners of the earlier ones.
            for (client, pid) in answers {
                is_owner(&owners, Transport::Udp, server, client, pid);
            }
        }
    });
}

#[test]
fn a_socket_that_is_handed_on_belongs_to_the_process_that_uses_it() {
    in_a_network("a_socket_that_is_handed_on_belongs_to_the_process_that_uses_it", || {
        let _alone = alone();
        let owners = owners();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, from) = listener.accept().unwrap();
        client.write_all(b"one\n").unwrap();
        let mut one = [0; 4];
        (&server).read_exact(&mut one).unwrap();
        is_owner(&owners, Transport::Tcp, server.local_addr().unwrap(), from, std::process::id());
        let child =
            Child::start(std::process::Command::new("bash").args(["-c", "read line; echo $$ >&0; exec 0<&-"]).stdin(OwnedFd::from(server)));
        client.write_all(b"two\n").unwrap();
        let pid = read_pid(&client);
        assert_eq!(pid, child.pid());
        is_owner(&owners, Transport::Tcp, listener.local_addr().unwrap(), from, pid);
        is_owner(&owners, Transport::Tcp, from, listener.local_addr().unwrap(), std::process::id());
    });
}

#[test]
fn sockets_that_were_open_before_have_owners() {
    in_a_network("sockets_that_were_open_before_have_owners", || {
        let _alone = alone();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let child = Child::connected(server);
        let (_accepted, client) = listener.accept().unwrap();
        let datagrams = UdpSocket::bind("[::]:0").unwrap();
        let owners = owners();
        is_owner(&owners, Transport::Tcp, client, server, child.pid());
        is_owner(&owners, Transport::Tcp, server, client, std::process::id());
        let local = SocketAddr::from(([127, 0, 0, 1], datagrams.local_addr().unwrap().port()));
        is_owner(&owners, Transport::Udp, local, server, std::process::id());
    });
}

#[test]
fn processes_in_another_network_namespace_are_found() {
    in_a_network("processes_in_another_network_namespace_are_found", || {
        let _alone = alone();
        let owners = owners();
        run("ip addr add 192.0.2.1/24 dev va");
        run("ip link set va up");
        let listener = TcpListener::bind("192.0.2.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let script = format!("read; ip addr add 192.0.2.2/24 dev vb; ip link set vb up; echo $$ >/dev/tcp/192.0.2.1/{}", server.port());
        let mut child = Child::start(std::process::Command::new("unshare").args(["-n", "bash", "-c", &script]).stdin(Stdio::piped()));
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let its = format!("/proc/{}/ns/net", child.pid());
        wait_for("the namespace of the child", || std::fs::read_link(&its).ok().filter(|its| *its != own));
        run(&format!("ip link set vb netns {}", child.pid()));
        child.go();
        let (stream, client) = listener.accept().unwrap();
        let pid = read_pid(stream);
        child.wait();
        is_owner(&owners, Transport::Tcp, client, server, pid);
        let mut of = socket(Transport::Tcp, client, server);
        of.netns = Some(owners.netns);
        assert_eq!(owners.recorded(&of), None, "the socket is in another namespace than the wanted one");
        // The traffic is forwarded: no socket here has these ends, although a listener of the test has the port.
        assert_eq!(owners.owner(&socket(Transport::Tcp, SocketAddr::from(([192, 0, 2, 9], server.port())), client)), None);
    });
}

#[test]
fn many_processes_at_once_are_told_apart() {
    in_a_network("many_processes_at_once_are_told_apart", || {
        let _alone = alone();
        let owners = owners();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let script = format!("for n in {{1..25}}; do echo $$ >/dev/tcp/{}/{}; done", server.ip(), server.port());
        let children: Vec<Child> = (0..8).map(|_| Child::bash(&script)).collect();
        let accepting = thread::spawn(move || {
            (0..8 * 25).map(|_| listener.accept().unwrap()).map(|(stream, client)| (client, read_pid(stream))).collect::<Vec<_>>()
        });
        children.into_iter().for_each(Child::wait);
        for (client, pid) in accepting.join().unwrap() {
            is_owner(&owners, Transport::Tcp, client, server, pid);
        }
    });
}

#[test]
fn without_tracepoints_in_sends_and_receives_owners_are_found() {
    in_a_network("without_tracepoints_in_sends_and_receives_owners_are_found", || {
        let _alone = alone();
        let (owners, attached) = KernelOwners::with(false).unwrap();
        assert!(attached.contains("receives of TCP"), "{attached}");
        for bound in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(bound).unwrap();
            let server = listener.local_addr().unwrap();
            for _ in 0..20 {
                Child::bash(&format!("echo $$ >/dev/tcp/{}/{}", server.ip(), server.port())).wait();
                let (stream, client) = listener.accept().unwrap();
                let pid = read_pid(&stream);
                is_owner(&owners, Transport::Tcp, client, server, pid);
                is_owner(&owners, Transport::Tcp, server, client, std::process::id());
            }
            let datagrams = UdpSocket::bind(bound).unwrap();
            let address = datagrams.local_addr().unwrap();
            for _ in 0..5 {
                Child::helper(&format!("send {address}"), Stdio::null()).wait();
                let mut bytes = [0; 16];
                let (length, client) = datagrams.recv_from(&mut bytes).unwrap();
                let pid = std::str::from_utf8(&bytes[..length]).unwrap().parse().unwrap();
                is_owner(&owners, Transport::Udp, client, address, pid);
                is_owner(&owners, Transport::Udp, address, client, std::process::id());
            }
        }
    });
}
