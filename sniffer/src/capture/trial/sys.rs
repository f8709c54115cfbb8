//! System calls that only trials need: a network namespace for the calling thread, and the state of the system's clock.
#![allow(unsafe_code)] // system calls that the standard library does not wrap

use std::io;

/// Moves the calling thread to a new network namespace, which the kernel removes when the thread ends.
///
/// # Errors
/// When the kernel refuses; it needs CAP_SYS_ADMIN.
pub(super) fn new_network() -> io::Result<()> {
    // SAFETY: the call takes no pointers. It moves only this thread.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether the kernel's clock is synchronised with another clock (adjtimex(2)).
///
/// # Errors
/// When the kernel refuses.
pub fn clock_is_synchronised() -> io::Result<bool> {
    // SAFETY: `timex` consists of integers, for which all bytes zero are valid. With `modes` 0 the call changes nothing.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel only writes to `state`, which lives for the call.
    match unsafe { libc::adjtimex(&raw mut state) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0),
    }
}
