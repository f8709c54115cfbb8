//! Packets inside packets: which headers announce a tunnel, and what its own header says. One file per tunnel.
//!
//! GRE, VXLAN, MPLS and PPPoE are not here yet: their flows have outer addresses only.

mod ip_in_ip;

use super::{
    Undecoded,
    layers::{Next, Rest},
};
use crate::net::{Realm, TunnelKey};
use ip_in_ip::IpInIp;

/// A tunnel, as announced by the header in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tunnel {
    /// An IP header directly behind another.
    IpInIp(IpInIp),
}

impl Tunnel {
    /// The tunnel that the protocol number of an IP header announces.
    #[inline]
    pub fn of_protocol(number: u8) -> Option<Self> {
        IpInIp::of_protocol(number).map(Self::IpInIp)
    }
}

/// What a tunnel's own header says.
struct Inside {
    /// The network that the packet inside belongs to.
    key: TunnelKey,
    /// Bytes of the tunnel's header.
    header_len: usize,
    /// What the packet inside begins with.
    next: Next,
}

/// Reads the tunnel's own header at the start of `rest`, steps over it and adds its key to `realm`. Gives what the packet inside begins
/// with.
///
/// # Errors
/// When the frame ends within the tunnel's header.
#[inline]
pub(super) fn enter(tunnel: Tunnel, rest: &mut Rest<'_>, realm: &mut Realm) -> Result<Next, Undecoded> {
    let Inside { key, header_len, next } = match tunnel {
        Tunnel::IpInIp(version) => version.inside(),
    };
    rest.skip(header_len);
    realm.enter(key);
    Ok(next)
}
