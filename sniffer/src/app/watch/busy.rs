//! Finds the TCP port that most connections of this host use and that no protocol has. `watch` names it when it has nothing to show.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::Read,
    time::{Duration, Instant},
};

/// The kernel's lists of TCP sockets.
const TABLES: &[&str] = &["/proc/net/tcp", "/proc/net/tcp6"];
/// Maximum number of bytes of a list that are read. A line has 150 bytes.
const MOST_BYTES: u64 = 1 << 20;
/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(2);
/// ssh, which `watch` cannot show, and which often is the connection of the person who looks at it.
const SSH: u16 = 22;
/// States of sockets in the lists (`include/net/tcp_states.h`).
const ESTABLISHED: &str = "01";
const TIME_WAIT: &str = "06";
const LISTEN: &str = "0A";

/// The search, with its last result.
pub struct Busy {
    watched: HashSet<u16>,
    last: Option<(Instant, Option<u16>)>,
}

impl Busy {
    /// `is_watched`: whether a protocol has the port.
    pub fn new(is_watched: impl Fn(u16) -> bool) -> Self {
        Self { watched: (1..=u16::MAX).filter(|&port| is_watched(port)).collect(), last: None }
    }

    /// The port, as it was at most [`PERIOD`] ago.
    pub fn port(&mut self) -> Option<u16> {
        if let Some((time, port)) = self.last
            && time.elapsed() < PERIOD
        {
            return port;
        }
        let tables: Vec<String> = TABLES.iter().filter_map(|path| read(path)).collect();
        let port = busiest(&tables, |port| port == SSH || self.watched.contains(&port));
        self.last = Some((Instant::now(), port));
        port
    }
}

fn read(path: &str) -> Option<String> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(MOST_BYTES).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The port of servers with most connections among those that are not `ignored`; the lowest of several.
fn busiest(tables: &[String], ignored: impl Fn(u16) -> bool) -> Option<u16> {
    let sockets: Vec<(u16, u16, &str)> = tables.iter().flat_map(|table| table.lines().filter_map(socket)).collect();
    let listening: HashSet<u16> = sockets.iter().filter(|(_, _, state)| *state == LISTEN).map(|(local, ..)| *local).collect();
    let mut counts: HashMap<u16, usize> = HashMap::new();
    for (local, remote, state) in sockets {
        if [ESTABLISHED, TIME_WAIT].contains(&state) {
            // A connection belongs to the port of its server.
            let port = if listening.contains(&local) { local } else { remote };
            *counts.entry(port).or_default() += 1;
        }
    }
    let known = counts.into_iter().filter(|(port, _)| !ignored(*port));
    known.max_by_key(|(port, count)| (*count, u16::MAX - port)).map(|(port, _)| port)
}

/// Both ports and the state of a line: `  0: 0100007F:1FBB 0100007F:9C40 01 …`.
fn socket(line: &str) -> Option<(u16, u16, &str)> {
    let mut words = line.split_whitespace().skip(1);
    let mut port = || u16::from_str_radix(words.next()?.rsplit_once(':')?.1, 16).ok();
    let (local, remote) = (port()?, port()?);
    Some((local, remote, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::busiest;

    #[test]
    fn the_port_of_the_server_with_most_connections() {
        let line =
            |local: u16, remote: u16, state: &str| format!("   0: 0100007F:{local:04X} 0100007F:{remote:04X} {state} 00000000:00000000\n");
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue\n";
        let of =
            |lines: &[String], ignored: &[u16]| busiest(&[heading.to_owned() + &lines.concat(), String::new()], |p| ignored.contains(&p));
        let server = [line(8123, 0, "0A"), line(8123, 40_000, "01"), line(8123, 40_001, "01"), line(40_000, 8123, "06")];
        let client = [line(40_002, 9999, "01"), line(40_003, 9999, "06")];
        assert_eq!(of(&server, &[]), Some(8123));
        assert_eq!(of(&client, &[]), Some(9999), "a server on another host");
        assert_eq!(of(&[&server[..], &client].concat(), &[8123]), Some(9999), "a watched port is not named");
        assert_eq!(of(&[line(8123, 0, "0A"), "garbage\n".into(), line(1, 2, "02")], &[]), None, "nothing is connected");
        assert_eq!(busiest(&[], |_| false), None);
    }
}
