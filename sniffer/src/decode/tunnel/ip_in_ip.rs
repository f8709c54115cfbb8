//! IP in IP: IPv4 (RFC 2003) or IPv6 (RFC 4213, RFC 2473) directly in an IP datagram. No header of its own, and no key.

use crate::{
    decode::next::{Inside, Next},
    net::TunnelKey,
};

/// The packet inside begins with `next` at once.
#[inline]
pub(super) fn inside(next: Next) -> Inside {
    Inside { key: TunnelKey::default(), header_len: 0, next }
}
