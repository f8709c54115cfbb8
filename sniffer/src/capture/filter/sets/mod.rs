//! Compiles pcap-filter(7) expressions with long lists of ports, hosts or networks to programs that look up sets.
//!
//! libpcap compiles a list to one comparison after the other, and its optimiser needs seconds for some hundred of them. Here each list is
//! replaced by a test for one placeholder value ([`group`]), libpcap compiles this short expression, and then the comparisons with the
//! placeholder become look-ups in the set of the list's values. To be sure which comparisons these are, the expression is compiled with two
//! values for each placeholder: only the comparisons with placeholders differ. An expression that is not understood ([`parse`]) is compiled
//! by libpcap as it is.

mod group;
mod parse;
#[cfg(test)]
mod tests;

use super::cbpf::{Error, Key, LoadFrom, Op, Operand, Program, Register, ReturnValue, Test, Values};
use crate::capture::Link;
use group::{Grouped, Variant, group, placeholder};
use parse::parse;

/// Longest expression, in bytes, that libpcap optimises as it is. The time of its optimiser grows with the square of the length.
const MOST_OPTIMIZED: usize = 4096;

/// Whether libpcap is to optimise the program of `expression`.
pub fn is_optimized(expression: &str) -> bool {
    expression.len() <= MOST_OPTIMIZED
}

/// Compiles `expression` for frames that begin with `link`.
///
/// # Errors
/// When libpcap refuses the expression.
pub fn compile(expression: &str, link: Link) -> Result<Program, Error> {
    let with_sets = parse(expression).and_then(group).and_then(|grouped| with_sets(&grouped, link));
    with_sets.map_or_else(|| Program::compile_with(expression, link, is_optimized(expression)), Ok)
}

/// Compiles `expression` with sets. Returns `None` if libpcap refuses the expression, or compiles it to a form that this module does not
/// understand.
fn with_sets(grouped: &Grouped, link: Link) -> Option<Program> {
    let compile = |variant| Program::compile_with(&grouped.text(variant), link, grouped.may_be_optimized()).ok();
    let (first, second) = (compile(Variant::First)?, compile(Variant::Second)?);
    if first.ops().len() != second.ops().len() {
        return None;
    }
    let mut ops = first.ops().to_vec();
    for (at, (op, other)) in first.ops().iter().zip(second.ops()).enumerate() {
        if op == other {
            continue;
        }
        let (Op::Branch { test: Test::Equal, with: Operand::K(value), yes, no }, Op::Branch { with: Operand::K(other), .. }) = (op, other)
        else {
            return None;
        };
        let (set, word) = set_and_word(grouped, *value, *other)?;
        // The look-up of an IPv6 address replaces the comparison of its first word and of those that follow it.
        if word > 0 {
            continue;
        }
        let key = match grouped.sets.get(set)?.1.values() {
            Values::Ports | Values::Ipv4 => Key::A,
            Values::Ipv6 => Key::Ipv6At(ipv6_offset(first.ops(), at)?),
        };
        let yes = if key == Key::A { *yes } else { last_of_ipv6(first.ops(), at)? };
        if key != Key::A && !(overwrites_a(first.ops(), yes) && overwrites_a(first.ops(), *no)) {
            return None;
        }
        *ops.get_mut(at)? = Op::Member { key, set, yes, no: *no };
    }
    let reached = reached(&ops);
    let unknown = |at: usize| first.ops().get(at) != second.ops().get(at) && !matches!(ops.get(at), Some(Op::Member { .. }));
    if (0..ops.len()).any(|at| unknown(at) && reached.get(at) != Some(&false)) {
        return None;
    }
    Program::with_sets(ops, grouped.sets.iter().map(|(_, set)| set.clone()).collect())
}

/// The set for whose placeholders `first` and `second` stand, and the index of the 32-bit word of the placeholder.
fn set_and_word(grouped: &Grouped, first: u32, second: u32) -> Option<(usize, usize)> {
    grouped.sets.iter().enumerate().find_map(|(index, (subject, _))| {
        let words = if subject.values == Values::Ipv6 { 4 } else { 1 };
        let word_of = |variant, word: usize| (placeholder(index, subject.values, variant) >> (32 * (words - 1 - word))) as u32;
        (0..words)
            .find(|word| word_of(Variant::First, *word) == first && word_of(Variant::Second, *word) == second)
            .map(|word| (index, word))
    })
}

/// The offset of the word that the instruction before `at` loads.
fn ipv6_offset(ops: &[Op], at: usize) -> Option<u32> {
    match ops.get(at.checked_sub(1)?)? {
        Op::Load { to: Register::A, from: LoadFrom::At { offset, size: 4 } } => Some(*offset),
        _ => None,
    }
}

/// Where the program continues if all four words of an IPv6 address are equal to the placeholder; `at` is the comparison of the first word.
/// `None` unless the comparisons have the expected form: they compare consecutive words, and all continue at the same instruction if a word
/// differs.
fn last_of_ipv6(ops: &[Op], at: usize) -> Option<usize> {
    let start = ipv6_offset(ops, at)?;
    let Op::Branch { mut yes, no, .. } = *ops.get(at)? else { return None };
    for word in 1..4 {
        let Op::Load { to: Register::A, from: LoadFrom::At { offset, size: 4 } } = *ops.get(yes)? else { return None };
        let Op::Branch { test: Test::Equal, yes: next, no: other, .. } = *ops.get(yes + 1)? else { return None };
        if offset != start + 4 * word || other != no {
            return None;
        }
        yes = next;
    }
    Some(yes)
}

/// Which instructions of a program without loops can be reached.
fn reached(ops: &[Op]) -> Vec<bool> {
    let mut reached = vec![false; ops.len()];
    let mark = |reached: &mut Vec<bool>, at: usize| {
        if let Some(place) = reached.get_mut(at) {
            *place = true;
        }
    };
    mark(&mut reached, 0);
    for (at, op) in ops.iter().enumerate() {
        if reached.get(at) == Some(&false) {
            continue;
        }
        match *op {
            Op::Return(_) => {}
            Op::Jump { to } => mark(&mut reached, to),
            Op::Branch { yes, no, .. } | Op::Member { yes, no, .. } => [yes, no].into_iter().for_each(|to| mark(&mut reached, to)),
            _ => mark(&mut reached, at + 1),
        }
    }
    reached
}

/// Whether the code from `at` on overwrites A before it reads A.
fn overwrites_a(ops: &[Op], mut at: usize) -> bool {
    while let Some(op) = ops.get(at) {
        match op {
            Op::Load { to: Register::A, .. } | Op::Return(ReturnValue::Constant(_)) => return true,
            Op::Load { to: Register::X, .. } => at += 1,
            Op::Jump { to } if *to > at => at = *to,
            _ => return false,
        }
    }
    false
}
