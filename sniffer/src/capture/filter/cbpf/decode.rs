//! Decodes classic BPF instructions (`linux/bpf_common.h`, `linux/filter.h`) to [`Op`]s; refuses invalid ones.

use super::{Alu, Error, Instruction, LoadFrom, MEMORY, Op, Operand, Register, ReturnValue, Test};
use aya_obj::generated::{
    BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_DIV, BPF_H, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET,
    BPF_K, BPF_LD, BPF_LDX, BPF_LEN, BPF_LSH, BPF_MEM, BPF_MOD, BPF_MSH, BPF_MUL, BPF_NEG, BPF_OR, BPF_RET, BPF_RSH, BPF_ST, BPF_STX,
    BPF_SUB, BPF_W, BPF_X, BPF_XOR,
};

/// Offsets from here on are Linux extensions (`SKF_LL_OFF` and above), not positions in the frame.
const EXTENSIONS: u32 = 0xffe0_0000;
/// The extensions that libpcap uses for `inbound`, `outbound` and `ifindex` (`SKF_AD_PKTTYPE`, `SKF_AD_IFINDEX`).
const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
const INTERFACE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_IFINDEX).cast_unsigned();

/// Mask of an instruction code: the bits of its class.
const CLASS: u32 = 0x07;
/// Mask of the code of a load: the bits of its size.
const SIZE: u32 = 0x18;
/// Mask of the code of a load: the bits of its mode.
const MODE: u32 = 0xe0;
/// Mask of the code of arithmetic and comparisons: the bits of the operation.
const OPERATION: u32 = 0xf0;
/// Mask of the code of a return: the bits that select the source of the returned value.
const RETURNED: u32 = 0x18;
/// Return value A (`BPF_A`, which `linux/bpf_common.h` does not define for eBPF).
const RETURN_A: u32 = 0x10;
/// Bit in the code of a move between the registers: set for X to A (`BPF_TXA`), clear for A to X (`BPF_TAX`).
const TO_A: u32 = 0x80;

/// Decodes the instruction at index `at` of a program of `len` instructions.
pub(super) fn decode(at: usize, instruction: Instruction, len: usize) -> Result<Op, Error> {
    let Instruction { code, jt, jf, k } = instruction;
    let code = u32::from(code);
    let wrong = |what| Error::Instruction { at, what };
    let target = |over: usize| match at.checked_add(1).and_then(|next| next.checked_add(over)) {
        Some(to) if to < len => Ok(to),
        _ => Err(wrong("jumps past the end")),
    };
    let by = if code & BPF_X != 0 { Operand::X } else { Operand::K(k) };
    match code & CLASS {
        BPF_LD => load(Register::A, code, k).map_err(wrong),
        BPF_LDX => load(Register::X, code, k).map_err(wrong),
        BPF_ST => Ok(Op::Store { register: Register::A, slot: slot(k).map_err(wrong)? }),
        BPF_STX => Ok(Op::Store { register: Register::X, slot: slot(k).map_err(wrong)? }),
        BPF_ALU => arithmetic(code, by).map_err(wrong),
        BPF_JMP => {
            let test = match code & OPERATION {
                // The operand is signed: the loops of `protochain` jump back.
                BPF_JA => {
                    let to = isize::try_from(k.cast_signed()).ok().and_then(|over| (at + 1).checked_add_signed(over));
                    return Ok(Op::Jump { to: to.filter(|to| *to < len).ok_or_else(|| wrong("jumps past the end"))? });
                }
                BPF_JEQ => Test::Equal,
                BPF_JGT => Test::Greater,
                BPF_JGE => Test::GreaterOrEqual,
                BPF_JSET => Test::Set,
                _ => return Err(wrong("unknown comparison")),
            };
            Ok(Op::Branch { test, with: by, yes: target(usize::from(jt))?, no: target(usize::from(jf))? })
        }
        BPF_RET => match code & RETURNED {
            BPF_K => Ok(Op::Return(ReturnValue::Constant(k))),
            RETURN_A => Ok(Op::Return(ReturnValue::A)),
            _ => Err(wrong("returns an unknown register")),
        },
        // BPF_MISC is the only value left of the three bits.
        _ => Ok(Op::Move { to: if code & TO_A != 0 { Register::A } else { Register::X } }),
    }
}

fn load(to: Register, code: u32, k: u32) -> Result<Op, &'static str> {
    let size = match code & SIZE {
        BPF_W => 4,
        BPF_H => 2,
        BPF_B => 1,
        _ => return Err("load of unknown size"),
    };
    let mode = code & MODE;
    if matches!(mode, BPF_ABS | BPF_MSH) && k >= EXTENSIONS && !(mode == BPF_ABS && matches!(k, PACKET_TYPE | INTERFACE)) {
        return Err("uses a Linux extension for packet sockets that is not supported");
    }
    let from = match mode {
        BPF_IMM => LoadFrom::Constant(k),
        BPF_ABS if k == PACKET_TYPE => LoadFrom::PacketType,
        BPF_ABS if k == INTERFACE => LoadFrom::Interface,
        BPF_ABS => LoadFrom::At { offset: k, size },
        BPF_IND => LoadFrom::AtX { offset: k, size },
        BPF_MEM => LoadFrom::Memory(slot(k)?),
        BPF_LEN => LoadFrom::Length,
        BPF_MSH => LoadFrom::HeaderLength { offset: k },
        _ => return Err("load of unknown mode"),
    };
    match (to, from) {
        (Register::X, LoadFrom::At { .. } | LoadFrom::AtX { .. } | LoadFrom::PacketType | LoadFrom::Interface)
        | (Register::A, LoadFrom::HeaderLength { .. }) => Err("load into the wrong register"),
        _ => Ok(Op::Load { to, from }),
    }
}

fn slot(k: u32) -> Result<usize, &'static str> {
    Some(k as usize).filter(|&slot| slot < MEMORY).ok_or("memory index out of range")
}

fn arithmetic(code: u32, by: Operand) -> Result<Op, &'static str> {
    let op = match code & OPERATION {
        BPF_ADD => Alu::Add,
        BPF_SUB => Alu::Sub,
        BPF_MUL => Alu::Mul,
        BPF_DIV => Alu::Div,
        BPF_OR => Alu::Or,
        BPF_AND => Alu::And,
        BPF_LSH => Alu::Lsh,
        BPF_RSH => Alu::Rsh,
        BPF_NEG => return Ok(Op::Negate),
        BPF_MOD => Alu::Mod,
        BPF_XOR => Alu::Xor,
        _ => return Err("unknown arithmetic operation"),
    };
    match (op, by) {
        (Alu::Div | Alu::Mod, Operand::K(0)) => Err("divides by zero"),
        (Alu::Lsh | Alu::Rsh, Operand::K(32..)) => Err("shifts by 32 or more"),
        _ => Ok(Op::Alu { op, by }),
    }
}
