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
}

impl HostData {
    /// Reads the data from the kernel and a few files, without network traffic. Takes about a millisecond.
    pub fn gather() -> Self {
        let interfaces = host::interfaces();
        let addresses = interfaces.iter().flat_map(|interface| interface.addresses.iter().copied()).collect();
        Self { addresses, host: Host::gather("/", &interfaces), cloud: cloud::detect("/") }
    }
}
