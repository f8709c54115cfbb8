//! Loads and attaches the eBPF programs that record the owners of sockets. Every program is attached by a link, which the kernel removes with
//! the process.
#![allow(unsafe_code)] // setrlimit(2)

use super::btf::Btf;
use crate::process::kernfs;
use aya::{
    Ebpf, EbpfLoader,
    programs::{BtfTracePoint, CgroupAttachMode, CgroupSockAddr, Program, RawTracePoint},
    util::KernelVersion,
};
use sniffer_common::process::{offset, sock_common};
use std::{fs::File, io};

/// The object that `cargo xtask build-ebpf` built.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../sniffer-ebpf/object/processes.bpf.o"));

/// The inode number of the initial pid namespace, `PROC_PID_INIT_INO` in `include/linux/proc_ns.h`.
const INITIAL_PID_NAMESPACE: u64 = 0xeffffffc;

/// The global variables of the programs, and the fields of the kernel whose offsets they are.
const OFFSETS: [(&str, &str); 14] = [
    (offset::SOCK_PROTOCOL, "sock.sk_protocol"),
    (offset::INET_LOCAL_PORT, "inet_sock.inet_sport"),
    (offset::NETNS_INODE, "net.ns.inum"),
    (offset::TASK_LEADER, "task_struct.group_leader"),
    (offset::TASK_START, "task_struct.start_boottime"),
    (offset::TASK_COMM, "task_struct.comm"),
    (offset::TASK_CRED, "task_struct.cred"),
    (offset::TASK_MM, "task_struct.mm"),
    (offset::TASK_NSPROXY, "task_struct.nsproxy"),
    (offset::NSPROXY_NETNS, "nsproxy.net_ns"),
    (offset::CRED_EUID, "cred.euid"),
    (offset::MM_ARG_START, "mm_struct.arg_start"),
    (offset::MM_ARG_END, "mm_struct.arg_end"),
    (offset::BINPRM_FILENAME, "linux_binprm.filename"),
];

/// Offsets that are constants in the programs.
const FIXED: [(usize, &str); 6] = [
    (sock_common::ADDRESSES, "sock_common.skc_daddr"),
    (sock_common::PORTS, "sock_common.skc_dport"),
    (sock_common::FAMILY, "sock_common.skc_family"),
    (sock_common::NETNS, "sock_common.skc_net"),
    (sock_common::REMOTE_V6, "sock_common.skc_v6_daddr"),
    (sock_common::LOCAL_V6, "sock_common.skc_v6_rcv_saddr"),
];

/// Programs for datagrams of sockets that are not connected.
const DATAGRAMS: [&str; 4] = ["datagram_sent4", "datagram_sent6", "datagram_received4", "datagram_received6"];

/// Loads the programs and attaches those that the kernel has a place for. Returns them with a description of what is attached.
/// Without `sends`, the programs for kernels before 6.3 are attached, which have no tracepoints in sends and receives.
///
/// # Errors
/// What is missing, for a line of the log.
pub fn load(sends: bool) -> io::Result<(Ebpf, String)> {
    if std::fs::metadata("/proc/self/ns/pid").map(|it| std::os::unix::fs::MetadataExt::ino(&it))? != INITIAL_PID_NAMESPACE {
        return Err(io::Error::other("the program runs in a pid namespace of its own; run it in the host's (`hostPID`, `--pid=host`)"));
    }
    let btf = Btf::of_kernel()?;
    for (offset, field) in FIXED {
        let found = btf.offset(field)?;
        if found as usize != offset {
            return Err(io::Error::other(format!("the kernel has {field} at {found}, not at {offset}")));
        }
    }
    let offsets = OFFSETS.iter().map(|(name, field)| Ok((*name, btf.offset(field)?))).collect::<io::Result<Vec<_>>>()?;
    drop(btf);
    raise_memlock();
    let mut loader = EbpfLoader::new();
    for (name, offset) in &offsets {
        loader.override_global(name, offset, true);
    }
    let mut ebpf = loader.load(OBJECT).map_err(|e| other("loading the eBPF object", &e))?;
    let mut attached = vec!["connections"];
    let uses = if sends { attach_uses(&mut ebpf) } else { Err(io::Error::other("not wanted")) };
    match uses {
        Ok(()) => attached.push("sends and receives"),
        Err(error) => {
            log::debug!("the kernel cannot report every send and receive: {error}");
            attach_raw(&mut ebpf, "tcp_state", "inet_sock_set_state")?;
            attach_raw(&mut ebpf, "tcp_received", "tcp_rcv_space_adjust")?;
            attached.push("receives of TCP");
        }
    }
    match attach_datagrams(&mut ebpf) {
        Ok(()) => attached.push("datagrams"),
        Err(error) => log::info!("Processes that share the port of a datagram socket are not distinguished: {error}"),
    }
    match attach_raw(&mut ebpf, "executed", "sched_process_exec") {
        Ok(()) => attached.push("commands"),
        Err(error) => log::info!("The commands of processes that end at once are not known: {error}"),
    }
    Ok((ebpf, attached.join(", ")))
}

fn attach_raw(ebpf: &mut Ebpf, name: &str, tracepoint: &str) -> io::Result<()> {
    let program: &mut RawTracePoint = program(ebpf, name)?;
    program.load().map_err(|e| other(name, &e))?;
    program.attach(tracepoint).map_err(|e| other(name, &e)).map(drop)
}

/// Attaches the programs that use local storage of sockets.
fn attach_uses(ebpf: &mut Ebpf) -> io::Result<()> {
    let btf = aya::Btf::from_sys_fs().map_err(|e| other("the kernel's type information", &e))?;
    let programs =
        [("socket_sent", "sock_send_length"), ("socket_received", "sock_recv_length"), ("connection_state", "inet_sock_set_state")];
    for (name, tracepoint) in programs {
        program::<BtfTracePoint>(ebpf, name)?.load(tracepoint, &btf).map_err(|e| other(name, &e))?;
    }
    programs.iter().try_for_each(|(name, _)| program::<BtfTracePoint>(ebpf, name)?.attach().map_err(|e| other(name, &e)).map(drop))
}

fn attach_datagrams(ebpf: &mut Ebpf) -> io::Result<()> {
    // The program is not attached on older kernels: they have no links for cgroup programs, and would keep the program attached after the
    // process has ended.
    if KernelVersion::current().is_ok_and(|version| version < KernelVersion::new(5, 7, 0)) {
        return Err(io::Error::other("the kernel is older than 5.7"));
    }
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo")?;
    let path = kernfs::mount(&mountinfo).ok_or_else(|| io::Error::other("no cgroup2 filesystem is mounted"))?;
    let root = File::open(&path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    for name in DATAGRAMS {
        program::<CgroupSockAddr>(ebpf, name)?.load().map_err(|e| other(name, &e))?;
    }
    for name in DATAGRAMS {
        let program: &mut CgroupSockAddr = program(ebpf, name)?;
        // A link never replaces the programs of others; the kernel refuses other modes.
        program.attach(&root, CgroupAttachMode::Single).map_err(|e| other(name, &e))?;
    }
    Ok(())
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> io::Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut Program, Error = aya::programs::ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or_else(|| io::Error::other(format!("the eBPF object has no program {name}")))?;
    program.try_into().map_err(|e| other(name, &e))
}

/// An error of aya with its causes.
fn other(what: &str, error: &dyn std::error::Error) -> io::Error {
    let mut text = format!("{what}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        // Only the end of the text is kept, because the verifier's log has the reason there.
        let cause_text = error.to_string();
        let lines: Vec<&str> = cause_text.trim_end().lines().collect();
        text.push_str(&lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n"));
        cause = error.source();
    }
    io::Error::other(text)
}

/// Removes the limit of locked memory, against which kernels before 5.11 count BPF maps.
fn raise_memlock() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the kernel only reads `limit`, which lives for the call. A failure is ignored: if the limit matters, the maps cannot be
    // created, which is an error of its own.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}
