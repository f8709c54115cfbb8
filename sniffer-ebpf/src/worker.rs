//! Chooses the worker of a packet by a hash of its innermost address pair. The hash is the same for both directions, so
//! fragments and ICMP errors reach the worker of their flow. A fragment is hashed by the addresses of its own IP
//! header, because only the first fragment contains the headers inside.

use crate::{
    head::{self, IP_AT, View},
    maps::{WORK, WORKERS},
};
use sniffer_common::{ethertype, length, limit, link, protocol};

/// The worker of the frame whose head was loaded.
#[inline(always)]
pub fn choose() -> u32 {
    let workers = WORKERS.load();
    if workers <= 1 { 0 } else { ((u64::from(hash_addresses()) * u64::from(workers)) >> 32) as u32 }
}

/// The hash of the frame whose head was loaded. The verifier checks a global function once, not at each call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn hash_addresses() -> u32 {
    let Some(work) = WORK.get_ptr(0) else { return 0 };
    // SAFETY: the work of this CPU.
    address_hash(head::view(work), unsafe { (*work).link } as u8)
}

/// The finalizer of murmur3: every bit of an address affects the hash, also if hosts differ only in the last byte.
#[inline(always)]
fn mix(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ h >> 16
}

#[inline(always)]
fn words4(head: View, at: u32) -> u32 {
    let a = head.word(at) ^ head.word(at + 4).rotate_left(8);
    mix(a ^ head.word(at + 8).rotate_left(16) ^ head.word(at + 12).wrapping_mul(0x9e37_79b1))
}

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
        let Some((level, inner)) = ip(head, at) else { break };
        // Mix again: the low bits of the combined hash of two addresses alone would leave workers idle.
        hash = mix(level);
        let Some(next) = inner else { break };
        at = next;
    }
    hash
}

/// The hash of the addresses in the IP header at `at`, and the offset of the IP header inside it, if there is one.
#[inline(always)]
fn ip(head: View, at: u32) -> Option<(u32, Option<u32>)> {
    match head.byte(at) >> 4 {
        4 if at + length::IPV4 as u32 <= head.end => {
            let hash = mix(head.word(at + 12)) ^ mix(head.word(at + 16));
            let inside = at + (head.byte(at) & 15) * 4;
            let fragment = head.be16(at + 6) & 0x3fff != 0;
            let inner = match head.byte(at + 9) as u8 {
                _ if fragment => None,
                protocol::IPV4 | protocol::IPV6 => Some(inside),
                // The ICMP errors (destination unreachable, source quench, redirect, time exceeded, parameter problem):
                // 8 bytes, then the packet that caused the error.
                protocol::ICMP if matches!(head.byte(inside), 3 | 4 | 5 | 11 | 12) && inside < head.end => {
                    Some(inside + length::ICMP_ERROR as u32)
                }
                _ => None,
            };
            Some((hash, inner))
        }
        6 if at + length::IPV6 as u32 <= head.end => {
            let hash = words4(head, at + 8) ^ words4(head, at + 24);
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
                // ICMPv6 errors have types below 128.
                protocol::ICMP6 if head.byte(inside) < 128 && inside < head.end => Some(inside + length::ICMP_ERROR as u32),
                _ => None,
            };
            Some((hash, inner))
        }
        _ => None,
    }
}
