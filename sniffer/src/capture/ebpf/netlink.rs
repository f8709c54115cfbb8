//! Requests over netlink (`include/uapi/linux/netlink.h`): messages, attributes and replies. Other modules decide which requests are sent:
//! [`super::qdisc`] about qdiscs and their filters, [`super::links`] about devices.
#![allow(unsafe_code)] // system calls on a netlink socket

use libc::{NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// Maximum number of datagrams read in reply to one request. An interface has fewer filters.
const MAX_REPLIES: usize = 1024;
/// Bytes of the reply buffer: the kernel fills at most this much per datagram.
const BUFFER: usize = 32 << 10;
/// Length of `struct nlmsghdr` in bytes.
const HEADER: usize = 16;
/// Length of `struct tcmsg`, before the attributes.
const TC_HEADER: usize = 20;

/// The fields of `struct tcmsg` that requests and replies use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TcMessage {
    pub ifindex: u32,
    pub handle: u32,
    pub parent: u32,
    /// For filters: the priority in the upper half, the protocol in network byte order in the lower half.
    pub info: u32,
}

/// A request that is being built.
pub(super) struct Request(Vec<u8>);

impl Request {
    /// A request about qdiscs or filters of type `kind` (`RTM_*`) with the flags `flags` (`NLM_F_*`).
    pub fn new(kind: u16, flags: libc::c_int, message: TcMessage) -> Self {
        let TcMessage { ifindex, handle, parent, info } = message;
        Self::with(kind, flags, &[0, ifindex, handle, parent, info].map(u32::to_ne_bytes).concat())
    }

    /// A request of type `kind` with the flags `flags` (`NLM_F_*`). `fixed`: the bytes between the header and the attributes.
    pub fn with(kind: u16, flags: libc::c_int, fixed: &[u8]) -> Self {
        let mut bytes = 0u32.to_ne_bytes().to_vec(); // the length, filled in when the request is sent
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(((NLM_F_REQUEST | flags) as u16).to_ne_bytes());
        // The sequence number and the port of the sender.
        bytes.extend([1, 0].map(u32::to_ne_bytes).concat());
        bytes.extend(fixed);
        Self(bytes)
    }

    /// Adds an attribute.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        push_attribute(&mut self.0, kind, value);
        self
    }
}

/// Appends an attribute: its length with its header, its type, its value, and padding to four bytes.
pub(super) fn push_attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend(u16::try_from(value.len() + 4).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The value of the first attribute of type `kind`.
pub(super) fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut rest = attributes;
    while let (Some(len), Some(this)) = (half(rest, 0), half(rest, 2)) {
        let value = rest.get(4..usize::from(len))?;
        // The two upper bits are flags.
        if this & 0x3fff == kind {
            return Some(value);
        }
        rest = rest.get(usize::from(len).next_multiple_of(4)..)?;
    }
    None
}

/// A text that ends with a zero byte.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// Sends a request about qdiscs or filters and calls `each` with every message of the reply: its type, its fields and its attributes.
///
/// # Errors
/// The kernel's error. `NLM_F_ACK` or `NLM_F_DUMP` must be set, otherwise no reply tells the end.
pub(super) fn ask(request: Request, each: &mut dyn FnMut(u16, TcMessage, &[u8])) -> io::Result<()> {
    exchange(libc::NETLINK_ROUTE, request, &mut |kind, body| {
        if let (Some(ifindex), Some(handle), Some(parent), Some(info)) = (word(body, 4), word(body, 8), word(body, 12), word(body, 16)) {
            each(kind, TcMessage { ifindex, handle, parent, info }, body.get(TC_HEADER..).unwrap_or_default());
        }
    })
}

/// Sends a request on a socket of `protocol` (`NETLINK_*`), and calls `each` with every message of the reply: its type, and what follows its
/// header.
///
/// # Errors
/// The kernel's error. `NLM_F_ACK` or `NLM_F_DUMP` must be set, otherwise no reply tells the end.
pub(super) fn exchange(protocol: libc::c_int, request: Request, each: &mut dyn FnMut(u16, &[u8])) -> io::Result<()> {
    let Request(mut request) = request;
    let length = u32::try_from(request.len()).map_err(io::Error::other)?;
    if let Some(place) = request.first_chunk_mut() {
        *place = length.to_ne_bytes();
    }
    // SAFETY: the call takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `socket` returned this descriptor and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the pointer and the length are those of the request, which lives until the call returns.
    if unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut buffer = vec![0u8; BUFFER];
    for _ in 0..MAX_REPLIES {
        // SAFETY: the kernel writes at most as many bytes as the buffer holds.
        let got = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        if let Some(result) = messages(buffer.get(..got).unwrap_or_default(), each) {
            return result;
        }
    }
    Err(io::Error::other("the kernel's reply does not end"))
}

/// Reads the messages of one datagram. Returns the result of the request if the datagram contains it.
fn messages(datagram: &[u8], each: &mut dyn FnMut(u16, &[u8])) -> Option<io::Result<()>> {
    let mut rest = datagram;
    while let (Some(len), Some(kind)) = (word(rest, 0), half(rest, 4)) {
        match i32::from(kind) {
            NLMSG_DONE => return Some(Ok(())),
            NLMSG_ERROR => {
                let code = word(rest, HEADER).unwrap_or(0).cast_signed();
                return Some(if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) });
            }
            _ => {}
        }
        let len = (len as usize).max(HEADER);
        each(kind, rest.get(HEADER..len).unwrap_or_default());
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_with_wrong_lengths_are_not_read() {
        let mut bytes = Vec::new();
        push_attribute(&mut bytes, 1, b"bpf\0");
        push_attribute(&mut bytes, 0x8002, b"12345");
        assert_eq!((attribute(&bytes, 1).map(text), attribute(&bytes, 2)), (Some("bpf".to_owned()), Some(&b"12345"[..])));
        for cut in 0..bytes.len() {
            // The padding after the last attribute may be missing.
            assert_eq!(attribute(&bytes[..cut], 2).is_some(), cut >= bytes.len() - 3, "{cut} bytes");
        }
        assert_eq!(attribute(&[0, 0, 1, 0, 0, 0, 1, 0], 1), None, "a length of 0");
    }
}
