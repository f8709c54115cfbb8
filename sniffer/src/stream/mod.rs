//! TCP connections: bytes in order ([`reassembly`]), what is left over between calls ([`pending`]), and the parser they go to
//! ([`connection`]). Here: which connection a segment belongs to, how many there may be, and when their time is up.

pub mod connection;
pub mod pending;
pub mod ports;
pub mod probe;
pub mod reassembly;
mod table;

pub use table::Streams;

use crate::{
    protocols::{Plugin, Protocol},
    publish::Sink,
    time::Timestamp,
};
use ports::PortMap;

/// A protocol as it is configured; its place in the list is its publisher in the [`Sink`].
pub struct Configured {
    /// What it is.
    pub protocol: &'static Protocol,
    /// How the user wants it.
    pub plugin: Box<dyn Plugin>,
}

/// What a connection may use while it works.
pub struct Env<'a> {
    /// The time of the packet at hand, or of the timer.
    pub now: Timestamp,
    /// Where events go.
    pub sink: &'a mut Sink,
    /// All configured protocols.
    pub plugins: &'a [Configured],
    /// Who wants which port.
    pub ports: &'a PortMap,
    /// Counters.
    pub totals: &'a mut Totals,
    /// `packetbeat.compatibility: strict` while reading a file: what waits for its other half is dropped, not reported.
    pub strict: bool,
}

impl Env<'_> {
    fn candidates(&self, set: usize) -> &[usize] {
        self.ports.get(set)
    }
}

macro_rules! totals {
    ($($(#[$doc:meta])* $field:ident = $name:literal),* $(,)?) => {
        /// What happened to connections, in all.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Totals { $($(#[$doc])* pub $field: u64,)* }

        impl Totals {
            /// Each with the name it has among the metrics.
            pub fn named(&self) -> [(&'static str, u64); [$($name),*].len()] {
                [$(($name, self.$field)),*]
            }
        }
    };
}

totals! {
    /// Connections begun.
    connections = "tcp.connections",
    /// Segments that had been there already.
    retransmitted = "tcp.retransmitted",
    /// Segments that came before one that precedes them.
    early = "tcp.early",
    /// Holes that were never filled.
    gaps = "tcp.gaps",
    /// Their bytes.
    gap_bytes = "tcp.gap_bytes",
    /// Connections given up because their parser could not go on after a gap.
    dropped_because_of_gaps = "tcp.dropped_because_of_gaps",
    /// Resets.
    resets = "tcp.resets",
    /// Connections whose parser wanted no more of them.
    done_with = "tcp.done_with",
    /// Connections that were not what their port suggests, or were beyond repair.
    given_up = "tcp.given_up",
    /// Connections closed because nothing was seen of them for long.
    idle = "tcp.idle",
    /// Connections that had to go because there were too many.
    evicted = "tcp.evicted",
}
