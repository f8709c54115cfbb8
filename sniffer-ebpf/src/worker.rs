//! Chooses the worker of a packet by a hash of the addresses in its innermost IP header. Both directions of a flow, its
//! fragments, and ICMP errors about its packets have the same hash and so reach the same worker. Of a fragmented tunnel
//! packet the outer IP header is hashed, because only the first fragment contains the inner header.

use crate::{
    head::{self, IP_AT, View},
    maps::{WORK, WORKERS},
};
use sniffer_common::{ethertype, length, limit, link, protocol};

/// The worker of the packet whose head [`head::load`] copied.
#[inline(always)]
pub fn choose() -> u32 {
    let workers = WORKERS.load();
    if workers <= 1 { 0 } else { ((u64::from(hash_addresses()) * u64::from(workers)) >> 32) as u32 }
}

/// The address hash of the packet whose head [`head::load`] copied. The function is global and not inlined, so that the
/// verifier checks it once and not at each call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn hash_addresses() -> u32 {
    let Some(work) = WORK.get_ptr(0) else { return 0 };
    // SAFETY: `work` points to the value of this CPU in the per-CPU array `WORK`, which exists as long as the program.
    address_hash(head::view(work), unsafe { (*work).link } as u8)
}

/// The finalizer of MurmurHash3, by which every bit of an address affects every bit of the hash. Hosts that differ only in the last byte
/// therefore reach different workers.
#[inline(always)]
fn mix(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ h >> 16
}

/// The hash of the IPv6 address at offset `at`.
#[inline(always)]
fn hash_ipv6(head: View, at: u32) -> u32 {
    let a = head.word(at) ^ head.word(at + 4).rotate_left(8);
    mix(a ^ head.word(at + 8).rotate_left(16) ^ head.word(at + 12).wrapping_mul(0x9e37_79b1))
}

/// The hash of the innermost addresses that the limits allow to reach; 0 without an IP header.
#[inline(always)]
fn address_hash(head: View, link: u8) -> u32 {
    let mut at = IP_AT;
    if link != link::RAW_IP {
        let mut next = head.be16(at - 2);
        for _ in 0..limit::KERNEL_VLAN_TAGS {
            if !ethertype::is_vlan(next as u16) {
                break;
            }
            next = head.be16(at + 2);
            at += length::VLAN as u32;
        }
        if !matches!(next as u16, ethertype::IPV4 | ethertype::IPV6) {
            return 0;
        }
    }
    let mut hash = 0;
    for _ in 0..limit::KERNEL_IP_HEADERS {
        let Some((level, inner)) = ip_header(head, at) else { break };
        // The combined hash is mixed once more, because the combined hashes of two addresses alone are distributed unevenly and leave
        // workers idle.
        hash = mix(level);
        let Some(next) = inner else { break };
        at = next;
    }
    hash
}

/// Returns the hash of the addresses in the IP header at offset `at`, and the offset of the next IP header: that of the packet in a tunnel,
/// or of the packet that an ICMP error quotes.
#[inline(always)]
fn ip_header(head: View, at: u32) -> Option<(u32, Option<u32>)> {
    match head.byte(at) >> 4 {
        4 if at + length::IPV4 as u32 <= head.end => {
            let hash = mix(head.word(at + 12)) ^ mix(head.word(at + 16));
            let inside = at + (head.byte(at) & 15) * 4;
            let fragment = head.be16(at + 6) & 0x3fff != 0;
            let inner = match head.byte(at + 9) as u8 {
                _ if fragment => None,
                protocol::IPV4 | protocol::IPV6 => Some(inside),
                // ICMP errors: destination unreachable, source quench, redirect, time exceeded, parameter problem. The
                // header of 8 bytes is followed by the packet that caused the error.
                protocol::ICMP if matches!(head.byte(inside), 3 | 4 | 5 | 11 | 12) && inside < head.end => {
                    Some(inside + length::ICMP_ERROR as u32)
                }
                _ => None,
            };
            Some((hash, inner))
        }
        6 if at + length::IPV6 as u32 <= head.end => {
            let hash = hash_ipv6(head, at + 8) ^ hash_ipv6(head, at + 24);
            let (mut next, mut inside) = (head.byte(at + 6) as u8, at + length::IPV6 as u32);
            for _ in 0..limit::KERNEL_IPV6_EXTENSIONS {
                if !matches!(next, protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS) {
                    break;
                }
                next = head.byte(inside) as u8;
                inside = (inside + (head.byte(inside + 1) + 1) * 8) & 0xffff;
            }
            let inner = match next {
                protocol::IPV4 | protocol::IPV6 => Some(inside),
                // ICMPv6 errors have types below 128. They quote the packet after a header of 8 bytes, like ICMP errors.
                protocol::ICMP6 if head.byte(inside) < 128 && inside < head.end => Some(inside + length::ICMP_ERROR as u32),
                _ => None,
            };
            Some((hash, inner))
        }
        _ => None,
    }
}
