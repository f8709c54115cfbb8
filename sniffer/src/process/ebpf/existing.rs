//! Enters the sockets that were open before the programs were attached: the sockets of every network namespace from `/proc/PID/net`, and the
//! processes that have them open from `/proc/PID/fd`.

use crate::process::diag::inodes;
use aya::maps::{HashMap, MapData};
use sniffer_common::{
    process::{MAPPED, SOCKETS, SocketKey, SocketOwner},
    protocol,
};
use std::{
    collections::{HashMap as Table, HashSet},
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::fs::MetadataExt,
};
use zerocopy::IntoBytes;

/// Maximum number of open sockets that are entered. The other entries of the map are for new sockets.
const MAX_SOCKETS: usize = SOCKETS as usize / 2;
/// Maximum number of processes, and maximum number of network namespaces, that are read.
const MAX_PROCESSES: usize = 1 << 16;
const MAX_NAMESPACES: usize = 4096;
/// The flag `BPF_NOEXIST`. An entry that the programs have recorded is newer, so it is not replaced.
const NO_EXIST: u64 = 1;

/// The files with sockets, their transports, and whether their addresses are IPv6.
const FILES: [(&str, u8, bool); 4] =
    [("tcp", protocol::TCP, false), ("tcp6", protocol::TCP, true), ("udp", protocol::UDP, false), ("udp6", protocol::UDP, true)];

/// Enters open sockets in the map `SOCKETS`.
///
/// # Errors
/// /proc cannot be read. Processes that end meanwhile, or whose files the program may not read, are left out.
pub fn enter(map: &mut HashMap<MapData, [u8; size_of::<SocketKey>()], [u8; size_of::<SocketOwner>()]>) -> io::Result<()> {
    let mut pids = inodes::pids()?;
    pids.truncate(MAX_PROCESSES);
    let mut places = Table::new();
    let (mut namespaces, mut seen) = (Vec::new(), HashSet::new());
    for &pid in &pids {
        inodes::sockets(pid, &mut |inode, place| {
            if places.len() < MAX_SOCKETS {
                places.insert(inode, place.pid);
            }
        });
        if let Ok(namespace) = std::fs::metadata(format!("/proc/{pid}/ns/net"))
            && seen.len() < MAX_NAMESPACES
            && seen.insert(namespace.ino())
        {
            namespaces.push((pid, namespace.ino() as u32));
        }
    }
    let mut processes = Table::new();
    for (pid, netns) in namespaces {
        for (file, transport, is_v6) in FILES {
            let Ok(file) = File::open(format!("/proc/{pid}/net/{file}")) else { continue };
            for line in BufReader::new(file).lines().skip(1).map_while(Result::ok) {
                let Some((mut key, inode)) = socket(&line, transport, is_v6) else { continue };
                let Some(&pid) = places.get(&inode) else { continue };
                let Some(owner) = processes.entry(pid).or_insert_with(|| owner(pid)) else { continue };
                key.netns = netns;
                key.scope();
                enter_one(map, &key, &SocketOwner { netns, ..*owner });
            }
        }
    }
    Ok(())
}

fn enter_one(
    map: &mut HashMap<MapData, [u8; size_of::<SocketKey>()], [u8; size_of::<SocketOwner>()]>,
    key: &SocketKey,
    owner: &SocketOwner,
) {
    let (mut key_bytes, mut value_bytes) = ([0; size_of::<SocketKey>()], [0; size_of::<SocketOwner>()]);
    if key.write_to(&mut key_bytes).is_ok() && owner.write_to(&mut value_bytes).is_ok() {
        // An entry that exists is not replaced, which is an error of the call.
        let _ = map.insert(key_bytes, value_bytes, NO_EXIST);
    }
}

fn owner(pid: u32) -> Option<SocketOwner> {
    let owner = inodes::owner(pid)?;
    Some(SocketOwner { start: owner.start, cgroup: owner.cgroup, pid, uid: owner.uid, netns: 0, reserved: 0, comm: owner.comm })
}

/// Reads a line of `/proc/net/tcp` or a file like it: the key without its namespace, and the inode number.
fn socket(line: &str, transport: u8, is_v6: bool) -> Option<(SocketKey, u32)> {
    let mut fields = line.split_ascii_whitespace();
    let (local, remote) = (fields.nth(1)?, fields.next()?);
    let inode = fields.nth(6)?.parse().ok().filter(|inode| *inode != 0)?;
    let ((local, local_port), (remote, remote_port)) = (end(local, is_v6)?, end(remote, is_v6)?);
    let key = SocketKey { netns: 0, transport: transport.into(), local_port, remote_port, reserved: 0, local, remote };
    Some((key, inode))
}

/// Reads an address and a port. The words of the address are printed as numbers in the machine's byte order.
fn end(text: &str, is_v6: bool) -> Option<([u32; 4], u16)> {
    let (address, port) = text.split_once(':')?;
    let word = |number: usize| u32::from_str_radix(address.get(number * 8..number * 8 + 8)?, 16).ok();
    let address = if is_v6 { [word(0)?, word(1)?, word(2)?, word(3)?] } else { [0, 0, MAPPED, word(0)?] };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_sockets_are_read() {
        let line = "   1: 0100007F:1F90 0200007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 20 4 30 10 -1";
        let (key, inode) = socket(line, protocol::TCP, false).unwrap();
        let mapped = |last: u8| zerocopy::transmute!([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, last]);
        assert_eq!((key.local, key.local_port, key.remote, key.remote_port, inode), (mapped(1), 8080, mapped(2), 50000, 4711));
        for wrong in ["", "sl local_address", "1: 0100007F 0200007F:C350 01 0:0 0:0 0 0 0 4711", "1: 01:1 02:2 01 0:0 0:0 0 0 0 4711"] {
            assert_eq!(socket(wrong, protocol::TCP, false), None, "{wrong}");
        }
    }
}
