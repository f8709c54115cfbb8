//! Types of values, and the headers of fields and collections in either encoding.

use super::wire::{Encoding, varint};
use crate::protocols::kit::reader::Reader;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A bool whose value is part of the type, as in fields of the compact protocol.
    Known(bool),
    Bool,
    Byte,
    Double,
    I16,
    I32,
    I64,
    String,
    Struct,
    Map,
    Set,
    List,
    Uuid,
}

impl Type {
    fn of_binary(code: u8) -> Option<Self> {
        Some(match code {
            2 => Self::Bool,
            3 => Self::Byte,
            4 => Self::Double,
            6 => Self::I16,
            8 => Self::I32,
            10 => Self::I64,
            11 => Self::String,
            12 => Self::Struct,
            13 => Self::Map,
            14 => Self::Set,
            15 => Self::List,
            16 => Self::Uuid,
            _ => return None,
        })
    }

    fn of_compact(code: u8) -> Option<Self> {
        Some(match code {
            1 | 2 => Self::Bool,
            3 => Self::Byte,
            4 => Self::I16,
            5 => Self::I32,
            6 => Self::I64,
            7 => Self::Double,
            8 => Self::String,
            9 => Self::List,
            10 => Self::Set,
            11 => Self::Map,
            12 => Self::Struct,
            13 => Self::Uuid,
            _ => return None,
        })
    }
}

/// Why a value could not be read.
pub enum Not {
    /// This number of further bytes is needed.
    Yet(usize),
    /// The data is invalid.
    Ever,
}

/// Calls `read` for a value of `bytes` bytes. If it fails, the error has the number of missing bytes.
pub fn need<'a, T>(r: &mut Reader<'a>, bytes: usize, read: impl FnOnce(&mut Reader<'a>) -> Option<T>) -> Result<T, Not> {
    let lacking = bytes.saturating_sub(r.remaining());
    read(r).ok_or(Not::Yet(lacking))
}

/// Reads a number of variable length.
pub fn number(r: &mut Reader<'_>) -> Result<u64, Not> {
    varint(r).ok_or(Not::Yet(1))?.map_err(|_| Not::Ever)
}

/// Decodes zigzag encoding (thrift-compact-protocol.md).
pub fn zigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// The header of the field after the one with `id`; `None` at the end of the struct.
pub fn field(encoding: Encoding, id: i16, r: &mut Reader<'_>) -> Result<Option<(Type, i16)>, Not> {
    let code = need(r, 1, Reader::u8)?;
    if code == 0 {
        return Ok(None);
    }
    if encoding == Encoding::Binary {
        let of = Type::of_binary(code).ok_or(Not::Ever)?;
        return Ok(Some((of, need(r, 2, Reader::i16)?)));
    }
    let of = match code & 0x0f {
        known @ (1 | 2) => Type::Known(known == 1),
        other => Type::of_compact(other).ok_or(Not::Ever)?,
    };
    let id = match code >> 4 {
        0 => i16::try_from(zigzag(number(r)?)).map_err(|_| Not::Ever)?,
        delta => id.wrapping_add(delta.into()),
    };
    Ok(Some((of, id)))
}

/// Type and number of the elements of a list or set.
pub fn elements(encoding: Encoding, r: &mut Reader<'_>) -> Result<(Type, u32), Not> {
    let code = need(r, 1, Reader::u8)?;
    if encoding == Encoding::Binary {
        let left = need(r, 4, Reader::i32)?;
        return typed(Type::of_binary(code), u32::try_from(left).map_err(|_| Not::Ever)?);
    }
    let left = match code >> 4 {
        15 => u32::try_from(number(r)?).map_err(|_| Not::Ever)?,
        short => short.into(),
    };
    typed(Type::of_compact(code & 0x0f), left)
}

/// Checks the type of elements. If there are no elements, any type is valid.
fn typed(of: Option<Type>, left: u32) -> Result<(Type, u32), Not> {
    match of {
        Some(of) => Ok((of, left)),
        None if left == 0 => Ok((Type::Byte, 0)),
        None => Err(Not::Ever),
    }
}

/// Types and number of the entries of a map.
pub fn entries(encoding: Encoding, r: &mut Reader<'_>) -> Result<(Type, Type, u32), Not> {
    let ((key, _), (value, left)) = if encoding == Encoding::Binary {
        let (key, value) = (need(r, 1, Reader::u8)?, need(r, 1, Reader::u8)?);
        let left = u32::try_from(need(r, 4, Reader::i32)?).map_err(|_| Not::Ever)?;
        (typed(Type::of_binary(key), left)?, typed(Type::of_binary(value), left)?)
    } else {
        let left = u32::try_from(number(r)?).map_err(|_| Not::Ever)?;
        let types = if left > 0 { need(r, 1, Reader::u8)? } else { 0 };
        (typed(Type::of_compact(types >> 4), left)?, typed(Type::of_compact(types & 0x0f), left)?)
    };
    Ok((key, value, left))
}
