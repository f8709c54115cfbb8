//! eBPF instructions and labels (RFC 9669). Knows nothing of filters.

use std::{collections::HashMap, hash::Hash};

/// One eBPF instruction, as the kernel takes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Insn {
    /// Class, source and operation.
    pub code: u8,
    /// Destination in the low four bits, source in the high ones.
    pub regs: u8,
    /// Of a jump or a memory access.
    pub off: i16,
    /// The constant.
    pub imm: i32,
}

/// The program is longer than a jump reaches.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter gives {0} instructions, more than an eBPF jump can span; shorten the expression")]
pub struct TooLong(usize);

/// Instructions so far, and jumps that are not resolved yet.
pub(super) struct Assembler<L> {
    out: Vec<Insn>,
    jumps: Vec<(usize, L)>,
    places: HashMap<L, usize>,
}

impl<L: Copy + Eq + Hash> Assembler<L> {
    pub fn new() -> Self {
        Self { out: Vec::new(), jumps: Vec::new(), places: HashMap::new() }
    }

    /// Appends an instruction.
    pub fn op(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) {
        self.out.push(Insn { code, regs: src << 4 | dst, off, imm });
    }

    /// Appends a jump to wherever `to` is in the end.
    pub fn jump(&mut self, code: u8, dst: u8, src: u8, imm: i32, to: L) {
        self.jumps.push((self.out.len(), to));
        self.op(code, dst, src, 0, imm);
    }

    /// `dst` = `src`, 64 bits.
    pub fn mov(&mut self, dst: u8, src: u8) {
        self.op(0xbf, dst, src, 0, 0);
    }

    /// `dst` = `value`, the upper half 0.
    pub fn constant(&mut self, dst: u8, value: u32) {
        self.op(0xb4, dst, 0, 0, value as i32);
    }

    /// Turns the low `size` bytes of `dst` from the order of the wire.
    pub fn big_endian(&mut self, dst: u8, size: u32) {
        if size > 1 {
            self.op(0xdc, dst, 0, 0, size as i32 * 8);
        }
    }

    /// `label` is here.
    pub fn place(&mut self, label: L) {
        self.places.insert(label, self.out.len());
    }

    /// Where jumps lead that were emitted so far.
    pub fn targets(&self) -> impl Iterator<Item = L> {
        self.jumps.iter().map(|(_, label)| *label)
    }

    /// The program.
    pub fn link(mut self) -> Result<Vec<Insn>, TooLong> {
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
