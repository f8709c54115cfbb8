//! Assembles eBPF instructions with symbolic jump labels (RFC 9669; the numbers are those of `linux/bpf.h`). This module knows nothing of
//! filters.

use aya_obj::generated::{
    BPF_ABS, BPF_ADD, BPF_ALU, BPF_ALU64, BPF_B, BPF_CALL, BPF_DW, BPF_END, BPF_EXIT, BPF_H, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JGE,
    BPF_JGT, BPF_JLE, BPF_JMP, BPF_JMP32, BPF_JNE, BPF_K, BPF_LD, BPF_LDX, BPF_MEM, BPF_MOV, BPF_NEG, BPF_PSEUDO_MAP_FD,
    BPF_PSEUDO_MAP_VALUE, BPF_ST, BPF_STX, BPF_TO_BE, BPF_W, BPF_X, bpf_func_id,
};
use std::{collections::HashMap, hash::Hash};

/// One eBPF instruction in the kernel's layout.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Insn {
    /// The opcode: class, source and operation.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high ones.
    pub regs: u8,
    /// Signed offset of a jump (in instructions) or a memory access (in bytes).
    pub off: i16,
    /// The immediate operand.
    pub imm: i32,
}

impl Insn {
    /// Makes an instruction from a code of `linux/bpf.h` and its operands.
    const fn new(code: u32, dst: Reg, src: Reg, off: i16, imm: i32) -> Self {
        Self { code: code as u8, regs: src.0 << 4 | dst.0, off, imm } // all codes are below 256
    }

    /// The instruction `dst` = `value`, sign-extended to 64 bits.
    pub const fn mov_constant(dst: Reg, value: i32) -> Self {
        Self::new(BPF_ALU64 | BPF_MOV | BPF_K, dst, R0, 0, value)
    }

    /// The instruction that ends the program with the return value R0.
    pub const fn exit() -> Self {
        Self::new(BPF_JMP | BPF_EXIT, R0, R0, 0, 0)
    }
}

/// An eBPF register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(u8);

/// Return value of calls and of the program.
pub const R0: Reg = Reg(0);
/// First argument of a call. At the start of the program: its context.
pub const R1: Reg = Reg(1);
/// Second argument of a call.
pub const R2: Reg = Reg(2);
/// Third argument of a call.
pub const R3: Reg = Reg(3);
/// Fourth argument of a call.
pub const R4: Reg = Reg(4);
/// Preserved across calls, as are R7 to R9. `LD_ABS` and `LD_IND` expect the context in this register.
pub const R6: Reg = Reg(6);
/// Preserved across calls.
pub const R7: Reg = Reg(7);
/// Preserved across calls.
pub const R8: Reg = Reg(8);
/// Preserved across calls.
pub const R9: Reg = Reg(9);
/// The frame pointer: the end of the stack.
pub const R10: Reg = Reg(10);

/// Width of a load or store, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Half,
    /// 4 bytes.
    Word,
    /// 8 bytes.
    Double,
}

impl Size {
    /// The width of 1, 2 or 4 bytes.
    pub fn of_bytes(bytes: u32) -> Self {
        match bytes {
            1 => Self::Byte,
            2 => Self::Half,
            _ => Self::Word,
        }
    }

    fn code(self) -> u32 {
        match self {
            Self::Byte => BPF_B,
            Self::Half => BPF_H,
            Self::Word => BPF_W,
            Self::Double => BPF_DW,
        }
    }
}

/// An unsigned comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<=`
    LessOrEqual,
    /// A comparison of the classic program, by its operation bits, which are the same in both instruction sets.
    Classic(u8),
}

impl Comparison {
    fn code(self) -> u32 {
        match self {
            Self::Equal => BPF_JEQ,
            Self::NotEqual => BPF_JNE,
            Self::Greater => BPF_JGT,
            Self::GreaterOrEqual => BPF_JGE,
            Self::LessOrEqual => BPF_JLE,
            Self::Classic(operation) => operation.into(),
        }
    }
}

/// The second operand of an operation or a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RightOperand {
    /// A constant of the instruction.
    Constant(i32),
    /// The value of a register.
    Reg(Reg),
}

impl RightOperand {
    /// Source bit of the code, source register and immediate.
    fn parts(self) -> (u32, Reg, i32) {
        match self {
            Self::Constant(value) => (BPF_K, R0, value),
            Self::Reg(src) => (BPF_X, src, 0),
        }
    }
}

/// The program, which has this number of instructions, is longer than a jump can span.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter compiles to {0} instructions, more than an eBPF jump can span; shorten the expression")]
pub struct TooLong(usize);

/// The instructions emitted until now, and the jumps whose targets are not known yet.
pub(super) struct Assembler<L> {
    out: Vec<Insn>,
    jumps: Vec<(usize, L)>,
    places: HashMap<L, usize>,
}

impl<L: Copy + Eq + Hash> Assembler<L> {
    pub fn new() -> Self {
        Self { out: Vec::new(), jumps: Vec::new(), places: HashMap::new() }
    }

    fn push(&mut self, code: u32, dst: Reg, src: Reg, off: i16, imm: i32) {
        self.out.push(Insn::new(code, dst, src, off, imm));
    }

    /// `dst` = `src`, 64 bits.
    pub fn mov(&mut self, dst: Reg, src: Reg) {
        self.push(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
    }

    /// `dst` = the lower 32 bits of `src`, zero-extended.
    pub fn mov32(&mut self, dst: Reg, src: Reg) {
        self.push(BPF_ALU | BPF_MOV | BPF_X, dst, src, 0, 0);
    }

    /// `dst` = `value`, zero-extended.
    pub fn constant(&mut self, dst: Reg, value: u32) {
        self.push(BPF_ALU | BPF_MOV | BPF_K, dst, R0, 0, value as i32);
    }

    /// `dst` += `by`, 64 bits; also for pointers.
    pub fn add(&mut self, dst: Reg, by: RightOperand) {
        let (kind, src, imm) = by.parts();
        self.push(BPF_ALU64 | BPF_ADD | kind, dst, src, 0, imm);
    }

    /// `dst` = `dst` `operation` `by`, 32 bits. `operation` is `BPF_ADD` or another operation code, which are the same
    /// in classic BPF.
    pub fn alu32(&mut self, operation: u32, dst: Reg, by: RightOperand) {
        let (kind, src, imm) = by.parts();
        self.push(BPF_ALU | operation | kind, dst, src, 0, imm);
    }

    /// `dst` = -`dst`, 32 bits.
    pub fn negate32(&mut self, dst: Reg) {
        self.push(BPF_ALU | BPF_NEG, dst, R0, 0, 0);
    }

    /// Converts the low `size` bytes of `dst` from big-endian to native byte order.
    pub fn big_endian(&mut self, dst: Reg, size: u32) {
        if size > 1 {
            self.push(BPF_ALU | BPF_END | BPF_TO_BE, dst, R0, 0, size as i32 * 8);
        }
    }

    /// `dst` = the memory at `base` + `off`.
    pub fn load(&mut self, size: Size, dst: Reg, base: Reg, off: i16) {
        self.push(BPF_LDX | BPF_MEM | size.code(), dst, base, off, 0);
    }

    /// The memory at `base` + `off` = `src`.
    pub fn store(&mut self, size: Size, base: Reg, off: i16, src: Reg) {
        self.push(BPF_STX | BPF_MEM | size.code(), base, src, off, 0);
    }

    /// The memory at `base` + `off` = `value`.
    pub fn store_constant(&mut self, size: Size, base: Reg, off: i16, value: i32) {
        self.push(BPF_ST | BPF_MEM | size.code(), base, R0, off, value);
    }

    /// R0 = the bytes of the packet at `offset`; the context is in R6. Beyond the end of the packet the program ends and returns 0. The
    /// instruction overwrites R1 to R5.
    pub fn load_absolute(&mut self, size: Size, offset: u32) {
        self.push(BPF_LD | BPF_ABS | size.code(), R0, R0, 0, offset as i32);
    }

    /// R0 = the bytes of the packet at the offset in register `at`; the context is in R6. Beyond the end of the packet the program ends and
    /// returns 0. The instruction overwrites R1 to R5.
    pub fn load_indirect(&mut self, size: Size, at: Reg) {
        self.push(BPF_LD | BPF_IND | size.code(), R0, at, 0, 0);
    }

    /// `dst` = a reference to the map with this file descriptor.
    pub fn load_map(&mut self, dst: Reg, descriptor: i32) {
        self.push(BPF_LD | BPF_IMM | BPF_DW, dst, Reg(BPF_PSEUDO_MAP_FD as u8), 0, descriptor);
        self.push(0, R0, R0, 0, 0); // second half of the 64-bit immediate
    }

    /// `dst` = the address of the byte at `offset` in the value of the array with this file descriptor, which has one entry.
    pub fn load_map_value(&mut self, dst: Reg, descriptor: i32, offset: u32) {
        self.push(BPF_LD | BPF_IMM | BPF_DW, dst, Reg(BPF_PSEUDO_MAP_VALUE as u8), 0, descriptor);
        self.push(0, R0, R0, 0, offset as i32); // second half of the 64-bit immediate
    }

    /// Calls a helper with the arguments in R1 to R5; the result is in R0.
    pub fn call(&mut self, helper: bpf_func_id) {
        self.push(BPF_JMP | BPF_CALL, R0, R0, 0, helper as i32);
    }

    /// Ends the program with the return value `value`.
    pub fn return_constant(&mut self, value: i32) {
        self.out.extend([Insn::mov_constant(R0, value), Insn::exit()]);
    }

    /// Jumps to `to`, which may be placed later.
    pub fn jump(&mut self, to: L) {
        self.jump_with(BPF_JMP | BPF_JA, R0, RightOperand::Constant(0), to);
    }

    /// Jumps to `to` if the comparison of `dst` with `by` holds, 64 bits.
    pub fn jump_if(&mut self, test: Comparison, dst: Reg, by: RightOperand, to: L) {
        self.jump_with(BPF_JMP | test.code(), dst, by, to);
    }

    /// Jumps to `to` if the comparison of the lower 32 bits of `dst` with `by` holds.
    pub fn jump32_if(&mut self, test: Comparison, dst: Reg, by: RightOperand, to: L) {
        self.jump_with(BPF_JMP32 | test.code(), dst, by, to);
    }

    fn jump_with(&mut self, code: u32, dst: Reg, by: RightOperand, to: L) {
        let (kind, src, imm) = by.parts();
        self.jumps.push((self.out.len(), to));
        self.push(code | kind, dst, src, 0, imm);
    }

    /// Places `label` at the next instruction.
    pub fn place(&mut self, label: L) {
        self.places.insert(label, self.out.len());
    }

    /// The target labels of all jumps emitted until now.
    pub fn targets(&self) -> impl Iterator<Item = L> {
        self.jumps.iter().map(|(_, label)| *label)
    }

    /// Fills in the offsets of all jumps and returns the instructions.
    pub fn resolve_jumps(mut self) -> Result<Vec<Insn>, TooLong> {
        let len = self.out.len();
        for (at, label) in &self.jumps {
            let over = self.places.get(label).and_then(|to| i16::try_from(*to as isize - *at as isize - 1).ok()).ok_or(TooLong(len))?;
            if let Some(insn) = self.out.get_mut(*at) {
                insn.off = over;
            }
        }
        Ok(self.out)
    }
}
