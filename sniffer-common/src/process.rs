//! Owners of sockets and commands of processes, as the programs of `sniffer-ebpf/src/processes` record them. Their maps are LRU maps: when
//! one is full, the entry that was not used for longest makes room.

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Maximum number of sockets whose owners are recorded.
pub const SOCKETS: u32 = 1 << 17;
/// Maximum number of TCP connections that are being opened and whose processes are recorded.
pub const OPENING: u32 = 1 << 14;
/// Maximum number of processes whose commands are recorded.
pub const COMMANDS: u32 = 1 << 13;
/// Longest path of a program file that is recorded, in bytes.
pub const MAX_EXECUTABLE: usize = 256;
/// Maximum number of bytes of arguments that are recorded.
pub const MAX_ARGUMENTS: usize = 1024;
/// After this many nanoseconds, the use of a socket by the same process is recorded again, so that its entry is not the oldest.
pub const REFRESH_NS: u64 = 10_000_000_000;

/// Identifies a socket. Addresses and ports are those to which the socket is bound and connected, not those of a packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct SocketKey {
    /// The inode number of the network namespace if `local` or `remote` is an address that every namespace has: a loopback address, or, in a
    /// socket without a remote end, the unspecified address. Otherwise 0.
    pub netns: u32,
    /// One of [`crate::protocol::TCP`] and [`crate::protocol::UDP`].
    pub transport: u16,
    /// The local port in host byte order.
    pub local_port: u16,
    /// The remote port in host byte order; 0 if the socket has no remote end.
    pub remote_port: u16,
    /// Always 0.
    pub reserved: u16,
    /// The local address in network byte order, an IPv4 address as an IPv4-mapped one. All zeros if the socket has a remote end and is bound
    /// to no address.
    pub local: [u32; 4],
    /// The remote address in the same form; all zeros if the socket has no remote end.
    pub remote: [u32; 4],
}

/// The third word of an IPv4-mapped IPv6 address, in network byte order.
pub const MAPPED: u32 = 0xffff_u32.to_be();

impl SocketKey {
    /// Sets the fields to 0 that are documented to be 0 for this kind of socket. Before the call, `netns` must be the namespace of the socket.
    #[inline(always)]
    pub fn scope(&mut self) {
        if self.remote_port == 0 {
            self.remote = [0; 4];
            if !is_unspecified(&self.local) && !is_loopback(&self.local) {
                self.netns = 0;
            }
        } else {
            if is_unspecified(&self.local) {
                self.local = [0; 4];
            }
            if !is_loopback(&self.local) && !is_loopback(&self.remote) {
                self.netns = 0;
            }
        }
    }
}

#[inline(always)]
fn is_unspecified(address: &[u32; 4]) -> bool {
    address[0] | address[1] | address[3] == 0 && (address[2] == 0 || address[2] == MAPPED)
}

/// Whether `address`, in the form of [`SocketKey::local`], is a loopback address.
#[inline(always)]
pub fn is_loopback(address: &[u32; 4]) -> bool {
    let is_v4 = address[2] == MAPPED && u32::from_be(address[3]) >> 24 == 127;
    let is_v6 = address[2] == 0 && address[3] == 1_u32.to_be();
    address[0] | address[1] == 0 && (is_v4 || is_v6)
}

/// The process that used a socket last.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct SocketOwner {
    /// When the process started: `CLOCK_BOOTTIME` in nanoseconds.
    pub start: u64,
    /// The id of the process's cgroup of version 2.
    pub cgroup: u64,
    /// The process id of the thread group, in the initial namespace.
    pub pid: u32,
    /// The effective user id in the initial user namespace.
    pub uid: u32,
    /// The inode number of the socket's network namespace.
    pub netns: u32,
    /// Always 0.
    pub reserved: u32,
    /// The name of the first thread.
    pub comm: [u8; 16],
}

/// Identifies a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct ProcessKey {
    /// When the process started, in the form of [`SocketOwner::start`].
    pub start: u64,
    /// The process id, in the form of [`SocketOwner::pid`].
    pub pid: u32,
    /// Always 0.
    pub reserved: u32,
}

/// The command of a process: what it executed last.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Command {
    /// Bytes of [`Self::executable`], its final zero byte included.
    pub executable_len: u32,
    /// Bytes of [`Self::arguments`].
    pub arguments_len: u32,
    /// The path as it was given to `execve`.
    pub executable: [u8; MAX_EXECUTABLE],
    /// The arguments, each with a final zero byte; the last one may be cut.
    pub arguments: [u8; MAX_ARGUMENTS],
}

/// Offsets at which the programs read fields of `struct sock_common`. All kernels that have these programs' helpers have the fields there;
/// user space compares the numbers with the kernel's type information before it attaches the programs.
pub mod sock_common {
    /// The remote address (IPv4), in network byte order; the local address follows.
    pub const ADDRESSES: usize = 0;
    /// The remote port in network byte order; the local port in host byte order follows.
    pub const PORTS: usize = 12;
    /// The address family.
    pub const FAMILY: usize = 16;
    /// A pointer to the network namespace.
    pub const NETNS: usize = 48;
    /// The remote address (IPv6).
    pub const REMOTE_V6: usize = 56;
    /// The local address (IPv6).
    pub const LOCAL_V6: usize = 72;
    /// Bytes up to the end of these fields.
    pub const LENGTH: usize = 88;
}

/// Names of the global variables with the offsets of fields that user space finds in the kernel's type information.
pub mod offset {
    /// `sock.sk_protocol`.
    pub const SOCK_PROTOCOL: &str = "SOCK_PROTOCOL";
    /// `inet_sock.inet_sport`.
    pub const INET_LOCAL_PORT: &str = "INET_LOCAL_PORT";
    /// `net.ns.inum`.
    pub const NETNS_INODE: &str = "NETNS_INODE";
    /// `task_struct.group_leader`.
    pub const TASK_LEADER: &str = "TASK_LEADER";
    /// `task_struct.start_boottime`.
    pub const TASK_START: &str = "TASK_START";
    /// `task_struct.comm`.
    pub const TASK_COMM: &str = "TASK_COMM";
    /// `task_struct.cred`.
    pub const TASK_CRED: &str = "TASK_CRED";
    /// `task_struct.mm`.
    pub const TASK_MM: &str = "TASK_MM";
    /// `task_struct.nsproxy`.
    pub const TASK_NSPROXY: &str = "TASK_NSPROXY";
    /// `nsproxy.net_ns`.
    pub const NSPROXY_NETNS: &str = "NSPROXY_NETNS";
    /// `cred.euid`.
    pub const CRED_EUID: &str = "CRED_EUID";
    /// `mm_struct.arg_start`.
    pub const MM_ARG_START: &str = "MM_ARG_START";
    /// `mm_struct.arg_end`.
    pub const MM_ARG_END: &str = "MM_ARG_END";
    /// `linux_binprm.filename`.
    pub const BINPRM_FILENAME: &str = "BINPRM_FILENAME";
}
