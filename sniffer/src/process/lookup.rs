//! Names the processes at the ends of a conversation when its event is emitted.

use super::{
    cgroup::Cgroup,
    details::{MAX_PATH, Process, Reader, Running, text},
    kernfs::Cgroups,
    netns::own_netns,
    options::Options,
    owner::{Owner, Owners, Socket},
    recent::Recent,
    users::Users,
};
use crate::{net::Transport, time::Timestamp};
use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Maximum number of processes in each generation of those that are remembered.
const MAX_PROCESSES: usize = 4096;
/// Maximum number of bytes of the processes in a generation.
const MAX_BYTES: usize = 4 << 20;
/// Maximum number of processes in each generation that a worker finds without the lock that all workers share.
const MAX_OF_WORKER: usize = 256;
/// Maximum number of cgroups in each generation of those that are remembered.
const MAX_CGROUPS: usize = 1024;

/// The processes at both ends of a conversation, where they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The process of `source`.
    pub source: Option<Arc<Process>>,
    /// The process of `destination`.
    pub destination: Option<Arc<Process>>,
}

impl Ends {
    /// No process is known.
    pub const NONE: Self = Self { source: None, destination: None };

    /// The process of the whole conversation: that of the destination if it is known.
    pub fn main(&self) -> Option<&Process> {
        self.destination.as_deref().or(self.source.as_deref())
    }
}

/// The ends of a conversation as they are on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Conversation {
    /// The transport. Only TCP and UDP have sockets whose owner can be found.
    pub transport: Transport,
    /// The end that is `source` in the document.
    pub source: SocketAddr,
    /// The end that is `destination` in the document.
    pub destination: SocketAddr,
    /// Whether the packets came through a tunnel.
    pub tunnelled: bool,
    /// A time of the wall clock at which the conversation took place.
    pub time: Timestamp,
}

/// What is known about processes. Shared by all workers, and independent of the configuration that is in force.
pub struct Processes {
    owners: Arc<dyn Owners>,
    options: Options,
    reader: Reader,
    cgroups: Option<Cgroups>,
    /// The network namespace of this program.
    netns: Option<u32>,
    known: Mutex<Known>,
}

struct Known {
    users: Users,
    processes: Recent<Owner, Arc<Process>>,
    by_pid: Recent<u32, Arc<Process>>,
    by_cgroup: Recent<u64, Arc<Cgroup>>,
}

impl Processes {
    /// Names the processes that `owners` finds.
    pub fn new(owners: Arc<dyn Owners>, options: Options) -> Arc<Self> {
        let netns = own_netns().ok();
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let held = |process: &Arc<Process>| process.held();
        let known = Known {
            users: Users::new("/etc/passwd".into()),
            processes: Recent::new(MAX_PROCESSES, MAX_BYTES, held),
            by_pid: Recent::new(MAX_PROCESSES, MAX_BYTES, held),
            by_cgroup: Recent::new(MAX_CGROUPS, usize::MAX, |_| 0),
        };
        let (reader, cgroups) = (Reader::new("/proc".into()), Cgroups::open(&mountinfo));
        Arc::new(Self { owners, options, reader, cgroups, netns, known: Mutex::new(known) })
    }

    /// Whether documents name processes. If not, only observers get them.
    pub fn are_shown(&self) -> bool {
        self.options.enabled
    }

    /// A process that an event has named lately, also if it has ended.
    pub fn by_pid(&self, pid: u32) -> Option<Arc<Process>> {
        self.known().by_pid.get(&pid)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process that `owner` stands for. It is read when it is first asked for.
    fn process(&self, owner: &Owner) -> Arc<Process> {
        if let Some(process) = self.known().processes.get(owner) {
            return process;
        }
        // The lock is not held while files are read. If two workers read the same process, both get the same.
        let running = self.reader.read(owner);
        let process = self.describe(owner, running);
        let mut known = self.known();
        known.processes.insert(*owner, process.clone());
        known.by_pid.insert(owner.pid, process.clone());
        process
    }

    /// `running`: what was read of the process; `None` if it has ended.
    fn describe(&self, owner: &Owner, running: Option<Running>) -> Arc<Process> {
        let mut running = running.unwrap_or_else(|| self.ended(owner));
        let cgroup = std::mem::take(&mut running.cgroup);
        let mut known = self.known();
        if owner.cgroup != 0 && cgroup != Cgroup::default() {
            known.by_cgroup.insert(owner.cgroup, Arc::new(cgroup.clone()));
        }
        let user_name = known.users.name(owner.uid);
        drop(known);
        let name = self.options.name_of(&running.args).map_or(running.name, str::to_owned);
        self.options.redactor.redact(&mut running.args);
        Arc::new(Process {
            pid: owner.pid,
            name,
            executable: running.executable,
            args: running.args,
            start: self.reader.started(owner),
            working_directory: running.working_directory,
            parent: running.parent,
            user_id: owner.uid.to_string(),
            user_name,
            container: cgroup.container,
            service: cgroup.service,
        })
    }

    /// What is known about a process that has ended.
    fn ended(&self, owner: &Owner) -> Running {
        let name = owner.comm.split(|byte| *byte == 0).next().unwrap_or_default();
        let command = self.owners.command(owner).unwrap_or_default();
        Running {
            name: text(name, owner.comm.len()),
            executable: text(&command.executable, MAX_PATH),
            args: command.args.iter().map(|arg| text(arg, super::details::MAX_COMMAND)).collect(),
            cgroup: self.cgroup(owner.cgroup),
            ..Running::default()
        }
    }

    /// What the cgroup with this id says.
    fn cgroup(&self, id: u64) -> Cgroup {
        if id == 0 {
            return Cgroup::default();
        }
        if let Some(cgroup) = self.known().by_cgroup.get(&id) {
            return (*cgroup).clone();
        }
        let path = self.cgroups.as_ref().and_then(|cgroups| cgroups.path(id));
        path.map(|path| Cgroup::of_path(&path)).unwrap_or_default()
    }
}

/// The processes of one worker's events.
pub struct Lookup {
    shared: Arc<Processes>,
    recent: Recent<Owner, Arc<Process>>,
}

impl Lookup {
    /// Makes the look-up of a worker.
    pub fn new(shared: Arc<Processes>) -> Self {
        Self { shared, recent: Recent::new(MAX_OF_WORKER, usize::MAX, |_| 0) }
    }

    /// Whether documents name processes.
    pub fn are_shown(&self) -> bool {
        self.shared.are_shown()
    }

    /// The processes at both ends.
    pub fn ends(&mut self, of: &Conversation) -> Ends {
        if !matches!(of.transport, Transport::Tcp | Transport::Udp) {
            return Ends::NONE;
        }
        let source = self.owner(of, of.source, of.destination);
        let destination = self.owner(of, of.destination, of.source);
        Ends { source, destination }
    }

    fn owner(&mut self, of: &Conversation, local: SocketAddr, remote: SocketAddr) -> Option<Arc<Process>> {
        let is_loopback = local.ip().to_canonical().is_loopback();
        if is_loopback && of.tunnelled {
            // The loopback of another host, or an invention of the sender.
            return None;
        }
        // Each network namespace has its own loopback, and only that of this program is captured.
        let netns = self.shared.netns.filter(|_| is_loopback);
        let owner = self.shared.owners.owner(&Socket { transport: of.transport, local, remote, netns, time: of.time })?;
        if let Some(process) = self.recent.get(&owner) {
            return Some(process);
        }
        let process = self.shared.process(&owner);
        self.recent.insert(owner, process.clone());
        Some(process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Node,
        process::{
            Command,
            fake::{self, FakeOwners},
        },
    };

    fn end(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn conversation(source: &str, destination: &str) -> Conversation {
        let time = Timestamp(7_000_000_000);
        Conversation { transport: Transport::Tcp, source: end(source), destination: end(destination), tunnelled: false, time }
    }

    fn lookup(owners: FakeOwners, procs: &str) -> (Arc<FakeOwners>, Arc<Processes>, Lookup) {
        let owners = Arc::new(owners);
        let options = Options::read(&Node::parse(&format!("packetbeat.procs: {procs}")).unwrap()).unwrap();
        let processes = Processes::new(owners.clone(), options);
        (owners, processes.clone(), Lookup::new(processes))
    }

    #[test]
    fn both_ends_are_asked_for() {
        let owners = FakeOwners::default().with(Transport::Tcp, "10.0.0.1:5", fake::owner("curl"));
        let owners = owners.with(Transport::Tcp, "10.0.0.2:80", Owner { pid: 2_147_483_601, ..fake::owner("nginx") });
        let (owners, _, mut lookup) = lookup(owners, "{enabled: true}");
        assert!(lookup.are_shown());
        let ends = lookup.ends(&conversation("10.0.0.1:5", "10.0.0.2:80"));
        let name = |process: &Option<Arc<Process>>| process.as_ref().map(|process| process.name.clone()).unwrap_or_default();
        assert_eq!((name(&ends.source), name(&ends.destination)), ("curl".into(), "nginx".into()));
        assert_eq!(ends.main().map(|process| process.pid), Some(2_147_483_601), "the destination wins");
        let ends = lookup.ends(&conversation("10.0.0.1:5", "10.0.0.3:80"));
        assert_eq!((name(&ends.source), name(&ends.destination)), ("curl".into(), String::new()));
        assert_eq!(ends.main().map(|process| process.pid), Some(2_147_483_600));
        let asked: Vec<_> = owners.asked().iter().map(|socket| (socket.local, socket.remote, socket.netns, socket.time.0)).collect();
        let (a, b, c) = (end("10.0.0.1:5"), end("10.0.0.2:80"), end("10.0.0.3:80"));
        let time = 7_000_000_000;
        assert_eq!(asked, [(a, b, None, time), (b, a, None, time), (a, c, None, time), (c, a, None, time)]);
    }

    #[test]
    fn loopback_is_that_of_this_program() {
        let (owners, processes, mut lookup) = lookup(FakeOwners::default(), "{}");
        assert!(!lookup.are_shown());
        for conversation in [
            conversation("127.0.0.1:5", "127.0.0.1:80"),
            conversation("[::1]:5", "[::1]:80"),
            Conversation { tunnelled: true, ..conversation("127.0.0.1:5", "10.0.0.1:80") },
            Conversation { transport: Transport::Icmp, ..conversation("10.0.0.1:0", "10.0.0.2:0") },
            Conversation { transport: Transport::Sctp, ..conversation("10.0.0.1:5", "10.0.0.2:5") },
        ] {
            assert_eq!(lookup.ends(&conversation), Ends::NONE);
        }
        let asked: Vec<_> = owners.asked().iter().map(|socket| (socket.local.to_string(), socket.netns)).collect();
        assert!(processes.netns.is_some());
        let own = processes.netns;
        let wanted = [("127.0.0.1:5", own), ("127.0.0.1:80", own), ("[::1]:5", own), ("[::1]:80", own), ("10.0.0.1:80", None)];
        assert_eq!(asked, wanted.map(|(local, netns)| (local.to_owned(), netns)));
    }

    #[test]
    fn a_process_that_runs() {
        let this = fake::this_process();
        let owners = FakeOwners::default().with(Transport::Udp, "10.0.0.1:5", this);
        let (_, processes, mut lookup) = lookup(owners, "{monitored: [{process: tests, cmdline_grep: /}]}");
        let conversation = Conversation { transport: Transport::Udp, ..conversation("10.0.0.1:5", "10.0.0.2:53") };
        let first = lookup.ends(&conversation);
        let process = first.main().unwrap();
        let args: Vec<String> = std::env::args().collect();
        assert_eq!((process.pid, process.name.as_str(), &process.args), (this.pid, "tests", &args));
        assert_eq!((process.user_id.as_str(), process.start.is_some()), (this.uid.to_string().as_str(), true));
        let again = lookup.ends(&conversation);
        assert!(Arc::ptr_eq(first.source.as_ref().unwrap(), again.source.as_ref().unwrap()), "read twice");
        let other_worker = Lookup::new(processes.clone()).ends(&conversation);
        assert!(Arc::ptr_eq(first.source.as_ref().unwrap(), other_worker.source.as_ref().unwrap()), "read twice");
        assert!(processes.by_pid(this.pid).is_some() && processes.by_pid(1 << 30).is_none());
    }

    #[test]
    fn a_process_that_has_ended() {
        let command = Command {
            executable: b"/usr/bin/mysql".to_vec(),
            args: ["mysql", "-uroot", "-phunter2", "\u{fffd}"].map(|arg| arg.as_bytes().to_vec()).to_vec(),
        };
        let owner = Owner { uid: 0, ..fake::owner("mysql") };
        let mut owners = FakeOwners::default().with(Transport::Tcp, "10.0.0.1:5", owner).with(
            Transport::Tcp,
            "10.0.0.1:6",
            Owner { pid: 2_147_483_602, ..owner },
        );
        owners.commands.insert(owner.pid, command);
        let (_, processes, mut lookup) = lookup(owners, "{enabled: true}");
        let ends = lookup.ends(&conversation("10.0.0.1:5", "10.0.0.1:6"));
        let seen = Process {
            pid: owner.pid,
            name: "mysql".into(),
            executable: "/usr/bin/mysql".into(),
            args: ["mysql", "-uroot", "-pxxxxx", "\u{fffd}"].map(str::to_owned).to_vec(),
            start: processes.reader.started(&owner),
            user_id: "0".into(),
            user_name: "root".into(),
            ..Process::default()
        };
        assert_eq!(ends.source.as_deref(), Some(&seen));
        let unseen = Process { pid: 2_147_483_602, executable: String::new(), args: Vec::new(), ..seen };
        assert_eq!(ends.destination.as_deref(), Some(&unseen));
    }

    #[test]
    fn the_container_of_a_process_that_has_ended() {
        let (_, processes, _) = lookup(FakeOwners::default(), "{}");
        let id = "0123456789abcdef".repeat(4);
        let owner = Owner { cgroup: u64::MAX - 1, ..fake::owner("app") };
        assert_eq!(processes.describe(&owner, None).container, "", "nothing is known about the cgroup");
        let running = Running { cgroup: Cgroup::of_path(&format!("/docker/{id}")), ..Running::default() };
        assert_eq!(processes.describe(&owner, Some(running)).container, id);
        let other = Owner { pid: 2_147_483_605, ..owner };
        assert_eq!(processes.describe(&other, None).container, id, "of another process in the same cgroup");
        assert_eq!(processes.describe(&Owner { cgroup: 0, ..other }, None).container, "");
    }

    #[test]
    fn memory_is_bounded() {
        let (_, processes, _) = lookup(FakeOwners::default(), "{}");
        for pid in 0..20_000 {
            processes.process(&Owner { pid: 1_000_000_000 + pid, ..fake::owner("app") });
        }
        let known = processes.known();
        assert!(known.processes.len() <= 2 * MAX_PROCESSES && known.by_pid.len() <= 2 * MAX_PROCESSES);
    }
}
