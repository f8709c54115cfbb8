//! Classic BPF programs: compiles expressions through libpcap, checks and decodes them (`decode`), and runs them
//! (`interpreter`).
//!
//! The machine is that of libpcap's `bpf_filter` and of the kernel's `Documentation/networking/filter.rst`: an
//! accumulator A, an index register X, sixteen words of memory, and forward jumps only. A load outside the frame ends
//! the program without a match. libpcap also makes programs that the kernel does not run, because they have loops
//! (`protochain`) or are too long; the interpreter runs them. One instruction is not libpcap's: [`Op::Member`] looks up a value in a set.

mod decode;
mod interpreter;
mod set;
mod tags;

pub use set::{Set, Values};

use crate::capture::Link;
use aya_obj::generated::{
    BPF_ADD, BPF_AND, BPF_DIV, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JSET, BPF_LSH, BPF_MAXINSNS, BPF_MOD, BPF_MUL, BPF_OR, BPF_RSH, BPF_SUB,
    BPF_XOR,
};
use decode::decode;
use pcap::{Capture, Linktype};

/// One instruction in the kernel's layout (`struct sock_filter`), in native byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The opcode: class, mode, size and operation.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jt: u8,
    /// Instructions to skip when the comparison does not hold.
    pub jf: u8,
    /// The constant operand.
    pub k: u32,
}

/// Largest number of instructions in a program for the kernel: its `BPF_MAXINSNS`.
pub const MAX_INSTRUCTIONS: usize = BPF_MAXINSNS as usize;
/// Largest number of instructions that the interpreter takes.
const MAX_INTERPRETED: usize = 1 << 20;
/// Number of 32-bit words of memory: `BPF_MEMWORDS`.
pub const MEMORY: usize = 16;

/// Why a program was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// libpcap refused the expression.
    #[error("filter `{text}`: {reason}")]
    Expression {
        /// The filter expression that was refused.
        text: String,
        /// libpcap's message.
        reason: String,
    },
    /// An instruction that is invalid or not supported.
    #[error("classic BPF instruction {at}: {what}")]
    Instruction {
        /// Index of the instruction.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// A register of the classic machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// The accumulator A.
    A,
    /// The index register.
    X,
}

/// The operand of a load. Sizes are 1, 2 or 4 bytes; frames are read in big-endian order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadFrom {
    /// A constant of the instruction.
    Constant(u32),
    /// The word of memory with this index.
    Memory(usize),
    /// The length of the frame on the wire.
    Length,
    /// The kernel's type of the packet, for `inbound` and `outbound`: `PACKET_OUTGOING` (4) or another one.
    PacketType,
    /// The index of the interface.
    Interface,
    /// The bytes of the frame at a fixed offset.
    At {
        /** From the frame's beginning. */
        offset: u32,
        /** In bytes. */
        size: u32,
    },
    /// The bytes of the frame at X plus an offset.
    AtX {
        /** Added to X. */
        offset: u32,
        /** In bytes. */
        size: u32,
    },
    /// Four times the low four bits of a byte: how the length of an IPv4 header is computed.
    HeaderLength {
        /** From the frame's beginning. */
        offset: u32,
    },
}

/// The second operand of arithmetic and comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The constant of the instruction.
    K(u32),
    /// The index register.
    X,
}

/// A 32-bit wrapping operation on A. The discriminants are the operation bits of the instruction code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum Alu {
    Add = BPF_ADD as u8,
    Sub = BPF_SUB as u8,
    Mul = BPF_MUL as u8,
    /// Division by zero ends the program without a match.
    Div = BPF_DIV as u8,
    Or = BPF_OR as u8,
    And = BPF_AND as u8,
    /// A shift by 32 or more gives 0.
    Lsh = BPF_LSH as u8,
    /// A shift by 32 or more gives 0.
    Rsh = BPF_RSH as u8,
    /// Division by zero ends the program without a match.
    Mod = BPF_MOD as u8,
    Xor = BPF_XOR as u8,
}

/// An unsigned comparison of A. The discriminants are the operation bits of the instruction code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum Test {
    Equal = BPF_JEQ as u8,
    Greater = BPF_JGT as u8,
    GreaterOrEqual = BPF_JGE as u8,
    /// True when A and the operand have a set bit in common.
    Set = BPF_JSET as u8,
}

/// A decoded instruction. Jump targets are absolute indices. They lie after the instruction, except those of
/// [`Op::Jump`] in a program with loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Load {
        to: Register,
        from: LoadFrom,
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
    /// Continues at `yes` if the set with this index contains the key, otherwise at `no`.
    Member {
        key: Key,
        set: usize,
        yes: usize,
        no: usize,
    },
    Return(ReturnValue),
    /// Copies the other register to `to`.
    Move {
        to: Register,
    },
}

/// The value that is looked up in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The accumulator: a port or an IPv4 address. The look-up does not change it.
    A,
    /// The 16 bytes of the frame at this offset: an IPv6 address. The accumulator is undefined afterwards.
    Ipv6At(u32),
}

/// The return value of a program: 0 means that the frame does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ReturnValue {
    Constant(u32),
    A,
}

/// A checked program: every jump, memory index and offset is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    ops: Vec<Op>,
    /// The sets that [`Op::Member`] looks up.
    sets: Vec<Set>,
    /// Why the kernel does not run the program; `None` if it does.
    user_space: Option<&'static str>,
}

impl Program {
    /// Checks and decodes a program.
    ///
    /// # Errors
    /// When the program is empty or too long, or an instruction is not classic BPF or is a Linux extension (a negative
    /// offset) other than packet type and interface.
    pub fn new(raw: &[Instruction]) -> Result<Self, Error> {
        if raw.is_empty() || raw.len() > MAX_INTERPRETED {
            return Err(Error::Instruction { at: raw.len(), what: "a program has 1 to 1048576 instructions" });
        }
        let ops = raw.iter().enumerate().map(|(at, instruction)| decode(at, *instruction, raw.len())).collect::<Result<Vec<_>, _>>()?;
        match ops.last() {
            Some(Op::Return(_)) => Ok(Self::of(ops, Vec::new())),
            _ => Err(Error::Instruction { at: raw.len() - 1, what: "the last instruction does not return" }),
        }
    }

    fn of(ops: Vec<Op>, sets: Vec<Set>) -> Self {
        let loops = ops.iter().enumerate().any(|(at, op)| matches!(op, Op::Jump { to } if *to <= at));
        let user_space = match ops.len() {
            _ if loops => Some("it has a loop, which the kernel does not run"),
            MAX_INSTRUCTIONS.. if ops.len() > MAX_INSTRUCTIONS => Some("it has more than 4096 instructions"),
            _ => None,
        };
        Self { ops, sets, user_space }
    }

    /// A program whose instructions look up `sets`. `None` if an instruction names a set that does not exist, or continues outside the
    /// program.
    pub(super) fn with_sets(ops: Vec<Op>, sets: Vec<Set>) -> Option<Self> {
        let len = ops.len();
        let valid = ops.iter().all(|op| match *op {
            Op::Member { set, yes, no, .. } => set < sets.len() && yes < len && no < len,
            Op::Branch { yes, no, .. } => yes < len && no < len,
            Op::Jump { to } => to < len,
            _ => true,
        });
        (valid && matches!(ops.last(), Some(Op::Return(_)))).then(|| Self::of(ops, sets))
    }

    /// The program that matches no frame.
    pub fn nothing() -> Self {
        Self::constant(0)
    }

    /// The program that matches every frame.
    pub fn everything() -> Self {
        Self::constant(u32::MAX)
    }

    fn constant(k: u32) -> Self {
        Self { ops: vec![Op::Return(ReturnValue::Constant(k))], sets: Vec::new(), user_space: None }
    }

    /// Compiles the pcap-filter(7) expression `text` with libpcap, for frames that begin with `link`.
    ///
    /// # Errors
    /// When libpcap refuses the expression.
    pub fn compile(text: &str, link: Link) -> Result<Self, Error> {
        Self::compile_with(text, link, true)
    }

    /// Like [`Self::compile`]; `optimize` tells whether libpcap optimises the program.
    ///
    /// # Errors
    /// When libpcap refuses the expression.
    pub fn compile_with(text: &str, link: Link, optimize: bool) -> Result<Self, Error> {
        Self::new(&instructions(text, link, optimize)?)
    }

    /// Why the kernel does not run this program; `None` if it does.
    pub fn only_in_user_space(&self) -> Option<&'static str> {
        self.user_space
    }

    /// Whether the program reads metadata that only the kernel has: the packet's direction or interface.
    pub fn reads_metadata(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::Load { from: LoadFrom::PacketType | LoadFrom::Interface, .. }))
    }

    /// The decoded instructions.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The sets that the instructions look up.
    pub fn sets(&self) -> &[Set] {
        &self.sets
    }
}

/// Compiles the pcap-filter(7) expression `text` with libpcap, for frames that begin with `link`. Returns the instructions as the kernel and
/// libpcap encode them.
///
/// # Errors
/// When libpcap refuses the expression.
pub fn instructions(text: &str, link: Link, optimize: bool) -> Result<Vec<Instruction>, Error> {
    let refused = |e: pcap::Error| Error::Expression { text: text.to_owned(), reason: e.to_string() };
    let linktype = match link {
        Link::Ethernet => Linktype::ETHERNET,
        Link::RawIp => Linktype(12), // DLT_RAW: libpcap's compiler requires this number; capture files have 101
        Link::LinuxSll => Linktype::LINUX_SLL,
        Link::LinuxSll2 => Linktype::LINUX_SLL2,
        Link::Null => Linktype::NULL,
    };
    let dead = Capture::dead(linktype).map_err(refused)?;
    let program = dead.compile(text, optimize).map_err(refused)?;
    let raw: Option<Vec<_>> = program.get_instructions().iter().map(|i| instruction(&i.to_string())).collect();
    raw.ok_or(Error::Instruction { at: 0, what: "libpcap returned it in an unknown text form" })
}

/// Parses an instruction from the text that the `pcap` crate gives: code, jt, jf and k in decimal.
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

#[cfg(test)]
mod tests {
    use super::*;

    const RETURN: Instruction = Instruction { code: 6, jt: 0, jf: 0, k: 1 };

    fn load(code: u16, k: u32) -> Instruction {
        Instruction { code, jt: 0, jf: 0, k }
    }

    #[test]
    fn invalid_programs_are_refused() {
        let cases = [
            (vec![], "1 to 1048576"),
            (vec![load(0x20, 0xffff_f01c), RETURN], "Linux extension for packet sockets"),
            (vec![load(0x60, 16), RETURN], "memory index out of range"),
            (vec![load(0x34, 0), RETURN], "divides by zero"),
            (vec![load(0x64, 32), RETURN], "shifts"),
            (vec![load(5, 1), RETURN], "past the end"),
            (vec![load(0x20, 0)], "does not return"),
        ];
        for (raw, want) in cases {
            let got = Program::new(&raw).unwrap_err().to_string();
            assert!(got.contains(want), "{raw:?}: want `{want}`, have `{got}`");
        }
    }

    #[test]
    fn errors_of_libpcap_are_passed_on() {
        let error = Program::compile("tcp prot 80", Link::Ethernet).unwrap_err().to_string();
        assert!(error.starts_with("filter `tcp prot 80`: "), "{error}");
    }
}
