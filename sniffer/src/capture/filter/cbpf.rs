//! Classic BPF: what libpcap makes of an expression, checked and decoded, and an interpreter for it. Not a compiler of expressions.
//!
//! The machine is that of `bpf_filter` in libpcap and of the kernel's `Documentation/networking/filter.rst`: an accumulator A, an index
//! X, sixteen words of memory, forward jumps only. A load outside the frame ends the program without a match.

use crate::capture::{Link, StrippedTag};
use pcap::{Capture, Linktype};

/// One instruction as the kernel takes it (`struct sock_filter`), native byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Class, mode, size and operation.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// The constant.
    pub k: u32,
}

/// Most instructions of a program, the kernel's `BPF_MAXINSNS`.
pub const MAX_INSTRUCTIONS: usize = 4096;
/// Words of memory, `BPF_MEMWORDS`.
pub const MEMORY: usize = 16;
/// Offsets from here on are the kernel's extensions (`SKF_LL_OFF` and above), not places in a frame.
const EXTENSIONS: u32 = 0xffe0_0000;

/// Why there is no program.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// libpcap does not take the expression; its message.
    #[error("filter `{text}`: {reason}")]
    Expression {
        /// The expression.
        text: String,
        /// What libpcap says.
        reason: String,
    },
    /// An instruction that is none, or one that this program does not know.
    #[error("classic BPF instruction {at}: {what}")]
    Instruction {
        /// Its index.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// A or X.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// The accumulator.
    A,
    /// The index.
    X,
}

/// Where a load takes its value from. Sizes are 1, 2 or 4 bytes, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The constant itself.
    Constant(u32),
    /// A word of memory.
    Memory(usize),
    /// The length of the frame.
    Length,
    /// The frame at a fixed offset.
    At {
        /** From the frame's beginning. */
        offset: u32,
        /** In bytes. */
        size: u32,
    },
    /// The frame at X plus an offset.
    AtX {
        /** Added to X. */
        offset: u32,
        /** In bytes. */
        size: u32,
    },
    /// Four times the low four bits of a byte: the length of an IPv4 header.
    HeaderLength {
        /** From the frame's beginning. */
        offset: u32,
    },
}

/// The second operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The constant.
    K(u32),
    /// The index register.
    X,
}

/// Arithmetic on A, 32 bits, wrapping. The numbers are those of the instruction code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum Alu {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    /// By zero: the program ends without a match.
    Div = 0x30,
    Or = 0x40,
    And = 0x50,
    /// By 32 and more: 0.
    Lsh = 0x60,
    /// By 32 and more: 0.
    Rsh = 0x70,
    /// By zero: the program ends without a match.
    Mod = 0x90,
    Xor = 0xa0,
}

/// A comparison of A, unsigned. The numbers are those of the instruction code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum Test {
    Equal = 0x10,
    Greater = 0x20,
    GreaterOrEqual = 0x30,
    /// A bit that both have.
    Set = 0x40,
}

/// A decoded instruction. Jump targets are absolute and lie behind the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Load {
        to: Register,
        from: From,
    },
    Store {
        register: Register,
        slot: usize,
    },
    Alu {
        op: Alu,
        by: Operand,
    },
    Negate,
    Jump {
        to: usize,
    },
    Branch {
        test: Test,
        with: Operand,
        yes: usize,
        no: usize,
    },
    Return(Verdict),
    /// `to` becomes the other register.
    Move {
        to: Register,
    },
}

/// What a program returns: 0 is no match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verdict {
    Constant(u32),
    A,
}

/// A program that was checked: every jump, slot and offset is good, and it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    raw: Vec<Instruction>,
    ops: Vec<Op>,
}

impl Program {
    /// Checks and decodes.
    ///
    /// # Errors
    /// When an instruction is not classic BPF, or a Linux extension (an offset below zero).
    pub fn new(raw: Vec<Instruction>) -> Result<Self, Error> {
        if raw.is_empty() || raw.len() > MAX_INSTRUCTIONS {
            return Err(Error::Instruction { at: raw.len(), what: "a program has 1 to 4096 instructions" });
        }
        let ops = raw.iter().enumerate().map(|(at, instruction)| decode(at, *instruction, raw.len())).collect::<Result<Vec<_>, _>>()?;
        match ops.last() {
            Some(Op::Return(_)) => Ok(Self { raw, ops }),
            _ => Err(Error::Instruction { at: raw.len() - 1, what: "the last one does not return" }),
        }
    }

    /// Matches no frame.
    pub fn nothing() -> Self {
        Self { raw: vec![Instruction { code: 6, jt: 0, jf: 0, k: 0 }], ops: vec![Op::Return(Verdict::Constant(0))] }
    }

    /// What libpcap makes of `text` for frames that begin with `link`.
    ///
    /// # Errors
    /// When libpcap does not take it.
    pub fn compile(text: &str, link: Link) -> Result<Self, Error> {
        Self::compile_with(text, link, true)
    }

    pub(crate) fn compile_with(text: &str, link: Link, optimize: bool) -> Result<Self, Error> {
        let refused = |e: pcap::Error| Error::Expression { text: text.to_owned(), reason: e.to_string() };
        let linktype = match link {
            Link::Ethernet => Linktype::ETHERNET,
            Link::RawIp => Linktype(12), // DLT_RAW, which libpcap's compiler wants where a file would say 101
            Link::LinuxSll => Linktype::LINUX_SLL,
            Link::LinuxSll2 => Linktype::LINUX_SLL2,
            Link::Null => Linktype::NULL,
        };
        let dead = Capture::dead(linktype).map_err(refused)?;
        let program = dead.compile(text, optimize).map_err(refused)?;
        let raw: Option<Vec<_>> = program.get_instructions().iter().map(|i| instruction(&i.to_string())).collect();
        Self::new(raw.ok_or(Error::Instruction { at: 0, what: "libpcap's form of it is not known" })?)
    }

    /// As the kernel and libpcap take it.
    pub fn instructions(&self) -> &[Instruction] {
        &self.raw
    }

    /// Decoded.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Whether the program wants the frame. With `tag`, as if it stood in the frame.
    pub fn matches(&self, data: &[u8], wire_len: u32, tag: Option<StrippedTag>) -> bool {
        self.run(View { data, wire_len, tag }).unwrap_or(0) != 0
    }

    /// What the program returns; `None` when a load or a division ended it.
    fn run(&self, frame: View<'_>) -> Option<u32> {
        let (mut a, mut x, mut memory, mut pc) = (0u32, 0u32, [0u32; MEMORY], 0usize);
        // Jumps only go forward, so this ends.
        loop {
            let op = *self.ops.get(pc)?;
            pc += 1;
            match op {
                Op::Load { to, from } => {
                    let value = match from {
                        From::Constant(k) => k,
                        From::Memory(slot) => *memory.get(slot)?,
                        From::Length => frame.len(),
                        From::At { offset, size } => frame.load(offset, size)?,
                        From::AtX { offset, size } => frame.load(x.checked_add(offset)?, size)?,
                        From::HeaderLength { offset } => (frame.load(offset, 1)? & 15) << 2,
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
                Op::Return(Verdict::Constant(k)) => return Some(k),
                Op::Return(Verdict::A) => return Some(a),
                Op::Move { to: Register::A } => a = x,
                Op::Move { to: Register::X } => x = a,
            }
        }
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

/// A frame with its tag back in its place, behind the two addresses.
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

/// The `pcap` crate shows an instruction only as text: code, jt, jf and k in decimal.
fn instruction(text: &str) -> Option<Instruction> {
    let mut words = text.split_ascii_whitespace();
    let instruction = Instruction {
        code: words.next()?.parse().ok()?,
        jt: words.next()?.parse().ok()?,
        jf: words.next()?.parse().ok()?,
        k: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(instruction)
}

fn decode(at: usize, instruction: Instruction, len: usize) -> Result<Op, Error> {
    let wrong = |what| Err(Error::Instruction { at, what });
    let Instruction { code, jt, jf, k } = instruction;
    let target = |over: usize| match at.checked_add(1).and_then(|next| next.checked_add(over)) {
        Some(to) if to < len => Ok(to),
        _ => Err(Error::Instruction { at, what: "jumps past the end" }),
    };
    let slot = |k: u32| if (k as usize) < MEMORY { Ok(k as usize) } else { Err(Error::Instruction { at, what: "no such word of memory" }) };
    let by = if code & 8 != 0 { Operand::X } else { Operand::K(k) };
    let op = match code & 7 {
        class @ (0 | 1) => {
            let size = match code & 0x18 {
                0x00 => 4,
                0x08 => 2,
                0x10 => 1,
                _ => return wrong("a load of unknown size"),
            };
            let mode = code & 0xe0;
            if matches!(mode, 0x20 | 0xa0) && k >= EXTENSIONS {
                return wrong("reads what only a packet socket of Linux has (`inbound`, `outbound`, metadata): not known here");
            }
            let from = match mode {
                0x00 => From::Constant(k),
                0x20 => From::At { offset: k, size },
                0x40 => From::AtX { offset: k, size },
                0x60 => From::Memory(slot(k)?),
                0x80 => From::Length,
                0xa0 => From::HeaderLength { offset: k },
                _ => return wrong("a load of unknown mode"),
            };
            let to = if class == 0 { Register::A } else { Register::X };
            match (to, from) {
                (Register::X, From::At { .. } | From::AtX { .. }) | (Register::A, From::HeaderLength { .. }) => {
                    return wrong("a load into the wrong register");
                }
                _ => Op::Load { to, from },
            }
        }
        2 => Op::Store { register: Register::A, slot: slot(k)? },
        3 => Op::Store { register: Register::X, slot: slot(k)? },
        4 => {
            let op = match code & 0xf0 {
                0x00 => Alu::Add,
                0x10 => Alu::Sub,
                0x20 => Alu::Mul,
                0x30 => Alu::Div,
                0x40 => Alu::Or,
                0x50 => Alu::And,
                0x60 => Alu::Lsh,
                0x70 => Alu::Rsh,
                0x80 => return Ok(Op::Negate),
                0x90 => Alu::Mod,
                0xa0 => Alu::Xor,
                _ => return wrong("unknown arithmetic"),
            };
            match (op, by) {
                (Alu::Div | Alu::Mod, Operand::K(0)) => return wrong("divides by zero"),
                (Alu::Lsh | Alu::Rsh, Operand::K(32..)) => return wrong("shifts by 32 or more"),
                _ => Op::Alu { op, by },
            }
        }
        5 => {
            let test = match code & 0xf0 {
                0x00 => return Ok(Op::Jump { to: target(k as usize)? }),
                0x10 => Test::Equal,
                0x20 => Test::Greater,
                0x30 => Test::GreaterOrEqual,
                0x40 => Test::Set,
                _ => return wrong("unknown comparison"),
            };
            Op::Branch { test, with: by, yes: target(usize::from(jt))?, no: target(usize::from(jf))? }
        }
        6 => Op::Return(match code & 0x18 {
            0x00 => Verdict::Constant(k),
            0x10 => Verdict::A,
            _ => return wrong("returns an unknown register"),
        }),
        _ => Op::Move { to: if code & 0x80 != 0 { Register::A } else { Register::X } },
    };
    Ok(op)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETURN: Instruction = Instruction { code: 6, jt: 0, jf: 0, k: 1 };

    fn load(code: u16, k: u32) -> Instruction {
        Instruction { code, jt: 0, jf: 0, k }
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let cases = [
            (vec![], "1 to 4096"),
            (vec![load(0x20, 0xffff_f004), RETURN], "packet socket of Linux"),
            (vec![load(0x60, 16), RETURN], "no such word"),
            (vec![load(0x34, 0), RETURN], "divides by zero"),
            (vec![load(0x64, 32), RETURN], "shifts"),
            (vec![load(5, 1), RETURN], "past the end"),
            (vec![load(0x20, 0)], "does not return"),
        ];
        for (raw, want) in cases {
            let got = Program::new(raw.clone()).unwrap_err().to_string();
            assert!(got.contains(want), "{raw:?}: want `{want}`, have `{got}`");
        }
    }

    #[test]
    fn a_stripped_tag_reads_as_if_it_stood_in_the_frame() {
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

    #[test]
    fn libpcap_says_what_it_does_not_take() {
        let error = Program::compile("tcp prot 80", Link::Ethernet).unwrap_err().to_string();
        assert!(error.starts_with("filter `tcp prot 80`: "), "{error}");
    }
}
