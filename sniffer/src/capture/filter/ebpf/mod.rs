//! Compiles classic BPF to an eBPF program for one kind of context (XDP, TC, packet socket). This module does not load the program.
//!
//! Registers: R0 = A, R7 = X, R6 = context, R8 and R9 = start and end of the directly readable bytes, R1 to R5 scratch.
//! The classic memory is on the stack. Each copy is compiled in one pass: jumps only go forward, so every edge into an
//! instruction is known before the instruction is compiled. `bounds[pc]`, the number of bytes proved readable at `pc`,
//! is the smallest over these edges, and a load checks the length only when it reads further.
//!
//! A program contains up to four copies of the classic program. A *raw* copy reads the frame as it is. A *stripped*
//! copy reads it as if the VLAN tag in the metadata were back in its place. Each has a *fast* variant that reads memory
//! directly, and a *slow* variant in which every load is a helper call that also reads the fragments of a packet. A
//! fast variant jumps to the slow one where the directly readable bytes end. `loads` has the code that depends on the
//! form; this file has the rest.

mod loads;
mod members;
mod tables;

pub use tables::{Layout, Table, table_of};

pub use super::assembler::{Insn, TooLong};

use super::{
    assembler::{Assembler, Comparison, R0, R1, R2, R3, R6, R7, R8, R9, R10, Reg, RightOperand, Size},
    cbpf::{Alu, LoadFrom, Op, Operand, Program, Register, ReturnValue},
};
use aya_obj::generated::{BPF_AND, BPF_LSH, BPF_OR, bpf_func_id};
use std::collections::BTreeSet;

/// The kind of context with which the kernel calls the program. It decides how packets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContextKind {
    /// `struct xdp_md`: VLAN tags are in the frame.
    Xdp,
    /// `struct __sk_buff` with direct packet access.
    Tc,
    /// `struct __sk_buff`, read by `LD_ABS` and `LD_IND`.
    Socket,
}

/// What the program does with a frame that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMatch {
    /// Calls the program at `slot` of the jump table with this file descriptor.
    TailCall {
        /// File descriptor of the jump table.
        table: i32,
        /// Index in the jump table.
        slot: u32,
    },
    /// Returns this value; for a packet socket it is the number of bytes to keep.
    Return(i32),
}

/// Parameters of the compilation.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The kind of context with which the kernel calls the program.
    pub context: ContextKind,
    /// Whether frames have a link header, and so may have a VLAN tag in the metadata.
    pub tags: bool,
    /// What the program does on a match.
    pub on_match: OnMatch,
    /// The return value for a frame that does not match.
    pub no_match: i32,
    /// Whether the program sees only outgoing packets, as on TC egress. There the kernel has not marked the packets as outgoing.
    pub outgoing: bool,
}

/// The map of a set of the program.
#[derive(Clone, Debug)]
pub struct SetMap {
    /// File descriptor of an array with one entry.
    pub descriptor: i32,
    /// The layout of the entry, which [`table_of`] gave with its bytes.
    pub layout: Layout,
}

/// Why a program cannot be compiled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A jump would be too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The kernel does not run a program with loops or too many instructions.
    #[error("{0}")]
    UserSpace(&'static str),
}

const A: Reg = R0;
const CTX: Reg = R6;
const X: Reg = R7;
const DATA: Reg = R8;
const END: Reg = R9;
const FP: Reg = R10;

// Offset on the stack, below the classic memory: the tag in the metadata, TPID and TCI, as one 32-bit number.
const TAG: i16 = -72;

/// Offsets of the fields of `struct __sk_buff` (`linux/bpf.h`) in bytes.
mod sk_buff {
    pub const LEN: i16 = 0;
    pub const PKT_TYPE: i16 = 4;
    pub const VLAN_PRESENT: i16 = 20;
    pub const VLAN_TCI: i16 = 24;
    pub const VLAN_PROTO: i16 = 28;
    pub const IFINDEX: i16 = 40;
    pub const DATA: i16 = 76;
    pub const DATA_END: i16 = 80;
}

/// Offsets of the fields of `struct xdp_md` (`linux/bpf.h`) in bytes.
mod xdp_md {
    pub const DATA: i16 = 0;
    pub const DATA_END: i16 = 4;
    pub const INGRESS_IFINDEX: i16 = 12;
}

/// How a copy of the program reads packet bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Access {
    Direct,
    Call,
    LoadAbsolute,
}

/// The variant of one copy of the classic program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Form {
    stripped: bool,
    access: Access,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Label {
    /// An instruction of the classic program, in one of its copies.
    Pc(Form, usize),
    /// A position within the code of one instruction.
    Local(usize),
    /// Start of the copies for frames with a tag in the metadata.
    Stripped,
    Match,
    NoMatch,
}

struct Compiler<'a> {
    program: &'a Program,
    /// The maps of the program's sets.
    maps: &'a [SetMap],
    context: ContextKind,
    /// Whether the program sees outgoing packets only, see [`Target::outgoing`].
    outgoing: bool,
    asm: Assembler<Label>,
    /// Number of [`Label::Local`] labels that were made until now.
    locals: usize,
}

/// Compiles `program` for `target`. `maps` are those of the program's sets, in their order.
///
/// # Errors
/// When the program has loops, or is too long for the kernel or for eBPF jumps.
pub fn compile(program: &Program, target: &Target, maps: &[SetMap]) -> Result<Vec<Insn>, Error> {
    compile_as(program, target, maps, TestConditions::default())
}

/// Conditions that tests force because a test run cannot produce them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TestConditions {
    /// Assume that no byte is directly readable.
    pub slow: bool,
    /// Assume that this tag (TPID and TCI) is in the metadata.
    pub tag: Option<u32>,
}

pub(super) fn compile_as(program: &Program, target: &Target, maps: &[SetMap], forced: TestConditions) -> Result<Vec<Insn>, Error> {
    if let Some(reason) = program.only_in_user_space() {
        return Err(Error::UserSpace(reason));
    }
    let mut compiler = Compiler { program, maps, context: target.context, outgoing: target.outgoing, asm: Assembler::new(), locals: 0 };
    compiler.emit_program(target, forced);
    Ok(compiler.asm.resolve_jumps()?)
}

impl Compiler<'_> {
    /// Emits the whole program: setup, all copies, and the code for a match and for no match.
    fn emit_program(&mut self, target: &Target, forced: TestConditions) {
        self.asm.mov(CTX, R1);
        let access = match target.context {
            ContextKind::Socket => Access::LoadAbsolute,
            _ if forced.slow => Access::Call,
            _ => Access::Direct,
        };
        if access == Access::Direct {
            let (data, end) = match target.context {
                ContextKind::Xdp => (xdp_md::DATA, xdp_md::DATA_END),
                ContextKind::Tc | ContextKind::Socket => (sk_buff::DATA, sk_buff::DATA_END),
            };
            self.asm.load(Size::Word, DATA, CTX, data);
            self.asm.load(Size::Word, END, CTX, end);
        }
        self.asm.constant(A, 0);
        self.asm.constant(X, 0);
        // The verifier requires that memory is written before it is read, on every path.
        let read: BTreeSet<usize> = self
            .program
            .ops()
            .iter()
            .filter_map(|op| if let Op::Load { from: LoadFrom::Memory(slot), .. } = op { Some(*slot) } else { None })
            .collect();
        for slot in read {
            self.asm.store_constant(Size::Word, FP, memory(slot), 0);
        }
        match forced.tag {
            Some(tag) => {
                self.asm.store_constant(Size::Word, FP, TAG, tag as i32);
                self.emit_form(Form { stripped: true, access });
            }
            None => self.emit_forms(target, access),
        }
        // The verifier rejects unreachable code, so `Match` is emitted only if something jumps to it.
        if self.asm.targets().any(|label| label == Label::Match) {
            self.asm.place(Label::Match);
            match target.on_match {
                OnMatch::TailCall { table, slot } => {
                    self.asm.mov(R1, CTX);
                    self.asm.load_map(R2, table);
                    self.asm.constant(R3, slot);
                    self.asm.call(bpf_func_id::BPF_FUNC_tail_call);
                    // The code after the call runs only if the slot is empty or the tail-call limit is reached.
                }
                OnMatch::Return(value) => self.asm.return_constant(value),
            }
        }
        self.asm.place(Label::NoMatch);
        self.asm.return_constant(target.no_match);
    }

    /// Emits the raw copies and, if frames can have a tag in the metadata, the stripped ones.
    fn emit_forms(&mut self, target: &Target, access: Access) {
        let stripped = target.tags && target.context != ContextKind::Xdp;
        if stripped {
            self.asm.load(Size::Word, R1, CTX, sk_buff::VLAN_PRESENT);
            self.asm.jump_if(Comparison::NotEqual, R1, RightOperand::Constant(0), Label::Stripped);
        }
        self.emit_form(Form { stripped: false, access });
        if stripped {
            self.asm.place(Label::Stripped);
            self.asm.load(Size::Word, R1, CTX, sk_buff::VLAN_PROTO);
            self.asm.big_endian(R1, 2);
            self.asm.alu32(BPF_LSH, R1, RightOperand::Constant(16));
            self.asm.load(Size::Word, R2, CTX, sk_buff::VLAN_TCI);
            self.asm.alu32(BPF_AND, R2, RightOperand::Constant(0xffff));
            self.asm.alu32(BPF_OR, R1, RightOperand::Reg(R2));
            self.asm.store(Size::Word, FP, TAG, R1);
            self.emit_form(Form { stripped: true, access });
        }
    }

    /// Emits a fast copy and, if loads jump out of it, the slow copy with entries at those loads.
    fn emit_form(&mut self, form: Form) {
        self.emit_copy(form, &BTreeSet::from([0]));
        let slow = Form { access: Access::Call, ..form };
        let entries: BTreeSet<usize> =
            self.asm.targets().filter_map(|label| if let Label::Pc(to, pc) = label { (to == slow).then_some(pc) } else { None }).collect();
        if form.access == Access::Direct && !entries.is_empty() {
            self.emit_copy(slow, &entries);
        }
    }

    /// Emits one copy of the classic program, without the instructions that cannot be reached from `entries`.
    fn emit_copy(&mut self, form: Form, entries: &BTreeSet<usize>) {
        let ops = self.program.ops();
        // Bytes proved readable at each instruction on every path to it; `None` if no path leads there.
        let mut bounds: Vec<Option<u32>> = (0..ops.len()).map(|pc| entries.contains(&pc).then_some(0)).collect();
        for (pc, op) in ops.iter().enumerate() {
            let Some(mut bound) = bounds.get(pc).copied().flatten() else { continue };
            self.asm.place(Label::Pc(form, pc));
            let next = self.emit_op(form, pc, *op, &mut bound);
            for to in next.into_iter().flatten() {
                if let Some(known) = bounds.get_mut(to) {
                    *known = Some(known.map_or(bound, |b| b.min(bound)));
                }
            }
        }
    }

    /// Emits one instruction. Returns the indices of the instructions that may follow.
    fn emit_op(&mut self, form: Form, pc: usize, op: Op, bound: &mut u32) -> [Option<usize>; 2] {
        let fall = [Some(pc + 1), None];
        match op {
            Op::Load { to, from } => {
                if self.emit_load(form, pc, register(to), from, bound) {
                    fall
                } else {
                    [None; 2]
                }
            }
            Op::Store { register: source, slot } => {
                self.asm.store(Size::Word, FP, memory(slot), register(source));
                fall
            }
            Op::Alu { op, by } => {
                self.emit_alu(op, by);
                fall
            }
            Op::Negate => {
                self.asm.negate32(A);
                fall
            }
            Op::Move { to } => {
                let (dst, src) = if to == Register::A { (A, X) } else { (X, A) };
                self.asm.mov32(dst, src);
                fall
            }
            Op::Jump { to } => {
                self.asm.jump(Label::Pc(form, to));
                [Some(to), None]
            }
            Op::Branch { test, with, yes, no } => {
                // Classic comparisons are unsigned and of 32 bits.
                self.asm.jump32_if(Comparison::Classic(test as u8), A, operand(with), Label::Pc(form, yes));
                if no != pc + 1 {
                    self.asm.jump(Label::Pc(form, no));
                }
                [Some(yes), Some(no)]
            }
            Op::Member { key, set, yes, no } => {
                if self.emit_member(form, pc, key, set, [yes, no], bound) {
                    [Some(yes), Some(no)]
                } else {
                    [None; 2]
                }
            }
            Op::Return(value) => {
                match value {
                    ReturnValue::Constant(0) => self.asm.jump(Label::NoMatch),
                    ReturnValue::Constant(_) => self.asm.jump(Label::Match),
                    ReturnValue::A => {
                        self.asm.jump32_if(Comparison::NotEqual, A, RightOperand::Constant(0), Label::Match);
                        self.asm.jump(Label::NoMatch);
                    }
                }
                [None; 2]
            }
        }
    }

    fn emit_alu(&mut self, op: Alu, by: Operand) {
        if by == Operand::X {
            match op {
                Alu::Div | Alu::Mod => self.asm.jump32_if(Comparison::Equal, X, RightOperand::Constant(0), Label::NoMatch),
                Alu::Lsh | Alu::Rsh => {
                    // eBPF masks the shift count to 5 bits, where classic BPF returns 0.
                    let (allowed, done) = (self.new_local(), self.new_local());
                    self.asm.jump32_if(Comparison::LessOrEqual, X, RightOperand::Constant(31), allowed);
                    self.asm.constant(A, 0);
                    self.asm.jump(done);
                    self.asm.place(allowed);
                    self.asm.alu32(op as u32, A, RightOperand::Reg(X));
                    self.asm.place(done);
                    return;
                }
                _ => {}
            }
        }
        self.asm.alu32(op as u32, A, operand(by));
    }

    fn new_local(&mut self) -> Label {
        self.locals += 1;
        Label::Local(self.locals)
    }
}

/// The eBPF register that holds a classic register.
fn register(register: Register) -> Reg {
    match register {
        Register::A => A,
        Register::X => X,
    }
}

fn operand(operand: Operand) -> RightOperand {
    match operand {
        Operand::K(k) => RightOperand::Constant(k as i32),
        Operand::X => RightOperand::Reg(X),
    }
}

/// The stack offset of a word of classic memory.
fn memory(slot: usize) -> i16 {
    -4 * (slot as i16 + 1)
}
