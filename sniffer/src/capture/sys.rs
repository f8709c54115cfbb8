//! System calls that every backend needs: waiting for a descriptor, classic socket filters, interface index and
//! hardware type.
#![allow(unsafe_code)] // System calls that the standard library does not wrap.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

/// Result of [`wait_readable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// There is data to read, or the other end is closed and a read reports that.
    Readable,
    /// No data arrived within the wait, or a signal interrupted the wait.
    TimedOut,
    /// The descriptor is in an error state.
    Failed,
}

/// Waits until `fd` can be read, for at most `wait`, rounded up to milliseconds.
pub(super) fn wait_readable(fd: BorrowedFd<'_>, wait: Duration) -> io::Result<Ready> {
    let millis = i32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
    let mut polled = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer is to one `pollfd`, which lives for the call. The descriptor is borrowed, so it is open.
    match unsafe { libc::poll(&mut polled, 1, millis) } {
        0 => Ok(Ready::TimedOut),
        count if count > 0 && polled.revents & (libc::POLLERR | libc::POLLNVAL) != 0 => Ok(Ready::Failed),
        count if count > 0 => Ok(Ready::Readable),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(Ready::TimedOut),
            error => Err(error),
        },
    }
}

/// Attaches a classic BPF program to a socket (`SO_ATTACH_FILTER`). It replaces the previous one atomically.
///
/// # Errors
/// When the program has more than 65,535 instructions, or the kernel refuses it; the previous program then stays.
pub(super) fn attach_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::other("the filter has more than 65535 instructions"))?;
    // `sock_fprog` wants a mutable pointer, but the kernel does not write through it.
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads a `sock_fprog` and the instructions it points to, all of which live for the call.
    let result = unsafe {
        let value = (&raw const program).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, value, size_of_val(&program) as u32)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads the classic BPF program of a socket (`SO_GET_FILTER`); empty when it has none.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn attached_filter(socket: BorrowedFd<'_>) -> io::Result<Vec<libc::sock_filter>> {
    // For this option lengths count instructions, not bytes. `SO_GET_FILTER` has the same number as `SO_ATTACH_FILTER`,
    // for which libc has a constant.
    let get = |program: &mut [libc::sock_filter]| {
        let mut len = u32::try_from(program.len()).unwrap_or(u32::MAX);
        // SAFETY: `program` has room for `len` instructions, and the kernel writes at most that many. It writes nothing when `len` is 0.
        let result = unsafe {
            libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program.as_mut_ptr().cast(), &raw mut len)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(len as usize) }
    };
    let mut program = vec![libc::sock_filter { code: 0, jt: 0, jf: 0, k: 0 }; get(&mut [])?];
    if !program.is_empty() {
        get(&mut program)?;
    }
    Ok(program)
}

/// The kernel's index of an interface.
///
/// # Errors
/// When there is no interface of that name.
pub(super) fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name).map_err(io::Error::other)?;
    // SAFETY: `name` is a string that ends with a zero byte, and lives for the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// The name of an interface.
///
/// # Errors
/// When there is no interface with that index.
pub(super) fn interface_name(ifindex: u32) -> io::Result<String> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: the kernel writes at most IF_NAMESIZE bytes, with a zero at the end.
    if unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr().cast()) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    let name = CStr::from_bytes_until_nul(&name).map_err(io::Error::other)?;
    Ok(name.to_string_lossy().into_owned())
}

/// The hardware type of an interface, one of the `ARPHRD_` numbers of `linux/if_arp.h`.
///
/// # Errors
/// When there is no interface of that name.
pub(super) fn hardware_type(name: &str) -> io::Result<u16> {
    // SAFETY: `ifreq` consists of integers and pointers that may be null, for which all bytes zero are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    interface_request(name, libc::SIOCGIFHWADDR, &mut request)?;
    // SAFETY: the ioctl above fills this member of the union.
    Ok(unsafe { request.ifr_ifru.ifru_hwaddr.sa_family })
}

/// Whether an interface removes the VLAN tag of incoming frames and passes it on as metadata (`rx-vlan-offload` of ethtool).
///
/// # Errors
/// When there is no interface of that name, or the kernel refuses.
pub(super) fn strips_vlan_tags(name: &str) -> io::Result<bool> {
    /// `struct ethtool_value` of `linux/ethtool.h`.
    #[repr(C)]
    struct EthtoolValue {
        command: u32,
        data: u32,
    }
    const ETHTOOL_GFLAGS: u32 = 0x25;
    const ETH_FLAG_RXVLAN: u32 = 1 << 8;
    let mut flags = EthtoolValue { command: ETHTOOL_GFLAGS, data: 0 };
    // SAFETY: all bytes zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_ifru.ifru_data = (&raw mut flags).cast();
    interface_request(name, libc::SIOCETHTOOL, &mut request)?;
    Ok(flags.data & ETH_FLAG_RXVLAN != 0)
}

/// Calls an ioctl for the interface `name`, whose argument is `request`.
fn interface_request(name: &str, command: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    // One byte must stay zero to end the name.
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the call takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `socket` returned this descriptor and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the callers use ioctls that read and write an `ifreq`, and what it points to, which lives for the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), command, std::ptr::from_mut(request)) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
