//! Data about this host: `/etc/os-release` (os-release(5)), names from the kernel, interfaces.

use crate::event::{text::Mac, tree::Object};
use nix::net::if_::InterfaceFlags;
use serde_json::json;
use std::{collections::BTreeMap, fs, net::IpAddr, path::Path};

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's interface index.
    pub index: u32,
    /// Whether the interface is a loopback interface.
    pub loopback: bool,
    /// Addresses of the interface.
    pub addresses: Vec<IpAddr>,
    /// Hardware address; empty if the interface has none.
    pub mac: Vec<u8>,
}

/// The interfaces of this host, sorted by index. They are those of the process's own network namespace, also where `/sys` shows another one.
pub fn interfaces() -> Vec<Interface> {
    let mut all: BTreeMap<String, Interface> = BTreeMap::new();
    let entries = nix::ifaddrs::getifaddrs().inspect_err(|error| log::warn!("reading the addresses of this host failed: {error}"));
    for entry in entries.into_iter().flatten() {
        // The name of an IPv4 address is its label, which is the name of the interface and optionally `:` and a word.
        let name = entry.interface_name.split(':').next().unwrap_or_default();
        let interface = all.entry(name.to_owned()).or_default();
        interface.loopback |= entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let Some(address) = entry.address else { continue };
        if let Some(link) = address.as_link_addr() {
            interface.index = u32::try_from(link.ifindex()).unwrap_or_default();
            interface.mac = link.addr().filter(|mac| mac.iter().any(|&byte| byte != 0)).map(Vec::from).unwrap_or_default();
        } else if let Some(v4) = address.as_sockaddr_in() {
            interface.addresses.push(v4.ip().into());
        } else if let Some(v6) = address.as_sockaddr_in6() {
            interface.addresses.push(v6.ip().into());
        }
    }
    let mut all: Vec<Interface> = all.into_values().collect();
    all.sort_by_key(|interface| interface.index);
    all
}

/// The data for `add_host_metadata`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// The contents of the field `host`, except for `ip` and `mac`.
    pub fields: Object,
    /// The field `host.ip`.
    pub ip: Vec<String>,
    /// The field `host.mac`.
    pub mac: Vec<String>,
}

impl Host {
    /// Reads the files below `root` (`/` except in tests). Files that cannot be read are skipped.
    pub fn gather(root: &str, interfaces: &[Interface]) -> Self {
        let root = Path::new(root);
        let read = |path: &str| fs::read_to_string(root.join(path)).ok().map(|text| text.trim().to_owned()).filter(|t| !t.is_empty());
        let mut fields = Object::new();
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                fields.insert(key.to_owned(), value.into());
            }
        };
        let name = read("proc/sys/kernel/hostname");
        add("name", name.as_deref().map(str::to_lowercase));
        add("hostname", name);
        add("architecture", read("proc/sys/kernel/arch").or_else(|| Some(std::env::consts::ARCH.to_owned())));
        add("id", read("etc/machine-id").or_else(|| read("var/lib/dbus/machine-id")));
        let release = read("etc/os-release").or_else(|| read("usr/lib/os-release")).unwrap_or_default();
        let mut os = os_fields(&release);
        if let Some(kernel) = read("proc/sys/kernel/osrelease") {
            os.insert("kernel".to_owned(), kernel.into());
        }
        fields.insert("os".to_owned(), os.into());
        let cgroup = read("proc/1/cgroup").unwrap_or_default();
        let marks = [".dockerenv", "run/.containerenv"].iter().any(|path| root.join(path).exists());
        let containerized = marks || ["docker", "kubepods", "lxc", "garden"].iter().any(|word| cgroup.contains(word));
        fields.insert("containerized".to_owned(), containerized.into());

        let outward = || interfaces.iter().filter(|interface| !interface.loopback);
        Self {
            fields,
            ip: outward().flat_map(|i| &i.addresses).map(ToString::to_string).collect(),
            mac: outward().filter(|i| !i.mac.is_empty()).map(|i| Mac(&i.mac).to_string()).collect(),
        }
    }
}

/// The contents of the field `host.os`, from the text of an os-release file.
fn os_fields(release: &str) -> Object {
    let value = |wanted: &str| {
        let of = |line: &str| line.trim().split_once('=').filter(|(key, _)| *key == wanted).map(|(_, value)| unquote(value));
        release.lines().find_map(of).filter(|value| !value.is_empty())
    };
    let platform = value("ID").unwrap_or_else(|| "linux".to_owned());
    let family = match platform.as_str() {
        "redhat" | "fedora" | "centos" | "scientific" | "ol" | "oraclelinux" | "amzn" | "rhel" | "almalinux" | "rocky" => "redhat",
        "debian" | "ubuntu" | "raspbian" | "linuxmint" => "debian",
        "suse" | "sles" | "opensuse" | "opensuse-leap" | "opensuse-tumbleweed" => "suse",
        "arch" | "archarm" | "manjaro" => "arch",
        _ => "",
    };
    let mut os = Object::from_iter([("type".to_owned(), json!("linux")), ("platform".to_owned(), platform.clone().into())]);
    let rest = [
        ("name", value("NAME")),
        ("version", value("VERSION").or_else(|| value("VERSION_ID"))),
        ("codename", value("VERSION_CODENAME")),
        ("build", value("BUILD_ID")),
        ("family", Some(family.to_owned()).filter(|family| !family.is_empty())),
    ];
    os.extend(rest.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into()))));
    os
}

fn unquote(value: &str) -> String {
    let value = value.trim();
    let inner = ['"', '\''].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote));
    inner.unwrap_or(value).replace('\\', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operating_system_of_debian() {
        let os = os_fields(
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n",
        );
        let expected = json!({"type": "linux", "platform": "debian", "family": "debian", "name": "Debian GNU/Linux",
                              "version": "12 (bookworm)", "codename": "bookworm"});
        assert_eq!(serde_json::Value::from(os), expected);
    }

    #[test]
    fn data_of_this_machine() {
        let host = Host::gather("/", &interfaces());
        assert!(host.fields.contains_key("architecture"), "{host:?}");
        assert!(host.fields.contains_key("hostname"), "{host:?}");
        assert!(host.fields["os"]["kernel"].is_string(), "{host:?}");
    }

    #[test]
    fn interfaces_of_this_machine() {
        let all = interfaces();
        let loopback: Vec<&Interface> = all.iter().filter(|interface| interface.loopback).collect();
        assert!(matches!(loopback.as_slice(), [lo] if lo.index == 1 && lo.mac.is_empty()), "{all:?}");
        assert!(loopback[0].addresses.contains(&IpAddr::from([127, 0, 0, 1])), "{all:?}");
        let mac = |name: &str| fs::read_to_string(format!("/sys/class/net/{name}/address")).unwrap();
        for entry in fs::read_dir("/sys/class/net").unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let index: u32 = fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).unwrap().trim().parse().unwrap();
            let found = all.iter().find(|interface| interface.index == index).unwrap_or_else(|| panic!("{name}: {all:?}"));
            if !found.mac.is_empty() {
                assert_eq!(Mac(&found.mac).to_string().replace('-', ":").to_lowercase(), mac(&name).trim(), "{name}");
            }
        }
    }

    #[test]
    fn addresses_but_no_loopback() {
        let lo = Interface { index: 1, loopback: true, addresses: vec!["127.0.0.1".parse().unwrap()], mac: vec![] };
        let eth =
            Interface { index: 2, loopback: false, addresses: vec!["192.0.2.1".parse().unwrap()], mac: vec![0x02, 0x42, 0xac, 0x11, 0, 2] };
        let host = Host::gather("/nonexistent", &[lo, eth]);
        assert_eq!((host.ip, host.mac), (vec!["192.0.2.1".to_owned()], vec!["02-42-AC-11-00-02".to_owned()]));
    }
}
