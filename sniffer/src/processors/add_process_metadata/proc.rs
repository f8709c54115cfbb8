//! Reads the data of a process from the files below `/proc` (proc(5)).

use crate::time::Timestamp;
use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};
use regex::Regex;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

/// Reads processes of one host.
pub(in crate::processors) struct Reader {
    /// The folder that contains `proc` and `etc`.
    pub(in crate::processors) root: PathBuf,
    /// Beginnings of cgroups whose last part is the id of a container.
    pub(in crate::processors) prefixes: Vec<String>,
    /// A pattern whose first group is the id of a container.
    pub(in crate::processors) pattern: Option<Regex>,
}

/// Maximum number of bytes that are read of one file. Arguments and environment can have megabytes.
const MAX_FILE: u64 = 64 << 10;
/// Ticks per second in `/proc/PID/stat`. The value is the same on all architectures.
const TICKS: u64 = 100;

/// The names of capabilities, in the order of their numbers (capabilities(7)).
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The name of a user or group with this id, from the text of passwd(5) or group(5).
fn name_of(file: &str, id: &str) -> Option<String> {
    file.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)? == id).then(|| name.to_owned())
    })
}

/// The names of the capabilities in a mask, written in hexadecimal digits.
fn capabilities(mask: &str) -> Option<Value> {
    let mask = u64::from_str_radix(mask, 16).ok()?;
    Some(CAPABILITIES.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, name)| *name).collect())
}

impl Reader {
    /// The fields of a process, by their names; `None` if there is no such process.
    pub(super) fn read(&self, pid: u32) -> Option<Vec<(&'static str, Value)>> {
        let folder = self.root.join("proc").join(pid.to_string());
        let status = read(&folder.join("status"))?;
        let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
        let first = |key: &str| line(key).and_then(|text| text.split_whitespace().next());
        let (uid, gid) = (first("Uid"), first("Gid"));
        let etc = |file: &str| read(&self.root.join("etc").join(file)).unwrap_or_default();
        let command = read(&folder.join("cmdline")).unwrap_or_default();
        let arguments: Vec<&str> = command.trim_end_matches('\0').split('\0').filter(|text| !text.is_empty()).collect();
        let start = self.start(&folder);
        let optional = [
            ("process.name", line("Name").map(Value::from)),
            ("process.title", (!arguments.is_empty()).then(|| arguments.join(" ").into())),
            ("process.executable", fs::read_link(folder.join("exe")).ok().map(|path| path.to_string_lossy().into())),
            ("process.args", (!arguments.is_empty()).then(|| json!(arguments))),
            ("process.env", read(&folder.join("environ")).map(|text| environment(&text))),
            ("process.pid", Some(pid.into())),
            ("process.parent.pid", line("PPid").and_then(|text| text.parse::<u32>().ok()).map(Value::from)),
            ("process.start_time", start.map(|time| time.text(3).as_str().into())),
            ("process.owner.id", uid.map(Value::from)),
            ("process.owner.name", uid.and_then(|id| name_of(&etc("passwd"), id)).map(Value::from)),
            ("process.group.id", gid.map(Value::from)),
            ("process.group.name", gid.and_then(|id| name_of(&etc("group"), id)).map(Value::from)),
            ("process.entity_id", start.map(|time| self.entity(pid, time).into())),
            ("process.thread.capabilities.effective", line("CapEff").and_then(capabilities)),
            ("process.thread.capabilities.permitted", line("CapPrm").and_then(capabilities)),
            ("container.id", read(&folder.join("cgroup")).and_then(|text| self.container(&text)).map(Value::from)),
        ];
        Some(optional.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    /// The id of the container that a process belongs to.
    pub(in crate::processors) fn container_of(&self, pid: u32) -> Option<String> {
        self.container(&read(&self.root.join("proc").join(pid.to_string()).join("cgroup"))?)
    }

    /// The time at which a process was started.
    fn start(&self, folder: &Path) -> Option<Timestamp> {
        let stat = read(&folder.join("stat"))?;
        // The name of the program is in parentheses and can contain any characters. The start time is the 20th word
        // after the name.
        let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        let boot = read(&self.root.join("proc/stat"))?;
        let boot: u64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        let nanos = boot.checked_mul(1_000_000_000)?.checked_add(ticks.checked_mul(1_000_000_000 / TICKS)?)?;
        Some(Timestamp(nanos))
    }

    /// An id that no other process has, also on other hosts and at other times.
    fn entity(&self, pid: u32, start: Timestamp) -> String {
        let machine = read(&self.root.join("etc/machine-id")).unwrap_or_default();
        let digest = Sha256::digest(format!("{}|{pid}|{}", machine.trim(), start.0));
        BASE64_STANDARD_NO_PAD.encode(digest.get(..12).unwrap_or_default())
    }

    /// The id of the container that the cgroups of a process belong to.
    fn container(&self, cgroups: &str) -> Option<String> {
        cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(|cgroup| {
            let last = || cgroup.rsplit('/').next().unwrap_or_default();
            if let Some(pattern) = &self.pattern {
                return pattern.captures(cgroup)?.get(1).map(|id| id.as_str().to_owned());
            }
            if !self.prefixes.is_empty() {
                return self.prefixes.iter().any(|prefix| cgroup.starts_with(prefix.as_str())).then(|| last().to_owned());
            }
            // Container runtimes use 64 hexadecimal digits, with a prefix and a suffix if systemd manages the cgroups.
            let name = last().trim_end_matches(".scope");
            let id = name.rsplit('-').next().unwrap_or(name);
            (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
        })
    }
}

/// The variables of an environment.
fn environment(text: &str) -> Value {
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    Value::Object(pairs.map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, _>>())
}
