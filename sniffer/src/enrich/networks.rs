//! Sets of networks as the configuration writes them: CIDR notation, and names of address classes (RFC 1918, 4193, 4291, …).

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};

/// One network, or a class of addresses.
#[derive(Clone, Copy, Debug)]
enum Network {
    Cidr(IpNet),
    Named(Matches),
}

type Matches = fn(IpAddr) -> bool;

/// The names of the address classes, in the order of the documentation.
const NAMES: [(&str, Matches); 10] = [
    ("loopback", |ip| ip.is_loopback()),
    ("global_unicast", is_global_unicast),
    ("unicast", is_global_unicast),
    ("link_local_unicast", is_link_local_unicast),
    ("interface_local_multicast", is_interface_local_multicast),
    ("link_local_multicast", is_link_local_multicast),
    ("multicast", |ip| ip.is_multicast()),
    ("unspecified", |ip| ip.is_unspecified()),
    ("private", is_private),
    ("public", is_public),
];

/// A set of networks.
#[derive(Clone, Debug, Default)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Parses a list of names of address classes and of networks in CIDR notation.
    ///
    /// # Errors
    /// When a word is neither a class nor a network; the message lists the allowed names.
    pub fn parse<T: AsRef<str>>(words: &[T]) -> Result<Self, String> {
        let parse = |word: &str| match NAMES.iter().find(|(name, _)| *name == word) {
            Some((_, matches)) => Ok(Network::Named(*matches)),
            None => word.parse().map(Network::Cidr).map_err(|_| {
                let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                format!(
                    "`{word}` is no network: write an address with a prefix length, like `192.0.2.0/24`, or one of {}",
                    names.join(", ")
                )
            }),
        };
        Ok(Self(words.iter().map(|word| parse(word.as_ref())).collect::<Result<_, _>>()?))
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the address is in one of the networks.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| match network {
            Network::Cidr(net) => net.contains(&ip),
            Network::Named(matches) => matches(ip),
        })
    }
}

/// True unless the address is unspecified, loopback, multicast, link-local or the broadcast address.
fn is_global_unicast(ip: IpAddr) -> bool {
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local_unicast(ip) || ip == Ipv4Addr::BROADCAST)
}

/// Whether the address is in 169.254.0.0/16 or fe80::/10.
pub fn is_link_local_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Whether the address is in ffx1::/16.
fn is_interface_local_multicast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_multicast() && ip.octets()[1] & 0x0f == 1)
}

/// Whether the address is in 224.0.0.0/24 or ffx2::/16.
pub fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(ip) => ip.is_multicast() && ip.octets()[1] & 0x0f == 2,
    }
}

/// Whether the address is in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or fd00::/8.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.octets()[0] == 0xfd,
    }
}

fn is_public(ip: IpAddr) -> bool {
    let local = is_link_local_unicast(ip) || is_link_local_multicast(ip) || is_interface_local_multicast(ip);
    !(is_private(ip) || ip.is_loopback() || ip.is_unspecified() || ip == Ipv4Addr::BROADCAST || local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_cidrs() {
        let of = |ip: &str| {
            let ip = ip.parse().unwrap();
            let in_it = |(name, _): &(&'static str, _)| Networks::parse(&[name]).unwrap().contains(ip).then_some(*name);
            NAMES.iter().filter_map(in_it).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("127.0.0.1"), "loopback");
        assert_eq!(of("10.1.2.3"), "global_unicast unicast private");
        assert_eq!(of("::ffff:10.1.2.3"), "global_unicast unicast private");
        assert_eq!(of("8.8.8.8"), "global_unicast unicast public");
        assert_eq!(of("169.254.1.1"), "link_local_unicast");
        assert_eq!(of("224.0.0.251"), "link_local_multicast multicast");
        assert_eq!(of("ff01::1"), "interface_local_multicast multicast");
        assert_eq!(of("255.255.255.255"), "");
        assert_eq!(of("fd00::1"), "global_unicast unicast private");
        let nets = Networks::parse(&["192.0.2.0/24", "2001:db8::/32"]).unwrap();
        assert!(nets.contains("192.0.2.9".parse().unwrap()) && nets.contains("2001:db8::1".parse().unwrap()));
        assert!(!nets.contains("192.0.3.9".parse().unwrap()));
        assert!(Networks::parse(&["10.0.0.1"]).unwrap_err().starts_with("`10.0.0.1` is no network"));
    }
}
