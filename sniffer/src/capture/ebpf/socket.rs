//! Generated socket filters: the filter for the packet sockets of the `AF_PACKET` backend, and a short filter that calls a long one.

use super::{error::Error, program::load_filter, sys};
use crate::capture::filter::{
    Filters,
    cbpf::Program,
    ebpf::{ContextKind, OnMatch, Target, compile},
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Loads the filter as a program for `SO_ATTACH_BPF`. It reads a VLAN tag in the metadata as if the tag were in the
/// frame. `raw_ip` says that frames begin with an IP header, not with an Ethernet header. On a match the program
/// returns `snaplen` (bytes). `None` if the filter matches everything.
///
/// # Errors
/// When the filter cannot be compiled or `bpf(2)` refuses it; the caller then uses a classic program.
pub fn socket_filter(filter: &Filters, raw_ip: bool, snaplen: u32) -> Result<Option<OwnedFd>, Error> {
    if filter.is_everything() {
        return Ok(None);
    }
    let nothing = Program::nothing();
    let program = if raw_ip { &filter.raw_ip } else { &filter.ethernet }.as_ref().unwrap_or(&nothing);
    let keep = i32::try_from(snaplen).unwrap_or(i32::MAX);
    let target = Target { context: ContextKind::Socket, tags: !raw_ip, on_match: OnMatch::Return(keep), no_match: 0, outgoing: false };
    sys::raise_memlock();
    load_filter(program, &target, sys::SOCKET_FILTER, &filter.text).map(Some)
}

/// Loads a short socket filter that calls `program`, which is too long to be attached itself. The function also returns the filter's jump
/// table. The kernel empties the table when its last descriptor is closed, so the table must stay open as long as the filter is attached.
///
/// # Errors
///
/// When `bpf(2)` refuses the table or the filter.
pub fn calling(program: BorrowedFd<'_>) -> Result<(OwnedFd, OwnedFd), Error> {
    const WHAT: &str = "loading a socket filter that calls another";
    let table = sys::prog_array(1).map_err(|e| Error::io(WHAT, e))?;
    sys::set_slot(table.as_fd(), 0, program).map_err(|e| Error::io(WHAT, e))?;
    let on_match = OnMatch::TailCall { table: table.as_raw_fd(), slot: 0 };
    let target = Target { context: ContextKind::Socket, tags: false, on_match, no_match: 0, outgoing: false };
    let insns = compile(&Program::everything(), &target, &[]).map_err(|e| Error::Kernel { what: WHAT.into(), reason: e.to_string() })?;
    Ok((sys::load(sys::SOCKET_FILTER, &insns, "call").map_err(|e| Error::io(WHAT, e))?, table))
}
