//! Records the processes that send and receive datagrams with sockets that are not connected. Several processes may share the port of such a
//! socket; the remote end of the datagram distinguishes them.

use crate::{maps::SOCKETS, tasks};
use aya_ebpf::{bindings::BPF_ANY, programs::SockAddrContext};
use sniffer_common::{
    process::{MAPPED, SocketKey, is_loopback},
    protocol,
};

/// A datagram to or from an IPv4 address.
#[inline(always)]
pub fn v4(ctx: &SockAddrContext) {
    // SAFETY: the kernel calls the program with a valid context, and the verifier checks the access to its field.
    let remote = unsafe { (&raw const (*ctx.sock_addr).user_ip4).read_volatile() };
    remember(ctx, [0, 0, MAPPED, remote]);
}

/// A datagram to or from an IPv6 address, which may be an IPv4-mapped one.
#[inline(always)]
pub fn v6(ctx: &SockAddrContext) {
    // SAFETY: as above.
    let remote = unsafe {
        let at = (&raw const (*ctx.sock_addr).user_ip6).cast::<u32>();
        [at.read_volatile(), at.add(1).read_volatile(), at.add(2).read_volatile(), at.add(3).read_volatile()]
    };
    remember(ctx, remote);
}

#[inline(always)]
fn remember(ctx: &SockAddrContext, remote: [u32; 4]) {
    // SAFETY: the kernel calls the program with a valid context. Its socket is compared with null before it is read, which the verifier
    // requires.
    let (remote_port, local_port) = unsafe {
        let socket = (*ctx.sock_addr).__bindgen_anon_1.sk;
        if socket.is_null() {
            return;
        }
        let remote_port = (&raw const (*ctx.sock_addr).user_port).read_volatile() as u16;
        (u16::from_be(remote_port), (&raw const (*socket).src_port).read_volatile() as u16)
    };
    if local_port == 0 || remote_port == 0 {
        return;
    }
    // Only loopback addresses are in every namespace, see `SocketKey::netns`.
    let scope = if is_loopback(&remote) { tasks::netns() } else { 0 };
    let transport = u16::from(protocol::UDP);
    let key = SocketKey { netns: scope, transport, local_port, remote_port, reserved: 0, local: [0; 4], remote };
    // SAFETY: the map returned the pointer, and the memory of the value stays valid until the program ends (RCU). Only one field is read.
    if SOCKETS.get_ptr(&key).is_some_and(|known| unsafe { (*known).pid } == tasks::pid()) {
        return;
    }
    let _ = SOCKETS.insert(&key, &tasks::owner(tasks::netns()), BPF_ANY.into());
}
