//! The network that a packet's addresses belong to: the VLAN ids and tunnel keys that it came through. Two networks may use the same
//! addresses; the realm tells them apart.

/// The ids (12 bits) of a packet's VLAN tags, of which the last two are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vlans {
    /// How many tags there were.
    pub count: u8,
    /// The last but one; 0 unless there were two.
    pub outer: u16,
    /// The last; 0 unless there was one.
    pub inner: u16,
}

impl Vlans {
    /// Adds the next tag, going inwards. `tci`: priority, drop eligibility and id, as on the wire.
    #[inline]
    pub fn push(&mut self, tci: u16) {
        self.count = self.count.saturating_add(1);
        self.outer = self.inner;
        self.inner = tci & 0x0fff;
    }
}

/// The network that a tunnel header names: the kind of tunnel in the upper 32 bits, its key (VNI, GRE key, label) in the lower.
/// The default, 0, where there is no tunnel, or one that has no key (IP in IP).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TunnelKey(pub u64);

/// The tunnel keys and VLAN ids that a packet came through; the default for plain traffic.
///
/// Tunnel keys are part of the key of connections, fragments, pending datagrams and flows. VLAN ids are part of the key of fragments
/// and flows; of connections and pending datagrams only with the interface option `track_vlans`, because on a mirror port the two directions of a connection may
/// carry different tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Realm {
    /// The keys of the last two tunnels that have one, the inner one first.
    pub tunnels: [TunnelKey; 2],
    /// The VLAN tags.
    pub vlans: Vlans,
}

impl Realm {
    /// Adds the key of the next tunnel, going inwards. A tunnel without a key changes nothing.
    #[inline]
    pub fn enter(&mut self, key: TunnelKey) {
        if key != TunnelKey::default() {
            let [inner, _] = self.tunnels;
            self.tunnels = [key, inner];
        }
    }

    /// What is part of the key of a connection: the VLAN ids only with `track_vlans`.
    #[inline]
    #[must_use]
    pub fn of_connection(self, track_vlans: bool) -> Self {
        if track_vlans { self } else { Self { vlans: Vlans::default(), ..self } }
    }

    /// Whether the packet came through a tunnel that has a key.
    #[inline]
    pub fn is_tunnelled(&self) -> bool {
        self.tunnels != [TunnelKey::default(); 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_tunnel_keys_are_kept() {
        let mut realm = Realm::default();
        realm.enter(TunnelKey(0));
        assert_eq!((realm, realm.is_tunnelled()), (Realm::default(), false), "a tunnel without a key");
        for key in 1..=3 {
            realm.enter(TunnelKey(key));
        }
        assert_eq!((realm.tunnels, realm.is_tunnelled()), ([TunnelKey(3), TunnelKey(2)], true));
    }

    #[test]
    fn vlan_ids_name_a_connection_only_when_they_are_tracked() {
        let mut realm = Realm::default();
        realm.vlans.push(0xe00a);
        realm.enter(TunnelKey(7));
        let untracked = Realm { tunnels: [TunnelKey(7), TunnelKey(0)], vlans: Vlans::default() };
        assert_eq!((realm.of_connection(true), realm.of_connection(false)), (realm, untracked));
        assert_eq!(realm.vlans, Vlans { count: 1, outer: 0, inner: 10 });
    }
}
