//! The eBPF programs that record which process uses a socket, and what a process executed. They are in a separate object, which is loaded
//! only if processes are reported. They affect neither sockets nor processes.
#![no_std]
#![no_main]
// Keys and values of maps are passed by reference, because passing by value copies them to the stack of 512 bytes.
#![allow(clippy::needless_borrows_for_generic_args)]

mod commands;
mod datagrams;
mod maps;
mod sockets;
mod tasks;

use aya_ebpf::{
    macros::{btf_tracepoint, cgroup_sock_addr, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext, SockAddrContext},
};

/// Return value of cgroup programs that permits the system call.
const PROCEED: i32 = 1;

/// Arguments: socket, old state, new state. The program is used on kernels without the tracepoint of [`socket_sent`].
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn tcp_state(ctx: RawTracePointContext) -> i32 {
    sockets::state(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

/// Arguments: socket, old state, new state. The program is used on kernels that have the tracepoint of [`socket_sent`].
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn connection_state(ctx: BtfTracePointContext) -> i32 {
    sockets::state_of_trusted(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

/// Arguments: socket, bytes sent or an error, flags. The kernel calls the tracepoint in every send; it exists since Linux 6.3.
#[btf_tracepoint(function = "sock_send_length")]
pub fn socket_sent(ctx: BtfTracePointContext) -> i32 {
    sockets::used(ctx.arg(0), ctx.arg(1));
    0
}

/// Arguments: socket, bytes received or an error, flags. The kernel calls the tracepoint in every receive; it exists since Linux 6.3.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn socket_received(ctx: BtfTracePointContext) -> i32 {
    sockets::used(ctx.arg(0), ctx.arg(1));
    0
}

/// Argument: socket. The kernel calls the tracepoint when a process reads from a TCP connection. The program is used on kernels without
/// `sock_recv_length`.
#[raw_tracepoint(tracepoint = "tcp_rcv_space_adjust")]
pub fn tcp_received(ctx: RawTracePointContext) -> i32 {
    sockets::remember(ctx.arg(0));
    0
}

#[cgroup_sock_addr(sendmsg4)]
pub fn datagram_sent4(ctx: SockAddrContext) -> i32 {
    datagrams::v4(&ctx);
    PROCEED
}

#[cgroup_sock_addr(sendmsg6)]
pub fn datagram_sent6(ctx: SockAddrContext) -> i32 {
    datagrams::v6(&ctx);
    PROCEED
}

#[cgroup_sock_addr(recvmsg4)]
pub fn datagram_received4(ctx: SockAddrContext) -> i32 {
    datagrams::v4(&ctx);
    PROCEED
}

#[cgroup_sock_addr(recvmsg6)]
pub fn datagram_received6(ctx: SockAddrContext) -> i32 {
    datagrams::v6(&ctx);
    PROCEED
}

/// Arguments: task, its previous thread id, the `linux_binprm` of the program.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn executed(ctx: RawTracePointContext) -> i32 {
    commands::executed(ctx.arg(0), ctx.arg(2));
    0
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
