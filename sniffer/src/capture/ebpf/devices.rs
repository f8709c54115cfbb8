//! What attaching needs to know of an interface. Not the list of devices for users.

use super::{Error, sys};
use std::io;

/// An interface, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// As the kernel calls it, or `any`.
    pub name: String,
    /// 0 for `any`.
    pub ifindex: u32,
    /// Frames begin with an IP header (tun, WireGuard).
    pub raw_ip: bool,
    /// Every packet is seen twice on it.
    pub loopback: bool,
    /// It carries traffic of this host.
    pub addressed: bool,
}

/// The interface called `name`.
pub(super) fn find(name: &str) -> Result<Device, Error> {
    if name == "any" {
        return Ok(Device { name: name.to_owned(), ifindex: 0, raw_ip: false, loopback: false, addressed: true });
    }
    let wrong = |e: io::Error| Error::Interface { name: name.to_owned(), reason: e.to_string() };
    let ifindex = sys::ifindex(name).map_err(wrong)?;
    let kind = sys::hardware_type(name).map_err(wrong)?;
    Ok(Device {
        name: name.to_owned(),
        ifindex,
        raw_ip: !has_ethernet_header(kind),
        loopback: kind == libc::ARPHRD_LOOPBACK,
        addressed: sys::addressed_interfaces().map_err(wrong)?.iter().any(|other| other == name),
    })
}

/// All interfaces without a link header, for `any`.
pub(super) fn raw_ip() -> Vec<u32> {
    let names = sys::interfaces().unwrap_or_default();
    let raw = names.into_iter().filter(|(_, name)| sys::hardware_type(name).is_ok_and(|kind| !has_ethernet_header(kind)));
    raw.map(|(ifindex, _)| ifindex).collect()
}

fn has_ethernet_header(kind: u16) -> bool {
    matches!(kind, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK)
}
