//! Replaces alternatives that compare the same part of a packet by one test for membership in a set, and writes the result as an expression
//! in which a placeholder value stands for each set.

use super::parse::{Subject, Test, Tree};
use crate::capture::{
    expression::reads_link_header,
    filter::cbpf::{Set, Values},
};
use std::collections::{HashMap, HashSet};

/// Smallest number of tests that a set replaces. A shorter list of comparisons does not cost more than a look-up in a set.
const FEWEST: usize = 8;
/// Largest number of sets in one expression. Further lists are compiled as comparisons.
const MOST_SETS: usize = 32;

/// An expression in which sets replace lists.
#[derive(Debug)]
pub struct Grouped {
    tree: Tree,
    /// The sets, by their index in the tree.
    pub sets: Vec<(Subject, Set)>,
}

/// The expression is written as two texts, which differ only in the values of the placeholders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The first one.
    First,
    /// The second one.
    Second,
}

/// Replaces the lists of `tree`. `None` if it has no list that is long enough, or if the order of its tests must not change.
pub fn group(tree: Tree) -> Option<Grouped> {
    if !may_be_reordered(&tree) {
        return None;
    }
    let mut sets = Vec::new();
    let tree = replaced(tree, &mut sets);
    (!sets.is_empty()).then_some(Grouped { tree, sets })
}

/// Whether the tests can be reordered, because no test changes the meaning of the tests after it, as `vlan` does. The last test of a
/// conjunction may be such a test, because no test follows it.
fn may_be_reordered(tree: &Tree) -> bool {
    match tree {
        Tree::And(terms) => terms.split_last().is_some_and(|(last, terms)| {
            let ends = match last {
                Tree::Not(term) => matches!(**term, Tree::Text(_)),
                term => matches!(term, Tree::Text(_)),
            };
            (ends || has_fixed_offsets(last)) && terms.iter().all(has_fixed_offsets)
        }),
        tree => has_fixed_offsets(tree),
    }
}

fn has_fixed_offsets(tree: &Tree) -> bool {
    match tree {
        Tree::Or(terms) | Tree::And(terms) => terms.iter().all(has_fixed_offsets),
        Tree::Not(term) => has_fixed_offsets(term),
        Tree::Text(text) => !reads_link_header(text),
        Tree::Test(_) | Tree::Set(_) => true,
    }
}

/// Replaces the lists in `tree`.
fn replaced(tree: Tree, sets: &mut Vec<(Subject, Set)>) -> Tree {
    match tree {
        Tree::Or(terms) => {
            let mut flat = Vec::with_capacity(terms.len());
            for term in terms {
                match term {
                    Tree::Or(inner) => flat.extend(inner),
                    term => flat.push(term),
                }
            }
            let terms = flat.into_iter().map(|term| replaced(term, sets)).collect();
            joined(without_lists(terms, test_of, Tree::Set, sets), Tree::Or)
        }
        Tree::And(terms) => {
            let terms = terms.into_iter().map(|term| replaced(term, sets)).collect();
            // `not host A and not host B` is `not (host A or host B)`.
            let negated = |tree: &Tree| if let Tree::Not(term) = tree { test_of(term) } else { None };
            joined(without_lists(terms, negated, |set| Tree::Not(Box::new(Tree::Set(set))), sets), Tree::And)
        }
        Tree::Not(term) => Tree::Not(Box::new(replaced(*term, sets))),
        single => single,
    }
}

/// The test, if a set can replace it. `src and dst` compares two parts of the packet.
fn test_of(tree: &Tree) -> Option<Test> {
    match tree {
        Tree::Test(test) if !test.subject.qualifiers.contains("and") => Some(test.clone()),
        _ => None,
    }
}

/// Replaces the tests of each subject among `terms` by one set, in the place of the first of them, if there are enough.
fn without_lists(
    terms: Vec<Tree>,
    test: impl Fn(&Tree) -> Option<Test>,
    term_of: impl Fn(usize) -> Tree,
    sets: &mut Vec<(Subject, Set)>,
) -> Vec<Tree> {
    let mut ranges: HashMap<Subject, Vec<(u128, u128)>> = HashMap::new();
    for test in terms.iter().filter_map(&test) {
        ranges.entry(test.subject).or_default().push(test.range);
    }
    ranges.retain(|_, ranges| ranges.len() >= FEWEST);
    let mut replaced = HashSet::new();
    let mut kept = Vec::with_capacity(terms.len());
    for term in terms {
        match test(&term).map(|test| test.subject) {
            Some(subject) if replaced.contains(&subject) => {}
            Some(subject)
                if sets.len() < MOST_SETS
                    && let Some(set) = ranges.remove(&subject).and_then(|ranges| Set::new(subject.values, ranges)) =>
            {
                kept.push(term_of(sets.len()));
                sets.push((subject.clone(), set));
                replaced.insert(subject);
            }
            _ => kept.push(term),
        }
    }
    kept
}

/// The term if there is only one; otherwise all terms, combined by `join`.
fn joined(mut terms: Vec<Tree>, join: impl Fn(Vec<Tree>) -> Tree) -> Tree {
    match terms.pop() {
        Some(only) if terms.is_empty() => only,
        last => {
            terms.extend(last);
            join(terms)
        }
    }
}

impl Grouped {
    /// The expression with a placeholder for each set.
    pub fn text(&self, variant: Variant) -> String {
        self.text_of(&self.tree, variant)
    }

    fn text_of(&self, tree: &Tree, variant: Variant) -> String {
        let all = |terms: &[Tree]| terms.iter().map(|term| self.text_of(term, variant)).collect::<Vec<_>>();
        match tree {
            Tree::Or(terms) => format!("({})", all(terms).join(" or ")),
            Tree::And(terms) => format!("({})", all(terms).join(" and ")),
            Tree::Not(term) => format!("not ({})", self.text_of(term, variant)),
            Tree::Test(test) => test.text.clone(),
            Tree::Text(text) => text.clone(),
            Tree::Set(index) => self.sets.get(*index).map_or_else(String::new, |(subject, _)| {
                let value = placeholder(*index, subject.values, variant);
                let (kind, value) = match subject.values {
                    Values::Ports => ("port", value.to_string()),
                    Values::Ipv4 => ("host", std::net::Ipv4Addr::from_bits(value as u32).to_string()),
                    Values::Ipv6 => ("host", std::net::Ipv6Addr::from_bits(value).to_string()),
                };
                format!("{}{kind} {value}", subject.qualifiers)
            }),
        }
    }

    /// Whether libpcap may optimise the expression. If a comparison with a placeholder holds, its optimiser concludes that all other
    /// comparisons of the same value fail, which is wrong for a set. The optimiser cannot conclude this if the result is known as soon as a
    /// value is found in a set. This is so if the sets are alternatives of the whole expression, and if only tests of the headers before
    /// the addresses follow them.
    pub fn may_be_optimized(&self) -> bool {
        let alternatives = |tree: &Tree| match tree {
            Tree::Or(terms) => terms.iter().all(|term| matches!(term, Tree::Set(_)) || !has_set(term)),
            tree => matches!(tree, Tree::Set(_)),
        };
        match &self.tree {
            Tree::And(terms) => terms.split_first().is_some_and(|(first, others)| alternatives(first) && others.iter().all(is_of_headers)),
            tree => alternatives(tree),
        }
    }
}

fn has_set(tree: &Tree) -> bool {
    match tree {
        Tree::Or(terms) | Tree::And(terms) => terms.iter().any(has_set),
        Tree::Not(term) => has_set(term),
        Tree::Set(_) => true,
        Tree::Test(_) | Tree::Text(_) => false,
    }
}

/// Whether a term tests only which headers a frame has.
fn is_of_headers(tree: &Tree) -> bool {
    match tree {
        Tree::Not(term) => is_of_headers(term),
        Tree::Text(text) => matches!(text.as_str(), "vlan" | "ip" | "ip6" | "arp" | "tcp" | "udp" | "icmp" | "icmp6"),
        _ => false,
    }
}

/// The value that stands for a set. The values of different sets, and the two values of one set, differ in every word of 32 bits.
pub fn placeholder(index: usize, values: Values, variant: Variant) -> u128 {
    let number = index as u128 * 2 + u128::from(variant == Variant::Second);
    match values {
        Values::Ports => 60_000 + number,
        Values::Ipv4 => 0xf05a_0000 + number,
        Values::Ipv6 => (0..4).fold(0, |address, word| address << 32 | (0xfd5a_0000 + number * 4 + word)),
    }
}
