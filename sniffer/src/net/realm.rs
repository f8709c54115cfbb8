//! The network to which a packet's addresses belong, identified by the packet's VLAN ids and tunnel keys. Different
//! networks may use the same addresses; their realms differ.

/// The ids of the innermost two VLAN tags of a packet (12 bits each), and the number of all tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vlans {
    /// Number of tags in the packet.
    pub count: u8,
    /// The id of the second innermost tag; 0 if there are fewer than two.
    pub outer: u16,
    /// The id of the innermost tag; 0 if there is none.
    pub inner: u16,
}

impl Vlans {
    /// Adds the next tag, from the outside inwards. `tci`: priority, drop eligibility and id, as on the wire.
    #[inline]
    pub fn push(&mut self, tci: u16) {
        self.count = self.count.saturating_add(1);
        self.outer = self.inner;
        self.inner = tci & 0x0fff;
    }
}

/// The network that a tunnel header identifies: the kind of tunnel in the upper 32 bits, the tunnel's key (VNI, GRE
/// key, label) in the lower 32 bits. 0, the default, means no tunnel or a tunnel without a key (IP in IP).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TunnelKey(pub u64);

/// The tunnel keys and VLAN ids of a packet. The default is a packet without any.
///
/// Tunnel keys are part of the key of connections, pending datagrams, fragments and flows. VLAN ids are part of the key
/// of fragments and flows. They are part of the key of connections and pending datagrams only with the interface option
/// `track_vlans`, because on a mirror port the two directions of a connection may carry different tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Realm {
    /// The keys of the innermost two tunnels that have a key, the inner one first.
    pub tunnels: [TunnelKey; 2],
    /// The VLAN tags.
    pub vlans: Vlans,
}

impl Realm {
    /// Adds the key of the next tunnel, from the outside inwards. A tunnel without a key changes nothing.
    #[inline]
    pub fn push_tunnel(&mut self, key: TunnelKey) {
        if key != TunnelKey::default() {
            let [inner, _] = self.tunnels;
            self.tunnels = [key, inner];
        }
    }

    /// The part that belongs to the key of a connection: VLAN ids only with `track_vlans`.
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
        realm.push_tunnel(TunnelKey(0));
        assert_eq!((realm, realm.is_tunnelled()), (Realm::default(), false), "a tunnel without a key");
        for key in 1..=3 {
            realm.push_tunnel(TunnelKey(key));
        }
        assert_eq!((realm.tunnels, realm.is_tunnelled()), ([TunnelKey(3), TunnelKey(2)], true));
    }

    #[test]
    fn vlan_ids_name_a_connection_only_when_they_are_tracked() {
        let mut realm = Realm::default();
        realm.vlans.push(0xe00a);
        realm.push_tunnel(TunnelKey(7));
        let untracked = Realm { tunnels: [TunnelKey(7), TunnelKey(0)], vlans: Vlans::default() };
        assert_eq!((realm.of_connection(true), realm.of_connection(false)), (realm, untracked));
        assert_eq!(realm.vlans, Vlans { count: 1, outer: 0, inner: 10 });
    }
}
