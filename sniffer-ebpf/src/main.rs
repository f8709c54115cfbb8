//! The eBPF programs of `sniffer`. A packet passes three programs at each hook: `entry` counts the packet, a filter that
//! user space generates decides about the packet, and `capture` copies the packet to a ring. The programs call each other
//! through a jump table ([`maps`]). They do not change traffic, and drop only the incoming packets that they capture, if the
//! setting `DROP_MATCHES` says so.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
// Keys and values of maps are passed by reference, because passing by value would copy them to the stack, which has 512 bytes.
#![allow(clippy::needless_borrows_for_generic_args)]

mod copies;
mod flows;
mod head;
mod maps;
mod packet;
mod parse;
mod record;
mod shunts;
mod worker;

use aya_ebpf::{
    bindings::{
        TC_ACT_SHOT,
        xdp_action::{XDP_DROP, XDP_PASS},
    },
    macros::{classifier, socket_filter, xdp},
    programs::{SkBuffContext, TcContext, XdpContext},
};
use maps::{DROP_MATCHES, JUMP_EGRESS, JUMP_INGRESS, JUMP_SOCKET, JUMP_XDP, LOOPBACK};
use packet::{Packet, Socket, Tc, Xdp};
use sniffer_common::direction::{EGRESS, INGRESS};

/// Return value of TC programs (`TCX_NEXT`, `TC_ACT_UNSPEC`): the next program or the default action decides about the
/// packet.
const TC_NEXT: i32 = -1;
/// Return value of socket filters: the kernel does not queue the packet on the socket. The program has already written
/// it to a ring.
const SOCKET_DROP: i64 = 0;

/// Return value of XDP programs for a captured packet.
#[inline(always)]
fn xdp_captured() -> u32 {
    if DROP_MATCHES.load() == 0 { XDP_PASS } else { XDP_DROP }
}

/// Return value of TC programs for a captured incoming packet.
#[inline(always)]
fn tc_captured() -> i32 {
    if DROP_MATCHES.load() == 0 { TC_NEXT } else { TC_ACT_SHOT }
}

#[xdp(frags)]
pub fn xdp_entry(ctx: XdpContext) -> u32 {
    if record::enter(&Xdp(ctx.ctx), &JUMP_XDP, INGRESS) { xdp_captured() } else { XDP_PASS }
}

#[xdp(frags)]
pub fn xdp_capture(ctx: XdpContext) -> u32 {
    record::capture(&Xdp(ctx.ctx), INGRESS);
    xdp_captured()
}

#[classifier]
pub fn tc_entry_in(ctx: TcContext) -> i32 {
    if record::enter(&Tc::new(&ctx), &JUMP_INGRESS, INGRESS) { tc_captured() } else { TC_NEXT }
}

#[classifier]
pub fn tc_capture_in(ctx: TcContext) -> i32 {
    record::capture(&Tc::new(&ctx), INGRESS);
    tc_captured()
}

#[classifier]
pub fn tc_entry_out(ctx: TcContext) -> i32 {
    record::enter(&Tc::new(&ctx), &JUMP_EGRESS, EGRESS);
    TC_NEXT
}

#[classifier]
pub fn tc_capture_out(ctx: TcContext) -> i32 {
    record::capture(&Tc::new(&ctx), EGRESS);
    TC_NEXT
}

#[socket_filter]
pub fn socket_entry(ctx: SkBuffContext) -> i64 {
    let packet = Socket::new(&ctx);
    let (loopback, direction) = (LOOPBACK.load(), packet.direction());
    if loopback == 0 || packet.ifindex() != loopback || direction == INGRESS {
        record::enter(&packet, &JUMP_SOCKET, direction);
    }
    SOCKET_DROP
}

#[socket_filter]
pub fn socket_capture(ctx: SkBuffContext) -> i64 {
    let packet = Socket::new(&ctx);
    record::capture(&packet, packet.direction());
    SOCKET_DROP
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
