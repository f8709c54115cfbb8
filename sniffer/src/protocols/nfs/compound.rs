//! Determines the main operation of a COMPOUND of NFS version 4 (RFC 7530, RFC 8881, RFC 7862). It skips the arguments of the operations
//! before the main one, which only select or query a file.

use super::{names, wire::opaque};
use crate::protocols::kit::reader::Reader;
use smallvec::SmallVec;

/// Maximum number of bytes of a tag that are kept. Clients send about ten; servers may refuse more than 1024.
const LONGEST_TAG: usize = 1024;

/// The start of a COMPOUND.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compound {
    /// The minor version: 0, 1 or 2.
    pub minor_version: u32,
    /// The client's label for the request.
    pub tag: SmallVec<[u8; 16]>,
    /// The name of the main operation.
    pub opcode: &'static str,
}

/// Parses the arguments of a COMPOUND; `None` if they are incomplete. `whole`: no more data follows. The last operation
/// whose number was captured is then sufficient.
pub fn read(r: &mut Reader<'_>, whole: bool) -> Option<Compound> {
    let tag = opaque(r)?;
    let minor_version = r.u32()?;
    let count = r.u32()?;
    let tag = tag.get(..LONGEST_TAG).unwrap_or(tag).into();
    Some(Compound { minor_version, tag, opcode: main_operation(r, count, whole)? })
}

/// The first operation that does more than select or query a file; the last operation if there is no such operation.
/// Each operation takes at least four bytes, so the data bounds the loop.
fn main_operation(r: &mut Reader<'_>, count: u32, whole: bool) -> Option<&'static str> {
    let mut name = names::ILLEGAL;
    for _ in 0..count {
        let Some(number) = r.u32() else { return whole.then_some(name) };
        let Some(known) = names::operation(number) else { return Some(names::ILLEGAL) };
        name = known;
        match skip(number, r) {
            Arguments::Skipped => {}
            Arguments::Main => break,
            Arguments::Cut => return whole.then_some(name),
        }
    }
    Some(name)
}

enum Arguments {
    /// The arguments were skipped.
    Skipped,
    /// The arguments were not skipped, because this is the main operation.
    Main,
    /// The arguments are incomplete.
    Cut,
}

fn skip(operation: u32, r: &mut Reader<'_>) -> Arguments {
    let whole = match operation {
        // These operations have no arguments: GETFH, LOOKUPP, PUTPUBFH, PUTROOTFH, RESTOREFH, SAVEFH, ILLEGAL.
        10 | 16 | 23 | 24 | 31 | 32 | 10044 => Some(()),
        // GETATTR: a bitmap
        9 => bitmap(r),
        // LOOKUP and SECINFO have a name as argument; PUTFH has a file handle.
        15 | 22 | 33 => opaque(r).map(drop),
        // NVERIFY, VERIFY: attributes
        17 | 37 => bitmap(r).and_then(|()| opaque(r)).map(drop),
        // RENEW has a client id as argument.
        30 => r.skip(8),
        // SEQUENCE has these arguments: session, sequence, slot, highest slot, and whether to cache.
        53 => r.skip(32),
        _ => return Arguments::Main,
    };
    whole.map_or(Arguments::Cut, |()| Arguments::Skipped)
}

fn bitmap(r: &mut Reader<'_>) -> Option<()> {
    let words = usize::try_from(r.u32()?).ok()?;
    r.skip(words.checked_mul(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::nfs::wire::tests::words;

    fn main(count: u32, operations: &[u32]) -> &'static str {
        let bytes = words(&[&[0, 1, count], operations].concat());
        read(&mut Reader::new(&bytes), true).unwrap().opcode
    }

    #[test]
    fn operations_before_the_main_one_are_skipped() {
        let sequence = [53, 1, 2, 3, 4, 5, 6, 7, 1];
        assert_eq!(main(3, &[&sequence[..], &[22, 5, 1, 2, 26]].concat()), "READDIR");
        assert_eq!(main(2, &[24, 59]), "ALLOCATE");
        assert_eq!(main(6, &[32, 31, 15, 1, 0x6100_0000, 9, 2, 1, 1, 37, 1, 1, 4, 0, 38]), "WRITE");
        assert_eq!(main(2, &[30, 1, 2, 36]), "SETCLIENTID_CONFIRM");
    }

    #[test]
    fn compounds_without_a_main_operation() {
        assert_eq!(main(2, &[24, 10]), "GETFH", "the last");
        assert_eq!(main(0, &[]), "ILLEGAL");
        assert_eq!(main(2, &[24, 99, 38]), "ILLEGAL");
        assert_eq!(main(9, &[24, 22, 500]), "PUTFH", "cut short");
        assert_eq!(main(u32::MAX, &[9, u32::MAX]), "GETATTR");
    }
}
