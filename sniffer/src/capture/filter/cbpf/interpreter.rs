//! Runs a classic BPF program on a frame. A VLAN tag in the metadata is read as if it were in the frame.

use super::{Alu, Key, LoadFrom, MEMORY, Op, Operand, Program, Register, ReturnValue, Test};
use crate::capture::StrippedTag;

/// Steps that a program with loops may take in addition to the number of its instructions. `protochain` needs some twenty steps for each
/// extension header, and a packet has few extension headers.
const MAX_STEPS: usize = 4096;

impl Program {
    /// Whether the program matches the frame. `wire_len` is in bytes. The program sees `tag` as if it were in `data`.
    pub fn matches(&self, data: &[u8], wire_len: u32, tag: Option<StrippedTag>) -> bool {
        self.run(View { data, wire_len, tag }).unwrap_or(0) != 0
    }

    /// The return value of the program; `None` if a load outside the frame or a division by zero ended it.
    fn run(&self, frame: View<'_>) -> Option<u32> {
        let (mut a, mut x, mut memory, mut pc) = (0u32, 0u32, [0u32; MEMORY], 0usize);
        // Only a program with loops can reach the limit.
        for _ in 0..self.ops.len().saturating_add(MAX_STEPS) {
            let op = *self.ops.get(pc)?;
            pc += 1;
            match op {
                Op::Load { to, from } => {
                    let value = match from {
                        // The interpreter does not know the type and the interface of a packet. Callers refuse programs
                        // that read these.
                        LoadFrom::PacketType | LoadFrom::Interface => return None,
                        LoadFrom::Constant(k) => k,
                        LoadFrom::Memory(slot) => *memory.get(slot)?,
                        LoadFrom::Length => frame.len(),
                        LoadFrom::At { offset, size } => frame.load(offset, size)?,
                        LoadFrom::AtX { offset, size } => frame.load(x.checked_add(offset)?, size)?,
                        LoadFrom::HeaderLength { offset } => (frame.load(offset, 1)? & 15) << 2,
                    };
                    *(if to == Register::A { &mut a } else { &mut x }) = value;
                }
                Op::Store { register, slot } => *memory.get_mut(slot)? = if register == Register::A { a } else { x },
                Op::Alu { op, by } => a = alu(op, a, operand(by, x))?,
                Op::Negate => a = a.wrapping_neg(),
                Op::Jump { to } => pc = to,
                Op::Branch { test, with, yes, no } => {
                    let with = operand(with, x);
                    let holds = match test {
                        Test::Equal => a == with,
                        Test::Greater => a > with,
                        Test::GreaterOrEqual => a >= with,
                        Test::Set => a & with != 0,
                    };
                    pc = if holds { yes } else { no };
                }
                Op::Member { key, set, yes, no } => {
                    let value = match key {
                        Key::A => u128::from(a),
                        Key::Ipv6At(offset) => frame.load_ipv6(offset)?,
                    };
                    pc = if self.sets.get(set)?.contains(value) { yes } else { no };
                }
                Op::Return(ReturnValue::Constant(k)) => return Some(k),
                Op::Return(ReturnValue::A) => return Some(a),
                Op::Move { to: Register::A } => a = x,
                Op::Move { to: Register::X } => x = a,
            }
        }
        None
    }
}

fn operand(operand: Operand, x: u32) -> u32 {
    match operand {
        Operand::K(k) => k,
        Operand::X => x,
    }
}

fn alu(op: Alu, a: u32, by: u32) -> Option<u32> {
    Some(match op {
        Alu::Add => a.wrapping_add(by),
        Alu::Sub => a.wrapping_sub(by),
        Alu::Mul => a.wrapping_mul(by),
        Alu::Div => a.checked_div(by)?,
        Alu::Or => a | by,
        Alu::And => a & by,
        Alu::Lsh => a.checked_shl(by).unwrap_or(0),
        Alu::Rsh => a.checked_shr(by).unwrap_or(0),
        Alu::Mod => a.checked_rem(by)?,
        Alu::Xor => a ^ by,
    })
}

/// A frame whose stripped tag is read as if it were still in the frame, after the two MAC addresses.
#[derive(Clone, Copy)]
struct View<'a> {
    data: &'a [u8],
    wire_len: u32,
    tag: Option<StrippedTag>,
}

impl View<'_> {
    fn len(self) -> u32 {
        self.wire_len.saturating_add(if self.tag.is_some() { 4 } else { 0 })
    }

    fn load(self, offset: u32, size: u32) -> Option<u32> {
        let end = offset.checked_add(size)?;
        if self.tag.is_none() || end <= 12 {
            return match *self.data.get(offset as usize..end as usize)? {
                [a] => Some(u32::from(a)),
                [a, b] => Some(u32::from(u16::from_be_bytes([a, b]))),
                [a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
                _ => None,
            };
        }
        (offset..end).try_fold(0u32, |value, at| Some(value << 8 | u32::from(self.byte(at)?)))
    }

    fn load_ipv6(self, offset: u32) -> Option<u128> {
        (0..4).try_fold(0, |address, word| Some(address << 32 | u128::from(self.load(offset.checked_add(4 * word)?, 4)?)))
    }

    fn byte(self, at: u32) -> Option<u8> {
        let Some(tag) = self.tag else { return self.data.get(at as usize).copied() };
        match at {
            0..12 => self.data.get(at as usize).copied(),
            12 | 13 => tag.tpid.to_be_bytes().get(at as usize - 12).copied(),
            14 | 15 => tag.tci.to_be_bytes().get(at as usize - 14).copied(),
            _ => self.data.get(at as usize - 4).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripped_tag_is_read_as_if_it_were_in_the_frame() {
        let mut tagged: Vec<u8> = (0..64).collect();
        tagged[12..18].copy_from_slice(&[0x81, 0x00, 0x60, 0x07, 0x08, 0x00]);
        let mut stripped = tagged.clone();
        stripped.drain(12..16);
        let tag = Some(StrippedTag { tpid: 0x8100, tci: 0x6007 });
        for size in [1, 2, 4] {
            for offset in 0..70 {
                let whole = View { data: &tagged, wire_len: 64, tag: None };
                let parts = View { data: &stripped, wire_len: 60, tag };
                assert_eq!(whole.load(offset, size), parts.load(offset, size), "{size} bytes at {offset}");
                assert_eq!(whole.len(), parts.len());
            }
        }
    }
}
