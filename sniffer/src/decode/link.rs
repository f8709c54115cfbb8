//! From a frame's first byte to its network protocol: Ethernet II, Linux cooked captures, BSD loopback, raw IP, VLAN tags.
//!
//! <https://www.tcpdump.org/linktypes.html>, IEEE 802.3, 802.1Q, 802.1ad. MPLS, PPPoE and 802.3 length frames are not looked into.

use super::{Macs, Undecoded};
use crate::{
    capture::{Frame, Link},
    net::Vlans,
};
use etherparse::{Ethernet2HeaderSlice, SingleVlanHeaderSlice};

/// More tags than any network has; what lies behind them is not looked for.
const MAX_TAGS: usize = 16;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and what came before the latter.
const ETHERTYPES_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// What follows the link header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// An IP header of this version should follow.
    Ip(u8),
    /// Something that is not looked into.
    Other,
}

/// What the link header said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linked<'a> {
    pub macs: Option<Macs<'a>>,
    pub vlans: Vlans,
    pub network: Network,
    /// Bytes of `Frame::data` before the network header.
    pub header_len: usize,
}

/// Reads link header and VLAN tags.
#[inline]
pub(super) fn decode<'a>(frame: &Frame<'a>) -> Result<Linked<'a>, Undecoded> {
    let data = frame.data;
    let mut linked = Linked { macs: None, vlans: Vlans::default(), network: Network::Other, header_len: 0 };
    if let Some(tag) = frame.tag {
        linked.vlans.push(tag.tci);
    }
    let ethertype = match frame.link {
        Link::Ethernet => {
            let header = Ethernet2HeaderSlice::from_slice(data).map_err(|_| Undecoded::LinkTruncated)?;
            linked.macs = data.first_chunk().map(Macs);
            linked.header_len = 14;
            header.ether_type().0
        }
        Link::LinuxSll => {
            linked.header_len = 16;
            two_bytes(data, 14)?
        }
        Link::LinuxSll2 => {
            linked.header_len = 20;
            if data.len() < linked.header_len {
                return Err(Undecoded::LinkTruncated);
            }
            two_bytes(data, 0)?
        }
        Link::RawIp => {
            linked.network = version(data)?;
            return Ok(linked);
        }
        Link::Null => {
            linked.header_len = 4;
            linked.network = family(data)?;
            return Ok(linked);
        }
    };
    follow_tags(data, ethertype, &mut linked)?;
    Ok(linked)
}

#[inline]
fn follow_tags(data: &[u8], mut ethertype: u16, linked: &mut Linked<'_>) -> Result<(), Undecoded> {
    for _ in 0..=MAX_TAGS {
        match ethertype {
            ETHERTYPE_IPV4 => {
                linked.network = Network::Ip(4);
                return Ok(());
            }
            ETHERTYPE_IPV6 => {
                linked.network = Network::Ip(6);
                return Ok(());
            }
            _ if ETHERTYPES_VLAN.contains(&ethertype) => {
                let rest = data.get(linked.header_len..).unwrap_or_default();
                let tag = SingleVlanHeaderSlice::from_slice(rest).map_err(|_| Undecoded::LinkTruncated)?;
                linked.vlans.push(tag.vlan_identifier().value());
                linked.header_len += 4;
                ethertype = tag.ether_type().0;
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Raw IP says its version itself.
fn version(data: &[u8]) -> Result<Network, Undecoded> {
    match data.first().ok_or(Undecoded::IpTruncated)? >> 4 {
        version @ (4 | 6) => Ok(Network::Ip(version)),
        _ => Ok(Network::Other),
    }
}

/// An address family of the machine that captured: its byte order, and its number for IPv6.
fn family(data: &[u8]) -> Result<Network, Undecoded> {
    let bytes = *data.first_chunk().ok_or(Undecoded::LinkTruncated)?;
    let little = u32::from_le_bytes(bytes);
    // Families are small numbers: in the wrong order they are not.
    let family = if little > 0xffff { u32::from_be_bytes(bytes) } else { little };
    Ok(match family {
        2 => Network::Ip(4),
        10 | 24 | 28 | 30 => Network::Ip(6), // Linux, NetBSD and OpenBSD, FreeBSD, macOS
        _ => Network::Other,
    })
}

#[inline]
fn two_bytes(data: &[u8], at: usize) -> Result<u16, Undecoded> {
    data.get(at..).and_then(|d| d.first_chunk()).map(|b| u16::from_be_bytes(*b)).ok_or(Undecoded::LinkTruncated)
}
