//! The capture devices of this host, and the choice of one by name, by number, as `any`, or by the default route.

use super::{Error, Link, linktype, sys};
use std::{
    fmt::{self, Write},
    net::IpAddr,
};

/// A device to capture on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Name of the device, or `any`.
    pub name: String,
    /// The kernel's interface index; 0 for `any`.
    pub ifindex: u32,
    /// Whether the device is a loopback device, on which every packet is seen twice.
    pub loopback: bool,
    /// Whether the device has an address other than a link-local one. A device with such an address carries the host's own traffic.
    pub has_address: bool,
    /// The header that frames of the device begin with; `None` for the device `any`, where the header differs per
    /// frame.
    pub link: Option<Link>,
}

impl Device {
    /// Whether this is the device `any`, which stands for all devices at once.
    pub fn is_any(&self) -> bool {
        self.ifindex == 0
    }

    /// Whether the device's frames begin with an IP header, without a link header.
    pub fn is_raw_ip(&self) -> bool {
        self.link.is_some_and(|link| link != Link::Ethernet)
    }
}

/// One device in the output of `sniffer devices`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceEntry {
    /// Name of the device.
    pub name: String,
    /// libpcap's description.
    pub description: Option<String>,
    /// Addresses of the device.
    pub addresses: Vec<IpAddr>,
}

/// Formats a device as Packetbeat does: `eth0 (No description available) (192.0.2.2 fd00::2)`.
impl fmt::Display for DeviceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) (", self.name, self.description.as_deref().unwrap_or("No description available"))?;
        for (index, address) in self.addresses.iter().enumerate() {
            write!(f, "{}{address}", if index == 0 { "" } else { " " })?;
        }
        f.write_str(if self.addresses.is_empty() { "Not assigned ip address)" } else { ")" })
    }
}

/// All devices that libpcap finds, in libpcap's order. `device: 0` is an index into this list.
///
/// # Errors
/// When libpcap cannot list the devices.
pub fn list() -> Result<Vec<DeviceEntry>, Error> {
    let devices = pcap::Device::list().map_err(|e| Error::Setting(format!("listing the devices: {e}")))?;
    Ok(devices
        .into_iter()
        .map(|d| DeviceEntry {
            name: d.name,
            description: d.desc.filter(|text| !text.is_empty()),
            addresses: d.addresses.into_iter().map(|a| a.addr).collect(),
        })
        .collect())
}

/// The lines that `sniffer devices` prints: `0: eth0 (No description available) (192.0.2.2 fd00::2)`.
pub fn text(devices: &[DeviceEntry]) -> String {
    devices.iter().enumerate().fold(String::new(), |mut text, (index, device)| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{index}: {device}");
        text
    })
}

/// Finds the device that the setting `wanted` names.
///
/// # Errors
/// When there is no such device; the message lists the existing ones.
pub fn resolve(wanted: &str) -> Result<Device, Error> {
    let name = match wanted {
        "any" => {
            return Ok(Device { name: "any".to_owned(), ifindex: 0, loopback: false, has_address: true, link: None });
        }
        "default_route" => default_route(wanted, true, true)?,
        "default_route_ipv4" => default_route(wanted, true, false)?,
        "default_route_ipv6" => default_route(wanted, false, true)?,
        _ => by_number(wanted)?.unwrap_or_else(|| wanted.to_owned()),
    };
    if name == "any" {
        return resolve("any");
    }
    describe(&name)
}

/// Finds a device again that was found before. A renamed device keeps its index. A device that was deleted and made
/// again has a new index; it is found by its name, or by the default route if `wanted` names the default route.
///
/// # Errors
///
/// When there is no such device now.
pub fn find_again(before: &Device, wanted: &str) -> Result<Device, Error> {
    if is_route(wanted) || before.is_any() {
        return resolve(wanted);
    }
    describe(&sys::interface_name(before.ifindex).unwrap_or_else(|_| before.name.clone()))
}

/// Whether the setting names a default route instead of a device.
pub fn is_route(wanted: &str) -> bool {
    wanted.starts_with("default_route")
}

fn describe(name: &str) -> Result<Device, Error> {
    let listed = list()?;
    let ifindex = sys::interface_index(name).map_err(|_| {
        let names: Vec<&str> = listed.iter().map(|d| d.name.as_str()).collect();
        Error::missing(name, format!("there is no such device; the devices are {}", names.join(", ")))
    })?;
    let hardware = sys::hardware_type(name).map_err(|e| Error::device(name, e))?;
    let loopback = hardware == libc::ARPHRD_LOOPBACK;
    let has_address = listed.iter().any(|d| d.name == name && d.addresses.iter().any(|a| !is_link_local(a)));
    Ok(Device { name: name.to_owned(), ifindex, loopback, has_address, link: Some(linktype::of_hardware(hardware)) })
}

/// Whether an address is link-local. Every device that is up assigns itself a link-local address, so such an address does not show that the
/// device carries the host's own traffic.
fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Resolves `device: 0`, a number in the list of devices. A device whose name consists of digits takes precedence.
fn by_number(wanted: &str) -> Result<Option<String>, Error> {
    let Ok(index) = wanted.parse::<usize>() else { return Ok(None) };
    if sys::interface_index(wanted).is_ok() {
        return Ok(None);
    }
    let devices = list()?;
    match devices.get(index) {
        Some(device) => Ok(Some(device.name.clone())),
        None => Err(Error::device(
            wanted,
            format!(
                "there is no device with this number; the devices have the numbers 0 to {} (see `sniffer devices`)",
                devices.len().saturating_sub(1)
            ),
        )),
    }
}

fn default_route(wanted: &str, v4: bool, v6: bool) -> Result<String, Error> {
    // Read the files of this thread, not of the process, because the thread may be in its own network namespace.
    let read = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    let found = if v4 { default_ipv4(&read("route")) } else { None };
    let found = found.or_else(|| if v6 { default_ipv6(&read("ipv6_route")) } else { None });
    found.ok_or_else(|| {
        let family = match (v4, v6) {
            (true, false) => "IPv4 ",
            (false, true) => "IPv6 ",
            _ => "",
        };
        Error::missing(wanted, format!("there is no default {family}route"))
    })
}

/// The flags `RTF_UP` and `RTF_REJECT` of a route (`linux/route.h`).
const UP: u32 = 1;
const REJECT: u32 = 0x200;

/// The device of the default route with the lowest metric. `table` has the form of `/proc/net/route`: a heading, then
/// lines of device, destination, gateway, flags, reference count, use, metric, mask and further columns.
fn default_ipv4(table: &str) -> Option<String> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace();
        let (device, destination) = (words.next()?, words.next()?);
        let flags = u32::from_str_radix(words.nth(1)?, 16).ok()?;
        let metric: u32 = words.nth(2)?.parse().ok()?;
        let mask = words.next()?;
        (destination == "00000000" && mask == "00000000" && flags & (UP | REJECT) == UP).then_some((metric, device))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, device)| device.to_owned())
}

/// Like [`default_ipv4`], for `/proc/net/ipv6_route`: destination, its prefix length, source, its prefix length, next
/// hop, metric, reference count, use, flags, device.
fn default_ipv6(table: &str) -> Option<String> {
    let routes = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (destination, prefix) = (words.next()?, words.next()?);
        let metric = u32::from_str_radix(words.nth(3)?, 16).ok()?;
        let flags = u32::from_str_radix(words.nth(2)?, 16).ok()?;
        let device = words.next()?;
        let is_default = destination.bytes().all(|b| b == b'0') && prefix == "00";
        (is_default && flags & (UP | REJECT) == UP).then_some((metric, device))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, device)| device.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IPV4: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
        eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        eth1\t00000000\t010200C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n\
        tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n";
    const IPV6: &str = "\
        fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth1\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";

    #[test]
    fn default_routes() {
        assert_eq!(default_ipv4(IPV4).as_deref(), Some("eth0"));
        assert_eq!(default_ipv4(""), None);
        assert_eq!(default_ipv6(IPV6).as_deref(), Some("eth0"));
        assert_eq!(default_ipv6("garbage\n\n00 00"), None);
    }

    #[test]
    fn lines_as_packetbeat_prints_them() {
        let device = |name: &str, description: Option<&str>, addresses: &[&str]| DeviceEntry {
            name: name.to_owned(),
            description: description.map(str::to_owned),
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        };
        let devices = [device("eth0", None, &["192.0.2.2", "fd00::2"]), device("any", Some("Pseudo-device"), &[])];
        assert_eq!(
            text(&devices),
            "0: eth0 (No description available) (192.0.2.2 fd00::2)\n1: any (Pseudo-device) (Not assigned ip address)\n"
        );
    }

    #[test]
    fn by_name_and_any() {
        assert!(resolve("any").unwrap().is_any());
        let error = resolve("nosuchdev0").unwrap_err().to_string();
        assert!(error.starts_with("device nosuchdev0: there is no such device; the devices are "), "{error}");
        let error = resolve("9999").unwrap_err().to_string();
        assert!(error.starts_with("device 9999: there is no device with this number; the devices have the numbers 0 to "), "{error}");
        let lo = resolve("lo").unwrap();
        assert_eq!((lo.name.as_str(), lo.loopback, lo.link), ("lo", true, Some(Link::Ethernet)));
        let at = list().unwrap().iter().position(|d| d.name == "lo").unwrap();
        assert_eq!(resolve(&at.to_string()).unwrap(), lo);
    }
}
