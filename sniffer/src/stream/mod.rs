//! TCP connections. `acceptance` decides which segments are accepted, and `ignored` warns of ignored segments.
//! [`reassembly`] puts the accepted segments in order, and [`pending`] keeps bytes that a parser has not consumed.
//! [`connection`] holds a connection and its parser. [`Streams`] is the table of a worker's connections, and `order`
//! their order of eviction. [`ports`], [`probe`] and [`plugins`] select the protocol. Datagrams and flows are handled
//! elsewhere.

mod acceptance;
mod alone;
pub mod connection;
mod ignored;
mod key;
mod order;
pub mod pending;
pub mod plugins;
pub mod ports;
pub mod probe;
pub mod reassembly;
mod table;
#[cfg(test)]
mod tests;

pub use ignored::Warned;
pub use plugins::Plugins;
pub use table::Streams;

use crate::{
    net::{FlowKey, Shunted, Verdict},
    publish::Sink,
    time::Timestamp,
};
use ports::PortMap;

/// Returns what capture knows of a connection with a verdict.
pub type LookUp<'a> = dyn Fn(&FlowKey) -> Option<Shunted> + 'a;

/// The environment in which a connection handles a segment or a timer.
pub struct Env<'a> {
    /// The time of the packet or of the timer.
    pub now: Timestamp,
    /// Receives the events.
    pub sink: &'a mut Sink,
    /// The configured protocols.
    pub plugins: &'a Plugins,
    /// The protocols that claim each TCP port.
    pub ports: &'a PortMap,
    /// Receives the verdicts.
    pub verdicts: &'a mut dyn FnMut(FlowKey, Verdict),
    /// Returns what capture knows of a connection with a verdict; the time is that of the wall clock. `None` if capture does not act
    /// on verdicts; then none are made.
    pub shunted: Option<&'a LookUp<'a>>,
    /// Whether VLAN ids are part of the key of connections.
    pub track_vlans: bool,
    /// The counters of the worker's connections.
    pub totals: &'a mut Totals,
    /// The value of [`crate::protocols::Context::strict`].
    pub strict: bool,
    /// Whether the timers of parsers fire.
    pub timers: bool,
    /// Which warnings about ignored segments were logged.
    pub warned: &'a Warned,
}

macro_rules! totals {
    ($($(#[$doc:meta])* $field:ident = $name:literal),* $(,)?) => {
        /// Counters of connections and segments.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Totals { $($(#[$doc])* pub $field: u64,)* }

        impl Totals {
            /// Each counter with its metric name.
            pub fn named(&self) -> [(&'static str, u64); [$($name),*].len()] {
                [$(($name, self.$field)),*]
            }
        }
    };
}

impl Totals {
    /// The counter of segments that are ignored for this reason.
    fn ignored(&mut self, reason: acceptance::Reason) -> &mut u64 {
        match reason {
            acceptance::Reason::Reset => &mut self.ignored_resets,
            acceptance::Reason::Syn => &mut self.ignored_syns,
            acceptance::Reason::Fin => &mut self.ignored_fins,
            acceptance::Reason::WithoutAck => &mut self.without_ack,
            acceptance::Reason::Acknowledgement => &mut self.bad_ack,
            acceptance::Reason::OutOfWindow => &mut self.out_of_window,
        }
    }
}

totals! {
    /// Connections opened.
    connections = "tcp.connections",
    /// Segments of which all bytes had been delivered before.
    retransmitted = "tcp.retransmitted",
    /// Segments that arrived before data with lower sequence numbers.
    early = "tcp.early",
    /// Holes between segments that were never filled.
    gaps = "tcp.gaps",
    /// Bytes in holes that were never filled.
    gap_bytes = "tcp.gap_bytes",
    /// Connections given up because their parser could not continue after a gap.
    dropped_because_of_gaps = "tcp.dropped_because_of_gaps",
    /// Resets.
    resets = "tcp.resets",
    /// Resets at a sequence number other than the next one.
    ignored_resets = "tcp.ignored_resets",
    /// SYNs on open connections that did not begin a new connection.
    ignored_syns = "tcp.ignored_syns",
    /// FINs that are not at the end of the data: bytes after them were delivered, or another FIN followed.
    ignored_fins = "tcp.ignored_fins",
    /// Segments without acknowledgement, outside of the handshake.
    without_ack = "tcp.without_ack",
    /// Segments with an acknowledgement that does not fit the bytes that the other end sent.
    bad_ack = "tcp.bad_ack",
    /// Segments outside the window.
    out_of_window = "tcp.out_of_window",
    /// Early segments that were dropped at the end of a connection, because the receiver had not acknowledged the data
    /// before them.
    early_dropped = "tcp.early_dropped",
    /// Directions that continued at another sequence number than expected.
    resynced = "tcp.resynced",
    /// Bytes of keep-alives at the start of connections that began before the capture.
    keep_alives = "tcp.keep_alives",
    /// Connections whose parser was done before their end.
    done_with = "tcp.done_with",
    /// Connections that are not of the protocol that their port suggests, or whose data is malformed.
    given_up = "tcp.given_up",
    /// Connections that ended because no packet was captured for a long time.
    idle = "tcp.idle",
    /// Connections with data that were evicted because there were too many, or because they held too many bytes.
    evicted = "tcp.evicted",
    /// Half-open connections that were evicted: only one side was captured, or no data.
    evicted_half_open = "tcp.evicted_half_open",
    /// Idle connections that were evicted although their parser has state.
    evicted_remembered = "tcp.evicted_remembered",
}
