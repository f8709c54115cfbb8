//! Errors of the kernel while eBPF programs are loaded and attached. The messages name a remedy, because the backend
//! `auto` writes them to the log.

use super::sys;
use std::io;

/// Why eBPF capture cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel denied permission.
    #[error("{what}: {source}; it needs {capability}", capability = Self::CAPABILITIES)]
    Privilege {
        /// The operation that failed.
        what: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The limit of locked memory is too small for BPF maps on this kernel.
    #[error(
        "{what}: {source}; kernels before 5.11 count it as locked memory, whose limit is {limit} bytes (`ulimit -l`, LimitMEMLOCK of \
         systemd); raise it, or add the capability CAP_SYS_RESOURCE"
    )]
    LockedMemory {
        /// The operation that failed.
        what: String,
        /// The kernel's error.
        source: io::Error,
        /// The limit in bytes.
        limit: u64,
    },
    /// The kernel does not support the operation: it is too old or was built without it.
    #[error("{what}: {reason}")]
    Kernel {
        /// The operation that failed.
        what: String,
        /// The kernel's error.
        reason: String,
    },
    /// The interface does not exist, or does not support the requested operation.
    #[error("interface {name}: {reason}")]
    Interface {
        /// The interface as the user named it.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The qdisc of an interface does not let a program see every packet of both directions.
    #[error("interface {name}: TC cannot be used: {reason}")]
    Qdisc {
        /// The interface.
        name: String,
        /// Why the program does not see every packet.
        reason: String,
    },
    /// The filter cannot be run in the kernel.
    #[error("filter `{text}`: {reason}")]
    Filter {
        /// The filter expression.
        text: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// The privileges that are needed.
    const CAPABILITIES: &str = "root, or CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_NET_RAW";

    /// The capabilities that would help, if the error is a missing privilege.
    pub fn missing_capability(&self) -> Option<&'static str> {
        matches!(self, Self::Privilege { .. }).then_some(Self::CAPABILITIES)
    }

    /// Classifies the kernel's error of the operation `what`.
    pub(super) fn io(what: impl Into<String>, error: io::Error) -> Self {
        let what = what.into();
        let raw = error.raw_os_error();
        // The verifier also refuses programs with EACCES. If the process is root, EACCES always comes from the verifier.
        if let Some(limit) = locked_memory(raw) {
            return Self::LockedMemory { what, source: error, limit };
        }
        if raw == Some(libc::EPERM) || (raw == Some(libc::EACCES) && !sys::is_root()) {
            Self::Privilege { what, source: error }
        } else {
            Self::Kernel { what, reason: error.to_string() }
        }
    }

    /// Classifies an error of aya, whose chain of sources contains the kernel's error.
    pub(super) fn aya(what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let what = what.into();
        match os_error(error) {
            Some(code) if code == libc::EPERM || locked_memory(Some(code)).is_some() => Self::io(what, io::Error::from_raw_os_error(code)),
            Some(code) if code == libc::EACCES && !sys::is_root() => Self::io(what, io::Error::from_raw_os_error(code)),
            _ => Self::Kernel { what, reason: messages(error) },
        }
    }
}

/// The limit of locked memory in bytes, if it explains the error `code`.
fn locked_memory(code: Option<i32>) -> Option<u64> {
    let of_memory = matches!(code, Some(libc::EPERM | libc::ENOMEM)) && sys::may_use_bpf();
    if of_memory { sys::memlock() } else { None }
}

/// The OS error number of the first I/O error in a chain of errors.
pub(super) fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        next = error.source();
    }
    None
}

/// The messages of a chain of errors, without repetitions. Only the last part is kept, because a verifier log can be
/// long.
fn messages(error: &(dyn std::error::Error + 'static)) -> String {
    const MOST: usize = 2000;
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = error.source();
    }
    match text.char_indices().rev().nth(MOST) {
        Some((cut, _)) => format!("…{}", text.get(cut..).unwrap_or_default()),
        None => text,
    }
}
