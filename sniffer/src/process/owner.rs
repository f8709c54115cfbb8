//! The interface between finding the owner of a socket and describing the owner in documents.

use crate::{net::Transport, time::Timestamp};
use std::net::SocketAddr;

/// Finds the process at the local end of a connection.
///
/// One value is shared by all workers, which call it when they emit an event.
pub trait Owners: Send + Sync {
    /// The owner of the local socket: the process that used it last, even if that process has ended. `None`: the owner is not known, for
    /// example because the traffic is forwarded or `of.local` is another host. The method never waits.
    fn owner(&self, of: &Socket) -> Option<Owner>;

    /// The command that a process was started with, if its `execve` was seen. It is called for processes that have ended.
    fn command(&self, of: &Owner) -> Option<Command> {
        let _ = of;
        None
    }
}

/// One end of a connection or of a conversation of datagrams, as it is on the wire. The socket itself may be bound to an unspecified
/// address, or to an IPv4-mapped IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Socket {
    /// TCP or UDP. The owner of other transports is not known.
    pub transport: Transport,
    /// Address and port of the end whose owner is wanted.
    pub local: SocketAddr,
    /// Address and port of the other end.
    pub remote: SocketAddr,
    /// The inode number of the network namespace that the socket is in (`/proc/PID/ns/net`). `None`: any namespace of this host.
    pub netns: Option<u32>,
    /// A time of the wall clock at which the conversation took place. It distinguishes conversations between the same ends.
    pub time: Timestamp,
}

/// The process that owns a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The process id (of the thread group) in the initial pid namespace.
    pub pid: u32,
    /// When the process started, in nanoseconds of boot time (`CLOCK_BOOTTIME`). Pid and start identify a process; a pid is used again. The
    /// value may be rounded down to 10 ms, the resolution of `/proc/PID/stat`.
    pub start: u64,
    /// The effective user id in the initial user namespace.
    pub uid: u32,
    /// The name of the process (of the first thread, `/proc/PID/comm`), padded with zeros.
    pub comm: [u8; 16],
    /// The id of the process's cgroup of version 2: the inode number of its folder. 0: not known.
    pub cgroup: u64,
}

/// The command that a process was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The path of the program file; empty if it is not known. The path may be relative to a working directory that is not known.
    pub executable: Vec<u8>,
    /// The arguments, the name of the program included. The last ones may be missing.
    pub args: Vec<Vec<u8>>,
}
