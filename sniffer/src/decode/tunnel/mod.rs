//! Decodes the headers of tunnels, one file per tunnel. `decode/next.rs` decides which headers announce a tunnel.
//!
//! GRE, VXLAN, MPLS and PPPoE are not supported: their flows have outer addresses only.

mod ip_in_ip;

use super::{
    Undecoded,
    next::{Next, Remaining, Tunnel, TunnelHeader},
};
use crate::net::Realm;

/// Decodes the tunnel's header at the start of `rest`, skips it and adds its key to `realm`. Returns the first header
/// of the packet inside.
///
/// # Errors
/// When the frame ends inside the tunnel's header.
#[inline]
pub(super) fn decode(tunnel: Tunnel, rest: &mut Remaining<'_>, realm: &mut Realm) -> Result<Next, Undecoded> {
    let TunnelHeader { key, header_len, next } = match tunnel {
        Tunnel::Ipv4InIp => ip_in_ip::header(Next::Ipv4),
        Tunnel::Ipv6InIp => ip_in_ip::header(Next::Ipv6),
    };
    rest.skip(header_len);
    realm.push_tunnel(key);
    Ok(next)
}
