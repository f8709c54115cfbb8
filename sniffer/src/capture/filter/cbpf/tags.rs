//! Extends a program to frames with VLAN tags by repeating the program with other offsets. An expression could say the same, but libpcap's
//! optimiser takes minutes for long lists that are repeated.

use super::{Key, LoadFrom, MAX_INSTRUCTIONS, Op, Operand, Program, Register, Test};

/// The EtherTypes of VLAN tags: 802.1Q, 802.1ad, and the one in use before 802.1ad.
const TAGS: [u32; 3] = [0x8100, 0x88a8, 0x9100];
/// Offset of the EtherType, which is also the offset of the first tag if there is one.
const ETHERTYPE: u32 = 12;
const TAG: u32 = 4;
/// Offsets from this value on are negative numbers, which are added to X.
const NEGATIVE: u32 = 0xffe0_0000;
/// Instructions before the first copy of the program: for each of two tags the load of the EtherType and the comparisons.
const PROLOGUE: usize = 2 * (1 + TAGS.len());

impl Program {
    /// The program that matches a frame with up to two VLAN tags if this program matches the frame without its tags.
    /// This program must have been made for Ethernet, and must not compute offsets in the link header. `None` if the
    /// result is too long for the kernel.
    pub fn behind_tags(&self) -> Option<Self> {
        let len = self.ops.len();
        if PROLOGUE + 3 * len > MAX_INSTRUCTIONS || self.user_space.is_some() {
            return None;
        }
        let copy = |number: usize| PROLOGUE + number * len;
        let mut ops = Vec::with_capacity(copy(3));
        for (depth, offset) in [ETHERTYPE, ETHERTYPE + TAG].into_iter().enumerate() {
            ops.push(Op::Load { to: Register::A, from: LoadFrom::At { offset, size: 2 } });
            let tagged = if depth == 0 { PROLOGUE / 2 } else { copy(2) };
            for (n, tag) in TAGS.into_iter().enumerate() {
                let no = if n + 1 < TAGS.len() { ops.len() + 1 } else { copy(depth) };
                ops.push(Op::Branch { test: Test::Equal, with: Operand::K(tag), yes: tagged, no });
            }
        }
        for (depth, number) in (0..3).zip(0..) {
            ops.extend(self.ops.iter().map(|op| moved(*op, copy(number), depth * TAG)));
        }
        Some(Self::of(ops, self.sets.clone()))
    }
}

/// The instruction in a copy of the program that begins at `start`, with offsets behind the MAC addresses increased by `by`.
fn moved(op: Op, start: usize, by: u32) -> Op {
    let behind = |offset: u32| if (ETHERTYPE..NEGATIVE).contains(&offset) { offset + by } else { offset };
    match op {
        Op::Load { to, from } => {
            let from = match from {
                LoadFrom::At { offset, size } => LoadFrom::At { offset: behind(offset), size },
                LoadFrom::AtX { offset, size } => LoadFrom::AtX { offset: behind(offset), size },
                LoadFrom::HeaderLength { offset } => LoadFrom::HeaderLength { offset: behind(offset) },
                other => other,
            };
            Op::Load { to, from }
        }
        Op::Jump { to } => Op::Jump { to: start + to },
        Op::Branch { test, with, yes, no } => Op::Branch { test, with, yes: start + yes, no: start + no },
        Op::Member { key, set, yes, no } => {
            let key = if let Key::Ipv6At(offset) = key { Key::Ipv6At(behind(offset)) } else { key };
            Op::Member { key, set, yes: start + yes, no: start + no }
        }
        other => other,
    }
}
