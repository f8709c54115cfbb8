//! Records the processes that connect sockets, listen with them, send and receive.

use crate::{
    maps::{Ends, INET_LOCAL_PORT, OPENING, SOCK_PROTOCOL, SOCKETS, USES, Use},
    tasks,
};
use aya_ebpf::{
    bindings::{BPF_ANY, BPF_SK_STORAGE_GET_F_CREATE},
    helpers::generated::{bpf_ktime_get_ns, bpf_sk_storage_get},
};
use core::ptr::null_mut;
use sniffer_common::{
    process::{MAPPED, REFRESH_NS, SocketKey, sock_common},
    protocol,
};

/// Address families (`AF_INET`, `AF_INET6`).
const IPV4: u16 = 2;
const IPV6: u16 = 10;
/// States of TCP, `include/net/tcp_states.h`.
const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
const SYN_RECEIVED: i32 = 3;
const CLOSED: i32 = 7;
const LISTENING: i32 = 10;
/// `IPPROTO_MPTCP`. Such a socket counts as TCP, because its packets on the wire are TCP segments.
const MPTCP: u16 = 262;
/// The beginning of `struct sock_common`, in words.
type Common = [u32; sock_common::LENGTH / 4];

/// The state of a TCP socket changes. A process connects or listens in a system call; the other changes happen in whatever process runs.
#[inline(always)]
pub fn state(socket: u64, old: i32, new: i32) {
    match (old, new) {
        (CLOSED, SYN_SENT) => {
            let common: Common = tasks::read(socket);
            let _ = OPENING.insert(&socket, &tasks::owner(netns(&common)), BPF_ANY.into());
        }
        (SYN_SENT, _) => {
            if let Some(owner) = OPENING.get_ptr(&socket)
                && let Some((key, _)) = key(socket)
            {
                // SAFETY: the map returned the pointer, and the memory of the value stays valid until the program ends (RCU). Only events
                // of this socket change the value.
                let _ = SOCKETS.insert(&key, unsafe { &*owner }, BPF_ANY.into());
            }
            let _ = OPENING.remove(&socket);
        }
        (CLOSED, LISTENING) => remember(socket),
        // The ends of this connection may have been those of an earlier one.
        (SYN_RECEIVED, ESTABLISHED) => {
            if let Some((key, _)) = key(socket) {
                let _ = SOCKETS.remove(&key);
            }
        }
        _ => {}
    }
}

/// The current process has sent or received `length` bytes with a socket. `socket` is a trusted pointer to `struct sock`, which the program
/// may read directly.
#[inline(always)]
pub fn used(socket: *const u8, length: i32) {
    // Several processes may wait for the same data. A process that got no data is not recorded as the owner.
    if length <= 0 {
        return;
    }
    // SAFETY: the verifier checks that the field is inside of `struct sock`.
    let family = unsafe { socket.add(sock_common::FAMILY).cast::<u16>().read_volatile() };
    if family != IPV4 && family != IPV6 {
        return;
    }
    // SAFETY: the helper has no arguments.
    let (ends, time) = (ends(socket), unsafe { bpf_ktime_get_ns() });
    let last = storage(socket, BPF_SK_STORAGE_GET_F_CREATE.into());
    if !last.is_null() {
        // SAFETY: the helper returned the pointer to a value that exists as long as the socket. If two threads use the socket at the same
        // time, the values of one of them remain.
        unsafe {
            let known = &(*last).ends;
            let same = known.pid == ends.pid
                && known.ports == ends.ports
                && known.addresses == ends.addresses
                && known.remote_v6[0] == ends.remote_v6[0]
                && known.remote_v6[1] == ends.remote_v6[1];
            if same && time.wrapping_sub((*last).time) < REFRESH_NS {
                return;
            }
            mark(last, &ends, time);
        }
    }
    remember(socket as u64);
}

/// Like [`state`], where sockets have local storage. The first use of a connection by the process that opened it then costs little, too.
#[inline(always)]
pub fn state_of_trusted(socket: *const u8, old: i32, new: i32) {
    match (old, new) {
        (CLOSED, SYN_SENT) => {
            let last = storage(socket, BPF_SK_STORAGE_GET_F_CREATE.into());
            if !last.is_null() {
                let common: Common = tasks::read(socket as u64);
                // SAFETY: the helper returned the pointer to a value that exists as long as the socket. No other program uses the field.
                unsafe { (*last).opener = tasks::owner(netns(&common)) };
            }
        }
        (SYN_SENT, _) => {
            let last = storage(socket, 0);
            if !last.is_null()
                && let Some((key, _)) = key(socket as u64)
            {
                // SAFETY: as above.
                unsafe {
                    let _ = SOCKETS.insert(&key, &(*last).opener, BPF_ANY.into());
                    let ends = Ends { pid: (*last).opener.pid, ..ends(socket) };
                    mark(last, &ends, bpf_ktime_get_ns());
                }
            }
        }
        _ => state(socket as u64, old, new),
    }
}

/// The last use of a socket; null if it has none. `socket` is a trusted pointer.
#[inline(always)]
fn storage(socket: *const u8, flags: u64) -> *mut Use {
    // SAFETY: the map is a socket storage, and `socket` is a trusted pointer to a socket, which the verifier checks.
    unsafe { bpf_sk_storage_get((&raw const USES).cast_mut().cast(), socket.cast_mut().cast(), null_mut(), flags) }.cast()
}

/// The ends of a socket and the current process. `socket` is a trusted pointer.
#[inline(always)]
fn ends(socket: *const u8) -> Ends {
    // SAFETY: the verifier checks that the fields are inside of `struct sock`.
    unsafe {
        let remote_v6 = socket.add(sock_common::REMOTE_V6).cast::<u64>();
        Ends {
            addresses: socket.add(sock_common::ADDRESSES).cast::<u64>().read_volatile(),
            remote_v6: [remote_v6.read_volatile(), remote_v6.add(1).read_volatile()],
            ports: socket.add(sock_common::PORTS).cast::<u32>().read_volatile(),
            pid: tasks::pid(),
        }
    }
}

/// Sets the last use field by field. To copy the structure the compiler would call a function, which needs stack.
///
/// # Safety
/// `last` must be a value of [`USES`].
#[inline(always)]
unsafe fn mark(last: *mut Use, ends: &Ends, time: u64) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        (*last).time = time;
        (*last).ends.addresses = ends.addresses;
        (*last).ends.remote_v6[0] = ends.remote_v6[0];
        (*last).ends.remote_v6[1] = ends.remote_v6[1];
        (*last).ends.ports = ends.ports;
        (*last).ends.pid = ends.pid;
    }
}

/// Records the current process as the owner of a socket.
#[inline(always)]
pub fn remember(socket: u64) {
    if let Some((key, netns)) = key(socket) {
        let _ = SOCKETS.insert(&key, &tasks::owner(netns), BPF_ANY.into());
    }
}

/// The key of a socket, and its network namespace. `None` if the socket is neither TCP nor UDP, or has no local port.
#[inline(always)]
fn key(socket: u64) -> Option<(SocketKey, u32)> {
    let common: Common = tasks::read(socket);
    let transport = match tasks::field::<u16>(socket, &SOCK_PROTOCOL) {
        MPTCP => u16::from(protocol::TCP),
        other => other,
    };
    if transport != u16::from(protocol::TCP) && transport != u16::from(protocol::UDP) {
        return None;
    }
    // The local port in `sock_common` is 0 when a connection could not be opened.
    let local_port = u16::from_be(tasks::field(socket, &INET_LOCAL_PORT));
    let (mut local, mut remote) = ([0; 4], [0; 4]);
    match common[sock_common::FAMILY / 4] as u16 {
        IPV4 => {
            (remote[2], local[2]) = (MAPPED, MAPPED);
            remote[3] = common[sock_common::ADDRESSES / 4];
            local[3] = common[sock_common::ADDRESSES / 4 + 1];
        }
        IPV6 => {
            const REMOTE: usize = sock_common::REMOTE_V6 / 4;
            const LOCAL: usize = sock_common::LOCAL_V6 / 4;
            remote = [common[REMOTE], common[REMOTE + 1], common[REMOTE + 2], common[REMOTE + 3]];
            local = [common[LOCAL], common[LOCAL + 1], common[LOCAL + 2], common[LOCAL + 3]];
        }
        _ => return None,
    }
    if local_port == 0 {
        return None;
    }
    // The remote port is the lower half of the word.
    let remote_port = u16::from_be(common[sock_common::PORTS / 4] as u16);
    let netns = netns(&common);
    let mut key = SocketKey { netns, transport, local_port, remote_port, reserved: 0, local, remote };
    key.scope();
    Some((key, netns))
}

/// The network namespace of a socket.
#[inline(always)]
fn netns(common: &Common) -> u32 {
    const AT: usize = sock_common::NETNS / 4;
    tasks::netns_inode(u64::from(common[AT]) | u64::from(common[AT + 1]) << 32)
}
