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
pub enum Unread {
    /// This number of further bytes is needed.
    Incomplete(usize),
    /// The data is invalid.
    Invalid,
}

/// Calls `read` for a value of `bytes` bytes. If it fails, the error has the number of missing bytes.
pub fn need<'a, T>(r: &mut Reader<'a>, bytes: usize, read: impl FnOnce(&mut Reader<'a>) -> Option<T>) -> Result<T, Unread> {
    let lacking = bytes.saturating_sub(r.remaining());
    read(r).ok_or(Unread::Incomplete(lacking))
}

/// Reads a number of variable length.
pub fn number(r: &mut Reader<'_>) -> Result<u64, Unread> {
    varint(r).ok_or(Unread::Incomplete(1))?.map_err(|_| Unread::Invalid)
}

/// Decodes zigzag encoding (thrift-compact-protocol.md).
pub fn zigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// The header of the field after the one with `id`; `None` at the end of the struct.
pub fn field(encoding: Encoding, id: i16, r: &mut Reader<'_>) -> Result<Option<(Type, i16)>, Unread> {
    let code = need(r, 1, Reader::u8)?;
    if code == 0 {
        return Ok(None);
    }
    if encoding == Encoding::Binary {
        let of = Type::of_binary(code).ok_or(Unread::Invalid)?;
        return Ok(Some((of, need(r, 2, Reader::i16)?)));
    }
    let of = match code & 0x0f {
        known @ (1 | 2) => Type::Known(known == 1),
        other => Type::of_compact(other).ok_or(Unread::Invalid)?,
    };
    let id = match code >> 4 {
        0 => i16::try_from(zigzag(number(r)?)).map_err(|_| Unread::Invalid)?,
        delta => id.wrapping_add(delta.into()),
    };
    Ok(Some((of, id)))
}

/// Type and number of the elements of a list or set.
pub fn elements(encoding: Encoding, r: &mut Reader<'_>) -> Result<(Type, u32), Unread> {
    let code = need(r, 1, Reader::u8)?;
    if encoding == Encoding::Binary {
        let left = need(r, 4, Reader::i32)?;
        return typed(Type::of_binary(code), u32::try_from(left).map_err(|_| Unread::Invalid)?);
    }
    let left = match code >> 4 {
        15 => u32::try_from(number(r)?).map_err(|_| Unread::Invalid)?,
        short => short.into(),
    };
    typed(Type::of_compact(code & 0x0f), left)
}

/// Checks the type of elements. If there are no elements, any type is valid.
fn typed(of: Option<Type>, left: u32) -> Result<(Type, u32), Unread> {
    match of {
        Some(of) => Ok((of, left)),
        None if left == 0 => Ok((Type::Byte, 0)),
        None => Err(Unread::Invalid),
    }
}

/// Types and number of the entries of a map.
pub fn entries(encoding: Encoding, r: &mut Reader<'_>) -> Result<(Type, Type, u32), Unread> {
    let ((key, _), (value, left)) = if encoding == Encoding::Binary {
        let (key, value) = (need(r, 1, Reader::u8)?, need(r, 1, Reader::u8)?);
        let left = u32::try_from(need(r, 4, Reader::i32)?).map_err(|_| Unread::Invalid)?;
        (typed(Type::of_binary(key), left)?, typed(Type::of_binary(value), left)?)
    } else {
        let left = u32::try_from(number(r)?).map_err(|_| Unread::Invalid)?;
        let types = if left > 0 { need(r, 1, Reader::u8)? } else { 0 };
        (typed(Type::of_compact(types >> 4), left)?, typed(Type::of_compact(types & 0x0f), left)?)
    };
    Ok((key, value, left))
}
