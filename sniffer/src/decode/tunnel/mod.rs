//! Packets inside packets: what a tunnel's own header says, in a file per tunnel. Which headers announce a tunnel: `decode/next.rs`.
//!
//! GRE, VXLAN, MPLS and PPPoE are not here: their flows have outer addresses only.

mod ip_in_ip;

use super::{
    Undecoded,
    next::{Inside, Next, Rest, Tunnel},
};
use crate::net::Realm;

/// Reads the tunnel's own header at the start of `rest`, steps over it and adds its key to `realm`. Gives what the packet inside begins
/// with.
///
/// # Errors
/// When the frame ends within the tunnel's header.
#[inline]
pub(super) fn enter(tunnel: Tunnel, rest: &mut Rest<'_>, realm: &mut Realm) -> Result<Next, Undecoded> {
    let Inside { key, header_len, next } = match tunnel {
        Tunnel::Ipv4InIp => ip_in_ip::inside(Next::Ipv4),
        Tunnel::Ipv6InIp => ip_in_ip::inside(Next::Ipv6),
    };
    rest.skip(header_len);
    realm.enter(key);
    Ok(next)
}
