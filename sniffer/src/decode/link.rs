//! Decodes link headers: Ethernet II and VLAN tags, which can occur anywhere in a packet, and the headers that occur
//! only at the start of a frame (Linux cooked captures, BSD loopback, raw IP).
//!
//! <https://www.tcpdump.org/linktypes.html>, IEEE 802.3, 802.1Q, 802.1ad. Payloads of MPLS, PPPoE and 802.3 length
//! frames are not decoded.

use super::{
    Macs, Undecoded,
    next::{Next, Remaining},
};
use crate::{capture::Link, net::Vlans};
use etherparse::{Ethernet2HeaderSlice, SingleVlanHeaderSlice};
use sniffer_common::length;

/// Skips a header that occurs only at the start of a frame, and returns the next header.
#[inline]
pub(super) fn first(link: Link, rest: &mut Remaining<'_>) -> Result<Next, Undecoded> {
    match link {
        Link::Ethernet => Ok(Next::Ethernet),
        Link::LinuxSll => cooked(rest, 14, length::LINUX_SLL),
        Link::LinuxSll2 => cooked(rest, 0, length::LINUX_SLL2),
        Link::RawIp => by_version(rest.data),
        Link::Null => by_family(rest),
    }
}

/// Decodes an Ethernet II header. The addresses of the outermost Ethernet header are kept.
#[inline]
pub(super) fn ethernet<'a>(rest: &mut Remaining<'a>, macs: &mut Option<Macs<'a>>) -> Result<Next, Undecoded> {
    let header = Ethernet2HeaderSlice::from_slice(rest.data).map_err(|_| Undecoded::LinkTruncated)?;
    if macs.is_none() {
        *macs = rest.data.first_chunk().map(Macs);
    }
    let next = Next::of_ethertype(header.ether_type().0);
    rest.skip(length::ETHERNET);
    Ok(next)
}

/// Decodes the part of a VLAN tag after its EtherType.
#[inline]
pub(super) fn vlan(rest: &mut Remaining<'_>, vlans: &mut Vlans) -> Result<Next, Undecoded> {
    let tag = SingleVlanHeaderSlice::from_slice(rest.data).map_err(|_| Undecoded::LinkTruncated)?;
    vlans.push(tag.vlan_identifier().value());
    let next = Next::of_ethertype(tag.ether_type().0);
    rest.skip(length::VLAN);
    Ok(next)
}

/// Decodes a Linux cooked header of `length` bytes with the EtherType at offset `at`.
fn cooked(rest: &mut Remaining<'_>, at: usize, length: usize) -> Result<Next, Undecoded> {
    let header = rest.data.get(..length).ok_or(Undecoded::LinkTruncated)?;
    let number = header.get(at..).and_then(|d| d.first_chunk()).ok_or(Undecoded::LinkTruncated)?;
    rest.skip(length);
    Ok(Next::of_ethertype(u16::from_be_bytes(*number)))
}

/// The first header of a frame without a link header, determined by the version field of the IP header.
fn by_version(data: &[u8]) -> Result<Next, Undecoded> {
    Ok(match data.first().ok_or(Undecoded::IpTruncated)? >> 4 {
        4 => Next::Ipv4,
        6 => Next::Ipv6,
        _ => Next::Unknown,
    })
}

/// Decodes the BSD loopback header: an address family in the byte order of the capturing machine. The number for IPv6
/// depends on its operating system.
fn by_family(rest: &mut Remaining<'_>) -> Result<Next, Undecoded> {
    let bytes = *rest.data.first_chunk().ok_or(Undecoded::LinkTruncated)?;
    rest.skip(length::NULL);
    let little = u32::from_le_bytes(bytes);
    // Families are small numbers. A family that is read in the wrong byte order is a large number.
    let family = if little > 0xffff { u32::from_be_bytes(bytes) } else { little };
    Ok(match family {
        2 => Next::Ipv4,
        10 | 24 | 28 | 30 => Next::Ipv6, // Linux, NetBSD and OpenBSD, FreeBSD, macOS
        _ => Next::Unknown,
    })
}
