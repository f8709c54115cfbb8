//! Loads a filter: makes the maps of its sets, compiles it to an eBPF program and passes that to the kernel.

use super::{error::Error, sys};
use crate::capture::filter::{
    cbpf::Program,
    ebpf::{SetMap, Target, compile, table_of},
};
use std::os::fd::{AsRawFd, OwnedFd};

/// Loads `program` for `target` as a program of type `kind`. `text` is the expression, for messages.
///
/// # Errors
/// When the program cannot be compiled, or the kernel refuses it or one of its maps.
pub fn load_filter(program: &Program, target: &Target, kind: sys::ProgramKind, text: &str) -> Result<OwnedFd, Error> {
    let wrong = |reason: String| Error::Filter { text: text.to_owned(), reason };
    // The program keeps its maps; the descriptors are closed here.
    let mut descriptors = Vec::new();
    let mut maps = Vec::new();
    for set in program.sets() {
        let (layout, bytes) = table_of(set).ok_or_else(|| wrong("a list of addresses is too long for the kernel".into()))?;
        let map = sys::table(&bytes).map_err(|e| Error::io("making the map of a list of ports or addresses", e))?;
        maps.push(SetMap { descriptor: map.as_raw_fd(), layout });
        descriptors.push(map);
    }
    let insns = compile(program, target, &maps).map_err(|e| wrong(e.to_string()))?;
    sys::load(kind, &insns, "filter").map_err(|e| Error::io(format!("loading the filter `{text}`"), e))
}
