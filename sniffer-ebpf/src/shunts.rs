//! Decides which segments are not copied because no parser needs them. These segments are counted like all others.

use crate::{
    head::{self, Work},
    maps::{SHUNTED, SHUNTS, TRACK_VLANS, WORK},
    parse::{ACK, FIN, RST, SYN, TCP_KNOWN},
};
use sniffer_common::{
    protocol,
    shunt::{Effect, IDLE_NS, Range, range},
};

/// Whether there are any shunts. If there are none, no packet has to be examined for them.
#[inline(always)]
pub fn exist() -> bool {
    // SAFETY: the map returned the pointer to an aligned value of an array map, which exists as long as the program. The read is volatile,
    // because user space changes the value at any time.
    SHUNTED.get_ptr(0).is_some_and(|shunted| unsafe { shunted.read_volatile() } != 0)
}

/// Whether the packet in [`Work::parsed`], which was seen at `time`, is not copied. Returns 1 or 0. The verifier checks a
/// global function once, not at each call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_shunted(time: u64) -> u32 {
    let Some(work) = WORK.get_ptr_mut(0) else { return 0 };
    u32::from(decide(work, time))
}

#[inline(always)]
fn decide(work: *mut Work, time: u64) -> bool {
    let head = head::view(work);
    // SAFETY: `work` points to the value of this CPU in the per-CPU array `WORK`. No other program uses the value meanwhile, see
    // [`crate::head::load`].
    let (parsed, key) = unsafe { (&(*work).parsed, &mut (*work).shunt) };
    if parsed.key.transport != protocol::TCP || parsed.tcp_flags & TCP_KNOWN == 0 {
        return false;
    }
    let of = &parsed.key;
    (key.addresses, key.ports, key.version) = (of.addresses, of.ports, of.version.into());
    (key.vlans, key.vlan_count) = if TRACK_VLANS.load() != 0 { (of.vlans, of.vlan_count.into()) } else { ([0; 2], 0) };
    let Some(shunt) = SHUNTS.get_ptr_mut(&*key) else { return false };
    // SAFETY: the map returned the pointer, and its memory stays valid until the program ends (RCU). Other CPUs and user space change the
    // value, too; after a race between two segments an open range has the position of one of them.
    unsafe {
        // A SYN opens another connection. An entry that has been idle for [`IDLE_NS`] may belong to an earlier connection.
        if parsed.tcp_flags & (SYN | ACK) == SYN || time.saturating_sub((*shunt).last) > IDLE_NS {
            (*shunt).ranges[0].kind = range::NONE;
            (*shunt).ranges[1].kind = range::NONE;
            return false;
        }
        if parsed.tcp_flags & (SYN | FIN | RST) != 0 {
            return false;
        }
        let range: *mut Range = if parsed.side == 0 { &raw mut (*shunt).ranges[0] } else { &raw mut (*shunt).ranges[1] };
        let data = parsed.payload.saturating_sub((head.byte(parsed.transport_at + 12) >> 4) * 4);
        match (*range).effect(u32::from_be(parsed.sequence), data) {
            Effect::Copy => false,
            Effect::Over => {
                (*range).kind = range::NONE;
                false
            }
            Effect::Pass(position) => {
                (*range).from = position;
                (*shunt).last = time;
                true
            }
        }
    }
}
