//! Chooses the worker of a packet by a hash of its innermost address pair. The hash is the same for both directions, so
//! fragments and ICMP errors reach the worker of their flow. A fragment is hashed by the addresses of its own IP
//! header, because only the first fragment contains the headers inside.

use crate::maps::{Scratch, WORKERS};
use sniffer_common::{ethertype, length, limit, link, protocol};

/// The worker of the frame in the first `len` bytes of `scratch.data`.
#[inline(always)]
pub fn of(scratch: &Scratch, len: u32, link: u8) -> u32 {
    let workers = WORKERS.load();
    if workers <= 1 { 0 } else { ((u64::from(address_hash(scratch, len, link)) * u64::from(workers)) >> 32) as u32 }
}

/// Offsets are masked to 16 bits, so that the verifier knows that reads stay inside `data` and `tail`. Bytes at `len`
/// and beyond are from an earlier frame.
#[inline(always)]
fn byte(scratch: &Scratch, at: u32) -> u32 {
    // SAFETY: `data` has 65,536 bytes.
    unsafe { u32::from(*scratch.data.as_ptr().add((at & 0xffff) as usize)) }
}

#[inline(always)]
fn be16(scratch: &Scratch, at: u32) -> u32 {
    byte(scratch, at) << 8 | byte(scratch, at + 1)
}

#[inline(always)]
fn word(scratch: &Scratch, at: u32) -> u32 {
    // SAFETY: `data` has 65,536 bytes, and `tail` follows it.
    unsafe { scratch.data.as_ptr().add((at & 0xffff) as usize).cast::<u32>().read_unaligned() }
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
fn words4(scratch: &Scratch, at: u32) -> u32 {
    let a = word(scratch, at) ^ word(scratch, at + 4).rotate_left(8);
    mix(a ^ word(scratch, at + 8).rotate_left(16) ^ word(scratch, at + 12).wrapping_mul(0x9e37_79b1))
}

#[inline(always)]
fn address_hash(scratch: &Scratch, len: u32, link: u8) -> u32 {
    let mut at = 0;
    if link != link::RAW_IP {
        at = length::ETHERNET as u32;
        let mut next = be16(scratch, at - 2);
        for _ in 0..limit::KERNEL_VLAN_TAGS {
            if !ethertype::is_vlan(next as u16) {
                break;
            }
            next = be16(scratch, at + 2);
            at += length::VLAN as u32;
        }
        if !matches!(next as u16, ethertype::IPV4 | ethertype::IPV6) {
            return 0;
        }
    }
    let mut hash = 0;
    for _ in 0..limit::KERNEL_IP_HEADERS {
        let Some((level, inner)) = ip(scratch, len, at) else { break };
        // Mix again: the low bits of the combined hash of two addresses alone would leave workers idle.
        hash = mix(level);
        let Some(next) = inner else { break };
        at = next;
    }
    hash
}

/// The hash of the addresses in the IP header at `at`, and the offset of the IP header inside it, if there is one.
#[inline(always)]
fn ip(scratch: &Scratch, len: u32, at: u32) -> Option<(u32, Option<u32>)> {
    match byte(scratch, at) >> 4 {
        4 if at + length::IPV4 as u32 <= len => {
            let hash = mix(word(scratch, at + 12)) ^ mix(word(scratch, at + 16));
            let inside = at + (byte(scratch, at) & 15) * 4;
            let fragment = be16(scratch, at + 6) & 0x3fff != 0;
            let inner = match byte(scratch, at + 9) as u8 {
                _ if fragment => None,
                protocol::IPV4 | protocol::IPV6 => Some(inside),
                // The ICMP errors (destination unreachable, source quench, redirect, time exceeded, parameter problem):
                // 8 bytes, then the packet that caused the error.
                protocol::ICMP if matches!(byte(scratch, inside), 3 | 4 | 5 | 11 | 12) && inside < len => {
                    Some(inside + length::ICMP_ERROR as u32)
                }
                _ => None,
            };
            Some((hash, inner))
        }
        6 if at + length::IPV6 as u32 <= len => {
            let hash = words4(scratch, at + 8) ^ words4(scratch, at + 24);
            let (mut next, mut inside) = (byte(scratch, at + 6) as u8, at + length::IPV6 as u32);
            for _ in 0..limit::KERNEL_IPV6_EXTENSIONS {
                if !matches!(next, protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS) {
                    break;
                }
                next = byte(scratch, inside) as u8;
                inside = (inside + (byte(scratch, inside + 1) + 1) * 8) & 0xffff;
            }
            let inner = match next {
                protocol::IPV4 | protocol::IPV6 => Some(inside),
                // ICMPv6 errors have types below 128.
                protocol::ICMP6 if byte(scratch, inside) < 128 && inside < len => Some(inside + length::ICMP_ERROR as u32),
                _ => None,
            };
            Some((hash, inner))
        }
        _ => None,
    }
}
