//! Chooses how owners are found, when the program starts.

use super::{diag::DiagOwners, ebpf::KernelOwners, owner::Owners};
use std::sync::Arc;

/// The best way to find owners that this machine permits; one line in the log says which. `None`: there is none, and a warning says why.
pub fn open() -> Option<Arc<dyn Owners>> {
    let why = match KernelOwners::new() {
        Ok((owners, attached)) => {
            log::info!("Processes are found by eBPF: {attached}");
            return Some(Arc::new(owners));
        }
        Err(error) => error,
    };
    match DiagOwners::new() {
        Ok(owners) => {
            log::info!(
                "Processes are found by sock_diag and /proc, only those of connections that are still open; eBPF cannot be used: {why}"
            );
            Some(Arc::new(owners))
        }
        Err(error) => {
            log::warn!("No process is named: eBPF cannot be used: {why}; sock_diag cannot be used: {error}");
            None
        }
    }
}
