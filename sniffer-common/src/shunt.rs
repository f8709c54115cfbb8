//! Shunts: entries for TCP connections of which certain segments are counted but not copied to user space. Only user space makes and
//! removes the entries. The eBPF programs only advance the position of an open range, and end ranges.

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The largest number of entries in the map.
pub const ENTRIES: u32 = 1 << 16;
/// The ranges of an entry end after this many nanoseconds in which no segment was in a range. User space ends an idle connection after the
/// same time.
pub const IDLE_NS: u64 = 60_000_000_000;
/// The largest distance of a segment from the position of an open range, in bytes, before and after the position. The value is larger than
/// any window in use, and larger than the amount of data that arrives between a verdict and the insertion of its entry. It is small
/// compared with all sequence numbers, so that a segment of another connection is almost never in the range.
pub const REACH: u32 = 1 << 28;

/// Identifies a connection. Both directions have the same key: the lower end comes first (see [`is_greater`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct ShuntKey {
    /// The addresses as in [`crate::flow::FlowKey::addresses`].
    pub addresses: [[u32; 4]; 2],
    /// The ports in network byte order.
    pub ports: [u16; 2],
    /// As in [`crate::flow::FlowKey::vlans`]; 0 unless VLAN ids distinguish connections.
    pub vlans: [u16; 2],
    /// Number of VLAN tags; 0 unless VLAN ids distinguish connections.
    pub vlan_count: u16,
    /// IP version: 4 or 6.
    pub version: u16,
}

/// The segments of a connection that are not copied.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Shunt {
    /// Time of the last segment that was not copied, or of the last change by user space: `CLOCK_BOOTTIME` in nanoseconds.
    pub last: u64,
    /// The ranges of the segments that each end of the key sends, in the order of the ends.
    pub ranges: [Range; 2],
}

/// The sequence numbers of one direction that are not copied.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Range {
    /// One of [`range`].
    pub kind: u32,
    /// The first sequence number of a closed range; the position of an open one.
    pub from: u32,
    /// The sequence number after the end of a closed range. A closed range is shorter than 2^31 bytes. An open range does not use this
    /// field.
    pub until: u32,
}

/// Kinds of a [`Range`].
pub mod range {
    /// Every segment is copied.
    pub const NONE: u32 = 0;
    /// The range has an end.
    pub const CLOSED: u32 = 1;
    /// The range has no end. Its position moves on with the stream.
    pub const OPEN: u32 = 2;
}

/// What a segment does with the range of its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The segment is copied.
    Copy,
    /// The segment is copied and the range ends, because the segment is behind the end of the range.
    Over,
    /// The segment is not copied. The position of an open range becomes this sequence number.
    Pass(u32),
}

impl Range {
    /// The effect of a segment without SYN, FIN and RST, which has `length` bytes of data at `sequence`.
    #[inline(always)]
    pub fn effect(&self, sequence: u32, length: u32) -> Effect {
        let offset = sequence.wrapping_sub(self.from);
        match self.kind {
            range::CLOSED => {
                let whole = self.until.wrapping_sub(self.from);
                if offset < whole && length < whole - offset {
                    Effect::Pass(self.from)
                } else if offset >= whole && offset - whole < 1 << 30 {
                    Effect::Over
                } else {
                    Effect::Copy
                }
            }
            range::OPEN => {
                if offset.wrapping_add(REACH) >= 2 * REACH {
                    return Effect::Copy;
                }
                // The position does not move back for a retransmission.
                let end = sequence.wrapping_add(length);
                Effect::Pass(if end.wrapping_sub(self.from) < 2 * REACH { end } else { self.from })
            }
            _ => Effect::Copy,
        }
    }
}

/// Whether the first end of a connection is greater than the second one. Any total order would do, but the eBPF programs and user space
/// must use the same one. Addresses and ports are in the form of [`ShuntKey`].
#[inline(always)]
pub fn is_greater(a: &[u32; 4], a_port: u16, b: &[u32; 4], b_port: u16) -> bool {
    let double = |high: u32, low: u32| (high as u64) << 32 | low as u64;
    let (high_a, high_b) = (double(a[0], a[1]), double(b[0], b[1]));
    if high_a != high_b {
        return high_a > high_b;
    }
    let (low_a, low_b) = (double(a[2], a[3]), double(b[2], b[3]));
    if low_a != low_b { low_a > low_b } else { a_port > b_port }
}

const _: () = assert!(size_of::<ShuntKey>() == 44 && size_of::<Shunt>() == 32);

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(from: u32, until: u32) -> Range {
        Range { kind: range::CLOSED, from, until }
    }

    #[test]
    fn only_a_segment_that_is_within_a_closed_range_passes() {
        // Ranges at several places, also around the end of the sequence numbers and as long as possible.
        for from in [0, 1000, u32::MAX - 50, u32::MAX, 1 << 31] {
            for whole in [1, 2, 100, 1 << 30, (1 << 31) - 1] {
                let of = closed(from, from.wrapping_add(whole));
                let effect = |offset: i64, length: u32| of.effect(from.wrapping_add(offset as u32), length);
                let (pass, whole) = (Effect::Pass(from), i64::from(whole));
                for (what, offset, length, expected) in [
                    ("up to the last but one byte", 0, whole - 1, pass),
                    ("up to the last byte", 0, whole, Effect::Copy),
                    ("beyond the last byte", 0, whole + 1, Effect::Copy),
                    ("no data at the beginning", 0, 0, pass),
                    ("the last byte", whole - 1, 1, Effect::Copy),
                    ("no data before the last byte", whole - 1, 0, pass),
                    ("no data at the end", whole, 0, Effect::Over),
                    ("data behind the end", whole + 10, 100, Effect::Over),
                    ("far behind the end", whole + (1 << 30) - 1, 1, Effect::Over),
                    ("too far behind the end", whole + (1 << 30), 1, Effect::Copy),
                    ("a keep-alive before the range", -1, 1, Effect::Copy),
                    ("a retransmission that reaches into the range", -10, 20, Effect::Copy),
                    ("a retransmission from long before", -(1 << 29), 100, Effect::Copy),
                ] {
                    assert_eq!(effect(offset, length as u32), expected, "{what}; {whole} bytes from {from}");
                }
            }
        }
        assert_eq!(closed(5, 5).effect(5, 0), Effect::Over, "an empty range");
        assert_eq!(Range::default().effect(0, 1), Effect::Copy, "no range");
    }

    #[test]
    fn lengths_of_large_segments_do_not_wrap() {
        let of = closed(100, 200);
        for length in [100, 65_536, u32::MAX - 99, u32::MAX] {
            assert_eq!(of.effect(150, length), Effect::Copy, "{length}");
        }
    }

    #[test]
    fn an_open_range_moves_on_with_the_stream() {
        for start in [0, 1000, u32::MAX - 1000, 1 << 31] {
            let mut of = Range { kind: range::OPEN, from: start, until: 0 };
            // 5 GB in large segments, with a retransmission and a lost segment here and there.
            let (mut at, mut sent) = (start, 0_u64);
            while sent < 5_000_000_000 {
                let length = 65_000;
                if sent % 13 == 0 {
                    assert_eq!(of.effect(at.wrapping_sub(length), length), Effect::Pass(of.from), "a retransmission moves nothing");
                }
                if sent % 11 == 0 {
                    at = at.wrapping_add(length);
                }
                let Effect::Pass(position) = of.effect(at, length) else { panic!("copied after {sent} bytes from {start}") };
                at = at.wrapping_add(length);
                assert_eq!(position, at);
                of.from = position;
                sent += u64::from(length);
            }
            for (offset, passes) in [
                (0, true),
                (REACH - 1, true),
                (REACH, false),
                (1 << 31, false),
                (REACH.wrapping_neg(), true),
                (REACH.wrapping_neg() - 1, false),
            ] {
                let effect = of.effect(at.wrapping_add(offset), 1);
                assert_eq!(matches!(effect, Effect::Pass(_)), passes, "{offset} from the position");
            }
            // A keep-alive has the number before the position, and no data or one byte.
            assert_eq!([0, 1].map(|length| of.effect(at.wrapping_sub(1), length)), [Effect::Pass(at); 2]);
        }
    }
}
