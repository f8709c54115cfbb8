//! Deletes a clsact qdisc that is no longer used, over rtnetlink (`include/uapi/linux/rtnetlink.h`). aya adds the qdisc and does not remove
//! it.
#![allow(unsafe_code)] // system calls on a netlink socket

use aya_obj::generated::{TC_H_CLSACT, TC_H_MAJ_MASK, TC_H_MIN_EGRESS, TC_H_MIN_INGRESS};
use libc::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, RTM_DELQDISC, RTM_GETTFILTER, RTM_NEWTFILTER};
use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

const NLMSG_DONE: u16 = libc::NLMSG_DONE as u16;
const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
/// The handle of every clsact qdisc.
const CLSACT_HANDLE: u32 = TC_H_CLSACT & TC_H_MAJ_MASK;
/// Maximum number of messages read in reply to one request. An interface has fewer filters.
const MAX_ANSWERS: usize = 1024;

/// Deletes the clsact qdisc of an interface if it has no filters.
pub(super) fn delete_unused_clsact(ifindex: u32) -> io::Result<()> {
    // SAFETY: the call takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor, which nothing else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    for parent in [TC_H_MIN_INGRESS, TC_H_MIN_EGRESS].map(|minor| CLSACT_HANDLE | minor) {
        if ask(&socket, &request(RTM_GETTFILTER, NLM_F_DUMP, ifindex, 0, parent))? {
            return Err(io::Error::other("others have filters in it"));
        }
    }
    ask(&socket, &request(RTM_DELQDISC, NLM_F_ACK, ifindex, CLSACT_HANDLE, TC_H_CLSACT)).map(drop)
}

/// A message: `struct nlmsghdr` and `struct tcmsg`.
fn request(kind: u16, flags: libc::c_int, ifindex: u32, handle: u32, parent: u32) -> Vec<u8> {
    let mut message = 36u32.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(((NLM_F_REQUEST | flags) as u16).to_ne_bytes());
    for word in [1, 0, 0, ifindex, handle, parent, 0] {
        message.extend(u32::to_ne_bytes(word));
    }
    message
}

/// Sends a request and reads the replies. Returns whether they contain a filter.
fn ask(socket: &OwnedFd, request: &[u8]) -> io::Result<bool> {
    // SAFETY: the request lives until the call returns.
    if unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let (mut found, mut buffer) = (false, vec![0u8; 32 << 10]);
    for _ in 0..MAX_ANSWERS {
        // SAFETY: the kernel writes at most what the buffer holds.
        let got = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let mut rest = buffer.get(..usize::try_from(got).map_err(|_| io::Error::last_os_error())?).unwrap_or_default();
        while let (Some(len), Some(kind)) = (word(rest, 0), rest.get(4..6)) {
            let kind = kind.try_into().map_or(0, u16::from_ne_bytes);
            match kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => {
                    let code = word(rest, 16).unwrap_or(0) as i32;
                    return if code == 0 { Ok(found) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                RTM_NEWTFILTER => found = true,
                _ => {}
            }
            let aligned = (len as usize).max(16).next_multiple_of(4);
            rest = rest.get(aligned..).unwrap_or_default();
        }
    }
    Ok(found)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}
