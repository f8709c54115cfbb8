//! Compiles look-ups in sets.

use super::{
    A, Compiler, FP, Form, Label,
    tables::{Layout, Table, WORDS},
};
use crate::capture::filter::{
    assembler::{Comparison, R1, R2, R3, R4, Reg, RightOperand, Size},
    cbpf::{Key, LoadFrom},
};
use aya_obj::generated::{BPF_ADD, BPF_AND, BPF_LSH, BPF_MUL, BPF_RSH};

/// Offset on the stack, below `SAVED`, of the words of an IPv6 address.
const KEY: i16 = -104;

impl Compiler<'_> {
    /// Looks up the key in the set with the index `set` and jumps to `yes` or `no`. Returns false if the key lies beyond every frame; the
    /// code then jumps to `NoMatch`.
    pub(super) fn emit_member(&mut self, form: Form, pc: usize, key: Key, set: usize, [yes, no]: [usize; 2], bound: &mut u32) -> bool {
        let (yes, no) = (Label::Pc(form, yes), Label::Pc(form, no));
        if let Key::Ipv6At(offset) = key {
            for word in 0..WORDS {
                let from = LoadFrom::At { offset: offset.saturating_add(4 * word as u32), size: 4 };
                if !self.emit_load(form, pc, A, from, bound) {
                    return false;
                }
                self.asm.store(Size::Word, FP, key_word(word), A);
            }
        }
        let maps = self.maps;
        let Some(map) = maps.get(set) else {
            self.asm.jump(Label::NoMatch);
            return false;
        };
        match &map.layout {
            Layout::Bitmap => self.look_up_port(map.descriptor, yes, no),
            Layout::Tables(tables) => {
                for table in tables {
                    self.look_up_address(map.descriptor, table, yes);
                }
            }
        }
        self.asm.jump(no);
        true
    }

    fn look_up_port(&mut self, map: i32, yes: Label, no: Label) {
        self.asm.jump32_if(Comparison::Greater, A, RightOperand::Constant(0xffff), no);
        self.asm.mov32(R2, A);
        // The verifier must see the bound in this register.
        self.asm.alu32(BPF_AND, R2, RightOperand::Constant(0xffff));
        self.asm.mov32(R3, R2);
        self.asm.alu32(BPF_RSH, R2, RightOperand::Constant(5));
        self.asm.alu32(BPF_LSH, R2, RightOperand::Constant(2));
        self.asm.load_map_value(R1, map, 0);
        self.asm.add(R1, RightOperand::Reg(R2));
        self.asm.load(Size::Word, R1, R1, 0);
        self.asm.alu32(BPF_AND, R3, RightOperand::Constant(31));
        self.asm.alu32(BPF_RSH, R1, RightOperand::Reg(R3));
        self.asm.alu32(BPF_AND, R1, RightOperand::Constant(1));
        self.asm.jump32_if(Comparison::NotEqual, R1, RightOperand::Constant(0), yes);
    }

    /// Jumps to `yes` if the address is in `table`, and falls through otherwise.
    fn look_up_address(&mut self, map: i32, table: &Table, yes: Label) {
        let [join, first, second] = table.multipliers;
        // R2 = the hash of the key.
        self.masked_word(R2, table, 0);
        for word in 1..table.words() {
            self.asm.alu32(BPF_MUL, R2, RightOperand::Constant(join.cast_signed()));
            self.masked_word(R3, table, word);
            self.asm.alu32(BPF_ADD, R2, RightOperand::Reg(R3));
        }
        let place_len = (4 * table.words()).trailing_zeros();
        for multiplier in [first, second] {
            let other = self.new_local();
            self.asm.mov32(R3, R2);
            self.asm.alu32(BPF_MUL, R3, RightOperand::Constant(multiplier.cast_signed()));
            self.asm.alu32(BPF_RSH, R3, RightOperand::Constant(32 - table.bits.cast_signed()));
            self.asm.alu32(BPF_LSH, R3, RightOperand::Constant(place_len.cast_signed()));
            self.asm.load_map_value(R1, map, table.offset);
            self.asm.add(R1, RightOperand::Reg(R3));
            for word in 0..table.words() {
                let last = word + 1 == table.words();
                self.masked_word(R3, table, word);
                self.asm.load(Size::Word, R4, R1, 4 * word as i16);
                let (test, to) = if last { (Comparison::Equal, yes) } else { (Comparison::NotEqual, other) };
                self.asm.jump32_if(test, R4, RightOperand::Reg(R3), to);
            }
            self.asm.place(other);
        }
    }

    /// `dst` = a word of the key, without the bits that the table does not compare.
    fn masked_word(&mut self, dst: Reg, table: &Table, word: usize) {
        if table.words() == 1 {
            self.asm.mov32(dst, A);
        } else {
            self.asm.load(Size::Word, dst, FP, key_word(word));
        }
        let mask = table.mask.get(word).copied().unwrap_or(u32::MAX);
        if mask != u32::MAX {
            self.asm.alu32(BPF_AND, dst, RightOperand::Constant(mask.cast_signed()));
        }
    }
}

/// The offset on the stack of a word of the key.
fn key_word(word: usize) -> i16 {
    KEY + 4 * word as i16
}
