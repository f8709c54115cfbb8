//! Reads packets and their metadata from the contexts of the program types.

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, xdp_md},
    helpers::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
};
use core::ffi::c_void;
use sniffer_common::{direction, ethertype, hook, length};

/// The properties of a packet that a record needs.
pub trait Packet: EbpfContext {
    /// One of [`hook`].
    const HOOK: u8;
    /// Length of the frame in bytes, including fragments of a nonlinear packet.
    fn len(&self) -> u32;
    fn ifindex(&self) -> u32;
    /// TPID and TCI of the VLAN tag in the metadata.
    fn tag(&self) -> Option<(u16, u16)>;
    /// For a packet that the kernel merged or has not yet split (GRO, GSO): the number of packets on the wire, and the
    /// payload bytes of each of them. 0 if the kernel does not know the number.
    fn segments(&self) -> (u16, u16);
    /// Whether the frame begins with an IP header and not with an Ethernet header. `None` if both are possible. The value is used when all
    /// interfaces are captured (`any`).
    fn begins_with_ip(&self) -> Option<bool> {
        None
    }
    /// Copies the first `len` bytes of the frame, including fragments of a nonlinear packet.
    ///
    /// # Safety
    /// `to` must have room for `len` bytes.
    unsafe fn copy(&self, to: *mut u8, len: u64) -> Result<(), ()>;
}

pub struct Xdp(pub *mut xdp_md);

impl EbpfContext for Xdp {
    fn as_ptr(&self) -> *mut c_void {
        self.0.cast()
    }
}

impl Packet for Xdp {
    const HOOK: u8 = hook::XDP;

    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the kernel calls XDP programs with a valid `xdp_md`, and only their entry functions make this type.
        unsafe { bpf_xdp_get_buff_len(self.0) as u32 }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the kernel calls XDP programs with a valid `xdp_md`, and only their entry functions make this type.
        unsafe { (*self.0).ingress_ifindex }
    }

    #[inline(always)]
    fn tag(&self) -> Option<(u16, u16)> {
        None
    }

    #[inline(always)]
    fn segments(&self) -> (u16, u16) {
        (1, 0)
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, len: u64) -> Result<(), ()> {
        // SAFETY: the caller guarantees that `to` has room for `len` bytes, and the verifier checks it.
        if unsafe { bpf_xdp_load_bytes(self.0, 0, to.cast(), len as u32) } == 0 { Ok(()) } else { Err(()) }
    }
}

/// A packet on TC or on a packet socket.
pub struct Skb<const HOOK: u8>(*mut __sk_buff);

impl<const HOOK: u8> Skb<HOOK> {
    #[inline(always)]
    pub fn new(ctx: &impl EbpfContext) -> Self {
        Self(ctx.as_ptr().cast())
    }
}

pub type Tc = Skb<{ hook::TC }>;
pub type Socket = Skb<{ hook::SOCKET }>;

impl<const HOOK: u8> EbpfContext for Skb<HOOK> {
    fn as_ptr(&self) -> *mut c_void {
        self.0.cast()
    }
}

impl<const HOOK: u8> Packet for Skb<HOOK> {
    const HOOK: u8 = HOOK;

    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the kernel calls programs of these types with a valid `__sk_buff`, and only their entry functions make this type.
        unsafe { (*self.0).len }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid, see `len`.
        unsafe { (*self.0).ifindex }
    }

    #[inline(always)]
    fn tag(&self) -> Option<(u16, u16)> {
        // SAFETY: the context is valid, see `len`.
        unsafe {
            if (*self.0).vlan_present == 0 {
                return None;
            }
            Some((u16::from_be((*self.0).vlan_proto as u16), (*self.0).vlan_tci as u16))
        }
    }

    #[inline(always)]
    fn segments(&self) -> (u16, u16) {
        // SAFETY: the context is valid, see `len`. Both fields are 16 bits wide in the kernel, so no bits are lost.
        unsafe { ((*self.0).gso_segs as u16, (*self.0).gso_size as u16) }
    }

    #[inline(always)]
    fn begins_with_ip(&self) -> Option<bool> {
        if HOOK != hook::SOCKET {
            return None;
        }
        let mut header = [0u8; length::ETHERNET];
        // SAFETY: the array has the length that is passed, and the context is valid, see `len`.
        if unsafe { bpf_skb_load_bytes(self.0.cast(), 0, header.as_mut_ptr().cast(), length::ETHERNET as u32) } != 0 {
            return None;
        }
        // SAFETY: the context is valid, see `len`. The kernel sets the EtherType also for packets without an Ethernet header.
        let ethertype = u16::from_be(unsafe { (*self.0).protocol } as u16);
        match (header[0] >> 4, ethertype) {
            (4, ethertype::IPV4) | (6, ethertype::IPV6) if u16::from_be_bytes([header[12], header[13]]) == ethertype => None,
            (4, ethertype::IPV4) | (6, ethertype::IPV6) => Some(true),
            _ => Some(false),
        }
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, len: u64) -> Result<(), ()> {
        // SAFETY: the caller guarantees that `to` has room for `len` bytes, and the verifier checks it.
        if unsafe { bpf_skb_load_bytes(self.0.cast(), 0, to.cast(), len as u32) } == 0 { Ok(()) } else { Err(()) }
    }
}

impl Socket {
    /// The direction of a packet on a packet socket.
    #[inline(always)]
    pub fn direction(&self) -> u8 {
        const PACKET_OUTGOING: u32 = 4;
        // SAFETY: the context is valid, see `len`.
        if unsafe { (*self.0).pkt_type } == PACKET_OUTGOING { direction::EGRESS } else { direction::INGRESS }
    }
}
