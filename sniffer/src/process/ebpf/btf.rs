//! Offsets of the fields of the kernel's structures, from its type information (BTF, `Documentation/bpf/btf.rst`). aya reads BTF, too, but
//! does not give access to structures.

use std::{collections::HashMap, io};

/// Magic number of BTF in the machine's byte order.
const MAGIC: u16 = 0xeb9f;
/// Kinds of types.
const STRUCT: u32 = 4;
const UNION: u32 = 5;
/// Bytes of the description that all types have, and of a member of a structure.
const TYPE: usize = 12;
const MEMBER: usize = 12;
/// Maximum number of nested structures without a name.
const MAX_DEPTH: u32 = 8;

/// The kernel's type information.
pub struct Btf {
    bytes: Vec<u8>,
    /// Where the names begin.
    strings: usize,
    /// Where the description of each type begins; type 1 is the first.
    types: Vec<usize>,
    structures: HashMap<Vec<u8>, usize>,
}

impl Btf {
    /// Reads the type information of the running kernel.
    ///
    /// # Errors
    /// The kernel has none (`CONFIG_DEBUG_INFO_BTF`), or it cannot be read.
    pub fn of_kernel() -> io::Result<Self> {
        let path = "/sys/kernel/btf/vmlinux";
        let bytes = std::fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("{path}: {e}")))?;
        Self::parse(bytes).ok_or_else(|| io::Error::other(format!("{path} is not valid type information")))
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        if half(&bytes, 0)? != MAGIC {
            return None;
        }
        let header = word(&bytes, 4)? as usize;
        let from = header.checked_add(word(&bytes, 8)? as usize)?;
        let until = from.checked_add(word(&bytes, 12)? as usize)?;
        let strings = header.checked_add(word(&bytes, 16)? as usize)?;
        let mut btf = Self { bytes, strings, types: Vec::new(), structures: HashMap::new() };
        let mut at = from;
        while at < until {
            let info = word(&btf.bytes, at + 4)?;
            let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            let more = match kind {
                1 | 14 | 17 => 4,                       // integer, variable, tag of a declaration
                3 => 12,                                // array
                STRUCT | UNION | 15 | 19 => 12 * count, // and data section, 64-bit enumeration
                6 | 13 => 8 * count,                    // enumeration, prototype
                2 | 7..=12 | 16 | 18 => 0,
                _ => return None,
            };
            btf.types.push(at);
            if kind == STRUCT {
                let name = btf.name(word(&btf.bytes, at)?)?.to_vec();
                if !name.is_empty() {
                    btf.structures.insert(name, at);
                }
            }
            at = at.checked_add(TYPE + more)?;
        }
        Some(btf)
    }

    /// The offset in bytes of a field, written `structure.field`; a field of a field is `structure.field.field`.
    ///
    /// # Errors
    /// The kernel has no such field, or it does not begin at a byte.
    pub fn offset(&self, path: &str) -> io::Result<u32> {
        let missing = || io::Error::other(format!("the kernel's type information has no field {path}"));
        let mut names = path.split('.');
        let mut structure = *names.next().and_then(|name| self.structures.get(name.as_bytes())).ok_or_else(missing)?;
        let mut bits = 0;
        for name in names {
            let (offset, kind) = self.field(structure, name.as_bytes(), 0).ok_or_else(missing)?;
            bits += offset;
            structure = self.place(kind).ok_or_else(missing)?;
        }
        if bits % 8 == 0 { Ok(bits / 8) } else { Err(missing()) }
    }

    /// The offset in bits and the type of a field of the structure or union that is described at `at`.
    fn field(&self, at: usize, name: &[u8], depth: u32) -> Option<(u32, u32)> {
        let info = word(&self.bytes, at + 4)?;
        if !matches!(info >> 24 & 0x1f, STRUCT | UNION) || depth > MAX_DEPTH {
            return None;
        }
        for member in (0..(info & 0xffff) as usize).map(|number| at + TYPE + number * MEMBER) {
            let (own, kind, offset) =
                (self.name(word(&self.bytes, member)?)?, word(&self.bytes, member + 4)?, word(&self.bytes, member + 8)?);
            // With bit fields, the upper byte is their length.
            let offset = if info >> 31 == 1 { offset & 0xff_ffff } else { offset };
            if own == name {
                return Some((offset, kind));
            }
            if own.is_empty()
                && let Some((inner, kind)) = self.place(kind).and_then(|at| self.field(at, name, depth + 1))
            {
                return Some((offset + inner, kind));
            }
        }
        None
    }

    fn place(&self, number: u32) -> Option<usize> {
        self.types.get((number as usize).checked_sub(1)?).copied()
    }

    fn name(&self, offset: u32) -> Option<&[u8]> {
        let rest = self.bytes.get(self.strings.checked_add(offset as usize)?..)?;
        rest.get(..rest.iter().position(|byte| *byte == 0)?)
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_running_kernel_are_found() {
        let Ok(btf) = Btf::of_kernel() else {
            println!("skipped: this kernel has no type information");
            return;
        };
        assert_eq!(btf.offset("sock_common.skc_daddr").unwrap(), 0, "in a structure in a union, both without a name");
        assert_eq!(btf.offset("sock_common.skc_rcv_saddr").unwrap(), 4);
        assert!(btf.offset("task_struct.start_boottime").unwrap() > 0);
        assert!(btf.offset("net.ns.inum").unwrap() > 0, "a field of a field");
        for missing in ["sock_common.no_such_field", "no_such_structure.field", "sock_common.skc_daddr.field"] {
            assert!(btf.offset(missing).unwrap_err().to_string().contains(missing), "{missing}");
        }
    }

    #[test]
    fn damaged_type_information_is_refused() {
        for bytes in [vec![], vec![0; 24], [&MAGIC.to_ne_bytes()[..], &[0xff; 30]].concat()] {
            assert!(Btf::parse(bytes.clone()).is_none(), "{bytes:?}");
        }
    }
}
