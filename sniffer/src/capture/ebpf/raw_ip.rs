//! The list of interfaces without a link header (tun, WireGuard), which the eBPF programs read on `any`.

use super::sys;
use crate::capture::{Link, linktype, sys::hardware_type};
use aya::maps::{HashMap, Map};

/// The interfaces that are in the map `RAW_IP`.
#[derive(Default)]
pub(super) struct RawIp(Vec<u32>);

impl RawIp {
    /// Makes the map equal to the interfaces that exist now. Until a new interface is in the map, the programs decide by the content of a
    /// packet whether it has a link header. This is wrong only for packets from 8.0.0.0/16 and a few IPv6 addresses.
    pub fn follow(&mut self, map: &mut Map) {
        let now = raw_ip_interfaces();
        if now == self.0 {
            return;
        }
        let Ok(mut map) = HashMap::<_, u32, u32>::try_from(map) else { return };
        for ifindex in self.0.iter().filter(|ifindex| !now.contains(ifindex)) {
            let _ = map.remove(ifindex); // the entry is missing if the map was full
        }
        for ifindex in &now {
            if let Err(error) = map.insert(ifindex, 1, 0) {
                log::debug!("interface {ifindex} has no link header; it could not be entered in the map: {error}");
            }
        }
        self.0 = now;
    }
}

/// The indices of the existing interfaces that have no link header.
fn raw_ip_interfaces() -> Vec<u32> {
    let all = sys::interfaces().unwrap_or_default();
    let raw = all.into_iter().filter(|(_, name)| hardware_type(name).is_ok_and(|kind| linktype::of_hardware(kind) != Link::Ethernet));
    raw.map(|(ifindex, _)| ifindex).collect()
}
