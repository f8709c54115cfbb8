//! Finds the owner of a socket in maps that eBPF programs fill (`sniffer-ebpf/src/processes`). A process is recorded when it opens a
//! connection, listens, sends or receives, so that it is known after it has ended, and a socket that one process passed to another belongs
//! to the process that uses it. The programs see all network namespaces. Sockets that were open before are entered once, from /proc.

mod btf;
mod existing;
mod key;
mod load;
#[cfg(test)]
mod tests;

use super::{
    diag::DiagOwners,
    local::LocalAddresses,
    netns::own_netns,
    owner::{Command, Owner, Owners, Socket},
};
use crate::net::Transport;
use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
};
use sniffer_common::process::{self, ProcessKey, SocketKey, SocketOwner};
use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};
use zerocopy::{FromBytes, IntoBytes};

/// A map whose keys and values are read as bytes.
struct Records<K, V> {
    map: HashMap<MapData, K, V>,
}

type Sockets = Records<[u8; size_of::<SocketKey>()], [u8; size_of::<SocketOwner>()]>;
type Commands = Records<[u8; size_of::<ProcessKey>()], [u8; size_of::<process::Command>()]>;

/// Finds owners in the maps of the eBPF programs.
pub struct KernelOwners {
    sockets: Sockets,
    commands: Commands,
    /// Finds sockets that the programs have not seen: datagram sockets that were connected, on kernels before 6.3.
    diag: Option<DiagOwners>,
    local: LocalAddresses,
    /// The inode number of the program's network namespace.
    netns: u32,
    /// Whether a failure of the maps was reported.
    failed: AtomicBool,
    /// Holds the links of the programs.
    _ebpf: Ebpf,
}

impl KernelOwners {
    /// Loads and attaches the programs, and enters the sockets that are open. The function also returns a description of what is recorded,
    /// for the log.
    ///
    /// # Errors
    /// What the kernel lacks or does not permit.
    pub fn new() -> io::Result<(Self, String)> {
        Self::with(true)
    }

    /// Like [`Self::new`]. Without `sends`, the programs for kernels without tracepoints in sends and receives are used.
    fn with(sends: bool) -> io::Result<(Self, String)> {
        let (mut ebpf, attached) = load::load(sends)?;
        let mut sockets: Sockets = Records::new(&mut ebpf, "SOCKETS")?;
        let commands = Records::new(&mut ebpf, "COMMANDS")?;
        let netns = own_netns()?;
        existing::enter(&mut sockets.map)?;
        let diag = DiagOwners::new().ok();
        let owners = Self { sockets, commands, diag, local: LocalAddresses::default(), netns, failed: AtomicBool::new(false), _ebpf: ebpf };
        Ok((owners, attached))
    }

    fn find(&self, key: &SocketKey) -> Option<SocketOwner> {
        let mut bytes = [0; size_of::<SocketKey>()];
        key.write_to(&mut bytes).ok()?;
        self.sockets.get(&bytes, &self.failed).and_then(|value| SocketOwner::read_from_bytes(&value).ok())
    }

    fn recorded(&self, of: &Socket) -> Option<SocketOwner> {
        let key = key::Lookup::new(of, self.netns)?;
        let is_in = |owner: &SocketOwner| of.netns.is_none_or(|netns| netns == owner.netns);
        let found = key.connected().find_map(|key| self.find(&key).filter(is_in));
        // Sockets without a remote end get packets for addresses of their own namespace only.
        let is_local =
            || of.netns.is_some_and(|netns| netns != self.netns) || self.local.contains(of.local.ip().to_canonical(), Instant::now());
        found.or_else(|| is_local().then(|| key.unconnected().find_map(|key| self.find(&key).filter(is_in))).flatten())
    }
}

impl Owners for KernelOwners {
    fn owner(&self, of: &Socket) -> Option<Owner> {
        if !matches!(of.transport, Transport::Tcp | Transport::Udp) {
            return None;
        }
        match self.recorded(of) {
            Some(SocketOwner { start, cgroup, pid, uid, comm, .. }) => Some(Owner { pid, start, uid, comm, cgroup }),
            None => self.diag.as_ref()?.owner(of),
        }
    }

    fn command(&self, of: &Owner) -> Option<Command> {
        let key = ProcessKey { start: of.start, pid: of.pid, reserved: 0 };
        let mut bytes = [0; size_of::<ProcessKey>()];
        key.write_to(&mut bytes).ok()?;
        let value = self.commands.get(&bytes, &self.failed)?;
        let command = process::Command::read_from_bytes(&value).ok()?;
        let executable = command.executable.get(..command.executable_len as usize)?;
        let arguments = command.arguments.get(..command.arguments_len as usize)?;
        let executable = executable.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        let arguments = arguments.strip_suffix(&[0]).unwrap_or(arguments);
        let args = if arguments.is_empty() { Vec::new() } else { arguments.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect() };
        Some(Command { executable, args })
    }
}

impl<const K: usize, const V: usize> Records<[u8; K], [u8; V]> {
    fn new(ebpf: &mut Ebpf, name: &str) -> io::Result<Self> {
        let map = ebpf.take_map(name).ok_or_else(|| io::Error::other(format!("the eBPF object has no map {name}")))?;
        Ok(Self { map: HashMap::try_from(map).map_err(|e| io::Error::other(format!("map {name}: {e}")))? })
    }

    /// Returns the value of `key`. The first failure of a map is logged as a warning.
    fn get(&self, key: &[u8; K], failed: &AtomicBool) -> Option<[u8; V]> {
        match self.map.get(key, 0) {
            Ok(value) => Some(value),
            Err(MapError::KeyNotFound) => None,
            Err(error) => {
                if !failed.swap(true, Ordering::Relaxed) {
                    log::warn!("A map with the processes of sockets cannot be read, so processes are missing in events: {error}");
                }
                None
            }
        }
    }
}
