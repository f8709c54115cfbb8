//! IP in IP: IPv4 (RFC 2003) or IPv6 (RFC 4213, RFC 2473) directly in an IP datagram, without a header or key of the
//! tunnel.

use crate::{
    decode::next::{Next, TunnelHeader},
    net::TunnelKey,
};

/// The packet inside starts directly with the IP header `next`.
#[inline]
pub(super) fn header(next: Next) -> TunnelHeader {
    TunnelHeader { key: TunnelKey::default(), header_len: 0, next }
}
