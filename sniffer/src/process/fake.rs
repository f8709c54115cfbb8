//! Owners of sockets that a test sets.

use super::{Command, Owner, Owners, Socket};
use crate::net::Transport;
use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    sync::{Mutex, PoisonError},
};

/// Owners that a test sets. Every question is recorded.
#[derive(Debug, Default)]
pub struct FakeOwners {
    /// The owner of each local end.
    pub ends: HashMap<(Transport, SocketAddr), Owner>,
    /// The commands of processes, by pid.
    pub commands: HashMap<u32, Command>,
    asked: Mutex<Vec<Socket>>,
}

impl FakeOwners {
    /// The same owners and another one.
    pub fn with(mut self, transport: Transport, local: &str, owner: Owner) -> Self {
        self.ends.insert((transport, local.parse().unwrap()), owner);
        self
    }

    /// The sockets that were asked for so far.
    pub fn asked(&self) -> Vec<Socket> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Owners for FakeOwners {
    fn owner(&self, of: &Socket) -> Option<Owner> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(*of);
        self.ends.get(&(of.transport, of.local)).copied()
    }

    fn command(&self, of: &Owner) -> Option<Command> {
        self.commands.get(&of.pid).cloned()
    }
}

/// A process that has ended: its pid is larger than any.
pub fn owner(name: &str) -> Owner {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name.as_bytes());
    Owner { pid: 2_147_483_600, start: 5_000_000_000, uid: 4_294_967_200, comm, cgroup: 0 }
}

/// The process of the test.
pub fn this_process() -> Owner {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let uid = fs::metadata("/proc/self").unwrap().uid();
    Owner { pid: std::process::id(), start: ticks * 10_000_000 + 3, uid, ..owner("test") }
}
