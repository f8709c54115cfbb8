//! Options of `AF_PACKET` sockets as safe Rust functions (packet(7), `linux/if_packet.h`).
#![allow(unsafe_code)] // socket options and addresses that the standard library does not wrap

use super::SocketFilter;
use crate::capture::sys;
use std::{
    io,
    mem::{size_of, size_of_val, zeroed},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// `tp_frame_size` in bytes. With `TPACKET_V3` the value only has to pass the kernel's checks, because blocks hold packets of any size.
const FRAME: u32 = 2048;
/// The kernel hands over a block that is not full after this time. This is the longest time that a packet waits while there is little
/// traffic.
const RETIRE_MILLIS: u32 = 20;

pub(super) struct Socket(OwnedFd);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Counters of `PACKET_STATISTICS` since they were last read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    /// Packets that passed the filter, including the lost ones.
    pub packets: u32,
    pub lost: u32,
}

impl Socket {
    /// Opens a socket that receives nothing until it is bound.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `socket` returned this descriptor and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn set<T: Copy>(&self, level: i32, option: i32, value: &T) -> io::Result<()> {
        // SAFETY: the kernel reads `size_of::<T>()` bytes at `value`, which is a reference to a `T`. `T` is plain data of `repr(C)`.
        let result = unsafe { libc::setsockopt(self.0.as_raw_fd(), level, option, (&raw const *value).cast(), size_of::<T>() as u32) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn get<T: Copy>(&self, level: i32, option: i32, mut value: T) -> io::Result<T> {
        let mut len = size_of::<T>() as u32;
        // SAFETY: the kernel writes at most `len` bytes into `value`, which is plain data of `repr(C)` and valid whatever is written.
        let result = unsafe { libc::getsockopt(self.0.as_raw_fd(), level, option, (&raw mut value).cast(), &mut len) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
    }

    /// Requests a receive ring of `blocks` blocks of `block_size` bytes, to be mapped afterwards.
    pub(super) fn ring(&self, block_size: u32, blocks: u32) -> io::Result<()> {
        self.set(libc::SOL_PACKET, libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V3 as i32))?;
        let request = libc::tpacket_req3 {
            tp_block_size: block_size,
            tp_block_nr: blocks,
            tp_frame_size: FRAME,
            tp_frame_nr: block_size / FRAME * blocks,
            tp_retire_blk_tov: RETIRE_MILLIS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        self.set(libc::SOL_PACKET, libc::PACKET_RX_RING, &request)
    }

    /// Attaches `filter`, which replaces the previous filter atomically.
    pub(super) fn filter(&self, filter: &SocketFilter, snaplen: u32) -> io::Result<()> {
        const RETURN: u16 = 0x06;
        let program: Vec<libc::sock_filter> = match filter {
            SocketFilter::None => vec![libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: snaplen }],
            SocketFilter::Classic(program) => {
                // With `TPACKET_V3` the kernel copies as many bytes as the filter returns, so the return values are
                // limited to the snap length.
                let cut = |code, k: u32| if code == RETURN { k.min(snaplen) } else { k };
                program.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k: cut(code, k) }).collect()
            }
            SocketFilter::Ebpf(program) => return self.set(libc::SOL_SOCKET, libc::SO_ATTACH_BPF, &program.as_raw_fd()),
        };
        sys::attach_filter(self.as_fd(), &program)
    }

    /// Attaches a filter that rejects every packet.
    pub(super) fn reject_all(&self) -> io::Result<()> {
        sys::attach_filter(self.as_fd(), &[libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 }])
    }

    /// Starts to receive from one interface, or from all of them if `ifindex` is 0.
    pub(super) fn bind(&self, ifindex: u32) -> io::Result<()> {
        // SAFETY: `sockaddr_ll` consists of integers, for which all bytes zero are valid.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = ifindex.cast_signed();
        // SAFETY: the pointer is to a `sockaddr_ll` that lives until the call returns, and the length is its size.
        let result = unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sets the interface promiscuous. The kernel ends the promiscuous mode when the last socket that set it is closed.
    pub(super) fn promiscuous(&self, ifindex: u32) -> io::Result<()> {
        let request = libc::packet_mreq {
            mr_ifindex: ifindex.cast_signed(),
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        self.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
    }

    /// Excludes packets that this host sends. On loopback these packets are seen a second time as incoming packets. This needs Linux 4.20.
    pub(super) fn ignore_outgoing(&self) -> io::Result<()> {
        self.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1_i32)
    }

    /// Joins a fanout group. The sockets of the group share the traffic by a hash that is the same for both directions of a flow. The
    /// kernel reassembles fragments before it computes the hash. `None` makes a new group with an unused number. Returns the group's
    /// number.
    pub(super) fn join(&self, group: Option<u16>) -> io::Result<u16> {
        let mut kind = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_DEFRAG;
        if group.is_none() {
            kind |= libc::PACKET_FANOUT_FLAG_UNIQUEID;
        }
        self.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &(u32::from(group.unwrap_or(0)) | kind << 16))?;
        let joined = self.get(libc::SOL_PACKET, libc::PACKET_FANOUT, 0_u32)?;
        Ok(joined as u16)
    }

    /// Reads the counters; the kernel resets them when they are read.
    pub(super) fn counted(&self) -> io::Result<Counted> {
        let zero = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
        let stats = self.get(libc::SOL_PACKET, libc::PACKET_STATISTICS, zero)?;
        Ok(Counted { packets: stats.tp_packets, lost: stats.tp_drops })
    }

    /// Reads and clears the pending error of the socket.
    pub(super) fn error(&self) -> io::Result<Option<io::Error>> {
        match self.get(libc::SOL_SOCKET, libc::SO_ERROR, 0_i32)? {
            0 => Ok(None),
            code => Ok(Some(io::Error::from_raw_os_error(code))),
        }
    }

    /// Whether the interface that the socket was bound to no longer exists.
    pub(super) fn is_orphaned(&self) -> io::Result<bool> {
        // SAFETY: `sockaddr_ll` consists of integers, for which all bytes zero are valid.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        let mut len = size_of_val(&address) as u32;
        // SAFETY: the kernel writes at most `len` bytes to `address`, and `len` is its size.
        if unsafe { libc::getsockname(self.0.as_raw_fd(), (&raw mut address).cast(), &mut len) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(address.sll_ifindex < 0)
    }
}
