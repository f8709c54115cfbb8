//! Reads what documents say about a process from `/proc/PID` (proc(5)). A process is read once; this module does not remember it.

use super::{Owner, cgroup::Cgroup};
use crate::time::Timestamp;
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

/// Maximum number of bytes of the command line that are read. The arguments after them are left out.
pub const MAX_COMMAND: usize = 16 << 10;
/// Maximum number of bytes that are read of the other files, except the command line.
const MAX_FILE: usize = 16 << 10;
/// Maximum number of bytes of a path.
pub const MAX_PATH: usize = 4096;
/// Nanoseconds of a tick in `/proc/PID/stat`. The value is the same on all architectures.
pub const TICK: u64 = 10_000_000;

/// What documents say about a process. A text is empty if it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// The process id in the initial pid namespace.
    pub pid: u32,
    /// The name that the kernel has (at most 15 bytes for a program), or the name that `monitored` gives.
    pub name: String,
    /// The path of the program file.
    pub executable: String,
    /// The arguments, the name of the program included, with secrets replaced.
    pub args: Vec<String>,
    /// When the process was started, with a resolution of 10 ms.
    pub start: Option<Timestamp>,
    /// The current directory when the process was read.
    pub working_directory: String,
    /// The id of the parent when the process was read.
    pub parent: Option<u32>,
    /// The effective user id when the socket was used.
    pub user_id: String,
    /// The name of the user on this host.
    pub user_name: String,
    /// The id of the container that the process runs in.
    pub container: String,
    /// The name of the systemd service that the process belongs to.
    pub service: String,
}

impl Process {
    /// Number of allocated bytes.
    pub fn held(&self) -> usize {
        let args: usize = self.args.iter().map(|arg| arg.capacity() + size_of::<String>()).sum();
        let texts = [&self.name, &self.executable, &self.working_directory, &self.user_id, &self.user_name, &self.container, &self.service];
        size_of::<Self>() + args + texts.iter().map(|text| text.capacity()).sum::<usize>()
    }
}

/// What was read of a process that runs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Running {
    pub name: String,
    pub executable: String,
    pub args: Vec<String>,
    pub working_directory: String,
    pub parent: Option<u32>,
    pub cgroup: Cgroup,
}

/// Reads processes.
#[derive(Debug)]
pub struct Reader {
    /// The folder `/proc`.
    root: PathBuf,
    /// When the host was started.
    boot: Option<Timestamp>,
}

/// The parts of `/proc/PID/stat` that are used.
pub struct Stat {
    pub name: String,
    pub parent: u32,
    /// When the process was started, in ticks of boot time.
    pub start: u64,
}

impl Reader {
    /// Makes a reader for the processes below `root`, which is `/proc`.
    pub fn new(root: PathBuf) -> Self {
        let stat = read(&root.join("stat"), MAX_FILE << 6).unwrap_or_default();
        let seconds = String::from_utf8_lossy(&stat).lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
        Self { root, boot: seconds.and_then(|seconds| seconds.checked_mul(1_000_000_000)).map(Timestamp) }
    }

    /// The time at which a process was started.
    pub fn started(&self, owner: &Owner) -> Option<Timestamp> {
        let since_boot = Some(owner.start - owner.start % TICK).filter(|start| *start > 0)?;
        self.boot?.0.checked_add(since_boot).map(Timestamp)
    }

    /// Reads a process. `None` if it has ended, even if another process has its pid.
    pub fn read(&self, owner: &Owner) -> Option<Running> {
        let folder = self.root.join(owner.pid.to_string());
        let is_owner = |stat: &Stat| owner.start == 0 || stat.start == owner.start / TICK;
        let stat = stat(&folder).filter(is_owner)?;
        let command = read(&folder.join("cmdline"), MAX_COMMAND).unwrap_or_default();
        let link = |name: &str| fs::read_link(folder.join(name)).map(|path| text(path.as_os_str().as_encoded_bytes(), MAX_PATH));
        let (executable, working_directory) = (link("exe").unwrap_or_default(), link("cwd").unwrap_or_default());
        let cgroup = read(&folder.join("cgroup"), MAX_FILE).unwrap_or_default();
        // The pid may have passed to another process since.
        self::stat(&folder).filter(is_owner)?;
        Some(Running {
            name: stat.name,
            executable,
            args: arguments(&command),
            working_directory,
            parent: Some(stat.parent).filter(|parent| *parent > 0),
            cgroup: Cgroup::of(&String::from_utf8_lossy(&cgroup)),
        })
    }
}

/// The arguments in the content of `/proc/PID/cmdline`. Programs that write a title there leave zeros after it.
fn arguments(command: &[u8]) -> Vec<String> {
    let length = command.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let command = command.get(..length).unwrap_or_default();
    let args = || command.split(|byte| *byte == 0);
    if command.is_empty() { Vec::new() } else { args().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect() }
}

/// The text of at most `most` bytes.
pub fn text(bytes: &[u8], most: usize) -> String {
    String::from_utf8_lossy(bytes.get(..most).unwrap_or(bytes)).into_owned()
}

/// Reads at most `most` bytes of a file.
pub fn read(file: &Path, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(file).ok()?.take(most as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Reads `stat` in `folder`, which is `/proc/PID`. `None` if the process is gone.
pub fn stat(folder: &Path) -> Option<Stat> {
    let bytes = read(&folder.join("stat"), MAX_FILE)?;
    let all = String::from_utf8_lossy(&bytes);
    // The name is in parentheses and can contain any characters.
    let (before, after) = all.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut words = after.split_whitespace();
    // The words after the name are numbered from 3: the parent is the 4th word, the start the 22nd.
    let parent = words.nth(1)?.parse().ok()?;
    let start = words.nth(17)?.parse().ok()?;
    Some(Stat { name: name.to_owned(), parent, start })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fake;

    #[test]
    fn the_own_process_is_read() {
        let reader = Reader::new("/proc".into());
        let owner = fake::this_process();
        let read = reader.read(&owner).unwrap();
        let args: Vec<String> = std::env::args().collect();
        assert_eq!((read.args, read.parent), (args, Some(std::os::unix::process::parent_id())));
        assert_eq!(Path::new(&read.executable), std::env::current_exe().unwrap());
        assert_eq!(Path::new(&read.working_directory), std::env::current_dir().unwrap());
        assert!(reader.started(&owner).is_some_and(|start| start.0 % TICK == 0), "{:?}", reader.started(&owner));
        assert_eq!(reader.read(&Owner { start: owner.start + TICK, ..owner }), None, "the pid is used again");
        assert!(reader.read(&Owner { start: owner.start + TICK / 2, ..owner }).is_some(), "the same tick");
        assert!(reader.read(&Owner { start: 0, ..owner }).is_some(), "the start is not known");
        assert_eq!(reader.read(&fake::owner("gone")), None);
        assert_eq!(reader.started(&Owner { start: 0, ..owner }), None);
    }

    #[test]
    fn unusual_processes() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("7");
        fs::create_dir(&folder).unwrap();
        fs::write(root.path().join("stat"), "cpu 1\nbtime 1700000000\n").unwrap();
        let write = |name: &str, content: &[u8]| fs::write(folder.join(name), content).unwrap();
        let reader = Reader::new(root.path().to_owned());
        let owner = Owner { pid: 7, start: 4_210_000_001, ..fake::owner("x") };
        assert_eq!(reader.started(&owner), Some(Timestamp(1_700_000_004_210_000_000)));
        for stat in ["", "7", "7 (a", "7 (a) S", "7 (a) S x", "7 (a) S 1 1 1"] {
            write("stat", stat.as_bytes());
            assert_eq!(reader.read(&owner), None, "{stat}");
        }
        write("stat", b"7 (a b) (c)) S 0 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 421 9 9\n");
        let kernel_thread = Running { name: "a b) (c)".into(), ..Running::default() };
        assert_eq!(reader.read(&owner), Some(kernel_thread));
        write("cmdline", b"nginx: worker\0\0\0\0");
        assert_eq!(reader.read(&owner).unwrap().args, ["nginx: worker"]);
        write("cmdline", b"a\0\0b \xff\0");
        assert_eq!(reader.read(&owner).unwrap().args, ["a", "", "b \u{fffd}"]);
        write("cmdline", &b"x".repeat(MAX_COMMAND + 1));
        assert_eq!(reader.read(&owner).unwrap().args, ["x".repeat(MAX_COMMAND)]);
        write("cgroup", b"0::/system.slice/nginx.service\n");
        assert_eq!(reader.read(&owner).unwrap().cgroup.service, "nginx");
    }
}
