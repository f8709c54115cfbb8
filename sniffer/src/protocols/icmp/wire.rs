//! Parses ICMP (RFC 792, 950) and ICMPv6 (RFC 4443, 4861): the first eight bytes of a message, its kind, and the names
//! of types and codes. Checksums are not verified; quoted packets are not parsed.

use crate::protocols::kit::reader::Reader;
use std::fmt;

/// The first eight bytes of a message. Of the rest only the length is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whether the message is ICMPv6.
    pub v6: bool,
    /// The type of the ICMP message.
    pub kind: u8,
    /// The code within the type.
    pub code: u8,
    /// The identifier of a request or response.
    pub id: u16,
    /// The sequence number of a request or response.
    pub seq: u16,
    /// Number of bytes after the first eight.
    pub length: usize,
}

impl Message {
    /// Parses a message from its first byte on; `None` if it is too short.
    pub fn parse(data: &[u8], v6: bool) -> Option<Self> {
        let mut r = Reader::new(data);
        let (kind, code, _checksum) = (r.u8()?, r.u8()?, r.u16()?);
        let (id, seq) = (r.u16()?, r.u16()?);
        Some(Self { v6, kind, code, id, seq, length: r.remaining() })
    }

    /// The type of the request to which this message responds; `None` if it is not a response.
    pub fn answers(&self) -> Option<u8> {
        match (self.v6, self.kind) {
            (false, 0) => Some(8),
            (false, 14 | 16 | 18) => Some(self.kind - 1),
            (true, 129) => Some(128),
            _ => None,
        }
    }

    /// Whether the message is a request that expects a response.
    pub fn asks(&self) -> bool {
        matches!((self.v6, self.kind), (false, 8 | 13 | 15 | 17) | (true, 128))
    }

    /// Whether the message reports an error.
    pub fn is_error(&self) -> bool {
        matches!((self.v6, self.kind), (false, 3 | 4 | 11 | 12) | (true, 1..=4))
    }
}

/// Type and code as text: `EchoRequest`, `DestinationUnreachable(Port)`, `EchoReply(Code: 3)`, `200(7)`.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, codes) = if self.v6 { name6(self.kind) } else { name4(self.kind) };
        match (name, codes.get(usize::from(self.code))) {
            ("", _) => write!(f, "{}({})", self.kind, self.code),
            (_, Some(code)) => write!(f, "{name}({code})"),
            _ if codes.is_empty() && self.code == 0 => f.write_str(name),
            _ => write!(f, "{name}(Code: {})", self.code),
        }
    }
}

type Named = (&'static str, &'static [&'static str]);

const UNREACHABLE4: &[&str] = &[
    "Net",
    "Host",
    "Protocol",
    "Port",
    "FragmentationNeeded",
    "SourceRoutingFailed",
    "NetUnknown",
    "HostUnknown",
    "SourceIsolated",
    "NetAdminProhibited",
    "HostAdminProhibited",
    "NetTOS",
    "HostTOS",
    "CommAdminProhibited",
    "HostPrecedence",
    "PrecedenceCutoff",
];

const UNREACHABLE6: &[&str] = &[
    "NoRouteToDst",
    "AdminProhibited",
    "BeyondScopeOfSrc",
    "AddressUnreachable",
    "PortUnreachable",
    "SrcAddressFailedPolicy",
    "RejectRouteToDst",
];

/// The name of a type and of its codes from 0 on; an empty name means there is none.
fn name4(kind: u8) -> Named {
    match kind {
        0 => ("EchoReply", &[]),
        3 => ("DestinationUnreachable", UNREACHABLE4),
        4 => ("SourceQuench", &[]),
        5 => ("Redirect", &["Net", "Host", "TOS+Net", "TOS+Host"]),
        8 => ("EchoRequest", &[]),
        9 => ("RouterAdvertisement", &[]),
        10 => ("RouterSolicitation", &[]),
        11 => ("TimeExceeded", &["TTLExceeded", "FragmentReassemblyTimeExceeded"]),
        12 => ("ParameterProblem", &["PointerIndicatesError", "MissingOption", "BadLength"]),
        13 => ("TimestampRequest", &[]),
        14 => ("TimestampReply", &[]),
        15 => ("InfoRequest", &[]),
        16 => ("InfoReply", &[]),
        17 => ("AddressMaskRequest", &[]),
        18 => ("AddressMaskReply", &[]),
        _ => ("", &[]),
    }
}

fn name6(kind: u8) -> Named {
    match kind {
        1 => ("DestinationUnreachable", UNREACHABLE6),
        2 => ("PacketTooBig", &[]),
        3 => ("TimeExceeded", &["HopLimitExceeded", "FragmentReassemblyTimeExceeded"]),
        4 => ("ParameterProblem", &["ErroneousHeaderField", "UnrecognizedNextHeader", "UnrecognizedIPv6Option"]),
        128 => ("EchoRequest", &[]),
        129 => ("EchoReply", &[]),
        133 => ("RouterSolicitation", &[]),
        134 => ("RouterAdvertisement", &[]),
        135 => ("NeighborSolicitation", &[]),
        136 => ("NeighborAdvertisement", &[]),
        137 => ("Redirect", &[]),
        _ => ("", &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: u8, code: u8, v6: bool) -> String {
        Message::parse(&[kind, code, 0, 0, 0, 0, 0, 0], v6).unwrap().to_string()
    }

    #[test]
    fn names() {
        assert_eq!(text(8, 0, false), "EchoRequest");
        assert_eq!(text(8, 3, false), "EchoRequest(Code: 3)");
        assert_eq!(text(3, 3, false), "DestinationUnreachable(Port)");
        assert_eq!(text(3, 99, false), "DestinationUnreachable(Code: 99)");
        assert_eq!(text(200, 7, false), "200(7)");
        assert_eq!(text(143, 0, true), "143(0)");
        assert_eq!(text(3, 0, true), "TimeExceeded(HopLimitExceeded)");
    }

    #[test]
    fn the_first_eight_bytes() {
        let m = Message::parse(&[8, 0, 1, 2, 3, 4, 0, 9, 0xaa, 0xbb], false).unwrap();
        assert_eq!((m.id, m.seq, m.length), (0x0304, 9, 2));
        assert_eq!(Message::parse(&[8, 0, 1, 2, 3, 4, 0], false), None);
    }
}
