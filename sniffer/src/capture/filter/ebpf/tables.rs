//! Sets in the form in which an eBPF program looks them up: the bytes of the value of an array map that has one entry.
//!
//! A set of ports is a bitmap. A set of addresses is one hash table for each length of prefix in it (an address is a prefix of the full
//! length). Every key of a table is at one of two places that two hash functions give (cuckoo hashing), so a look-up compares two keys
//! whatever the number of entries. A place without a key of its own holds a copy of some key of the table, so that there are no empty places
//! to tell apart.

use crate::capture::filter::cbpf::{Set, Values};

/// Bytes of the bitmap of all ports.
const BITMAP: usize = 8192;
/// Words of 32 bits of the longest key.
pub(super) const WORDS: usize = 4;
/// Number of places in the largest table, as a power of two.
const MOST_BITS: u32 = 20;
/// Number of keys that may be moved to make place for one key, before other hash functions are tried.
const MOST_MOVES: u32 = 500;
/// Number of pairs of hash functions that are tried before the table is enlarged.
const ATTEMPTS: u32 = 8;

/// Where a set is in its map, and how it is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A bitmap in words of 32 bits in native byte order. Bit N of word M is port 32 * M + N.
    Bitmap,
    /// The hash tables.
    Tables(Vec<Table>),
}

/// A hash table of prefixes of one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Offset of the first place in the map's value, in bytes.
    pub offset: u32,
    /// The number of places is 2 to this power, from 2 to 20.
    pub bits: u32,
    /// The bits of an address that are compared, in words from the first; one word for IPv4.
    pub mask: Vec<u32>,
    /// Odd multipliers: the first joins the words of a key, the others give the two places.
    pub multipliers: [u32; 3],
}

impl Table {
    /// The words of a key that the table compares.
    pub fn words(&self) -> usize {
        self.mask.len()
    }

    /// The two places of a key, by their index.
    fn places(&self, key: &[u32]) -> [usize; 2] {
        let [join, first, second] = self.multipliers;
        let mut words = key.iter();
        let start = words.next().copied().unwrap_or_default();
        let hash = words.fold(start, |hash, word| hash.wrapping_mul(join).wrapping_add(*word));
        [first, second].map(|multiplier| (hash.wrapping_mul(multiplier) >> (32 - self.bits)) as usize)
    }
}

/// The layout and the bytes of a set. `None` if it is too large.
pub fn table_of(set: &Set) -> Option<(Layout, Vec<u8>)> {
    if set.values() == Values::Ports {
        let mut bytes = vec![0; BITMAP];
        for port in set.ranges().iter().flat_map(|&(first, last)| first..=last) {
            let word = port as usize / 32;
            let place = bytes.get_mut(4 * word..4 * word + 4)?;
            let bits = u32::from_ne_bytes(place.try_into().ok()?) | 1 << (port % 32);
            place.copy_from_slice(&bits.to_ne_bytes());
        }
        return Some((Layout::Bitmap, bytes));
    }
    let width = set.values().bits();
    let words = (width / 32) as usize;
    let words_of = |value: u128| -> Vec<u32> { (0..words).map(|word| (value >> (width - 32 * (word as u32 + 1))) as u32).collect() };
    // A network's addresses have in common those bits in which its first and its last address are equal.
    let mut networks: Vec<(u128, Vec<u32>)> = set.ranges().iter().map(|&(first, last)| (!(first ^ last), words_of(first))).collect();
    networks.sort_unstable();
    let (mut tables, mut bytes) = (Vec::new(), Vec::new());
    for group in networks.chunk_by(|a, b| a.0 == b.0) {
        let mask = words_of(group.first()?.0);
        let keys: Vec<&[u32]> = group.iter().map(|(_, key)| key.as_slice()).collect();
        let (table, places) = filled(&keys, mask, u32::try_from(bytes.len()).ok()?)?;
        bytes.extend(places.into_iter().flatten().flat_map(|word| word.to_ne_bytes()));
        tables.push(table);
    }
    Some((Layout::Tables(tables), bytes))
}

/// Makes the table of `keys`, which differ from one another. The function tries other hash functions, and larger tables, until every key
/// has a place.
fn filled<'a>(keys: &[&'a [u32]], mask: Vec<u32>, offset: u32) -> Option<(Table, Vec<&'a [u32]>)> {
    let smallest = (keys.len().checked_mul(3)?.checked_next_power_of_two()?.trailing_zeros()).max(2);
    let mut state = 0x9e37_79b9_u32;
    let mut multiplier = || {
        // The multipliers come from a generator with a fixed seed (xorshift), so that the tables are the same in every run.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state | 1
    };
    let mut table = Table { offset, bits: smallest, mask, multipliers: [1; 3] };
    while table.bits <= MOST_BITS {
        for _ in 0..ATTEMPTS {
            table.multipliers = [multiplier(), multiplier(), multiplier()];
            if let Some(places) = placed(keys, &table) {
                return Some((table, places));
            }
        }
        table.bits += 1;
    }
    None
}

/// The table with every key at one of its two places; `None` if a key finds no place.
fn placed<'a>(keys: &[&'a [u32]], table: &Table) -> Option<Vec<&'a [u32]>> {
    let mut places: Vec<Option<&[u32]>> = vec![None; 1 << table.bits];
    for key in keys {
        let mut key = *key;
        let mut at = table.places(key)[0];
        for moves in 0.. {
            let Some(other) = places.get_mut(at)?.replace(key) else { break };
            if moves == MOST_MOVES {
                return None;
            }
            // The key that was here moves to its other place.
            let [first, second] = table.places(other);
            (key, at) = (other, if at == first { second } else { first });
        }
    }
    let any = *keys.first()?;
    Some(places.into_iter().map(|place| place.unwrap_or(any)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks up a value as the eBPF program does.
    fn contains(layout: &Layout, bytes: &[u8], value: u128, width: u32) -> bool {
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        match layout {
            Layout::Bitmap => word(value as usize / 32 * 4) >> (value % 32) & 1 == 1,
            Layout::Tables(tables) => tables.iter().any(|table| {
                let words = (width / 32) as usize;
                let key: Vec<u32> = (0..words).map(|n| (value >> (width - 32 * (n as u32 + 1))) as u32 & table.mask[n]).collect();
                table
                    .places(&key)
                    .into_iter()
                    .any(|place| (0..words).all(|n| word(table.offset as usize + (place * words + n) * 4) == key[n]))
            }),
        }
    }

    #[test]
    fn tables_contain_what_their_sets_contain() {
        let hosts = |count: u128, start: u128, step: u128| (0..count).map(move |n| (start + n * step, start + n * step));
        let mut mixed: Vec<(u128, u128)> = hosts(500, 0x0a00_0001, 257).collect();
        mixed.extend([(0xc0a8_0000, 0xc0a8_ffff), (0xac10_0000, 0xac1f_ffff), (0, 0), (0xffff_ffff, 0xffff_ffff)]);
        let ipv6 = 0x2001_0db8 << 96;
        let mut mixed6: Vec<(u128, u128)> = hosts(300, ipv6, 1 << 64).chain(hosts(300, ipv6 + 5, 1)).collect();
        mixed6.extend([(0xfd << 120, (0xfd << 120) | ((1 << 120) - 1)), (1, 1)]);
        let cases = [
            (Values::Ports, vec![(0, 0), (80, 80), (8000, 8100), (65535, 65535)]),
            (Values::Ipv4, mixed),
            (Values::Ipv4, vec![(0, 0xffff_ffff)]),
            (Values::Ipv4, hosts(20_000, 0x0a00_0000, 3).collect()),
            (Values::Ipv6, mixed6),
            (Values::Ipv6, vec![(0, u128::MAX)]),
        ];
        for (values, ranges) in cases {
            let set = Set::new(values, ranges.clone()).unwrap();
            let (layout, bytes) = table_of(&set).unwrap();
            let near = ranges.iter().flat_map(|&(first, last)| {
                [first, last, first.wrapping_sub(1), last.wrapping_add(1), first / 2 + last / 2, first.rotate_left(7)]
            });
            let most = if values.bits() == 128 { u128::MAX } else { (1 << values.bits()) - 1 };
            for value in near.map(|value| value & most) {
                assert_eq!(contains(&layout, &bytes, value, values.bits()), set.contains(value), "{value:x} in {values:?}");
            }
        }
    }
}
