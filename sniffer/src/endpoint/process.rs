//! Reads what the kernel says about this process and its host (proc(5)). A value is 0 if its file cannot be read.

use std::{fs, thread};

/// Milliseconds of a tick, the unit of times in `/proc/self/stat`. A tick is a hundredth of a second on every architecture that this
/// program runs on.
const TICK_MS: u64 = 10;
/// The unit of sizes in `/proc/self/status`.
const KIB: u64 = 1024;

/// The numbers of this process.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// CPU time in user mode, in milliseconds.
    pub user_ms: u64,
    /// CPU time in the kernel, in milliseconds.
    pub system_ms: u64,
    /// Open descriptors.
    pub open_files: u64,
    /// The limits of open descriptors. The process may raise the soft limit up to the hard limit.
    pub soft_limit: u64,
    /// See `soft_limit`.
    pub hard_limit: u64,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Resident memory that is not backed by a file, in bytes.
    pub anonymous: u64,
    /// Address space of data, heap and stacks, in bytes.
    pub data: u64,
    /// Threads.
    pub threads: u64,
    /// The real user id.
    pub uid: String,
    /// The real group id.
    pub gid: String,
    /// The load averages of the host over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Number of cores that the process may use.
    pub cores: usize,
}

impl Process {
    /// Reads the present values.
    pub fn read() -> Self {
        let text = |name: &str| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
        let mut process = Self::default();
        process.read_stat(&text("self/stat"));
        process.read_status(&text("self/status"));
        process.read_limits(&text("self/limits"));
        process.open_files = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        let load = text("loadavg");
        for (place, word) in process.load.iter_mut().zip(load.split_whitespace()) {
            *place = word.parse().unwrap_or_default();
        }
        process.cores = thread::available_parallelism().map_or(1, usize::from);
        process
    }

    fn read_stat(&mut self, stat: &str) {
        // The name of the program, in parentheses, may contain spaces and parentheses.
        let Some((_, rest)) = stat.rsplit_once(')') else { return };
        let mut fields = rest.split_whitespace().skip(11).map(|text| text.parse::<u64>().unwrap_or_default() * TICK_MS);
        self.user_ms = fields.next().unwrap_or_default();
        self.system_ms = fields.next().unwrap_or_default();
    }

    fn read_status(&mut self, status: &str) {
        for (key, value) in status.lines().filter_map(|line| line.split_once(':')) {
            let first = value.split_whitespace().next().unwrap_or_default();
            let number = || first.parse::<u64>().unwrap_or_default();
            match key {
                "VmRSS" => self.resident = number() * KIB,
                "RssAnon" => self.anonymous = number() * KIB,
                "VmData" => self.data = number() * KIB,
                "Threads" => self.threads = number(),
                "Uid" => self.uid = first.to_owned(),
                "Gid" => self.gid = first.to_owned(),
                _ => {}
            }
        }
    }

    fn read_limits(&mut self, limits: &str) {
        let Some(rest) = limits.lines().find_map(|line| line.strip_prefix("Max open files")) else { return };
        let mut values = rest.split_whitespace().map(|text| text.parse().unwrap_or(u64::MAX));
        self.soft_limit = values.next().unwrap_or_default();
        self.hard_limit = values.next().unwrap_or_default();
    }
}

/// Returns the name of a user from `/etc/passwd`; empty if the file does not have the user.
pub(super) fn user_name(uid: &str) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    find_user(&users, uid).unwrap_or_default().to_owned()
}

fn find_user<'a>(users: &'a str, uid: &str) -> Option<&'a str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel() {
        let mut process = Process::default();
        process.read_stat("7 (a) b (c) R 1 7 7 0 -1 4194304 120 0 0 0 31 12 0 0 20 0 5 0 99 1000 200 18446744073709551615");
        process.read_status(
            "Name:\tx\nUid:\t33\t0\t0\t0\nGid:\t34\t0\t0\t0\nVmData:\t  900 kB\nVmRSS:\t    120 kB\nRssAnon:\t 100 kB\nThreads:\t5\n",
        );
        process.read_limits("Limit  Soft  Hard  Units\nMax open files            1024                 unlimited            files\n");
        let expected = Process {
            user_ms: 310,
            system_ms: 120,
            soft_limit: 1024,
            hard_limit: u64::MAX,
            resident: 120 << 10,
            anonymous: 100 << 10,
            data: 900 << 10,
            threads: 5,
            uid: "33".into(),
            gid: "34".into(),
            ..Process::default()
        };
        assert_eq!(process, expected);
        let mut nothing = Process::default();
        nothing.read_stat("");
        nothing.read_status("VmRSS");
        nothing.read_limits("Max open files");
        assert_eq!(nothing, Process::default());
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\nwww:x:33:33::/:/bin/sh\n";
        assert_eq!((find_user(users, "33"), find_user(users, "3")), (Some("www"), None));
    }

    #[test]
    fn this_process() {
        let process = Process::read();
        assert!(process.resident > 1 << 20 && process.resident >= process.anonymous, "{process:?}");
        assert!(process.open_files >= 3 && process.open_files <= process.soft_limit, "{process:?}");
        assert!(process.threads >= 1 && process.cores >= 1 && !process.uid.is_empty(), "{process:?}");
    }
}
