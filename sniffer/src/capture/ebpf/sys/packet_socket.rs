//! Packet sockets (packet(7)). The eBPF backend attaches socket filters to them and sets interfaces promiscuous with them.

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opens a raw packet socket that receives no packets until [`bind`].
pub fn packet_socket() -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
    check(fd)?;
    // SAFETY: `socket` returned this descriptor and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches an eBPF program to a socket as its filter. The call fails with `ENOMEM` if the program is longer than `net.core.optmem_max`
/// bytes.
pub fn attach_filter(socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let program = program.as_raw_fd();
    // SAFETY: SO_ATTACH_BPF reads a descriptor of four bytes, which lives for the call.
    check(unsafe {
        let value = (&raw const program).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_BPF, value, size_of_val(&program) as u32)
    })
}

/// Starts to receive all packets of an interface, or of all interfaces if `ifindex` is 0.
pub fn bind(socket: BorrowedFd<'_>, ifindex: u32) -> io::Result<()> {
    // SAFETY: `sockaddr_ll` consists of integers, for which all bytes zero are valid.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = ifindex as i32;
    // SAFETY: the pointer and the length are those of the address, which lives until the call returns.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32) })
}

/// Sets the interface promiscuous. The kernel ends the promiscuous mode when the last socket that set it is closed.
pub fn promiscuous(socket: BorrowedFd<'_>, ifindex: u32) -> io::Result<()> {
    let request = libc::packet_mreq { mr_ifindex: ifindex as i32, mr_type: libc::PACKET_MR_PROMISC as u16, mr_alen: 0, mr_address: [0; 8] };
    // SAFETY: PACKET_ADD_MEMBERSHIP reads a `packet_mreq`, which lives for the call.
    check(unsafe {
        let value = (&raw const request).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, value, size_of_val(&request) as u32)
    })
}
