//! What an IP datagram may carry that is a packet in itself: IP in IP (RFC 2003, RFC 4213, RFC 2473). This is the place for GRE and
//! VXLAN; until they are here their flows have outer addresses only.

/// IP headers followed in one packet: a tunnel in a tunnel is odd, more than this is an attempt.
pub(super) const MAX_IP_HEADERS: usize = 8;

/// The version of the IP header that a datagram of `protocol` begins with, if it does.
#[inline]
pub(super) fn ip_inside(protocol: u8) -> Option<u8> {
    match protocol {
        4 => Some(4),
        41 => Some(6),
        _ => None,
    }
}
