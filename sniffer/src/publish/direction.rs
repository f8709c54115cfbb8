//! Determines `network.direction`: relative to this host, or to the internal networks of the configuration.

use crate::enrich::networks::{Networks, is_link_local_multicast, is_link_local_unicast};
use std::net::IpAddr;

/// The addresses of this host, and the internal networks of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Directions {
    /// Addresses of this host; sorted.
    own: Vec<IpAddr>,
    internal: Networks,
}

impl Directions {
    /// Makes the value from `addresses`, the addresses of this host, and `internal`, which may be empty.
    pub fn new(addresses: &[IpAddr], internal: Networks) -> Self {
        let mut own: Vec<IpAddr> = addresses.iter().map(IpAddr::to_canonical).collect();
        own.sort_unstable();
        own.dedup();
        Self { own, internal }
    }

    /// The direction of a transaction or flow from `source` to `destination`.
    pub fn of(&self, source: IpAddr, destination: IpAddr) -> &'static str {
        if self.is_own(destination) {
            return "ingress";
        }
        if self.is_own(source) {
            return "egress";
        }
        if self.internal.is_empty() {
            return "unknown";
        }
        match (self.internal.contains(source), self.internal.contains(destination)) {
            (true, true) => "internal",
            (true, false) => "outbound",
            (false, true) => "inbound",
            (false, false) => "external",
        }
    }

    fn is_own(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_loopback() || is_link_local_unicast(ip) || is_link_local_multicast(ip) || self.own.binary_search(&ip).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_before_networks() {
        let of =
            |directions: &Directions, source: &str, destination: &str| directions.of(source.parse().unwrap(), destination.parse().unwrap());
        let own = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        let alone = Directions::new(&own, Networks::default());
        assert_eq!(of(&alone, "8.8.8.8", "10.0.0.1"), "ingress");
        assert_eq!(of(&alone, "fd00::1", "2001:db8::1"), "egress");
        assert_eq!(of(&alone, "10.0.0.1", "127.0.0.1"), "ingress");
        assert_eq!(of(&alone, "10.0.0.2", "10.0.0.3"), "unknown");
        let with = Directions::new(&own, Networks::parse(&["private"]).unwrap());
        assert_eq!(of(&with, "8.8.8.8", "10.0.0.1"), "ingress");
        assert_eq!(of(&with, "10.0.0.2", "10.0.0.3"), "internal");
        assert_eq!(of(&with, "10.0.0.2", "8.8.8.8"), "outbound");
        assert_eq!(of(&with, "8.8.8.8", "10.0.0.2"), "inbound");
        assert_eq!(of(&with, "8.8.8.8", "9.9.9.9"), "external");
    }
}
