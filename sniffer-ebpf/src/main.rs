//! The eBPF programs of `sniffer`. Each hook has an `entry` program that counts packets and flows, a filter that user space
//! generates (it is not in this crate), and a `capture` program that copies packets. They call each other through a
//! jump table ([`maps`]). The programs do not affect the traffic.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
// A key or value that is passed by value is copied to the stack, which has 512 bytes.
#![allow(clippy::needless_borrows_for_generic_args)]

mod copies;
mod flows;
mod head;
mod maps;
mod packet;
mod parse;
mod record;
mod worker;

use aya_ebpf::{
    bindings::xdp_action::XDP_PASS,
    macros::{classifier, socket_filter, xdp},
    programs::{SkBuffContext, TcContext, XdpContext},
};
use maps::{JUMP_EGRESS, JUMP_INGRESS, JUMP_SOCKET, JUMP_XDP, LOOPBACK};
use packet::{Packet, Socket, Tc, Xdp};
use sniffer_common::direction::{EGRESS, INGRESS};

/// `TCX_NEXT` and `TC_ACT_UNSPEC`: the next program or the default action decides about the packet.
const TC_NEXT: i32 = -1;
/// The packet is not queued on the socket.
const SOCKET_DROP: i64 = 0;

#[xdp(frags)]
pub fn xdp_entry(ctx: XdpContext) -> u32 {
    record::enter(&Xdp(ctx.ctx), &JUMP_XDP, INGRESS);
    XDP_PASS
}

#[xdp(frags)]
pub fn xdp_capture(ctx: XdpContext) -> u32 {
    record::capture(&Xdp(ctx.ctx), INGRESS);
    XDP_PASS
}

#[classifier]
pub fn tc_entry_in(ctx: TcContext) -> i32 {
    record::enter(&Tc::new(&ctx), &JUMP_INGRESS, INGRESS);
    TC_NEXT
}

#[classifier]
pub fn tc_capture_in(ctx: TcContext) -> i32 {
    record::capture(&Tc::new(&ctx), INGRESS);
    TC_NEXT
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
