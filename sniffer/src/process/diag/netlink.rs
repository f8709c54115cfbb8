//! Asks the kernel for one socket over netlink (`sock_diag(7)`, `include/uapi/linux/inet_diag.h`).
#![allow(unsafe_code)] // system calls on a netlink socket

use crate::net::Transport;
use libc::{IPPROTO_TCP, IPPROTO_UDP, NETLINK_SOCK_DIAG, NLM_F_REQUEST, NLMSG_ERROR};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// The message type `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of a request: `struct nlmsghdr` and `struct inet_diag_req_v2`.
const REQUEST: usize = HEADER + 56;
/// Bytes of the buffer for a reply. The kernel sends one message of at most some hundred bytes.
const REPLY: usize = 4096;
/// Maximum number of replies to earlier requests that are skipped.
const MAX_STALE: usize = 16;

/// The two ends of a socket.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The end of the socket.
    pub local: SocketAddr,
    /// The other end. A port 0 means a socket that is not connected.
    pub remote: SocketAddr,
}

/// What the kernel says about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The inode number of the socket; 0 if no process has it open.
    pub inode: u32,
    pub local_port: u16,
    /// The port of the other end; 0 if the socket is not connected.
    pub remote_port: u16,
}

/// A netlink socket for requests.
#[derive(Debug)]
pub struct Diag {
    socket: OwnedFd,
    sequence: u32,
}

impl Diag {
    /// Opens the socket.
    pub fn new() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, NETLINK_SOCK_DIAG) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `socket` returned this descriptor and nothing else owns it.
        Ok(Self { socket: unsafe { OwnedFd::from_raw_fd(fd) }, sequence: 0 })
    }

    /// The socket with these ends, or the one that would get a packet for `ends.local`. `None`: there is none. The kernel answers during the
    /// request, so that the call does not wait.
    pub fn find(&mut self, transport: Transport, ends: Ends) -> io::Result<Option<Found>> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(self.sequence, transport, ends)?;
        // SAFETY: the pointer and the length are those of the request, which lives until the call returns.
        if unsafe { libc::send(self.socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut reply = [0; REPLY];
        for _ in 0..MAX_STALE {
            // SAFETY: the kernel writes at most as many bytes as the buffer holds.
            let got = unsafe { libc::recv(self.socket.as_raw_fd(), reply.as_mut_ptr().cast(), reply.len(), 0) };
            let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
            let reply = reply.get(..got).unwrap_or_default();
            if word(reply, 8) == Some(self.sequence) {
                return read(reply);
            }
        }
        Err(io::Error::other("the kernel does not answer a sock_diag request"))
    }
}

/// The bytes of a request.
fn request(sequence: u32, transport: Transport, Ends { local, remote }: Ends) -> io::Result<Vec<u8>> {
    let (family, protocol) = match (transport, local) {
        (Transport::Tcp, SocketAddr::V4(_)) => (libc::AF_INET, IPPROTO_TCP),
        (Transport::Tcp, SocketAddr::V6(_)) => (libc::AF_INET6, IPPROTO_TCP),
        (Transport::Udp, SocketAddr::V4(_)) => (libc::AF_INET, IPPROTO_UDP),
        (Transport::Udp, SocketAddr::V6(_)) => (libc::AF_INET6, IPPROTO_UDP),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let mut bytes = Vec::with_capacity(REQUEST);
    bytes.extend((REQUEST as u32).to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST as u16).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes()); // the port of the receiver: the kernel
    bytes.extend([family as u8, protocol as u8, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes()); // every state
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(remote.port().to_be_bytes());
    for address in [local.ip(), remote.ip()] {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets().into_iter().chain([0; 12])),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    bytes.extend(0_u32.to_ne_bytes()); // any interface
    bytes.extend([0xff; 8]); // any socket cookie
    Ok(bytes)
}

/// Reads a reply: a `struct inet_diag_msg`, or an error.
fn read(reply: &[u8]) -> io::Result<Option<Found>> {
    if half(reply, 4).map(i32::from) == Some(NLMSG_ERROR) {
        let error = word(reply, HEADER).map_or(0, |error| (error as i32).wrapping_neg());
        return if error == libc::ENOENT { Ok(None) } else { Err(io::Error::from_raw_os_error(error)) };
    }
    let port = |at| half(reply, at).map(u16::from_be);
    let (Some(local_port), Some(remote_port), Some(inode)) = (port(HEADER + 4), port(HEADER + 6), word(reply, HEADER + 68)) else {
        return Err(io::Error::other("a sock_diag reply is too short"));
    };
    Ok(Some(Found { inode, local_port, remote_port }))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}
