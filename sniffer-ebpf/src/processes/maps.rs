//! Maps and global variables, which the programs share with user space.

use aya_ebpf::{
    Global,
    btf_maps::{LruHashMap, PerCpuArray, SkStorage},
    macros::btf_map,
};
use sniffer_common::process::{self, Command, ProcessKey, SocketKey, SocketOwner};

/// The process that used each socket last.
#[btf_map]
pub static SOCKETS: LruHashMap<SocketKey, SocketOwner, { process::SOCKETS as usize }> = LruHashMap::new();

/// The processes that are opening TCP connections, on kernels where [`USES`] does not have them. The key is the address of the socket in the
/// kernel's memory: the connection has no local port yet.
#[btf_map]
pub static OPENING: LruHashMap<u64, SocketOwner, { process::OPENING as usize }> = LruHashMap::new();

/// The command that each process executed last.
#[btf_map]
pub static COMMANDS: LruHashMap<ProcessKey, Command, { process::COMMANDS as usize }> = LruHashMap::new();

/// The command that each CPU is recording. It is in a map, because it is too large for the stack.
#[btf_map]
pub static COMMAND: PerCpuArray<Command, 1> = PerCpuArray::new();

/// The last use of each socket, so that its next use by the same process costs little.
#[btf_map]
pub static USES: SkStorage<Use> = SkStorage::new();

/// The use of a socket by a process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Use {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub time: u64,
    /// The ends of the socket and the process at that time. If they differ now, the socket was connected to another end or handed on.
    pub ends: Ends,
    /// The process that called `connect`. Only [`crate::sockets::state_of_trusted`] uses the field.
    pub opener: SocketOwner,
}

/// Addresses and ports in the form of `struct sock_common`, and the process that uses the socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ends {
    pub addresses: u64,
    pub remote_v6: [u64; 2],
    pub ports: u32,
    pub pid: u32,
}

// Offsets of fields, see `sniffer_common::process::offset`.
#[unsafe(no_mangle)]
pub static SOCK_PROTOCOL: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static INET_LOCAL_PORT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static NETNS_INODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static TASK_LEADER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static TASK_START: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static TASK_COMM: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static TASK_CRED: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static TASK_MM: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static TASK_NSPROXY: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static NSPROXY_NETNS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static CRED_EUID: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static MM_ARG_START: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static MM_ARG_END: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static BINPRM_FILENAME: Global<u32> = Global::new(0);
