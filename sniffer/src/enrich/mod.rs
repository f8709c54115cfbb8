//! What is known beyond the packets: the machine, its addresses, its cloud; and kinds of networks.

pub mod cloud;
pub mod host;
pub mod networks;

use crate::event::tree::Object;
use host::Host;
use std::net::IpAddr;

/// What is known of the machine. It may change while running: whoever wants it new gathers it anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// Every address of this machine, for `network.direction`.
    pub addresses: Vec<IpAddr>,
    /// What `add_host_metadata` tells of it.
    pub host: Host,
    /// `cloud`, or nothing outside of one.
    pub cloud: Object,
}

impl World {
    /// Asks the kernel and reads a few files; sends nothing to anybody. Takes about a millisecond.
    pub fn gather() -> Self {
        let interfaces = host::interfaces();
        let addresses = interfaces.iter().flat_map(|interface| interface.addresses.iter().copied()).collect();
        Self { addresses, host: Host::gather("/", &interfaces), cloud: cloud::detect("/") }
    }
}
