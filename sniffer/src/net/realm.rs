//! Where a packet comes from when addresses alone do not say it: the VLAN ids and tunnel keys that it came through.

/// VLAN ids (12 bits), of which the last two are kept.
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
    /// Adds the next tag, going inwards.
    #[inline]
    pub fn push(&mut self, tci: u16) {
        self.count = self.count.saturating_add(1);
        self.outer = self.inner;
        self.inner = tci & 0x0fff;
    }
}

/// Whose network a tunnel header says that the packets in it belong to: the kind of tunnel and its key. 0 where there is no tunnel, or one
/// without a key (IP in IP).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TunnelKey(pub u64);

/// The tunnel keys and VLAN ids that a packet came through. The default for plain traffic.
///
/// Tunnel keys are part of the key of connections, fragments, pending datagrams and flows; VLAN ids of fragments and flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Realm {
    /// The keys of the tunnels that have one, outermost first; of more than two the last two are kept.
    pub tunnels: [TunnelKey; 2],
    /// The VLAN tags.
    pub vlans: Vlans,
}
