//! Compiles the loads of a classic program: loads from a fixed offset, loads from a computed offset, and loads of the frame's length. A
//! load may lie before, in or after a VLAN tag that is in the metadata.

use super::{A, Access, CTX, Compiler, ContextKind, DATA, END, FP, Form, Label, TAG, X, memory, sk_buff, xdp_md};
use crate::capture::filter::{
    assembler::{Comparison, R0, R1, R2, R3, R4, Reg, RightOperand, Size},
    cbpf::LoadFrom,
};
use aya_obj::generated::{BPF_ADD, BPF_AND, BPF_LSH, BPF_OR, BPF_RSH, bpf_func_id};

// Offset on the stack, below `TAG`: the buffer into which a helper call copies packet bytes.
const BUFFER: i16 = -80;
/// Offset on the stack: A is saved here while R0, the register of A, holds the result of a call.
const SAVED: i16 = -88;

/// Types of packets (`linux/if_packet.h`).
const PACKET_HOST: u32 = 0;
const PACKET_OUTGOING: u32 = 4;

/// Largest offset that is read: the verifier tracks packet pointers up to this offset, and no frame is longer.
const MAX_OFFSET: u32 = 0xffff;
/// Offset in the frame at which the tag in the metadata is read: after the two MAC addresses.
const TAG_START: u32 = 12;
/// Offset of the first byte after the tag.
const TAG_END: u32 = 16;
const TAG_LEN: u32 = TAG_END - TAG_START;

impl Compiler<'_> {
    /// Loads into `dst`. Returns false if the offset is beyond every frame; the code then jumps to `NoMatch`.
    pub(super) fn emit_load(&mut self, form: Form, pc: usize, dst: Reg, from: LoadFrom, bound: &mut u32) -> bool {
        match from {
            LoadFrom::Constant(k) => self.asm.constant(dst, k),
            LoadFrom::Memory(slot) => self.asm.load(Size::Word, dst, FP, memory(slot)),
            LoadFrom::Length => self.load_length(form, dst),
            LoadFrom::PacketType => match self.context {
                ContextKind::Xdp => self.asm.constant(dst, PACKET_HOST),
                ContextKind::Tc if self.outgoing => self.asm.constant(dst, PACKET_OUTGOING),
                ContextKind::Tc | ContextKind::Socket => self.asm.load(Size::Word, dst, CTX, sk_buff::PKT_TYPE),
            },
            LoadFrom::Interface => {
                let field = if self.context == ContextKind::Xdp { xdp_md::INGRESS_IFINDEX } else { sk_buff::IFINDEX };
                self.asm.load(Size::Word, dst, CTX, field);
            }
            LoadFrom::At { offset, size } => return self.load_at(form, pc, dst, offset, size, bound),
            LoadFrom::AtX { offset, size } => return self.load_at_x(form, pc, offset, size, *bound),
            LoadFrom::HeaderLength { offset } => {
                if !self.load_at(form, pc, X, offset, 1, bound) {
                    return false;
                }
                self.asm.alu32(BPF_AND, X, RightOperand::Constant(15));
                self.asm.alu32(BPF_LSH, X, RightOperand::Constant(2));
            }
        }
        true
    }

    fn load_length(&mut self, form: Form, dst: Reg) {
        if self.context == ContextKind::Xdp {
            if dst == X {
                self.asm.store(Size::Double, FP, SAVED, A);
            }
            self.asm.mov(R1, CTX);
            self.asm.call(bpf_func_id::BPF_FUNC_xdp_get_buff_len);
            if dst == X {
                self.asm.mov32(X, R0);
                self.asm.load(Size::Double, A, FP, SAVED);
            }
        } else {
            self.asm.load(Size::Word, dst, CTX, sk_buff::LEN);
            if form.stripped {
                self.asm.alu32(BPF_ADD, dst, RightOperand::Constant(TAG_LEN as i32));
            }
        }
    }

    /// Loads from a fixed offset. Returns false if the offset is beyond every frame; the code then jumps to `NoMatch`.
    fn load_at(&mut self, form: Form, pc: usize, dst: Reg, offset: u32, size: u32, bound: &mut u32) -> bool {
        let Some(end) = offset.checked_add(size).filter(|end| *end <= MAX_OFFSET) else {
            self.asm.jump(Label::NoMatch);
            return false;
        };
        if !form.stripped || end <= TAG_START {
            self.load_packet(form, pc, dst, offset, size, bound);
        } else if offset >= TAG_END {
            self.load_packet(form, pc, dst, offset - TAG_LEN, size, bound);
        } else if offset >= TAG_START && end <= TAG_END {
            self.load_tag(dst, TAG_END - end, size);
        } else if offset < TAG_START {
            // The load begins in the MAC addresses and ends in the tag. There is no load of three
            // bytes, so `load_bytes_ending_at` loads four bytes with the same end.
            let (before, inside) = (TAG_START - offset, end - TAG_START);
            self.load_bytes_ending_at(form, pc, TAG_START, before, bound);
            self.asm.alu32(BPF_LSH, A, RightOperand::Constant(inside as i32 * 8));
            self.load_tag(R1, TAG_LEN - inside, inside);
            self.asm.alu32(BPF_OR, A, RightOperand::Reg(R1));
        } else {
            // The load begins in the tag and ends after it.
            let (inside, behind) = (TAG_END - offset, end - TAG_END);
            self.load_bytes_ending_at(form, pc, TAG_START + behind, behind, bound);
            self.load_tag(R1, 0, inside);
            self.asm.alu32(BPF_LSH, R1, RightOperand::Constant(behind as i32 * 8));
            self.asm.alu32(BPF_OR, A, RightOperand::Reg(R1));
        }
        true
    }

    /// Loads the `size` bytes (1 to 3) of the packet that end before offset `end` into A.
    fn load_bytes_ending_at(&mut self, form: Form, pc: usize, end: u32, size: u32, bound: &mut u32) {
        if size == 3 {
            self.load_packet(form, pc, A, end - 4, 4, bound);
            self.asm.alu32(BPF_AND, A, RightOperand::Constant(0x00ff_ffff));
        } else {
            self.load_packet(form, pc, A, end - size, size, bound);
        }
    }

    /// Loads `size` bytes of the tag, which are followed by `behind` more bytes of the tag.
    fn load_tag(&mut self, dst: Reg, behind: u32, size: u32) {
        self.asm.load(Size::Word, dst, FP, TAG);
        if behind > 0 {
            self.asm.alu32(BPF_RSH, dst, RightOperand::Constant(behind as i32 * 8));
        }
        if size < TAG_LEN {
            self.asm.alu32(BPF_AND, dst, RightOperand::Constant((1i32 << (size * 8)) - 1));
        }
    }

    /// Loads from the offset X + `offset` into A. Returns false if this offset is beyond every frame; the code then jumps to `NoMatch`.
    fn load_at_x(&mut self, form: Form, pc: usize, offset: u32, size: u32, bound: u32) -> bool {
        if offset > MAX_OFFSET {
            self.asm.jump(Label::NoMatch);
            return false;
        }
        self.asm.mov32(R2, X);
        self.asm.add(R2, RightOperand::Constant(offset as i32));
        self.asm.jump_if(Comparison::Greater, R2, RightOperand::Constant((MAX_OFFSET - size) as i32), Label::NoMatch);
        if !form.stripped {
            self.load_packet_at_r2(form, pc, size);
            return true;
        }
        // The offset is known only at run time, so the program itself tests whether it lies before, in or after the
        // tag.
        let (behind, before, done) = (self.new_local(), self.new_local(), self.new_local());
        self.asm.jump_if(Comparison::GreaterOrEqual, R2, RightOperand::Constant(TAG_END as i32), behind);
        self.asm.jump_if(Comparison::LessOrEqual, R2, RightOperand::Constant(TAG_START as i32 - size as i32), before);
        let cases: Vec<(u32, Label)> = (TAG_START + 1 - size..TAG_END).map(|at| (at, self.new_local())).collect();
        for (at, label) in &cases {
            self.asm.jump_if(Comparison::Equal, R2, RightOperand::Constant(*at as i32), *label);
        }
        self.asm.jump(Label::NoMatch);
        for (at, label) in cases {
            self.asm.place(label);
            // A bound that is proved on one of these branches does not hold after the branches join, so each branch gets its own copy.
            self.load_at(form, pc, A, at, size, &mut bound.clone());
            self.asm.jump(done);
        }
        self.asm.place(before);
        self.load_packet_at_r2(form, pc, size);
        self.asm.jump(done);
        self.asm.place(behind);
        self.asm.add(R2, RightOperand::Constant(-(TAG_LEN as i32)));
        self.load_packet_at_r2(form, pc, size);
        self.asm.place(done);
        true
    }

    /// Loads from a fixed offset of the packet, without regard to a stripped tag.
    fn load_packet(&mut self, form: Form, pc: usize, dst: Reg, offset: u32, size: u32, bound: &mut u32) {
        let width = Size::of_bytes(size);
        match form.access {
            Access::Direct => {
                let end = offset + size;
                if end > *bound {
                    *bound = end;
                    self.asm.mov(R1, DATA);
                    self.asm.add(R1, RightOperand::Constant(end as i32));
                    self.asm.jump_if(Comparison::Greater, R1, RightOperand::Reg(END), Label::Pc(Form { access: Access::Call, ..form }, pc));
                }
                // The offset of an instruction is a signed 16-bit number.
                if let Ok(offset) = i16::try_from(offset) {
                    self.asm.load(width, dst, DATA, offset);
                } else {
                    self.asm.mov(R1, DATA);
                    self.asm.add(R1, RightOperand::Constant(offset as i32));
                    self.asm.load(width, dst, R1, 0);
                }
                self.asm.big_endian(dst, size);
            }
            Access::Call => {
                self.asm.constant(R2, offset);
                self.call_load_bytes(dst, size);
            }
            Access::LoadAbsolute if dst == A => self.asm.load_absolute(width, offset),
            Access::LoadAbsolute => {
                self.asm.mov(DATA, A); // save A: the result of the load is in R0
                self.asm.load_absolute(width, offset);
                self.asm.mov(dst, R0);
                self.asm.mov(A, DATA);
            }
        }
    }

    /// Loads into A from the offset in R2, which is at most `MAX_OFFSET - size`.
    fn load_packet_at_r2(&mut self, form: Form, pc: usize, size: u32) {
        let width = Size::of_bytes(size);
        match form.access {
            Access::Direct => {
                self.asm.mov(R1, DATA);
                self.asm.add(R1, RightOperand::Reg(R2));
                self.asm.mov(R3, R1);
                self.asm.add(R3, RightOperand::Constant(size as i32));
                self.asm.jump_if(Comparison::Greater, R3, RightOperand::Reg(END), Label::Pc(Form { access: Access::Call, ..form }, pc));
                self.asm.load(width, A, R1, 0);
                self.asm.big_endian(A, size);
            }
            Access::Call => self.call_load_bytes(A, size),
            Access::LoadAbsolute => self.asm.load_indirect(width, R2),
        }
    }

    /// Loads from the offset in R2 by a helper call, which also reads the fragments of a nonlinear packet.
    fn call_load_bytes(&mut self, dst: Reg, size: u32) {
        if dst != A {
            self.asm.store(Size::Double, FP, SAVED, A);
        }
        self.asm.mov(R1, CTX);
        self.asm.mov(R3, FP);
        self.asm.add(R3, RightOperand::Constant(BUFFER.into()));
        self.asm.constant(R4, size);
        self.asm.call(match self.context {
            ContextKind::Xdp => bpf_func_id::BPF_FUNC_xdp_load_bytes,
            ContextKind::Tc | ContextKind::Socket => bpf_func_id::BPF_FUNC_skb_load_bytes,
        });
        self.asm.jump_if(Comparison::NotEqual, R0, RightOperand::Constant(0), Label::NoMatch);
        self.asm.load(Size::of_bytes(size), dst, FP, BUFFER);
        self.asm.big_endian(dst, size);
        if dst != A {
            self.asm.load(Size::Double, A, FP, SAVED);
        }
    }
}
