//! TCP connections: which segments count ([`acceptance`]), segments in order ([`reassembly`]), bytes kept between calls of a parser ([`pending`]), the connection with its parser
//! ([`connection`]), and the table of all connections of a worker ([`Streams`]) with its order of eviction (`order`). Also what says which protocol reads: [`ports`], [`probe`],
//! [`plugins`]. Not here: datagrams and flows.

mod acceptance;
pub mod connection;
mod order;
pub mod pending;
pub mod plugins;
pub mod ports;
pub mod probe;
pub mod reassembly;
mod table;
#[cfg(test)]
mod tests;

pub use plugins::Plugins;
pub use table::Streams;

use crate::{
    net::{FlowKey, Verdict},
    publish::Sink,
    time::Timestamp,
};
use ports::PortMap;

/// What a connection uses while a segment or timer is handled.
pub struct Env<'a> {
    /// The time of the packet at hand, or of the timer.
    pub now: Timestamp,
    /// Where events go.
    pub sink: &'a mut Sink,
    /// The configured protocols.
    pub plugins: &'a Plugins,
    /// Which of them claim which TCP port.
    pub ports: &'a PortMap,
    /// Takes what capture need not copy any more.
    pub verdicts: &'a mut dyn FnMut(FlowKey, Verdict),
    /// Whether VLAN ids tell connections apart.
    pub track_vlans: bool,
    /// Counters.
    pub totals: &'a mut Totals,
    /// See [`crate::protocols::Context::strict`].
    pub strict: bool,
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

impl Totals {
    /// The counter of segments that did not count.
    fn ignored(&mut self, reason: acceptance::Reason) -> &mut u64 {
        match reason {
            acceptance::Reason::Reset => &mut self.ignored_resets,
            acceptance::Reason::Syn => &mut self.ignored_syns,
            acceptance::Reason::WithoutAck => &mut self.without_ack,
            acceptance::Reason::Acknowledgement => &mut self.bad_ack,
            acceptance::Reason::OutOfWindow => &mut self.out_of_window,
        }
    }
}

totals! {
    /// Connections begun.
    connections = "tcp.connections",
    /// Segments whose bytes had all been delivered before.
    retransmitted = "tcp.retransmitted",
    /// Segments that came before one that precedes them.
    early = "tcp.early",
    /// Holes between segments that were never filled.
    gaps = "tcp.gaps",
    /// Their bytes.
    gap_bytes = "tcp.gap_bytes",
    /// Connections given up because their parser could not go on after a gap.
    dropped_because_of_gaps = "tcp.dropped_because_of_gaps",
    /// Resets.
    resets = "tcp.resets",
    /// Resets at another than the next sequence number.
    ignored_resets = "tcp.ignored_resets",
    /// SYNs on connections that went on.
    ignored_syns = "tcp.ignored_syns",
    /// FINs before bytes that were delivered.
    ignored_fins = "tcp.ignored_fins",
    /// Segments without acknowledgement outside of the handshake.
    without_ack = "tcp.without_ack",
    /// Segments whose acknowledgement does not fit what the other end sent.
    bad_ack = "tcp.bad_ack",
    /// Segments outside the window.
    out_of_window = "tcp.out_of_window",
    /// Early segments behind a hole that the receiver still waited for at the end.
    early_dropped = "tcp.early_dropped",
    /// Directions that went on at another sequence number than expected.
    resynced = "tcp.resynced",
    /// Bytes of keep-alives at the beginning of connections that the capture joined.
    keep_alives = "tcp.keep_alives",
    /// Connections whose parser needs no more of them.
    done_with = "tcp.done_with",
    /// Connections that were not what their port suggests, or were beyond repair.
    given_up = "tcp.given_up",
    /// Connections closed because nothing was seen of them for long.
    idle = "tcp.idle",
    /// Connections with data that were evicted, because there were too many or they held too much.
    evicted = "tcp.evicted",
    /// Half-open connections that were evicted: only one side was seen, or no data.
    evicted_half_open = "tcp.evicted_half_open",
    /// Idle connections that were evicted although their parser remembers something.
    evicted_remembered = "tcp.evicted_remembered",
}
