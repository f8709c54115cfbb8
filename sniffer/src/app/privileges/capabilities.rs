//! The capabilities of the process (capabilities(7)).

use rustix::thread::{self, CapabilitySet, CapabilitySets};
use std::{fs, io};

/// What the program does, which determines the capabilities that it needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Captures packets of devices.
    pub live: bool,
    /// Loads eBPF programs.
    pub ebpf: bool,
    /// Reads executables, directories and containers of processes of other users.
    pub processes: bool,
}

/// Packet sockets, and attaching programs to devices.
const CAPTURE: CapabilitySet = CapabilitySet::NET_RAW.union(CapabilitySet::NET_ADMIN);
/// Loading programs with loops and direct access to packets; tracing programs, which tell the owners of sockets.
const EBPF: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);
/// Links in `/proc/PID` need the first. `open_by_handle_at`, by which the cgroup of a process is found, needs the second.
const PROCESSES: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
/// What root keeps besides: access to all files, and ports below 1024 for the HTTP endpoint.
const ROOT: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::NET_BIND_SERVICE);
/// What is in effect between the change of the user and [`keep`]. It does not include access to files of other users, so that a file that
/// the user cannot read is noticed at the start and not at a reload.
const WHILE_OPENING: CapabilitySet = CAPTURE.union(EBPF).union(CapabilitySet::NET_BIND_SERVICE).union(CapabilitySet::SETPCAP);

/// The names of the capabilities that may be kept.
const NAMES: &[(CapabilitySet, &str)] = &[
    (CapabilitySet::NET_ADMIN, "cap_net_admin"),
    (CapabilitySet::NET_RAW, "cap_net_raw"),
    (CapabilitySet::BPF, "cap_bpf"),
    (CapabilitySet::PERFMON, "cap_perfmon"),
    (CapabilitySet::SYS_PTRACE, "cap_sys_ptrace"),
    (CapabilitySet::DAC_READ_SEARCH, "cap_dac_read_search"),
    (CapabilitySet::DAC_OVERRIDE, "cap_dac_override"),
    (CapabilitySet::FOWNER, "cap_fowner"),
    (CapabilitySet::CHOWN, "cap_chown"),
    (CapabilitySet::NET_BIND_SERVICE, "cap_net_bind_service"),
    (CapabilitySet::SYS_ADMIN, "cap_sys_admin"),
];

impl Needs {
    /// The capabilities to keep. `knows_bpf`: the kernel has `CAP_BPF` and `CAP_PERFMON` (Linux 5.8). Before, only root loads eBPF programs,
    /// with `CAP_SYS_ADMIN`, which is too much for another user.
    fn capabilities(self, is_root: bool, knows_bpf: bool) -> CapabilitySet {
        let mut kept = CapabilitySet::empty();
        kept.set(CAPTURE, self.live);
        kept.set(EBPF, self.ebpf && knows_bpf);
        kept.set(PROCESSES, self.processes);
        if is_root {
            kept |= ROOT;
            kept.set(CapabilitySet::SYS_ADMIN, self.ebpf && !knows_bpf);
        }
        kept
    }
}

/// Puts the capabilities in effect that are needed until [`keep`] is called. The change of the user left none of them in effect.
pub fn hold_while_opening() -> io::Result<()> {
    let now = thread::capabilities(None)?;
    Ok(thread::set_capabilities(None, CapabilitySets { effective: now.permitted & WHILE_OPENING, ..now })?)
}

/// Gives up all capabilities that are not needed, for ever. Returns the names of those that are kept.
pub fn keep(needs: &Needs, is_root: bool) -> io::Result<String> {
    let permitted = thread::capabilities(None)?.permitted;
    let kept = needs.capabilities(is_root, knows_bpf()) & permitted;
    if permitted.contains(CapabilitySet::SETPCAP) {
        // The bounding set limits what an executed file could give. The kernel refuses capabilities that it does not know.
        for capability in CapabilitySet::all().difference(kept).iter() {
            let _ = thread::remove_capability_from_bounding_set(capability);
        }
    }
    // Kernels before 4.3 have no ambient set.
    let _ = thread::clear_ambient_capability_set();
    thread::set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })?;
    Ok(text(kept))
}

fn text(set: CapabilitySet) -> String {
    let names: Vec<&str> = NAMES.iter().filter(|(one, _)| set.contains(*one)).map(|(_, name)| *name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn knows_bpf() -> bool {
    const CAP_BPF: u32 = 39;
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok().and_then(|text| text.trim().parse::<u32>().ok());
    last.is_none_or(|last| last >= CAP_BPF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(live: bool, ebpf: bool, processes: bool, is_root: bool, knows_bpf: bool) -> String {
        text(Needs { live, ebpf, processes }.capabilities(is_root, knows_bpf))
    }

    #[test]
    fn capabilities_that_nothing_needs_are_given_up() {
        assert_eq!(kept(false, false, false, false, true), "none", "a file");
        assert_eq!(kept(true, false, false, false, true), "cap_net_admin, cap_net_raw", "libpcap");
        assert_eq!(kept(true, true, false, false, true), "cap_net_admin, cap_net_raw, cap_bpf, cap_perfmon");
        assert_eq!(
            kept(true, true, true, false, true),
            "cap_net_admin, cap_net_raw, cap_bpf, cap_perfmon, cap_sys_ptrace, cap_dac_read_search"
        );
        assert_eq!(kept(true, true, false, false, false), "cap_net_admin, cap_net_raw", "a kernel without CAP_BPF");
        let root = kept(true, true, false, true, false);
        assert!(root.ends_with("cap_dac_override, cap_fowner, cap_chown, cap_net_bind_service, cap_sys_admin"), "{root}");
        assert!(!kept(true, true, true, true, true).contains("sys_admin"));
    }

    #[test]
    fn every_capability_that_may_be_kept_has_a_name() {
        let all = CAPTURE | EBPF | PROCESSES | ROOT | CapabilitySet::SYS_ADMIN;
        assert_eq!(text(all).split(", ").count(), all.iter().count());
    }
}
