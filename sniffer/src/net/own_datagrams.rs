//! The UDP sockets of this process that are connected to a server. They often live for a few milliseconds only, so a list that the operating
//! system makes later would not have them; the part of the program that opens one announces it.

use super::ends::{Ends, Ports};
use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Maximum number of closed sockets that are remembered, because their packets may not have been processed yet. The number is small, because
/// another process may get the same port.
const MAX_CLOSED: usize = 256;

/// The UDP sockets of this process.
#[derive(Default)]
pub(super) struct Datagrams {
    /// The ports of this host that a known socket has.
    ports: Ports,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The ends of each socket, and the number of sockets that have them: the open one, and earlier ones in `closed`.
    sockets: HashMap<Ends, usize>,
    /// The local port and the ends of closed sockets, the earliest first.
    closed: VecDeque<(u16, Ends)>,
}

impl Datagrams {
    /// Announces a socket. It must be called before the socket sends, and [`Datagrams::close`] when it is closed.
    pub(super) fn open(&self, local: SocketAddr, remote: SocketAddr) {
        *self.known().sockets.entry(Ends::new(local, remote)).or_default() += 1;
        self.ports.add(local.port());
    }

    /// The socket is closed. The ends stay known for a while.
    pub(super) fn close(&self, local: SocketAddr, remote: SocketAddr) {
        let mut known = self.known();
        known.closed.push_back((local.port(), Ends::new(local, remote)));
        if known.closed.len() <= MAX_CLOSED {
            return;
        }
        let Some((port, ends)) = known.closed.pop_front() else { return };
        match known.sockets.get_mut(&ends) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(known.sockets.remove(&ends)),
        }
        if !known.sockets.keys().any(|ends| ends.has_port(port)) {
            self.ports.remove(port);
        }
    }

    /// Whether one of the ports is that of a known socket. If not, [`Datagrams::has`] is false for all datagrams with these ports.
    #[inline]
    pub(super) fn has_port(&self, source: u16, destination: u16) -> bool {
        self.ports.has(source) || self.ports.has(destination)
    }

    /// Whether a socket of this process has these ends.
    pub(super) fn has(&self, ends: &Ends) -> bool {
        self.known().sockets.contains_key(ends)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_sockets_stay_known_within_a_limit() {
        let own = Datagrams::default();
        let (local, server) = (|port| SocketAddr::from(([10, 0, 0, 1], port)), SocketAddr::from(([10, 0, 0, 2], 53)));
        let has = |port| own.has(&Ends::new(server, local(port)));
        own.open(local(1), server);
        assert!(own.has_port(1, 53) && own.has_port(53, 1) && !own.has_port(53, 2) && has(1) && !has(2));
        assert!(!own.has(&Ends::new(SocketAddr::from(([10, 0, 0, 3], 53)), local(1))), "another server");
        for port in 1000..1300 {
            own.open(local(port), server);
            own.close(local(port), server);
        }
        assert!(has(1), "it is open");
        assert_eq!((1000..1300).filter(|port| has(*port)).count(), MAX_CLOSED);
        assert!(has(1299) && !has(1000) && own.has_port(1299, 53) && !own.has_port(1000, 53));
        // The port of a closed socket is used again: the end of the first use does not forget the second.
        own.close(local(1), server);
        own.open(local(1), server);
        for port in 2000..2300 {
            own.open(local(port), server);
            own.close(local(port), server);
        }
        assert!(has(1) && own.has_port(53, 1));
        assert!(own.known().sockets.len() <= MAX_CLOSED + 1 && own.known().closed.len() <= MAX_CLOSED);
    }
}
