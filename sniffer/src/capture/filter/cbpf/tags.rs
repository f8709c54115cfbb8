//! Extends a program to frames with VLAN tags by repeating it with other offsets. The same can be written as an expression,
//! but libpcap's optimiser takes minutes for long lists that are repeated.

use super::{Instruction, MAX_INSTRUCTIONS, Program};
use aya_obj::generated::{BPF_ABS, BPF_H, BPF_IND, BPF_JA, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_MSH};

/// The EtherTypes of VLAN tags: 802.1Q, 802.1ad, and the one in use before 802.1ad.
const TAGS: [u32; 3] = [0x8100, 0x88a8, 0x9100];
/// Offset of the EtherType, and of the first tag if there is one.
const ETHERTYPE: u32 = 12;
const TAG: u32 = 4;
/// Instructions before the first copy of the program.
const PROLOGUE: usize = 11;

impl Program {
    /// The program that matches a frame with up to two VLAN tags if this one matches it without them. This program must have
    /// been made for Ethernet, and must not compute offsets in the link header. `None` if the result is too long for the
    /// kernel.
    pub fn behind_tags(&self) -> Option<Self> {
        let len = self.raw.len();
        if PROLOGUE + 3 * len > MAX_INSTRUCTIONS || self.user_space.is_some() {
            return None;
        }
        let instruction = |code: u32, jt: u8, k: u32| Instruction { code: code as u16, jt, jf: 0, k };
        let jump = |at: usize, to: usize| instruction(BPF_JMP | BPF_JA, 0, (to - at - 1) as u32);
        let copy = |number: usize| PROLOGUE + number * len;
        let mut raw = Vec::with_capacity(copy(3));
        for (depth, offset) in [ETHERTYPE, ETHERTYPE + TAG].into_iter().enumerate() {
            raw.push(instruction(BPF_LD | BPF_H | BPF_ABS, 0, offset));
            // A tag leads over the jump to the copy for this depth.
            raw.extend([3, 2, 1].into_iter().zip(TAGS).map(|(over, tag)| instruction(BPF_JMP | BPF_JEQ | BPF_K, over, tag)));
            raw.push(jump(raw.len(), copy(depth)));
        }
        raw.push(jump(raw.len(), copy(2)));
        for depth in 0..3 {
            raw.extend(self.raw.iter().map(|instruction| shifted(*instruction, depth * TAG)));
        }
        Self::new(raw).ok()
    }
}

/// The instruction with offsets behind the MAC addresses increased by `by`.
fn shifted(instruction: Instruction, by: u32) -> Instruction {
    /// `BPF_CLASS` and `BPF_MODE` of an instruction code.
    const CLASS: u32 = 0x07;
    const MODE: u32 = 0xe0;
    /// Offsets from here on are metadata, not positions in the frame.
    const EXTENSIONS: u32 = 0xffe0_0000;
    let code = u32::from(instruction.code);
    let reads = match code & CLASS {
        BPF_LD => matches!(code & MODE, BPF_ABS | BPF_IND),
        BPF_LDX => code & MODE == BPF_MSH,
        _ => false,
    };
    if reads && (ETHERTYPE..EXTENSIONS).contains(&instruction.k) {
        Instruction { k: instruction.k + by, ..instruction }
    } else {
        instruction
    }
}
