//! Data that does not come from packets: the host, its addresses, its cloud provider; and classes of networks.

pub mod cloud;
pub mod host;
pub mod networks;

use crate::event::tree::Object;
use host::Host;
use std::net::IpAddr;

/// Data about the host. It may change while the program runs; `gather` reads it again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostData {
    /// Every address of this host, for `network.direction`.
    pub addresses: Vec<IpAddr>,
    /// The data for `add_host_metadata`.
    pub host: Host,
    /// The contents of the field `cloud`; empty outside of a cloud.
    pub cloud: Object,
    /// The time zone of this host.
    pub zone: Zone,
}

/// The time zone of this host at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// The offset from UTC, such as `+05:30`.
    pub offset: String,
    /// The abbreviation, such as `IST`.
    pub abbreviation: String,
}

impl Zone {
    /// The time zone that applies now.
    fn current() -> Self {
        let now = jiff::Zoned::now();
        Self { offset: now.strftime("%:z").to_string(), abbreviation: now.strftime("%Z").to_string() }
    }
}

impl HostData {
    /// Reads the data from the kernel and a few files, without network traffic. Takes about a millisecond.
    pub fn gather() -> Self {
        let interfaces = host::interfaces();
        let addresses = interfaces.iter().flat_map(|interface| interface.addresses.iter().copied()).collect();
        Self { addresses, host: Host::gather("/", &interfaces), cloud: cloud::detect("/"), zone: Zone::current() }
    }
}
