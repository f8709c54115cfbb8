//! Decides which addresses belong to this host. A socket that is bound to no address may only be the end of a conversation if the local
//! address is one of the host's: the kernel's tables do not say so about traffic that the host forwards.

use std::{
    collections::HashMap,
    net::{IpAddr, UdpSocket},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Maximum number of addresses whose answers are kept.
const MAX_ADDRESSES: usize = 4096;
/// How long an answer is kept. It is limited because addresses are added to and removed from the host.
const KEPT: Duration = Duration::from_secs(10);

/// Asks the kernel for the host's addresses, and keeps the answers for a while.
#[derive(Debug, Default)]
pub struct LocalAddresses(Mutex<HashMap<IpAddr, (bool, Instant)>>);

impl LocalAddresses {
    /// Whether `address` belongs to this host, in the network namespace of the program. `now` decides whether an earlier answer is too old.
    pub fn contains(&self, address: IpAddr, now: Instant) -> bool {
        if address.is_loopback() {
            return true;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((is_local, since)) = known.get(&address)
            && now.saturating_duration_since(*since) < KEPT
        {
            return *is_local;
        }
        if known.len() >= MAX_ADDRESSES {
            known.clear();
        }
        // The kernel binds a socket only to an address of the host.
        let is_local = UdpSocket::bind((address, 0)).is_ok() || is_link_local(address);
        known.insert(address, (is_local, now));
        is_local
    }
}

/// Whether an address has a meaning only on one link. A socket is bound to it together with an interface, which is not known here.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_host_are_local_and_others_are_not() {
        let (addresses, now) = (LocalAddresses::default(), Instant::now());
        for (address, is_local) in [("127.0.0.1", true), ("::1", true), ("203.0.113.9", false), ("2001:db8::9", false)] {
            for _ in 0..2 {
                assert_eq!(addresses.contains(address.parse().unwrap(), now), is_local, "{address}");
            }
        }
    }

    #[test]
    fn the_number_of_kept_answers_is_bounded() {
        let (addresses, now) = (LocalAddresses::default(), Instant::now());
        for number in 0..2 * MAX_ADDRESSES as u32 {
            addresses.contains(IpAddr::from((0xf000_0000 + number).to_be_bytes()), now);
        }
        let kept = addresses.0.lock().unwrap().len();
        assert!((1..=MAX_ADDRESSES).contains(&kept), "{kept}");
    }
}
