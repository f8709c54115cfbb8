//! Which process has a socket open: reads the descriptors of processes below /proc.
//!
//! A search of all processes takes milliseconds. It begins with the processes that were found last, goes on with the newest ones, and ends
//! when the socket is found. Searches take a limited part of the time. Between two searches, only the results of earlier ones are used.

use crate::process::{
    details::{TICK, read, stat},
    owner::Owner,
};
use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

/// Maximum number of sockets whose processes are remembered.
const MAX_SOCKETS: usize = 1 << 16;
/// Maximum number of descriptors of a process that are read in one search.
const MAX_DESCRIPTORS: usize = 1 << 14;
/// Number of recently found processes that a search reads first.
const RECENT: usize = 8;
/// The pause after a search, as a multiple of the time that the search took. Searches therefore take at most a tenth of the time.
const PAUSE: u32 = 9;
/// Maximum number of bytes that are read of `/proc/PID/status`.
const MAX_STATUS: usize = 4096;

/// The processes that have sockets open.
#[derive(Debug, Default)]
pub struct Inodes {
    /// The process that has the socket with this inode number open, and its descriptor.
    known: HashMap<u32, Place>,
    /// The processes that were found last, the newest first.
    recent: VecDeque<u32>,
    /// When the next search may begin.
    next: Option<Instant>,
}

/// A descriptor of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub pid: u32,
    pub descriptor: u32,
}

impl Inodes {
    /// The process that has the socket open. `now` decides whether a search may begin.
    pub fn owner(&mut self, inode: u32, now: Instant) -> Option<Owner> {
        let known = self.known.get(&inode).copied().filter(|place| socket(*place) == Some(inode));
        let pid = match known {
            Some(place) => place.pid,
            None => self.search(inode, now)?,
        };
        self.recent.retain(|recent| *recent != pid);
        self.recent.push_front(pid);
        self.recent.truncate(RECENT);
        owner(pid)
    }

    fn search(&mut self, inode: u32, now: Instant) -> Option<u32> {
        self.known.remove(&inode);
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        let begun = Instant::now();
        let found = self.search_all(inode);
        self.next = Some(now + begun.elapsed().max(Duration::from_micros(10)) * PAUSE);
        found
    }

    fn search_all(&mut self, inode: u32) -> Option<u32> {
        let recent: Vec<u32> = self.recent.iter().copied().collect();
        if let Some(pid) = recent.into_iter().find(|pid| self.read(*pid, inode)) {
            return Some(pid);
        }
        let mut pids = pids().ok()?;
        // A new socket often belongs to a new process.
        pids.sort_unstable_by(|a, b| b.cmp(a));
        pids.into_iter().find(|pid| self.read(*pid, inode))
    }

    /// Reads the sockets of a process. Returns whether `inode` is one of them.
    fn read(&mut self, pid: u32, inode: u32) -> bool {
        let mut found = false;
        sockets(pid, &mut |this, place| {
            if self.known.len() >= MAX_SOCKETS {
                self.known.clear();
            }
            self.known.insert(this, place);
            found |= this == inode;
        });
        found
    }
}

/// The ids of all processes.
///
/// # Errors
/// /proc cannot be read.
pub fn pids() -> io::Result<Vec<u32>> {
    Ok(fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// Calls `each` with the inode number of every socket that the process has open.
pub fn sockets(pid: u32, each: &mut dyn FnMut(u32, Place)) {
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().take(MAX_DESCRIPTORS) {
        let Some(descriptor) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let place = Place { pid, descriptor };
        if let Some(inode) = socket(place) {
            each(inode, place);
        }
    }
}

/// The inode number of the socket that a descriptor refers to.
fn socket(Place { pid, descriptor }: Place) -> Option<u32> {
    let target = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Reads what an [`Owner`] has of a process; `None` if the process is gone.
pub fn owner(pid: u32) -> Option<Owner> {
    let folder = Path::new("/proc").join(pid.to_string());
    let stat = stat(&folder)?;
    let status = read(&folder.join("status"), MAX_STATUS)?;
    let status = String::from_utf8_lossy(&status);
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let uid = ids.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let mut comm = [0; 16];
    for (to, from) in comm.iter_mut().zip(stat.name.bytes()).take(15) {
        *to = from;
    }
    Some(Owner { pid, start: stat.start.saturating_mul(TICK), uid, comm, cgroup: 0 })
}
