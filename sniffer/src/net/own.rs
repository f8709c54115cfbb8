//! The sockets of this process, by which capture recognises the program's own traffic: connections to outputs and look-ups of processors. The
//! list of TCP connections comes from the operating system (`capture/sockets.rs`); nothing here depends on the addresses that an output is
//! configured with.

pub use super::ends::Ends;
use super::{ends::Ports, own_datagrams::Datagrams};
use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Maximum number of closed connections that are remembered. Their packets may not have been processed yet. The number is small, because
/// another process may use the same ends later.
const MAX_CLOSED: usize = 64;

/// A connected TCP socket of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The address of this end.
    pub local: SocketAddr,
    /// The address of the other end.
    pub remote: SocketAddr,
    /// The number that the kernel gives to the socket and to no other socket later (`SO_COOKIE`).
    pub cookie: u64,
}

/// A function that lists the connected TCP sockets of this process.
pub type List = Box<dyn Fn() -> io::Result<Vec<Socket>> + Send + Sync>;

/// The sockets of this process, shared by all workers, the outputs and the processors.
pub struct OwnConnections {
    list: List,
    known: Mutex<Known>,
    /// Number of changes of the set of sockets.
    version: AtomicU64,
    failed: AtomicBool,
    /// The ports of servers that connections are opened to. Ports are never removed.
    ports: Ports,
    datagrams: Datagrams,
}

/// A UDP socket that [`OwnDatagrams::connect`] has announced.
pub struct OwnDatagrams {
    socket: UdpSocket,
    local: SocketAddr,
    remote: SocketAddr,
    connections: Option<Arc<OwnConnections>>,
}

impl OwnDatagrams {
    /// Connects a socket to a server. `connections`: where its packets are announced as own traffic; `None` if nothing is captured.
    ///
    /// # Errors
    /// When the server has no route.
    pub fn connect(socket: UdpSocket, remote: SocketAddr, connections: Option<&Arc<OwnConnections>>) -> io::Result<Self> {
        socket.connect(remote)?;
        let local = socket.local_addr()?;
        if let Some(connections) = connections {
            connections.datagrams.open(local, remote);
        }
        Ok(Self { socket, local, remote, connections: connections.cloned() })
    }

    /// The connected socket.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }
}

impl Drop for OwnDatagrams {
    fn drop(&mut self) {
        if let Some(connections) = &self.connections {
            connections.datagrams.close(self.local, self.remote);
        }
    }
}

#[derive(Default)]
struct Known {
    sockets: HashMap<Ends, Entry>,
    /// Number of calls of [`OwnConnections::refresh`].
    refreshes: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    cookie: u64,
    /// The last refresh that listed the socket.
    listed: u64,
}

impl Known {
    /// Forgets the older half of the closed connections, by their last listing.
    fn forget_half(&mut self) {
        let mut closed: Vec<u64> = self.sockets.values().map(|entry| entry.listed).filter(|listed| *listed < self.refreshes).collect();
        closed.sort_unstable();
        let oldest_kept = closed.get(closed.len() / 2).copied().unwrap_or_default();
        self.sockets.retain(|_, entry| entry.listed > oldest_kept);
    }
}

impl OwnConnections {
    /// Makes an empty set, which [`OwnConnections::refresh`] fills with the result of `list`.
    pub fn new(list: List) -> Self {
        Self {
            list,
            known: Mutex::default(),
            version: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            ports: Ports::default(),
            datagrams: Datagrams::default(),
        }
    }

    /// Announces that a connection to this port of a server will be opened. It must be called before the connection is opened, so that its
    /// first packet is examined, too.
    pub fn expect(&self, port: u16) {
        self.ports.add(port);
    }

    /// Whether connections to this port were announced.
    #[inline]
    pub fn expects(&self, port: u16) -> bool {
        self.ports.has(port)
    }

    /// Whether a datagram with these ports may be one of this process ([`OwnConnections::is_own_datagram`]).
    #[inline]
    pub fn may_send_datagrams(&self, source: u16, destination: u16) -> bool {
        self.datagrams.has_port(source, destination)
    }

    /// Whether a datagram was sent or is received by a socket of this process that was announced.
    pub fn is_own_datagram(&self, source: SocketAddr, destination: SocketAddr) -> bool {
        self.datagrams.has(&Ends::new(source, destination))
    }

    /// Lists the sockets again. Closed sockets stay known, up to a limit. An output calls this function when it has opened a connection, so
    /// that a connection is known even if it ends before its packets are processed.
    pub fn refresh(&self) {
        // Concurrent calls wait for each other, so that an earlier list of connections does not replace a later one.
        let mut known = self.known();
        let listed = match (self.list)() {
            Ok(listed) => listed,
            Err(error) => {
                if !self.failed.swap(true, Ordering::Relaxed) {
                    log::warn!(
                        "The sockets of this process cannot be listed ({error}): its own connections to outputs are captured if their \
                         port is one of packetbeat.protocols; mount /proc, or remove that port"
                    );
                }
                return;
            }
        };
        known.refreshes += 1;
        let now = known.refreshes;
        let mut changed = false;
        for socket in &listed {
            let entry = Entry { cookie: socket.cookie, listed: now };
            let before = known.sockets.insert(Ends::new(socket.local, socket.remote), entry);
            changed |= before.is_none_or(|before| before.cookie != socket.cookie);
        }
        if known.sockets.len() > listed.len() + MAX_CLOSED {
            known.forget_half();
        }
        if changed {
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// The cookie of the last socket with these ends, and whether the last refresh listed it.
    pub fn find(&self, ends: &Ends) -> Option<(u64, bool)> {
        let known = self.known();
        known.sockets.get(ends).map(|entry| (entry.cookie, entry.listed == known.refreshes))
    }

    /// Number of changes of the set of sockets.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn socket(port: u16, cookie: u64) -> Socket {
        Socket { local: ([127, 0, 0, 1], port).into(), remote: ([127, 0, 0, 1], 9200).into(), cookie }
    }

    #[test]
    fn closed_connections_stay_known_within_a_limit() {
        let sockets: Arc<Mutex<Vec<Socket>>> = Arc::default();
        let listed = sockets.clone();
        let own = OwnConnections::new(Box::new(move || Ok(listed.lock().unwrap().clone())));
        let ends = |port| Ends::new(socket(port, 0).remote, socket(port, 0).local);
        let set = |new: Vec<Socket>| {
            *sockets.lock().unwrap() = new;
            own.refresh();
        };
        set(vec![socket(1, 11)]);
        assert_eq!((own.find(&ends(1)), own.find(&ends(2)), own.version()), (Some((11, true)), None, 1));
        set(vec![socket(1, 11)]);
        assert_eq!(own.version(), 1, "nothing has changed");
        set(vec![socket(2, 12)]);
        assert_eq!((own.find(&ends(1)), own.find(&ends(2)), own.version()), (Some((11, false)), Some((12, true)), 2));
        set(vec![socket(1, 13)]);
        assert_eq!(own.find(&ends(1)), Some((13, true)), "the ends are used again");
        for port in 0..5000 {
            set(vec![socket(port, u64::from(port))]);
            assert!(own.known().sockets.len() <= 2 + MAX_CLOSED);
        }
        assert_eq!(own.find(&ends(4999)), Some((4999, true)));
    }

    #[test]
    fn announced_ports() {
        let own = OwnConnections::new(Box::new(|| Ok(Vec::new())));
        let ports = [0, 63, 64, 9092, 65_535];
        ports.iter().for_each(|port| own.expect(*port));
        assert_eq!((0..=u16::MAX).filter(|port| own.expects(*port)).collect::<Vec<_>>(), ports);
    }

    #[test]
    fn forms_of_addresses_are_the_same_ends() {
        let (a, b) = ("[::ffff:10.0.0.1]:40000".parse().unwrap(), "10.0.0.2:9200".parse().unwrap());
        assert_eq!(Ends::new(a, b), Ends::new(b, "10.0.0.1:40000".parse().unwrap()));
        let scoped = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 1, 7, 3).into();
        assert_eq!(Ends::new(scoped, b), Ends::new("[fe80::1]:1".parse().unwrap(), b));
    }

    #[test]
    fn what_cannot_be_listed_is_unknown() {
        let own = OwnConnections::new(Box::new(|| Err(io::Error::other("no /proc"))));
        own.refresh();
        own.refresh();
        assert_eq!((own.find(&Ends::new(socket(1, 0).local, socket(1, 0).remote)), own.version()), (None, 0));
    }
}
