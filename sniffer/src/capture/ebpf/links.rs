//! Devices over netlink: what a device can do with XDP, and a pair of devices for a trial (`linux/if_link.h`, `linux/netdev.h`).

use super::netlink::{Request, attribute, exchange, push_attribute, text, word};
use libc::{IFLA_IFNAME, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, RTM_GETLINK, RTM_NEWLINK};
use std::io;

/// `IFLA_XDP`, and the attributes in it.
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
/// `IFLA_LINKINFO`, and the attributes in it.
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
/// Generic netlink: the family that knows the others, its command, and its attributes.
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// The family `netdev` (Linux 6.3): its command, and its attributes.
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
/// The feature that means that the driver runs XDP programs.
const NETDEV_XDP_ACT_BASIC: u64 = 1;
/// Length of `struct ifinfomsg` and of `struct genlmsghdr` in bytes.
const LINK_HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

/// How XDP programs run on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the kernel, behind the driver.
    Generic,
    /// The kernel does not say it: it is older than Linux 6.3.
    NotKnown,
}

/// How XDP programs run on the device with this index.
pub fn xdp_mode(ifindex: u32) -> XdpMode {
    match features(ifindex) {
        Ok(Some(features)) if features & NETDEV_XDP_ACT_BASIC != 0 => XdpMode::Native,
        Ok(Some(_)) => XdpMode::Generic,
        _ => XdpMode::NotKnown,
    }
}

/// The number of the XDP program that is attached to the device with this index.
///
/// # Errors
/// When there is no such device, or the kernel refuses.
pub fn xdp_program(ifindex: u32) -> io::Result<Option<u32>> {
    let mut found = None;
    exchange(libc::NETLINK_ROUTE, Request::with(RTM_GETLINK, NLM_F_ACK, &link_header(ifindex, 0)), &mut |_, body| {
        let xdp = attribute(body.get(LINK_HEADER..).unwrap_or_default(), IFLA_XDP).unwrap_or_default();
        let is_attached = attribute(xdp, IFLA_XDP_ATTACHED).is_some_and(|value| value.first().is_some_and(|mode| *mode != 0));
        if is_attached {
            found = Some(attribute(xdp, IFLA_XDP_PROG_ID).and_then(|id| word(id, 0)).unwrap_or(0));
        }
    })?;
    Ok(found)
}

/// Makes a pair of connected devices in the network namespace of the calling thread. Both are up.
///
/// # Errors
/// When the kernel refuses, for example because it has no module `veth`.
pub fn make_veth(names: [&str; 2]) -> io::Result<()> {
    let [one, other] = names.map(|name| format!("{name}\0"));
    let header = link_header(0, 0);
    let mut peer = header.clone();
    push_attribute(&mut peer, IFLA_IFNAME, other.as_bytes());
    let (mut data, mut info) = (Vec::new(), Vec::new());
    push_attribute(&mut data, VETH_INFO_PEER, &peer);
    push_attribute(&mut info, IFLA_INFO_KIND, b"veth\0");
    push_attribute(&mut info, IFLA_INFO_DATA, &data);
    let request = Request::with(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &header)
        .attribute(IFLA_IFNAME, one.as_bytes())
        .attribute(IFLA_LINKINFO, &info);
    exchange(libc::NETLINK_ROUTE, request, &mut |_, _| {})?;
    // The kernel refuses to make a device of a pair that is up, because its peer does not exist yet.
    [one, other].iter().try_for_each(|name| {
        let up = Request::with(RTM_NEWLINK, NLM_F_ACK, &link_header(0, libc::IFF_UP as u32)).attribute(IFLA_IFNAME, name.as_bytes());
        exchange(libc::NETLINK_ROUTE, up, &mut |_, _| {})
    })
}

/// A `struct ifinfomsg` that sets the flags `flags` (`IFF_*`).
fn link_header(ifindex: u32, flags: u32) -> Vec<u8> {
    [0, ifindex, flags, flags].map(u32::to_ne_bytes).concat()
}

/// The XDP features of a device. `None` if the reply does not have them.
fn features(ifindex: u32) -> io::Result<Option<u64>> {
    let header = |command: u8| [command, 1, 0, 0];
    let mut family = None;
    let request = Request::with(GENL_ID_CTRL, NLM_F_ACK, &header(CTRL_CMD_GETFAMILY)).attribute(CTRL_ATTR_FAMILY_NAME, b"netdev\0");
    exchange(libc::NETLINK_GENERIC, request, &mut |_, body| {
        let attributes = body.get(GENERIC_HEADER..).unwrap_or_default();
        if attribute(attributes, CTRL_ATTR_FAMILY_NAME).map(text).as_deref() == Some("netdev") {
            family = attribute(attributes, CTRL_ATTR_FAMILY_ID).and_then(|id| id.first_chunk().copied()).map(u16::from_ne_bytes);
        }
    })?;
    let Some(family) = family else { return Ok(None) };
    let mut features = None;
    let request = Request::with(family, NLM_F_ACK, &header(NETDEV_CMD_DEV_GET)).attribute(NETDEV_A_DEV_IFINDEX, &ifindex.to_ne_bytes());
    exchange(libc::NETLINK_GENERIC, request, &mut |kind, body| {
        if kind == family {
            let value = attribute(body.get(GENERIC_HEADER..).unwrap_or_default(), NETDEV_A_DEV_XDP_FEATURES);
            features = value.and_then(|value| value.first_chunk().copied()).map(u64::from_ne_bytes);
        }
    })?;
    Ok(features)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{
        sys::interface_index,
        testing::{in_a_network, run},
    };

    #[test]
    fn devices_are_made_and_described() {
        in_a_network("devices_are_made_and_described", || {
            make_veth(["one", "other"]).unwrap();
            for name in ["one", "other"] {
                let index = interface_index(name).unwrap();
                assert_eq!(xdp_program(index).unwrap(), None, "{name}");
                // A kernel without the family `netdev` does not know.
                assert_ne!(xdp_mode(index), XdpMode::Generic, "{name}: the driver of veth runs XDP programs");
            }
            assert_ne!(xdp_mode(interface_index("lo").unwrap()), XdpMode::Native);
            assert_eq!(make_veth(["one", "third"]).unwrap_err().raw_os_error(), Some(libc::EEXIST));
            run("ip link delete one");
            assert!(xdp_program(4711).is_err());
        });
    }
}
