//! System calls of the eBPF backend that aya does not offer: commands of `bpf(2)`, packet sockets, clocks. This module
//! does not know the programs of `sniffer-ebpf`.
#![allow(unsafe_code)] // system calls that neither aya nor the standard library wraps

mod bpf;
mod packet_socket;

pub use bpf::{
    ProgramKind, SOCKET_FILTER, TC, XDP, clear_slot, delete, load, lookup, lookup_batch, prog_array, ring_buffer, set, set_slot, table,
    test_run,
};
pub use packet_socket::{attach_filter, bind, packet_socket, promiscuous};

use std::{ffi::CStr, io};

/// Index and name of every interface.
pub fn interfaces() -> io::Result<Vec<(u32, String)>> {
    // SAFETY: the call takes no arguments. The code below frees the list that it returns.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut all = Vec::new();
    let mut entry = list;
    // SAFETY: the list is not null. It ends with an index of 0, every name before that is a string that ends with a zero byte, and the list
    // is freed once, after its last use.
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
    // SAFETY: the call takes no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel only writes to `time`, which lives for the call. The call cannot fail for the clocks that this module uses.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Nanoseconds since boot, including the time in suspend (`CLOCK_BOOTTIME`).
pub fn boot_time() -> u64 {
    clock(libc::CLOCK_BOOTTIME)
}

/// The difference in nanoseconds between wall-clock time and [`boot_time`]; added (wrapping) to a boot time, it gives the
/// wall-clock time. The clocks are read three times. The fastest reading is used, because an interruption between the
/// clocks makes a reading slower and less exact.
pub fn boot_to_wall() -> u64 {
    let reading = || {
        let before = boot_time();
        let wall = clock(libc::CLOCK_REALTIME);
        let after = boot_time();
        (after.wrapping_sub(before), wall.wrapping_sub(before.wrapping_add(after.wrapping_sub(before) / 2)))
    };
    [reading(), reading(), reading()].into_iter().min_by_key(|(took, _)| *took).map_or(0, |(_, offset)| offset)
}

/// Removes the limit of locked memory, against which kernels before 5.11 count BPF maps.
pub fn raise_memlock() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the kernel only reads `limit`, which lives for the call. A failure is ignored: on newer kernels the limit does not matter,
    // and on older ones the maps cannot be created, which is an error of its own.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}

/// The limit of locked memory in bytes. `None` if there is no limit, or if the kernel does not count BPF maps against it.
pub fn memlock() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: 0 };
    // SAFETY: the kernel only writes to `limit`, which lives for the call.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    Some(limit.rlim_cur).filter(|bytes| *bytes != libc::RLIM_INFINITY && kernel_version() < (5, 11))
}

/// Major and minor number of the kernel's version; zeros if the version cannot be read.
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
