//! Format strings of outputs, and the fields in them whose values are known at start.

pub use crate::event::format::Format;
use crate::publish::VERSION;

/// Fields with the same value in every event, for [`Format::fold`].
pub(super) const KNOWN: &[(&str, &str)] = &[
    ("agent.version", VERSION),
    ("agent.type", "packetbeat"),
    ("beat.version", VERSION),
    ("beat.name", "packetbeat"),
    ("@metadata.beat", "packetbeat"),
    ("@metadata.version", VERSION),
];
