//! Conversion between [`Link`] and the link-type numbers of capture files and libpcap
//! (<https://www.tcpdump.org/linktypes.html>).

use super::Link;

/// The link of a `LINKTYPE_` or `DLT_` number; `None` for link types that are not supported.
///
/// Raw IP has three numbers: files should have 101, but some programs write the `DLT_RAW` of their own system, which is 12 or 14.
pub fn from_number(number: u32) -> Option<Link> {
    Some(match number {
        1 => Link::Ethernet,
        12 | 14 | 101 | 228 | 229 => Link::RawIp,
        113 => Link::LinuxSll,
        276 => Link::LinuxSll2,
        0 | 108 => Link::Null,
        _ => return None,
    })
}

/// The header that frames of a device begin with, by the `ARPHRD_` number of its hardware (`linux/if_arp.h`).
pub fn of_hardware(hardware: u16) -> Link {
    if matches!(hardware, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK) { Link::Ethernet } else { Link::RawIp }
}

/// The `LINKTYPE_` number that capture files use for `link`.
pub fn number(link: Link) -> u32 {
    match link {
        Link::Ethernet => 1,
        Link::RawIp => 101,
        Link::LinuxSll => 113,
        Link::LinuxSll2 => 276,
        Link::Null => 0,
    }
}

/// The message for the user about a link-type number that [`from_number`] does not support.
pub fn unsupported(number: u32) -> String {
    format!(
        "link type {number} is not supported; it may be Ethernet (1), raw IP (101, 12, 14, 228, 229), Linux cooked (113, 276) or BSD loopback (0, 108)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_links_convert_both_ways() {
        for link in [Link::Ethernet, Link::RawIp, Link::LinuxSll, Link::LinuxSll2, Link::Null] {
            assert_eq!(from_number(number(link)), Some(link));
        }
        assert_eq!(from_number(105), None, "802.11");
    }
}
