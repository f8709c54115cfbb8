//! The port map: the configured protocols that claim each port. The engine uses it for every packet; a packet on
//! unclaimed ports costs two look-ups.

use crate::publish::PublisherId;

/// The index of the empty set in `sets`.
const UNCLAIMED: u16 = 0;

/// For one transport, the configured protocols that claim each port.
#[derive(Debug)]
pub struct PortMap {
    /// For each port, an index into `sets`.
    by_port: Box<[u16]>,
    sets: Vec<Vec<PublisherId>>,
}

/// A range of ports, including both ends.
pub type Range = (u16, u16);

impl PortMap {
    /// Makes the map of the ranges that each configured protocol claims. The protocols in `any` also get the unclaimed
    /// ports.
    pub fn new<'a>(claimed: impl IntoIterator<Item = (PublisherId, &'a [Range])>, any: &[PublisherId]) -> Self {
        let mut map = Self { by_port: vec![UNCLAIMED; 1 << 16].into(), sets: vec![vec![]] };
        for (id, ranges) in claimed {
            for port in ranges.iter().flat_map(|&(first, last)| first..=last) {
                let mut set = map.get(map.set_of(port)).to_vec();
                if !set.contains(&id) {
                    set.push(id);
                }
                map.by_port[usize::from(port)] = map.intern(set);
            }
        }
        if !any.is_empty() {
            let set = map.intern(any.to_vec());
            map.by_port.iter_mut().filter(|place| **place == UNCLAIMED).for_each(|place| *place = set);
        }
        map
    }

    /// The index of the set of protocols of a port; 0 if no protocol claims it.
    #[inline]
    pub fn set_of(&self, port: u16) -> usize {
        usize::from(self.by_port[usize::from(port)])
    }

    /// Returns the protocols of the set with the index `set`.
    pub fn get(&self, set: usize) -> &[PublisherId] {
        self.sets.get(set).map_or(&[], Vec::as_slice)
    }

    fn intern(&mut self, set: Vec<PublisherId>) -> u16 {
        let at = self.sets.iter().position(|known| *known == set).unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        });
        u16::try_from(at).unwrap_or(UNCLAIMED)
    }
}

/// The protocols that claim a packet by its ports, and the direction of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The set of protocols that claim the packet; see [`PortMap::get`].
    pub set: usize,
    /// Whether the packet goes to the server.
    pub to_server: bool,
}

impl PortMap {
    /// The claim to a packet between these ports; `None` if no protocol claims either port. `opens`
    /// is true for a SYN, whose receiver is the server, and false for a SYN-ACK, whose sender is
    /// the server. If both ports are claimed and `opens` is `None`, the lower port is the server's.
    #[inline]
    pub fn claim(&self, source: u16, destination: u16, opens: Option<bool>) -> Option<Claim> {
        let (from, to) = (self.set_of(source), self.set_of(destination));
        if from == 0 && to == 0 {
            return None;
        }
        let to_server = opens.unwrap_or(match (from, to) {
            (0, _) => true,
            (_, 0) => false,
            _ => destination <= source,
        });
        let set = match (to_server, from, to) {
            (true, from, 0) => from,
            (true, _, to) => to,
            (false, 0, to) => to,
            (false, from, _) => from,
        };
        Some(Claim { set, to_server })
    }

    /// The protocols that may parse a connection to a server at port `server`; if none claims that port, those of the
    /// port `client`.
    pub fn candidates(&self, client: u16, server: u16) -> &[PublisherId] {
        self.claim(client, server, Some(true)).map_or(&[], |claim| self.get(claim.set))
    }
}

/// A set of ports with one bit for each port.
pub struct PortSet(Box<[u64]>);

impl PortSet {
    /// Whether a port is in the set.
    pub fn has(&self, port: u16) -> bool {
        self.0.get(usize::from(port) / 64).is_some_and(|bits| bits >> (port % 64) & 1 == 1)
    }

    /// Adds the ports that `before` claims and `after` does not.
    pub fn add_given_up(&mut self, before: &PortMap, after: &PortMap) {
        for port in (0..=u16::MAX).filter(|&port| before.set_of(port) != 0 && after.set_of(port) == 0) {
            if let Some(bits) = self.0.get_mut(usize::from(port) / 64) {
                *bits |= 1 << (port % 64);
            }
        }
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&bits| bits == 0)
    }
}

impl Default for PortSet {
    fn default() -> Self {
        Self(vec![0; (1 << 16) / 64].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_shared_ports_and_any() {
        let [a, b, c] = [0, 1, 2].map(PublisherId);
        let map = PortMap::new([(a, &[(80, 80), (8000, 8010)][..]), (b, &[(8005, 8005)]), (c, &[])], &[]);
        assert_eq!(map.get(map.set_of(80)), [a]);
        assert_eq!(map.get(map.set_of(8005)), [a, b]);
        assert_eq!(map.set_of(81), 0);
        let map = PortMap::new([(a, &[(80, 80)][..])], &[c]);
        assert_eq!((map.get(map.set_of(80)), map.get(map.set_of(65535))), (&[a][..], &[c][..]));
        assert_eq!((map.candidates(40000, 80), map.candidates(80, 40000)), (&[a][..], &[c][..]));
    }

    #[test]
    fn who_is_the_server() {
        let map = PortMap::new([(PublisherId(0), &[(67, 68)][..]), (PublisherId(1), &[(53, 53)])], &[]);
        let to_server = |source, destination, opens| map.claim(source, destination, opens).map(|claim| claim.to_server);
        assert_eq!(to_server(40000, 53, None), Some(true));
        assert_eq!(to_server(53, 40000, None), Some(false));
        assert_eq!(to_server(68, 67, None), Some(true));
        assert_eq!(to_server(67, 68, None), Some(false));
        assert_eq!(to_server(53, 67, Some(true)), Some(true));
        assert_eq!(to_server(1, 2, None), None);
    }
}
