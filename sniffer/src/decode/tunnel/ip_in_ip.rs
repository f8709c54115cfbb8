//! IP in IP: IPv4 (RFC 2003) or IPv6 (RFC 4213, RFC 2473) directly in an IP datagram. No header of its own, and no key.

use super::Inside;
use crate::{decode::layers::Next, net::TunnelKey};
use sniffer_common::protocol;

/// The version of the inner header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum IpInIp {
    /// IPv4 in either.
    V4,
    /// IPv6 in either.
    V6,
}

impl IpInIp {
    #[inline]
    pub fn of_protocol(number: u8) -> Option<Self> {
        match number {
            protocol::IPV4 => Some(Self::V4),
            protocol::IPV6 => Some(Self::V6),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn inside(self) -> Inside {
        let next = match self {
            Self::V4 => Next::Ipv4,
            Self::V6 => Next::Ipv6,
        };
        Inside { key: TunnelKey::default(), header_len: 0, next }
    }
}
