//! Gives up privileges before the program opens anything: the process becomes the user of `--user` ([`become_user`]), keeps only the
//! capabilities that it needs, and installs a filter of system calls ([`restrict`]). Both functions must be called while the process has one thread. The kernel stores user and
//! capabilities per thread, and later threads inherit them.
//!
//! Capture is opened with the capabilities that are kept, so opening it again at a reload, or when a device comes back, needs no others.

mod allowed;
mod capabilities;
mod seccomp;
mod user;

use super::{Error, plan::Plan};
use crate::{capture::options::Kind, config::Node};
pub use capabilities::Needs;
use rustix::process::{Resource, Rlimit, setrlimit};
pub use seccomp::Options as Seccomp;
use std::path::Path;
use user::Account;

/// Forbids that an executed file gives the process more privileges, and makes the process that of `name`, a name or number of a user. The
/// process keeps its capabilities until [`restrict`]. Folders that do not exist are made for the user.
///
/// # Errors
/// When there is no such user, when only root could become it, or when the user cannot write to one of the folders.
pub fn become_user(name: Option<&str>, folders: &[&Path]) -> Result<(), Error> {
    rustix::thread::set_no_new_privs(true).map_err(|e| format!("prctl(PR_SET_NO_NEW_PRIVS): {e}"))?;
    let Some(name) = name else { return Ok(()) };
    let account = Account::find(name)?;
    if account.is_current() {
        return Ok(());
    }
    if !user::is_root() {
        return Err(format!("--user {name}: only root can become another user; start as root, or as {name} without --user").into());
    }
    // Kernels before 5.11 count eBPF maps as locked memory. Only root may raise the limit. If that fails, the maps report it.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    folders.iter().try_for_each(|folder| account.prepare(folder))?;
    account.assume().map_err(|e| format!("--user {name}: {e}"))?;
    capabilities::hold_while_opening().map_err(|e| format!("--user {name}: the capabilities cannot be kept: {e}"))?;
    Ok(())
}

/// Gives up all capabilities except those of `needs`, and filters system calls. The log says which capabilities are kept. If root runs the
/// program, root's access to files is kept too.
///
/// # Errors
/// When the kernel refuses to give up capabilities.
pub fn restrict(needs: &Needs, seccomp: &Seccomp) -> Result<(), Error> {
    let kept = capabilities::keep(needs, user::is_root()).map_err(|e| format!("capabilities cannot be given up: {e}"))?;
    log::info!("The process runs as {} with these capabilities: {kept}", user::current());
    seccomp.install();
    Ok(())
}

/// Warns about configuration files that the user cannot read: a reload would fail.
pub fn check_files<'a>(files: impl Iterator<Item = &'a Path>) {
    for file in files {
        if let Err(error) = std::fs::File::open(file) {
            let shown = file.display();
            log::warn!(
                "{shown} cannot be read by {}, so it cannot be read again at a reload: {error}; correct it with `chgrp {} {shown}` and \
                 `chmod 640 {shown}`",
                user::current(),
                user::current_group()
            );
        }
    }
}

impl Needs {
    /// The needs of a plan. `names_processes`: a view names processes.
    pub fn of(plan: &Plan, names_processes: bool) -> Self {
        let live = plan.is_live();
        let kinds = plan.interfaces.iter().filter(|interface| interface.file.is_none()).map(|interface| interface.kind);
        let uses_ebpf = kinds.into_iter().any(|kind| kind != Kind::Pcap);
        let processes = live && (plan.procs.enabled || names_processes);
        Self { live, ebpf: live && uses_ebpf || processes, processes: processes || reads_processes(plan.root()) }
    }
}

/// Whether a processor of the configuration reads about other users' processes.
fn reads_processes(root: &Node) -> bool {
    const PROCESSOR: &str = "add_process_metadata";
    root.mentions(PROCESSOR)
}
