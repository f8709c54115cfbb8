//! The first segment of a direction, in case it has one byte and the beginning of the connection was not captured. The byte is data or a
//! keep-alive (RFC 9293 section 3.8.4); the next segment shows which.

use crate::{decode::Tcp, time::Timestamp};
use std::time::Duration;

/// Minimum time between two keep-alives of one end. If more data follows a single byte sooner, the byte is data.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A single byte that is data or a keep-alive.
#[derive(Debug)]
pub(super) struct Alone {
    /// The sequence number of the byte.
    pub seq: u32,
    /// The byte; `None` if it was not captured.
    pub byte: Option<u8>,
    /// The capture time of the segment.
    pub time: Timestamp,
}

impl Alone {
    /// The byte of a segment that may be a keep-alive; `None` for any other segment.
    pub fn of(segment: &Tcp<'_>, now: Timestamp) -> Option<Box<Self>> {
        let may_be = segment.wire_payload == 1 && !segment.flags.psh() && !segment.flags.fin();
        may_be.then(|| Box::new(Self { seq: segment.seq, byte: segment.payload.first().copied(), time: now }))
    }

    /// Whether the byte is data: `next` follows at once, and the receiver has not acknowledged the byte before. `acked` is the
    /// sequence number up to which the receiver has acknowledged.
    pub fn is_data(&self, next: &Tcp<'_>, acked: Option<u32>, now: Timestamp) -> bool {
        let acknowledged = acked.is_some_and(|acked| acked.wrapping_sub(self.seq).cast_signed() > 0);
        next.seq == self.seq.wrapping_add(1) && !acknowledged && now.since(self.time) < KEEP_ALIVE.as_nanos() as u64
    }
}
