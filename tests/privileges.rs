//! Privileges of the running program: user, capabilities, filter of system calls, and the modes of files that it makes.

use crate::{
    ending,
    harness::{Home, UNPRIVILEGED, is_root},
    net::{Net, Running, may_run, until},
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

const CONFIG: &str = "packetbeat.protocols: [{type: icmp, enabled: true}]\nlogging.level: info\nqueue.mem.flush.min_events: 1\n";
/// Bits of capabilities (linux/capability.h).
const DAC_READ_SEARCH: u64 = 1 << 2;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// The lines of `/proc/PID/task/*/status` of each thread. The function fails if there are fewer threads than `least`.
fn threads(pid: u32, least: usize) -> Vec<String> {
    let all: Vec<String> = fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path().join("status")).ok())
        .collect();
    assert!(all.len() >= least, "{} threads, expected {least}", all.len());
    all
}

/// The value of a line of a status file.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_else(|| panic!("no {name} in {status}")).trim()
}

fn mask(status: &str, name: &str) -> u64 {
    u64::from_str_radix(field(status, name), 16).unwrap()
}

/// Checks that every thread has exactly these capabilities and cannot get others.
fn check_capabilities(pid: u32, expected: u64, what: &str) {
    for status in threads(pid, 3) {
        for (set, expected) in [("CapEff", expected), ("CapPrm", expected), ("CapBnd", expected), ("CapInh", 0), ("CapAmb", 0)] {
            let found = mask(&status, set);
            assert_eq!(found, expected, "{what}, {set}: {found:#x}, expected {expected:#x}, in {status}");
        }
        assert_eq!((field(&status, "NoNewPrivs"), field(&status, "Seccomp")), ("1", "2"), "{what}: {status}");
    }
}

fn start(net: &Net, command: &Command) -> Running {
    let mut running = Running::start(net.on_server(&command.get_program().to_string_lossy()).args(command.get_args()));
    running.wait_for("sniffer is running");
    running
}

#[test]
fn every_thread_runs_as_the_user_with_the_capabilities_that_it_needs() {
    if !may_run("every_thread_runs_as_the_user_with_the_capabilities_that_it_needs") {
        return;
    }
    let net = Net::new();
    let (capture, ebpf) = (NET_ADMIN | NET_RAW, BPF | PERFMON);
    let processors = "processors: [{add_process_metadata: {match_pids: [process.pid]}}]\n";
    for (settings, interface, expected) in [
        ("", "type: ebpf", capture | ebpf),
        ("", "type: af_packet", capture | ebpf),
        ("", "type: pcap", capture),
        ("packetbeat.procs.enabled: true\n", "type: ebpf", capture | ebpf | SYS_PTRACE | DAC_READ_SEARCH),
        (processors, "type: pcap", capture | SYS_PTRACE | DAC_READ_SEARCH),
        ("queue.disk.max_size: 100MB\nhttp.enabled: true\nhttp.port: 0\n", "type: auto", capture | ebpf),
    ] {
        let what = format!("{settings}{interface}");
        // With the queue on disk, `flush` of the queue in memory is not valid.
        let config = if settings.contains("disk") { CONFIG.replace("queue.mem.flush.min_events: 1\n", "") } else { CONFIG.to_owned() };
        let home = Home::new(&format!("{config}{settings}packetbeat.interfaces: {{device: v0, {interface}}}\n"));
        let running = start(&net, &home.live());
        check_capabilities(running.id(), expected, &what);
        let (_, uid, gid) = UNPRIVILEGED;
        for status in threads(running.id(), 3) {
            let four = |id: u32| vec![id.to_string(); 4].join("\t");
            assert_eq!((field(&status, "Uid"), field(&status, "Gid")), (&*four(uid), &*four(gid)), "{what}: {status}");
            assert_eq!(field(&status, "Groups"), gid.to_string(), "{what}: {status}");
        }
        assert!(net.on_client("ping").args(["-q", "-c", "2", "-i", "0.2", "192.0.2.2"]).output().unwrap().status.success());
        until("the documents arrive", || home.documents_so_far().len() >= 2);
        let log_text = running.stop();
        assert!(log_text.contains("The process runs as nobody with these capabilities: cap_net_admin, cap_net_raw"), "{log_text}");
        for (path, about) in made_by_the_program(home.path()) {
            assert_eq!((about.uid(), about.gid()), (uid, gid), "{}", path.display());
        }
    }
}

/// As `packaging/sniffer.service` starts the program: as its user, with ambient capabilities, some of which this configuration does not need.
#[test]
fn ambient_capabilities_that_are_not_needed_are_given_up() {
    if !may_run("ambient_capabilities_that_are_not_needed_are_given_up") {
        return;
    }
    let net = Net::new();
    let home = Home::new(&format!("{CONFIG}packetbeat.interfaces: {{device: v0, type: ebpf}}\n"));
    let (_, uid, gid) = UNPRIVILEGED;
    let program = home.live();
    let args: Vec<_> =
        program.get_args().map(|arg| arg.to_string_lossy().into_owned()).filter(|arg| !["--user", "nobody"].contains(&&**arg)).collect();
    let set = "-all,+net_admin,+net_raw,+bpf,+perfmon,+sys_ptrace,+dac_read_search";
    let (uid, gid) = (uid.to_string(), gid.to_string());
    let mut command = net.on_server("setpriv");
    command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups", "--inh-caps", set, "--ambient-caps", set, "--bounding-set", set]);
    let mut running = Running::start(command.arg(program.get_program()).args(args));
    running.wait_for("sniffer is running");
    for status in threads(running.id(), 3) {
        for set in ["CapEff", "CapPrm"] {
            assert_eq!(mask(&status, set), NET_ADMIN | NET_RAW | BPF | PERFMON, "{set}: {status}");
        }
        assert_eq!((mask(&status, "CapInh"), mask(&status, "CapAmb")), (0, 0), "{status}");
        assert_eq!((field(&status, "NoNewPrivs"), field(&status, "Seccomp")), ("1", "2"), "{status}");
    }
    assert!(net.on_client("ping").args(["-q", "-c", "2", "-i", "0.2", "192.0.2.2"]).output().unwrap().status.success());
    until("the documents arrive", || home.documents_so_far().len() >= 2);
    running.stop();
}

#[test]
fn root_keeps_its_access_to_files_and_loses_the_rest() {
    if !may_run("root_keeps_its_access_to_files_and_loses_the_rest") {
        return;
    }
    let net = Net::new();
    let home = Home::new(&format!("{CONFIG}packetbeat.interfaces: {{device: v0}}\n"));
    let running = start(&net, &home.command(&["-e"]));
    for status in threads(running.id(), 3) {
        let effective = mask(&status, "CapEff");
        assert_eq!(effective & (SYS_ADMIN | SYS_PTRACE), 0, "{status}");
        assert_eq!(effective, mask(&status, "CapBnd"), "{status}");
        assert_eq!((field(&status, "NoNewPrivs"), field(&status, "Seccomp")), ("1", "2"), "{status}");
        assert_eq!(field(&status, "Uid"), "0\t0\t0\t0");
    }
    running.stop();
}

#[test]
fn seccomp_is_switched_off_and_replaced_by_the_settings_of_packetbeat() {
    if !may_run("seccomp_is_switched_off_and_replaced_by_the_settings_of_packetbeat") {
        return;
    }
    let net = Net::new();
    let with = |seccomp: &str| Home::new(&format!("{CONFIG}packetbeat.interfaces: {{device: v0, type: ebpf}}\nseccomp: {seccomp}\n"));
    let home = with("{enabled: false}");
    let running = start(&net, &home.command(&["-e"]));
    for status in threads(running.id(), 3) {
        assert_eq!((field(&status, "NoNewPrivs"), field(&status, "Seccomp")), ("1", "0"), "{status}");
    }
    assert!(running.stop().contains("System calls are not filtered (seccomp.enabled: false)"));

    let home = with("{default_action: allow, syscalls: [{action: errno, names: [bpf]}]}");
    let program = home.command(&["-e"]);
    let output = net.on_server(&program.get_program().to_string_lossy()).args(program.get_args()).output().unwrap();
    let log_text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && log_text.contains("Operation not permitted"), "{log_text}");
}

/// What needs privileges again after the start, as the unprivileged user: attaching to a device that was gone, and another filter.
#[test]
fn a_device_that_comes_back_is_captured_again_after_privileges_are_given_up() {
    if !may_run("a_device_that_comes_back_is_captured_again_after_privileges_are_given_up") {
        return;
    }
    for interface in ["type: ebpf, hook: tc", "type: ebpf, hook: xdp", "type: ebpf, hook: socket", "type: af_packet", "type: pcap"] {
        let net = Net::new();
        let home = Home::new(&format!("{CONFIG}reload.enabled: true\npacketbeat.interfaces: {{device: v0, {interface}}}\n"));
        let mut running = start(&net, &home.live());
        let running_id = running.id().to_string();
        let ping = || net.on_client("ping").args(["-q", "-c", "1", "-W", "1", "192.0.2.2"]).output().unwrap().status.success();
        assert!(ping(), "{interface}");
        until("the first transaction", || !home.documents_so_far().is_empty());
        net.disconnect();
        net.connect();
        let before = home.documents_so_far().len();
        until("transactions after the device is back", || {
            ping();
            home.documents_so_far().len() > before
        });
        let config = fs::read_to_string(home.path().join("packetbeat.yml")).unwrap();
        let reload = |config: &str| {
            home.write("packetbeat.yml", config);
            assert!(Command::new("kill").args(["-HUP", &running_id]).status().unwrap().success());
        };
        reload(&format!("{config}seccomp.enabled: false\n"));
        running.wait_for("The running configuration stays in force");
        assert!(running.last().contains("seccomp.enabled: cannot be changed while the program runs"), "{}", running.last());
        reload(&config.replace(interface, &format!("{interface}, bpf_filter: 'icmp or arp'")));
        running.wait_for("The new configuration is in force");
        let before = home.documents_so_far().len();
        until("transactions after the filter was replaced", || {
            ping();
            home.documents_so_far().len() > before
        });
        check_capabilities(
            running.id(),
            NET_ADMIN | NET_RAW | if interface.contains("pcap") { 0 } else { BPF | PERFMON },
            "after the exchange",
        );
        running.stop();
    }
}

#[test]
fn a_user_that_cannot_be_used_is_an_error_that_says_what_to_do() {
    let home = Home::with_output("packetbeat.protocols: [{type: dns, ports: [53]}]\noutput.discard: {}\n");
    let error = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = error(home.command(&["-e", "--user", "no-such-user"]).args(["-I", "x.pcap"]));
    assert!(text.contains("--user no-such-user: there is no such user; make it with `useradd --system"), "{text}");
    if !is_root() {
        let text = error(home.command(&["-e", "--user", "root"]).args(["-I", "x.pcap"]));
        assert!(text.contains("--user root: only root can become another user; start as root, or as root without --user"), "{text}");
        return;
    }
    fs::create_dir(home.path().join("data")).unwrap();
    let text = error(home.command(&["-e", "--user", "nobody"]).args(["-I", "x.pcap"]));
    let expected = format!(
        "{0} belongs to the user 0, and nobody cannot write to it; correct it with `chown -R nobody {0}`",
        home.path().join("data").display()
    );
    assert!(text.contains(&expected), "{text}\nexpected: {expected}");
}

/// The files and folders below `home`, except what the test wrote.
fn made_by_the_program(home: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let (mut found, mut folders) = (Vec::new(), vec![home.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            if about.is_dir() {
                folders.push(path.clone());
            }
            if path.parent() != Some(home) || about.is_dir() {
                found.push((path, about));
            }
        }
    }
    found
}

#[test]
fn files_are_made_for_the_user_only_and_folders_for_the_group() {
    // The queue is on disk, and the log in files.
    let home =
        Home::new("packetbeat.protocols: [{type: dns, ports: [53]}]\nqueue.disk.max_size: 100MB\nlogging: {level: info, to_files: true}\n");
    let capture = ending::capture(&home, 20);
    let program = home.command(&["-t"]);
    // The shell makes the umask empty, so that the program decides.
    let output = Command::new("sh")
        .args(["-c", "umask 0; exec \"$@\"", "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .arg("-I")
        .arg(&capture)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let found = made_by_the_program(home.path());
    let shown: Vec<String> = found.iter().map(|(path, about)| format!("{} {:o}", path.display(), about.mode() & 0o7777)).collect();
    for (path, about) in &found {
        let most = if about.is_dir() { 0o750 } else { 0o600 };
        assert_eq!(about.mode() & 0o7777 & !most, 0, "{} has more than {most:o} in {shown:#?}", path.display());
    }
    let has = |part: &str| shown.iter().any(|line| line.contains(part));
    assert!(
        ["/data/meta.json ", "/data/packetbeat.lock ", "/logs/", "/out/events-", "/data/diskqueue/"].into_iter().all(has),
        "{shown:#?}"
    );
}
