//! Which configured protocols want a port. It is asked first for every packet: what nobody wants costs two look-ups.

/// The place of the set that is empty.
const NOBODY: u16 = 0;

/// For one transport: port → which of the configured protocols may be meant.
pub struct PortMap {
    /// An index into `sets` for each port.
    by_port: Box<[u16]>,
    sets: Vec<Vec<usize>>,
}

/// A range of ports, both ends included.
pub type Range = (u16, u16);

impl PortMap {
    /// From what each configured protocol (by its index) wants; `any` of them want what is nobody's too.
    pub fn new<'a>(wanted: impl IntoIterator<Item = (usize, &'a [Range])>, any: &[usize]) -> Self {
        let mut map = Self { by_port: vec![NOBODY; 1 << 16].into(), sets: vec![vec![]] };
        for (index, ranges) in wanted {
            for port in ranges.iter().flat_map(|&(first, last)| first..=last) {
                let mut set = map.get(map.set_of(port)).to_vec();
                if !set.contains(&index) {
                    set.push(index);
                }
                map.by_port[usize::from(port)] = map.intern(set);
            }
        }
        if !any.is_empty() {
            let set = map.intern(any.to_vec());
            map.by_port.iter_mut().filter(|place| **place == NOBODY).for_each(|place| *place = set);
        }
        map
    }

    /// Which set a port has; 0 when nobody wants it.
    #[inline]
    pub fn set_of(&self, port: u16) -> usize {
        usize::from(self.by_port[usize::from(port)])
    }

    /// The configured protocols of a set.
    pub fn get(&self, set: usize) -> &[usize] {
        self.sets.get(set).map_or(&[], Vec::as_slice)
    }

    fn intern(&mut self, set: Vec<usize>) -> u16 {
        let at = self.sets.iter().position(|known| *known == set).unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        });
        u16::try_from(at).unwrap_or(NOBODY)
    }
}

/// Which end of a packet is the server's, as far as its ports tell, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The set of protocols that may be meant.
    pub set: usize,
    /// Whether the packet goes to the server.
    pub to_server: bool,
}

impl PortMap {
    /// Whether anybody wants a packet between these ports. `opens` says which way a handshake packet points: the receiver of
    /// a SYN is the server. Where both ports are wanted and nothing else tells, the lower one is the server's.
    #[inline]
    pub fn wanted(&self, source: u16, destination: u16, opens: Option<bool>) -> Option<Wanted> {
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
        Some(Wanted { set, to_server })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_shared_ports_and_any() {
        let map = PortMap::new([(0, &[(80, 80), (8000, 8010)][..]), (1, &[(8005, 8005)]), (2, &[])], &[]);
        assert_eq!(map.get(map.set_of(80)), [0]);
        assert_eq!(map.get(map.set_of(8005)), [0, 1]);
        assert_eq!(map.set_of(81), 0);
        let map = PortMap::new([(0, &[(80, 80)][..])], &[3]);
        assert_eq!((map.get(map.set_of(80)), map.get(map.set_of(65535))), (&[0][..], &[3][..]));
    }

    #[test]
    fn who_is_the_server() {
        let map = PortMap::new([(0, &[(67, 68)][..]), (1, &[(53, 53)])], &[]);
        let to_server = |source, destination, opens| map.wanted(source, destination, opens).map(|w| w.to_server);
        assert_eq!(to_server(40000, 53, None), Some(true));
        assert_eq!(to_server(53, 40000, None), Some(false));
        assert_eq!(to_server(68, 67, None), Some(true));
        assert_eq!(to_server(67, 68, None), Some(false));
        assert_eq!(to_server(53, 67, Some(true)), Some(true));
        assert_eq!(to_server(1, 2, None), None);
    }
}
