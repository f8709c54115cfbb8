//! Why the kernel does not do it, so that the ladder ebpf → af_packet → pcap can say what would help.

use std::io;

/// Why capture with eBPF cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel says that we may not.
    #[error("{what}: {source}; it needs {capability}", capability = Self::CAPABILITIES)]
    Privilege {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel is too old for it, or was built without it.
    #[error("{what}: {reason}")]
    Kernel {
        /// What was tried.
        what: String,
        /// What the kernel said.
        reason: String,
    },
    /// There is no such interface, or it does not do what is asked of it.
    #[error("interface {name}: {reason}")]
    Interface {
        /// As the user named it.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The filter cannot be run in the kernel.
    #[error("filter `{text}`: {reason}")]
    Filter {
        /// The expression.
        text: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// What takes the place of root.
    const CAPABILITIES: &str = "root, or CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_NET_RAW";

    /// The capabilities that would help, if that is what is missing.
    pub fn missing_capability(&self) -> Option<&'static str> {
        matches!(self, Self::Privilege { .. }).then_some(Self::CAPABILITIES)
    }

    /// From what the kernel said to `what`.
    pub(super) fn io(what: impl Into<String>, error: io::Error) -> Self {
        let what = what.into();
        let raw = error.raw_os_error();
        // The verifier also says EACCES, and to root nothing else does.
        if raw == Some(libc::EPERM) || (raw == Some(libc::EACCES) && !super::sys::is_root()) {
            Self::Privilege { what, source: error }
        } else {
            Self::Kernel { what, reason: error.to_string() }
        }
    }

    /// From an error of aya's, which hides the kernel's some way down.
    pub(super) fn aya(what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let what = what.into();
        match os_error(error) {
            Some(code) if code == libc::EPERM => Self::io(what, io::Error::from_raw_os_error(code)),
            Some(code) if code == libc::EACCES && !super::sys::is_root() => Self::io(what, io::Error::from_raw_os_error(code)),
            _ => Self::Kernel { what, reason: messages(error) },
        }
    }
}

/// The number of the first I/O error among an error and its sources.
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

/// The messages of an error and of its sources, each once, cut: the verifier's may be long.
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
