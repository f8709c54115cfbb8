//! Reads the current process from the kernel's memory.

use crate::maps::{CRED_EUID, NETNS_INODE, NSPROXY_NETNS, TASK_COMM, TASK_CRED, TASK_LEADER, TASK_NSPROXY, TASK_START};
use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_cgroup_id, bpf_get_current_task, bpf_probe_read_kernel},
    },
};
use sniffer_common::process::SocketOwner;

/// The current process, as the owner of a socket in the network namespace `netns`.
#[inline(always)]
pub fn owner(netns: u32) -> SocketOwner {
    let (task, ids) = (task(), bpf_get_current_pid_tgid());
    let pid = (ids >> 32) as u32;
    // The first thread has the id of the group.
    let leader: u64 = if ids as u32 == pid { task } else { field(task, &TASK_LEADER) };
    let cred: u64 = field(leader, &TASK_CRED);
    SocketOwner {
        start: field(leader, &TASK_START),
        // SAFETY: the helper has no arguments.
        cgroup: unsafe { bpf_get_current_cgroup_id() },
        pid,
        uid: field(cred, &CRED_EUID),
        netns,
        reserved: 0,
        comm: field(leader, &TASK_COMM),
    }
}

/// The process id of the current thread group.
#[inline(always)]
pub fn pid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// The network namespace of the current process.
#[inline(always)]
pub fn netns() -> u32 {
    let namespaces: u64 = field(task(), &TASK_NSPROXY);
    netns_inode(field(namespaces, &NSPROXY_NETNS))
}

/// The inode number of a `struct net`.
#[inline(always)]
pub fn netns_inode(net: u64) -> u32 {
    field(net, &NETNS_INODE)
}

/// The start of the process that `task` belongs to.
#[inline(always)]
pub fn start(task: u64) -> u64 {
    field(field(task, &TASK_LEADER), &TASK_START)
}

#[inline(always)]
fn task() -> u64 {
    // SAFETY: the helper has no arguments.
    unsafe { bpf_get_current_task() }
}

/// Reads a field of a structure of the kernel; zeros if it cannot be read.
#[inline(always)]
pub fn field<T: Copy>(structure: u64, offset: &Global<u32>) -> T {
    read(structure.wrapping_add(offset.load().into()))
}

/// Reads the kernel's memory; zeros if it cannot be read. `T` must be valid with every bit pattern.
#[inline(always)]
pub fn read<T: Copy>(address: u64) -> T {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all bytes of the value: zeros if the address is not valid.
    unsafe {
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _);
        value.assume_init()
    }
}
