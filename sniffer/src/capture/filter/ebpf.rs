//! Compiles classic BPF to an eBPF program for one hook, in one pass per form of it. Loads nothing.
//!
//! Registers: R0 = A, R7 = X, R6 = context, R8/R9 = start/end of the directly readable bytes, R1 to R5 scratch; the stack holds the
//! classic memory. Jumps only go forward, so when an instruction is reached every edge into it has been seen: `bound[pc]`, the bytes proved
//! readable at `pc`, is the smallest on any of them, and a load checks the length only when it reads further.
//!
//! A program has up to four copies of the classic one. *Raw* reads the frame as it is, *stripped* as if the VLAN tag in the metadata were
//! back in it. Of each there is a *fast* copy that reads memory directly, and a *slow* one, entered where the directly readable
//! bytes end, in which every load is a call that also reads a packet's fragments. The instruction set is RFC 9669.

pub use super::assembler::{Insn, TooLong};

use super::{
    assembler::Assembler,
    cbpf::{Alu, From, Op, Operand, Program, Register, Verdict},
};
use std::collections::BTreeSet;

/// Where the program runs: it decides how packets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// `struct xdp_md`: tags are in the frame.
    Xdp,
    /// `struct __sk_buff` with direct access.
    Tc,
    /// `struct __sk_buff`, read by `LD_ABS` and `LD_IND`.
    Socket,
}

/// What to do with a frame that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMatch {
    /// Call the program at `slot` of the jump table with this file descriptor.
    TailCall {
        /// The table.
        table: i32,
        /// The place in it.
        slot: u32,
    },
    /// Return this, to a packet socket the bytes it may keep.
    Return(i32),
}

/// What to compile for.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Where it runs.
    pub hook: Hook,
    /// Whether frames have a link header, and so may have a tag in the metadata.
    pub tags: bool,
    /// On a match.
    pub on_match: OnMatch,
    /// What is returned when the frame does not match.
    pub no_match: i32,
}

const A: u8 = 0;
const CTX: u8 = 6;
const X: u8 = 7;
const DATA: u8 = 8;
const END: u8 = 9;
const FP: u8 = 10;

// The stack, below the frame pointer: classic memory, then these.
const TAG: i16 = -72;
const BUFFER: i16 = -80;
const SAVED: i16 = -88;

/// Nothing is read beyond this: the verifier follows packet pointers so far, and no frame is longer.
const MAX_OFFSET: u32 = 0xffff;

// Fields of `struct __sk_buff` and `struct xdp_md`.
const SKB_LEN: i16 = 0;
const SKB_VLAN_PRESENT: i16 = 20;
const SKB_VLAN_TCI: i16 = 24;
const SKB_VLAN_PROTO: i16 = 28;
const SKB_DATA: i16 = 76;
const SKB_DATA_END: i16 = 80;
const XDP_DATA: i16 = 0;
const XDP_DATA_END: i16 = 4;

const BPF_TAIL_CALL: i32 = 12;
const BPF_SKB_LOAD_BYTES: i32 = 26;
const BPF_XDP_GET_BUFF_LEN: i32 = 188;
const BPF_XDP_LOAD_BYTES: i32 = 189;

/// How a copy reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Access {
    Direct,
    Call,
    LoadAbsolute,
}

/// One copy of the classic program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Form {
    stripped: bool,
    access: Access,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Label {
    Pc(Form, usize),
    Local(usize),
    Stripped,
    Match,
    NoMatch,
}

struct Compiler<'a> {
    program: &'a Program,
    hook: Hook,
    asm: Assembler<Label>,
    locals: usize,
}

/// The eBPF program that does on `target.hook` what `program` says.
///
/// # Errors
/// When it becomes too long.
pub fn compile(program: &Program, target: &Target) -> Result<Vec<Insn>, TooLong> {
    compile_as(program, target, Forced::default())
}

/// What tests force that a test run cannot bring about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Forced {
    /// Nothing is directly readable.
    pub slow: bool,
    /// This tag is in the metadata.
    pub tag: Option<u32>,
}

pub(super) fn compile_as(program: &Program, target: &Target, forced: Forced) -> Result<Vec<Insn>, TooLong> {
    let mut compiler = Compiler { program, hook: target.hook, asm: Assembler::new(), locals: 0 };
    compiler.whole(target, forced);
    compiler.asm.link()
}

impl Compiler<'_> {
    fn whole(&mut self, target: &Target, forced: Forced) {
        self.asm.mov(CTX, 1);
        let access = match target.hook {
            Hook::Socket => Access::LoadAbsolute,
            _ if forced.slow => Access::Call,
            _ => Access::Direct,
        };
        if access == Access::Direct {
            let (data, end) = if target.hook == Hook::Xdp { (XDP_DATA, XDP_DATA_END) } else { (SKB_DATA, SKB_DATA_END) };
            self.asm.op(0x61, DATA, CTX, data, 0);
            self.asm.op(0x61, END, CTX, end, 0);
        }
        self.asm.constant(A, 0);
        self.asm.constant(X, 0);
        // The verifier wants memory written before it is read, on every way.
        let read: BTreeSet<usize> = self
            .program
            .ops()
            .iter()
            .filter_map(|op| if let Op::Load { from: From::Memory(slot), .. } = op { Some(*slot) } else { None })
            .collect();
        for slot in read {
            self.asm.op(0x62, FP, 0, memory(slot), 0);
        }
        match forced.tag {
            Some(tag) => {
                self.asm.op(0x62, FP, 0, TAG, tag as i32);
                self.form(Form { stripped: true, access });
            }
            None => self.forms(target, access),
        }
        // The verifier rejects unreachable code.
        if self.asm.targets().any(|label| label == Label::Match) {
            self.asm.place(Label::Match);
            match target.on_match {
                OnMatch::TailCall { table, slot } => {
                    self.asm.mov(1, CTX);
                    self.asm.op(0x18, 2, 1, 0, table); // BPF_PSEUDO_MAP_FD
                    self.asm.op(0, 0, 0, 0, 0);
                    self.asm.constant(3, slot);
                    self.asm.op(0x85, 0, 0, 0, BPF_TAIL_CALL);
                    // Comes back only when the slot is empty.
                }
                OnMatch::Return(value) => {
                    self.asm.op(0xb7, 0, 0, 0, value);
                    self.asm.op(0x95, 0, 0, 0, 0);
                }
            }
        }
        self.asm.place(Label::NoMatch);
        self.asm.op(0xb7, 0, 0, 0, target.no_match);
        self.asm.op(0x95, 0, 0, 0, 0);
    }

    fn forms(&mut self, target: &Target, access: Access) {
        let stripped = target.tags && target.hook != Hook::Xdp;
        if stripped {
            self.asm.op(0x61, 1, CTX, SKB_VLAN_PRESENT, 0);
            self.asm.jump(0x55, 1, 0, 0, Label::Stripped);
        }
        self.form(Form { stripped: false, access });
        if stripped {
            self.asm.place(Label::Stripped);
            // The tag as the four bytes would read.
            self.asm.op(0x61, 1, CTX, SKB_VLAN_PROTO, 0);
            self.asm.op(0xdc, 1, 0, 0, 16);
            self.asm.op(0x64, 1, 0, 0, 16);
            self.asm.op(0x61, 2, CTX, SKB_VLAN_TCI, 0);
            self.asm.op(0x54, 2, 0, 0, 0xffff);
            self.asm.op(0x4c, 1, 2, 0, 0);
            self.asm.op(0x63, FP, 1, TAG, 0);
            self.form(Form { stripped: true, access });
        }
    }

    /// A fast copy and, where it can run out of directly readable bytes, the slow one.
    fn form(&mut self, form: Form) {
        self.copy(form, &BTreeSet::from([0]));
        let slow = Form { access: Access::Call, ..form };
        let entries: BTreeSet<usize> =
            self.asm.targets().filter_map(|label| if let Label::Pc(to, pc) = label { (to == slow).then_some(pc) } else { None }).collect();
        if form.access == Access::Direct && !entries.is_empty() {
            self.copy(slow, &entries);
        }
    }

    fn copy(&mut self, form: Form, entries: &BTreeSet<usize>) {
        let ops = self.program.ops();
        // Bytes known readable at each instruction on every way to it; `None`: no way leads there.
        let mut bounds: Vec<Option<u32>> = (0..ops.len()).map(|pc| entries.contains(&pc).then_some(0)).collect();
        for (pc, op) in ops.iter().enumerate() {
            let Some(mut bound) = bounds.get(pc).copied().flatten() else { continue };
            self.asm.place(Label::Pc(form, pc));
            let next = self.one(form, pc, *op, &mut bound);
            for to in next.into_iter().flatten() {
                if let Some(known) = bounds.get_mut(to) {
                    *known = Some(known.map_or(bound, |b| b.min(bound)));
                }
            }
        }
    }

    /// Emits one instruction; gives the ones that may come next.
    fn one(&mut self, form: Form, pc: usize, op: Op, bound: &mut u32) -> [Option<usize>; 2] {
        let fall = [Some(pc + 1), None];
        match op {
            Op::Load { to, from } => {
                let dst = if to == Register::A { A } else { X };
                match from {
                    From::Constant(k) => self.asm.constant(dst, k),
                    From::Memory(slot) => self.asm.op(0x61, dst, FP, memory(slot), 0),
                    From::Length => self.length(form, dst),
                    From::At { offset, size } => {
                        if !self.at(form, pc, dst, offset, size, bound) {
                            return [None; 2];
                        }
                    }
                    From::AtX { offset, size } => {
                        if !self.at_x(form, pc, offset, size, *bound) {
                            return [None; 2];
                        }
                    }
                    From::HeaderLength { offset } => {
                        if !self.at(form, pc, X, offset, 1, bound) {
                            return [None; 2];
                        }
                        self.asm.op(0x54, X, 0, 0, 15);
                        self.asm.op(0x64, X, 0, 0, 2);
                    }
                }
                fall
            }
            Op::Store { register, slot } => {
                self.asm.op(0x63, FP, if register == Register::A { A } else { X }, memory(slot), 0);
                fall
            }
            Op::Alu { op, by } => {
                self.alu(op, by);
                fall
            }
            Op::Negate => {
                self.asm.op(0x84, A, 0, 0, 0);
                fall
            }
            Op::Move { to } => {
                let (dst, src) = if to == Register::A { (A, X) } else { (X, A) };
                self.asm.op(0xbc, dst, src, 0, 0);
                fall
            }
            Op::Jump { to } => {
                self.asm.jump(0x05, 0, 0, 0, Label::Pc(form, to));
                [Some(to), None]
            }
            Op::Branch { test, with, yes, no } => {
                // JMP32: classic comparisons are of 32 unsigned bits. The test's bits are the same in both.
                let code = test as u8 | 0x06;
                match with {
                    Operand::K(k) => self.asm.jump(code, A, 0, k as i32, Label::Pc(form, yes)),
                    Operand::X => self.asm.jump(code | 8, A, X, 0, Label::Pc(form, yes)),
                }
                if no != pc + 1 {
                    self.asm.jump(0x05, 0, 0, 0, Label::Pc(form, no));
                }
                [Some(yes), Some(no)]
            }
            Op::Return(verdict) => {
                match verdict {
                    Verdict::Constant(0) => self.asm.jump(0x05, 0, 0, 0, Label::NoMatch),
                    Verdict::Constant(_) => self.asm.jump(0x05, 0, 0, 0, Label::Match),
                    Verdict::A => {
                        self.asm.jump(0x56, A, 0, 0, Label::Match);
                        self.asm.jump(0x05, 0, 0, 0, Label::NoMatch);
                    }
                }
                [None; 2]
            }
        }
    }

    fn alu(&mut self, op: Alu, by: Operand) {
        let code = op as u8 | 0x04;
        match by {
            Operand::K(k) => self.asm.op(code, A, 0, 0, k as i32),
            Operand::X => {
                match op {
                    Alu::Div | Alu::Mod => self.asm.jump(0x16, X, 0, 0, Label::NoMatch),
                    Alu::Lsh | Alu::Rsh => {
                        // eBPF masks the count where classic BPF gives 0.
                        self.asm.op(0xb6, X, 0, 2, 31);
                        self.asm.constant(A, 0);
                        self.asm.op(0x05, 0, 0, 1, 0);
                    }
                    _ => {}
                }
                self.asm.op(code | 8, A, X, 0, 0);
            }
        }
    }

    fn length(&mut self, form: Form, dst: u8) {
        if self.hook == Hook::Xdp {
            if dst == X {
                self.asm.op(0x7b, FP, A, SAVED, 0);
            }
            self.asm.mov(1, CTX);
            self.asm.op(0x85, 0, 0, 0, BPF_XDP_GET_BUFF_LEN);
            if dst == X {
                self.asm.op(0xbc, X, A, 0, 0);
                self.asm.op(0x79, A, FP, SAVED, 0);
            }
        } else {
            self.asm.op(0x61, dst, CTX, SKB_LEN, 0);
            if form.stripped {
                self.asm.op(0x04, dst, 0, 0, 4);
            }
        }
    }

    /// Loads from a fixed offset. False: it lies outside every frame, and a jump away was emitted.
    fn at(&mut self, form: Form, pc: usize, dst: u8, offset: u32, size: u32, bound: &mut u32) -> bool {
        let Some(end) = offset.checked_add(size).filter(|end| *end <= MAX_OFFSET) else {
            self.asm.jump(0x05, 0, 0, 0, Label::NoMatch);
            return false;
        };
        if !form.stripped || end <= 12 {
            self.packet(form, pc, dst, offset, size, bound);
        } else if offset >= 16 {
            self.packet(form, pc, dst, offset - 4, size, bound);
        } else if offset >= 12 && end <= 16 {
            self.tag(dst, 16 - end, size);
        } else if offset < 12 {
            // Some of the addresses, then some of the tag. There is no load of three bytes: take four that end at the same place.
            let (before, inside) = (12 - offset, end - 12);
            self.part(form, pc, 12, before, bound);
            self.asm.op(0x64, A, 0, 0, inside as i32 * 8);
            self.tag(1, 4 - inside, inside);
            self.asm.op(0x4c, A, 1, 0, 0);
        } else {
            // Some of the tag, then some of what follows it.
            let (inside, behind) = (16 - offset, end - 16);
            self.part(form, pc, 12 + behind, behind, bound);
            self.tag(1, 0, inside);
            self.asm.op(0x64, 1, 0, 0, behind as i32 * 8);
            self.asm.op(0x4c, A, 1, 0, 0);
        }
        true
    }

    /// The `size` bytes (1 to 3) of the packet that end at `end`, into A.
    fn part(&mut self, form: Form, pc: usize, end: u32, size: u32, bound: &mut u32) {
        if size == 3 {
            self.packet(form, pc, A, end - 4, 4, bound);
            self.asm.op(0x54, A, 0, 0, 0x00ff_ffff);
        } else {
            self.packet(form, pc, A, end - size, size, bound);
        }
    }

    /// `size` bytes of the tag with `behind` more after them.
    fn tag(&mut self, dst: u8, behind: u32, size: u32) {
        self.asm.op(0x61, dst, FP, TAG, 0);
        if behind > 0 {
            self.asm.op(0x74, dst, 0, 0, behind as i32 * 8);
        }
        if size < 4 {
            self.asm.op(0x54, dst, 0, 0, (1i32 << (size * 8)) - 1);
        }
    }

    /// Loads from X plus an offset into A. False: it lies outside every frame, and a jump away was emitted.
    fn at_x(&mut self, form: Form, pc: usize, offset: u32, size: u32, bound: u32) -> bool {
        if offset > MAX_OFFSET {
            self.asm.jump(0x05, 0, 0, 0, Label::NoMatch);
            return false;
        }
        self.asm.op(0xbc, 2, X, 0, 0);
        self.asm.op(0x07, 2, 0, 0, offset as i32);
        self.asm.jump(0x25, 2, 0, (MAX_OFFSET - size) as i32, Label::NoMatch);
        if !form.stripped {
            self.packet_at_r2(form, pc, size);
            return true;
        }
        // Only now is it known on which side of the tag the offset lies.
        let (behind, before, done) = (self.local(), self.local(), self.local());
        self.asm.jump(0x35, 2, 0, 16, behind);
        self.asm.jump(0xb5, 2, 0, 12 - size as i32, before);
        let cases: Vec<(u32, Label)> = (13 - size..16).map(|at| (at, self.local())).collect();
        for (at, label) in &cases {
            self.asm.jump(0x15, 2, 0, *at as i32, *label);
        }
        self.asm.jump(0x05, 0, 0, 0, Label::NoMatch);
        for (at, label) in cases {
            self.asm.place(label);
            // What is proved on one of these ways is not proved behind them.
            self.at(form, pc, A, at, size, &mut bound.clone());
            self.asm.jump(0x05, 0, 0, 0, done);
        }
        self.asm.place(before);
        self.packet_at_r2(form, pc, size);
        self.asm.jump(0x05, 0, 0, 0, done);
        self.asm.place(behind);
        self.asm.op(0x07, 2, 0, 0, -4);
        self.packet_at_r2(form, pc, size);
        self.asm.place(done);
        true
    }

    /// Loads from a fixed place in the packet as it is.
    fn packet(&mut self, form: Form, pc: usize, dst: u8, offset: u32, size: u32, bound: &mut u32) {
        match form.access {
            Access::Direct => {
                let end = offset + size;
                if end > *bound {
                    *bound = end;
                    self.asm.mov(1, DATA);
                    self.asm.op(0x07, 1, 0, 0, end as i32);
                    self.asm.jump(0x2d, 1, END, 0, Label::Pc(Form { access: Access::Call, ..form }, pc));
                }
                // Offsets in an instruction are signed 16 bit numbers.
                if let Ok(offset) = i16::try_from(offset) {
                    self.asm.op(0x61 | width(size), dst, DATA, offset, 0);
                } else {
                    self.asm.mov(1, DATA);
                    self.asm.op(0x07, 1, 0, 0, offset as i32);
                    self.asm.op(0x61 | width(size), dst, 1, 0, 0);
                }
                self.asm.big_endian(dst, size);
            }
            Access::Call => {
                self.asm.constant(2, offset);
                self.call(dst, size);
            }
            Access::LoadAbsolute if dst == A => self.asm.op(0x20 | width(size), 0, 0, 0, offset as i32),
            Access::LoadAbsolute => {
                self.asm.mov(DATA, A); // the result comes in R0
                self.asm.op(0x20 | width(size), 0, 0, 0, offset as i32);
                self.asm.mov(dst, 0);
                self.asm.mov(A, DATA);
            }
        }
    }

    /// Loads into A from the offset in R2, which is at most `MAX_OFFSET - size`.
    fn packet_at_r2(&mut self, form: Form, pc: usize, size: u32) {
        match form.access {
            Access::Direct => {
                self.asm.mov(1, DATA);
                self.asm.op(0x0f, 1, 2, 0, 0);
                self.asm.mov(3, 1);
                self.asm.op(0x07, 3, 0, 0, size as i32);
                self.asm.jump(0x2d, 3, END, 0, Label::Pc(Form { access: Access::Call, ..form }, pc));
                self.asm.op(0x61 | width(size), A, 1, 0, 0);
                self.asm.big_endian(A, size);
            }
            Access::Call => self.call(A, size),
            Access::LoadAbsolute => self.asm.op(0x40 | width(size), 0, 2, 0, 0),
        }
    }

    /// Loads from the offset in R2 through the kernel, which also knows the packet's fragments.
    fn call(&mut self, dst: u8, size: u32) {
        if dst != A {
            self.asm.op(0x7b, FP, A, SAVED, 0);
        }
        self.asm.mov(1, CTX);
        self.asm.mov(3, FP);
        self.asm.op(0x07, 3, 0, 0, i32::from(BUFFER));
        self.asm.constant(4, size);
        self.asm.op(0x85, 0, 0, 0, if self.hook == Hook::Xdp { BPF_XDP_LOAD_BYTES } else { BPF_SKB_LOAD_BYTES });
        self.asm.jump(0x55, 0, 0, 0, Label::NoMatch);
        self.asm.op(0x61 | width(size), dst, FP, BUFFER, 0);
        self.asm.big_endian(dst, size);
        if dst != A {
            self.asm.op(0x79, A, FP, SAVED, 0);
        }
    }

    fn local(&mut self) -> Label {
        self.locals += 1;
        Label::Local(self.locals)
    }
}

/// The place of a classic word of memory on the stack.
fn memory(slot: usize) -> i16 {
    -4 * (slot as i16 + 1)
}

/// The size bits of a load.
fn width(size: u32) -> u8 {
    match size {
        1 => 0x10,
        2 => 0x08,
        _ => 0x00,
    }
}
