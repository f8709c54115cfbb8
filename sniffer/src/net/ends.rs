//! The two ends of a conversation without an order, and sets of ports, as own traffic is compared with them.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

/// Number of words of a set with one bit for each port.
const WORDS: usize = 1 << 10;

/// Both ends of a connection, the lower one first, without scope ids, and IPv4-mapped addresses as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends(SocketAddr, SocketAddr);

impl Ends {
    /// The ends of a connection in any order.
    pub fn new(a: SocketAddr, b: SocketAddr) -> Self {
        let [a, b] = [a, b].map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()));
        Self(a.min(b), a.max(b))
    }

    /// Whether one of the ends has this port.
    pub(super) fn has_port(&self, port: u16) -> bool {
        self.0.port() == port || self.1.port() == port
    }
}

/// A set of ports, one bit for each.
pub(super) struct Ports(Box<[AtomicU64; WORDS]>);

impl Default for Ports {
    fn default() -> Self {
        Self(Box::new([const { AtomicU64::new(0) }; WORDS]))
    }
}

impl Ports {
    pub(super) fn add(&self, port: u16) {
        if let Some(word) = self.0.get(usize::from(port / 64)) {
            word.fetch_or(1 << (port % 64), Ordering::Relaxed);
        }
    }

    pub(super) fn remove(&self, port: u16) {
        if let Some(word) = self.0.get(usize::from(port / 64)) {
            word.fetch_and(!(1 << (port % 64)), Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn has(&self, port: u16) -> bool {
        self.0.get(usize::from(port / 64)).is_some_and(|word| word.load(Ordering::Relaxed) >> (port % 64) & 1 == 1)
    }
}
