//! Finds the owner of a socket without eBPF: asks the kernel for the one socket (`sock_diag`), then searches /proc for the process that has
//! it open. Only sockets that are still open are found, and only those in the program's own network namespace.

pub(super) mod inodes;
mod netlink;
#[cfg(test)]
mod tests;

use super::{
    local::LocalAddresses,
    netns::own_netns,
    owner::{Owner, Owners, Socket},
};
use crate::net::Transport;
use inodes::Inodes;
use netlink::{Diag, Ends};
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Finds owners by `sock_diag` and /proc.
pub struct DiagOwners {
    inner: Mutex<Inner>,
    local: LocalAddresses,
    /// The inode number of the program's network namespace.
    netns: u32,
}

struct Inner {
    diag: Diag,
    inodes: Inodes,
}

impl DiagOwners {
    /// Opens the socket through which the kernel is asked.
    ///
    /// # Errors
    /// The kernel has no `sock_diag`, or /proc cannot be read.
    pub fn new() -> io::Result<Self> {
        let inner = Inner { diag: Diag::new()?, inodes: Inodes::default() };
        Ok(Self { inner: Mutex::new(inner), local: LocalAddresses::default(), netns: own_netns()? })
    }
}

impl Owners for DiagOwners {
    fn owner(&self, of: &Socket) -> Option<Owner> {
        let now = Instant::now();
        if of.netns.is_some_and(|netns| netns != self.netns) {
            return None;
        }
        let (local, remote) = (canonical(of.local), canonical(of.remote));
        if !self.local.contains(local.ip(), now) {
            return None;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { diag, inodes } = &mut *inner;
        let inode = inode(diag, of.transport, local, remote)?;
        inodes.owner(inode, now)
    }
}

/// The inode number of the socket at `local`.
fn inode(diag: &mut Diag, transport: Transport, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let nobody = SocketAddr::new(if local.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }, 0);
    match transport {
        Transport::Tcp => {
            // A connection that no process has accepted has no inode. The process that listens will accept it.
            [remote, nobody]
                .into_iter()
                .find_map(|remote| diag.find(transport, Ends { local, remote }).ok()?.map(|found| found.inode).filter(|i| *i != 0))
        }
        Transport::Udp => {
            // Linux before 5.9 looks for datagram sockets with the two ends exchanged. The reply has the socket's own ends.
            let found = [Ends { local, remote }, Ends { local: remote, remote: local }]
                .into_iter()
                .filter_map(|ends| diag.find(transport, ends).ok()?);
            let is_ours =
                |found: &netlink::Found| found.local_port == local.port() && (found.remote_port == 0 || found.remote_port == remote.port());
            found.filter(is_ours).map(|found| found.inode).find(|inode| *inode != 0)
        }
        _ => None,
    }
}

/// An address without IPv4-mapped IPv6: on the wire it is IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
