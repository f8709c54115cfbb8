//! System calls of the eBPF backend that aya does not offer: `bpf(2)`, packet sockets, clocks. This module does not depend on what the eBPF
//! programs do.
#![allow(unsafe_code)] // system calls that neither aya nor the standard library wraps

mod bpf;
mod packet_socket;

pub use bpf::{
    ProgramKind, SOCKET_FILTER, TC, XDP, clear_slot, delete, load, lookup_batch, prog_array, ring_buffer, set, set_slot, test_run,
};
pub use packet_socket::{attach_filter, bind, packet_socket, promiscuous};

use std::{ffi::CStr, io};

/// Index and name of every interface.
pub fn interfaces() -> io::Result<Vec<(u32, String)>> {
    // SAFETY: no arguments; the list is freed below.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut all = Vec::new();
    let mut entry = list;
    // SAFETY: the list ends with an index of 0, and its names are strings.
    unsafe {
        while (*entry).if_index != 0 {
            all.push(((*entry).if_index, CStr::from_ptr((*entry).if_name).to_string_lossy().into_owned()));
            entry = entry.add(1);
        }
        libc::if_freenameindex(list);
    }
    Ok(all)
}

/// Whether the process runs as root (effective user id 0).
pub fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call only writes to `time`. It cannot fail for the clocks that this module uses.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Nanoseconds since boot, including suspended time.
pub fn boot_time() -> u64 {
    clock(libc::CLOCK_BOOTTIME)
}

/// The offset in nanoseconds to add (wrapping) to a boot time to get the wall-clock time. Takes three readings and uses
/// the one that took the least time, because it was interrupted the least.
pub fn boot_to_wall() -> u64 {
    let reading = || {
        let before = boot_time();
        let wall = clock(libc::CLOCK_REALTIME);
        let after = boot_time();
        (after.wrapping_sub(before), wall.wrapping_sub(before.wrapping_add(after.wrapping_sub(before) / 2)))
    };
    [reading(), reading(), reading()].into_iter().min_by_key(|(took, _)| *took).map_or(0, |(_, offset)| offset)
}

/// Removes the limit of locked memory: kernels before 5.11 count BPF maps against it.
pub fn raise_memlock() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is only read. A failure is ignored: newer kernels need no limit, and on older ones loading the
    // maps fails with its own error.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}

/// The limit of locked memory in bytes, if this kernel counts BPF maps against it.
pub fn memlock() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: 0 };
    // SAFETY: the call only writes to `limit`.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    Some(limit.rlim_cur).filter(|bytes| *bytes != libc::RLIM_INFINITY && kernel_version() < (5, 11))
}

/// Major and minor number of the kernel's version; zeros if it cannot be read.
pub fn kernel_version() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether the process has the capability CAP_BPF or CAP_SYS_ADMIN.
pub fn may_use_bpf() -> bool {
    const BITS: u64 = 1 << 39 | 1 << 21;
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    effective.is_some_and(|effective| effective & BITS != 0)
}
