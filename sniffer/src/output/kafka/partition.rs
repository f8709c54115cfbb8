//! Chooses the partition of a message: by the hash of its key or of fields, in turn, or at random. The hash is the one of Sarama, the Kafka
//! client of Beats: FNV-1a with 32 bits.

use crate::{
    config::{self, Node},
    event::format::lookup,
};
use serde::Deserialize;
use serde_json::Value;
use std::hash::{BuildHasher, Hasher, RandomState};

/// The configured partitioner.
#[derive(Clone, Debug)]
pub(super) struct Partitioner {
    mode: Mode,
    /// Only partitions that have a leader are used.
    pub(super) reachable_only: bool,
    random: Random,
    /// The partition in use by `round_robin` and `random`, and how many messages it got.
    current: (u32, usize),
}

#[derive(Clone, Debug)]
enum Mode {
    /// The hash of the message's key or of these fields determines the partition. A message without key and fields gets
    /// a random partition if `random` is set, otherwise the first partition.
    Hash {
        fields: Vec<String>,
        random: bool,
    },
    RoundRobin {
        group: usize,
    },
    Random {
        group: usize,
    },
}

#[derive(Deserialize)]
#[serde(default)]
struct Hash {
    hash: Vec<String>,
    random: bool,
}

impl Default for Hash {
    fn default() -> Self {
        Self { hash: Vec::new(), random: true }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Groups {
    group_events: usize,
}

impl Default for Groups {
    fn default() -> Self {
        Self { group_events: 1 }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ModeOptions {
    reachable_only: bool,
}

impl Partitioner {
    /// Reads `partition`, a map with the name of one mode.
    ///
    /// # Errors
    /// When there is more than one mode, or an unknown one.
    pub(super) fn read(node: &Node) -> Result<Self, config::Error> {
        let entries: Vec<(String, Node)> = node.entries().map(|(name, node)| (name.to_owned(), node.clone())).collect();
        let (mode, common) = match entries.as_slice() {
            [] => (Mode::Hash { fields: Vec::new(), random: true }, ModeOptions::default()),
            [(name, node)] => {
                let group = || -> Result<usize, config::Error> {
                    match node.read::<Groups>()?.group_events {
                        0 => Err(node.get("group_events").error("must be at least 1")),
                        group => Ok(group),
                    }
                };
                let mode = match name.as_str() {
                    "hash" => {
                        let Hash { hash, random } = node.read()?;
                        Mode::Hash { fields: hash, random }
                    }
                    "round_robin" => Mode::RoundRobin { group: group()? },
                    "random" => Mode::Random { group: group()? },
                    other => return Err(node.error(format!("unknown kafka partition mode {other}; there are hash, round_robin, random"))),
                };
                (mode, node.read()?)
            }
            _ => return Err(node.error("too many partitioners; keep one of hash, round_robin, random")),
        };
        let mut random = Random::new();
        let current = (random.next(), 0);
        Ok(Self { mode, reachable_only: common.reachable_only, random, current })
    }

    /// Whether [`Self::choose`] needs the fields of the event.
    pub(super) fn needs_event(&self) -> bool {
        matches!(&self.mode, Mode::Hash { fields, .. } if !fields.is_empty())
    }

    /// The index of the partition, less than `count`.
    pub(super) fn choose(&mut self, key: Option<&[u8]>, event: &Value, count: usize) -> usize {
        let Ok(count) = u32::try_from(count.max(1)) else { return 0 };
        let chosen = match &self.mode {
            Mode::Hash { fields, random } => {
                let hash = if fields.is_empty() { key.map(|key| fnv(&[key])) } else { hash_of(fields, event) };
                match hash {
                    Some(hash) => hash & 0x7fff_ffff,
                    None if *random => self.random.next(),
                    None => 0,
                }
            }
            &Mode::RoundRobin { group } => {
                if self.current.1 >= group {
                    self.current = ((self.current.0 % count) + 1, 0);
                }
                self.current.1 += 1;
                self.current.0
            }
            &Mode::Random { group } => {
                if self.current.1 >= group {
                    self.current = (self.random.next(), 0);
                }
                self.current.1 += 1;
                self.current.0
            }
        };
        (chosen % count) as usize
    }
}

/// The hash of the values of all fields; `None` when a field is missing, or is not a text, a number or a boolean.
fn hash_of(fields: &[String], event: &Value) -> Option<u32> {
    let mut parts = Vec::new();
    for field in fields {
        parts.push(match lookup(event, field)? {
            Value::String(text) => text.as_bytes().to_vec(),
            Value::Bool(value) => vec![u8::from(*value)],
            // A number is hashed in the form in which Go writes an integer of 64 bits, little-endian.
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => number.to_le_bytes().to_vec(),
                (_, Some(number)) => number.to_le_bytes().to_vec(),
                _ => number.as_f64()?.to_le_bytes().to_vec(),
            },
            _ => return None,
        });
    }
    Some(fnv(&parts))
}

/// FNV-1a with 32 bits.
fn fnv(parts: &[impl AsRef<[u8]>]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.as_ref());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Returns random numbers that come from the keys of the standard library's hasher. They only choose partitions, so their quality is
/// sufficient.
#[derive(Clone, Debug)]
struct Random {
    state: RandomState,
    count: u64,
}

impl Random {
    fn new() -> Self {
        Self { state: RandomState::new(), count: 0 }
    }

    fn next(&mut self) -> u32 {
        self.count = self.count.wrapping_add(1);
        let mut hasher = self.state.build_hasher();
        hasher.write_u64(self.count);
        (hasher.finish() >> 33) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn partitioner(yaml: &str) -> Result<Partitioner, String> {
        Partitioner::read(&Node::parse(yaml).unwrap()).map_err(|e| e.to_string())
    }

    /// The expected partitions are those that Packetbeat chose.
    #[test]
    fn hashes_like_sarama() {
        let mut by_key = partitioner("{}").unwrap();
        for (key, expected) in [("LLEN", 2), ("GET", 3), ("LINDEX", 5), ("LPUSH", 5), ("SET", 5)] {
            assert_eq!(by_key.choose(Some(key.as_bytes()), &Value::Null, 6), expected, "{key}");
        }
        let mut by_fields = partitioner("{hash: {hash: [method, resource], random: false}}").unwrap();
        assert!(by_fields.needs_event());
        for (method, resource, expected) in
            [("LLEN", "test", 0), ("GET", "key3", 1), ("SET", "key3", 3), ("LLEN", "key3", 4), ("LPUSH", "test", 5)]
        {
            assert_eq!(by_fields.choose(None, &json!({"method": method, "resource": resource}), 6), expected, "{method} {resource}");
        }
        assert_eq!(by_fields.choose(None, &json!({"method": "GET"}), 6), 0);
        let mut random = partitioner("{hash: {hash: [method]}}").unwrap();
        let chosen: BTreeSet<_> = (0..200).map(|_| random.choose(None, &json!({}), 6)).collect();
        assert_eq!(chosen.len(), 6);
        let mut numbers = partitioner("{hash: {hash: [n]}}").unwrap();
        let of = |partitioner: &mut Partitioner, n: Value| partitioner.choose(None, &json!({"n": n}), 1000);
        assert_eq!(of(&mut numbers, json!(7)), of(&mut numbers, json!(7)));
    }

    #[test]
    fn in_turn_and_at_random_in_groups() {
        let mut turn = partitioner("{round_robin: {group_events: 2}}").unwrap();
        let chosen: Vec<usize> = (0..12).map(|_| turn.choose(Some(b"k"), &Value::Null, 3)).collect();
        assert!(chosen.chunks(2).all(|pair| pair[0] == pair[1]), "{chosen:?}");
        assert!(chosen.chunks(2).zip(chosen.chunks(2).skip(1)).all(|(a, b)| (a[0] + 1) % 3 == b[0]), "{chosen:?}");
        let mut random = partitioner("{random: {group_events: 3, reachable_only: true}}").unwrap();
        assert!(random.reachable_only);
        let chosen: Vec<usize> = (0..300).map(|_| random.choose(Some(b"k"), &Value::Null, 4)).collect();
        assert!(chosen.chunks(3).all(|group| group.iter().all(|one| *one == group[0])), "{chosen:?}");
        assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), 4);
        for (yaml, expected) in [
            ("{hash: {}, random: {}}", "too many partitioners"),
            ("{sideways: {}}", "unknown kafka partition mode sideways"),
            ("{random: {group_events: 0}}", "must be at least 1"),
        ] {
            let error = partitioner(yaml).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
