//! Lists the connected TCP sockets of this process. The function asks the kernel about each descriptor of the process, because
//! `/proc/net/tcp` would list the connections of the whole host, which may be very many.
#![allow(unsafe_code)] // System calls that the standard library does not wrap.

use crate::net::own::Socket;
use libc::{c_int, c_void, socklen_t};
use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::RawFd,
};

/// Maximum number of descriptors that are examined. The program opens a few hundred at most.
const MAX_DESCRIPTORS: usize = 16 << 10;
/// The socket option `SO_PEERNAME` (`asm-generic/socket.h`): the address of the other end. In contrast to
/// `getpeername`, it is known as soon as the SYN is sent.
const SO_PEERNAME: c_int = 28;
/// The socket option `SO_COOKIE` (`asm-generic/socket.h`).
const SO_COOKIE: c_int = 57;
/// Bytes of an address of IPv4 and its port.
const SOCKADDR_IN: usize = size_of::<libc::sockaddr_in>();
/// Bytes of an address of IPv6 and its port.
const SOCKADDR_IN6: usize = size_of::<libc::sockaddr_in6>();

/// The connected TCP sockets of this process, also those whose handshake is not complete.
///
/// # Errors
/// When `/proc/self/fd` cannot be read.
pub fn own_sockets() -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")?.take(MAX_DESCRIPTORS) {
        let name = entry?.file_name();
        if let Some(fd) = name.to_str().and_then(|name| name.parse().ok()) {
            sockets.extend(connection(fd));
        }
    }
    Ok(sockets)
}

/// The connection of a descriptor; `None` if the descriptor is not a connected TCP socket. Another thread may close the
/// descriptor or open it again at any time: then the result is that of another socket of this process, or `None`.
fn connection(fd: RawFd) -> Option<Socket> {
    let protocol = option::<4>(fd, libc::SO_PROTOCOL).map(c_int::from_ne_bytes);
    if !matches!(protocol, Some(libc::IPPROTO_TCP | libc::IPPROTO_MPTCP)) {
        return None;
    }
    let cookie = u64::from_ne_bytes(option::<8>(fd, SO_COOKIE)?);
    let mut name = [0; SOCKADDR_IN6];
    let mut length = SOCKADDR_IN6 as socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `name`, and `length` is its size. Both live until the call returns.
    let result = unsafe { libc::getsockname(fd, name.as_mut_ptr().cast::<libc::sockaddr>(), &raw mut length) };
    if result < 0 {
        return None;
    }
    let local = address(&name)?;
    // The kernel refuses a buffer that is longer than the address.
    let remote = match length as usize {
        SOCKADDR_IN => address(&option::<SOCKADDR_IN>(fd, SO_PEERNAME)?),
        _ => address(&option::<SOCKADDR_IN6>(fd, SO_PEERNAME)?),
    };
    Some(Socket { local, remote: remote?, cookie })
}

/// The value of a socket option that has at most `N` bytes; `None` if the descriptor has no such option. The bytes after the end of the
/// value are 0.
fn option<const N: usize>(fd: RawFd, name: c_int) -> Option<[u8; N]> {
    let mut value = [0; N];
    let mut length = N as socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, and `length` is its size. Both live until the call returns.
    let result = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, value.as_mut_ptr().cast::<c_void>(), &raw mut length) };
    (result == 0).then_some(value)
}

/// The address in a `sockaddr_in` or `sockaddr_in6`; `None` for another family, or without a port.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let [f0, f1, p0, p1, rest @ ..] = bytes else { return None };
    let port = u16::from_be_bytes([*p0, *p1]);
    let ip: IpAddr = match c_int::from(u16::from_ne_bytes([*f0, *f1])) {
        libc::AF_INET => Ipv4Addr::from(*rest.first_chunk::<4>()?).into(),
        // The address follows the flow information.
        libc::AF_INET6 => Ipv6Addr::from(*rest.get(4..)?.first_chunk::<16>()?).into(),
        _ => return None,
    };
    (port != 0).then(|| SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn connected_tcp_sockets_of_this_process() {
        for ip in ["127.0.0.1", "::1"] {
            let Ok(listener) = TcpListener::bind((ip, 0)) else { continue };
            let server = listener.local_addr().unwrap();
            let udp = UdpSocket::bind((ip, 0)).unwrap();
            udp.connect(server).unwrap();
            let client = TcpStream::connect(server).unwrap();
            let local = client.local_addr().unwrap();
            let of = |local: SocketAddr| own_sockets().unwrap().into_iter().filter(move |socket| socket.local == local).collect::<Vec<_>>();
            let found = of(local);
            assert!(matches!(found.as_slice(), [one] if one.remote == server && one.cookie != 0), "{found:?}");
            assert_eq!(of(udp.local_addr().unwrap()), []);
            assert!(of(server).iter().all(|socket| socket.remote == local), "a listening socket is not connected");
            drop(client);
            assert_eq!(of(local), [], "closed");
        }
    }

    #[test]
    fn a_connection_whose_handshake_is_not_complete() {
        // The backlog of the listener is full, so that further connections stay in the state SYN-SENT.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let code = 0;
        // SAFETY: the call takes no pointers.
        assert_eq!(unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&listener), code) }, 0);
        let first = TcpStream::connect(server).unwrap();
        let waiting = std::thread::spawn(move || TcpStream::connect_timeout(&server, std::time::Duration::from_secs(60)));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let found = loop {
            let all = own_sockets().unwrap();
            let others = all.iter().filter(|socket| socket.remote == server && socket.local != first.local_addr().unwrap()).count();
            if others > 0 || std::time::Instant::now() > deadline {
                break others;
            }
            std::thread::yield_now();
        };
        assert_eq!(found, 1);
        drop(listener);
        assert!(waiting.join().unwrap().is_err());
    }
}
