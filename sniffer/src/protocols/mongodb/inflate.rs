//! Decompresses OP_COMPRESSED. The output is bounded, whatever size the sender claims.

use super::wire::op;
use crate::protocols::kit::reader::Reader;
use std::{borrow::Cow, io::Read};

/// Maximum number of bytes of a message that are decompressed, and of any message that are read. Longer messages are cut
/// there. The cut only affects documents of several hundred kilobytes, whose text `max_doc_length` cuts earlier.
pub const MOST: usize = 1 << 20;
/// Maximum number of bytes of a snappy message, because snappy can only be decompressed completely.
const MOST_SNAPPY: usize = 4 << 20;
/// The largest window of a zstd decoder: 2^23 bytes. The usual levels of servers and drivers need less.
const ZSTD_WINDOW: u32 = 23;

/// The contents of an OP_COMPRESSED.
pub struct Inner<'a> {
    /// The operation of the compressed message.
    pub op: i32,
    /// The message after its header.
    pub data: Cow<'a, [u8]>,
    /// Whether the message is longer than `data`.
    pub cut: bool,
}

/// Decompresses the data after the header of an OP_COMPRESSED message. `cut`: the end of the data is missing. Returns
/// `None` if the data cannot be decompressed.
pub fn unpack(data: &[u8], cut: bool) -> Option<Inner<'_>> {
    let mut r = Reader::new(data);
    let (op, size, how) = (r.i32_le()?, usize::try_from(r.u32_le()?).ok()?, r.u8()?);
    if op == op::COMPRESSED {
        return None;
    }
    let packed = r.rest();
    let data: Cow<'_, [u8]> = match how {
        0 => packed.into(),
        1 if !cut && size <= MOST_SNAPPY && snap::raw::decompress_len(packed).ok()? == size => {
            snap::raw::Decoder::new().decompress_vec(packed).ok()?.into()
        }
        2 => beginning(flate2::read::ZlibDecoder::new(packed), size).into(),
        3 => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).ok()?;
            decoder.window_log_max(ZSTD_WINDOW).ok()?;
            beginning(decoder, size).into()
        }
        _ => return None,
    };
    let cut = cut || data.len() < size;
    // Without output, the data is not in this format.
    (size == 0 || !data.is_empty()).then_some(Inner { op, data, cut })
}

/// Decompresses the captured data, up to `size` and up to [`MOST`] bytes; stops at an error.
fn beginning(decoder: impl Read, size: usize) -> Vec<u8> {
    let most = size.min(MOST);
    // Memory is not reserved for `size`, because the sender can claim any size.
    let mut out = Vec::with_capacity(most.min(64 << 10));
    let _ = decoder.take(most as u64).read_to_end(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn packed(how: u8, size: u32, data: &[u8]) -> Vec<u8> {
        [&op::MSG.to_le_bytes()[..], &size.to_le_bytes(), &[how], data].concat()
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut w = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::fast());
        w.write_all(data).unwrap();
        w.finish().unwrap()
    }

    #[test]
    fn every_compressor() {
        let text = b"hello hello hello hello".as_slice();
        for (how, data) in [
            (0, text.to_vec()),
            (1, snap::raw::Encoder::new().compress_vec(text).unwrap()),
            (2, zlib(text)),
            (3, zstd::stream::encode_all(text, 3).unwrap()),
        ] {
            let data = packed(how, 23, &data);
            let inner = unpack(&data, false).unwrap();
            assert_eq!((inner.op, &inner.data[..], inner.cut), (op::MSG, text, false), "compressor {how}");
            if how > 0 {
                assert!(unpack(&data[..11], false).is_none_or(|i| i.cut), "compressor {how}");
            }
        }
        assert!(unpack(&packed(4, 1, b"x"), false).is_none());
        assert!(unpack(&[&op::COMPRESSED.to_le_bytes()[..], &[0; 6]].concat(), false).is_none(), "one within the other");
    }

    #[test]
    fn decompressed_output_is_bounded() {
        let zeros = vec![0; 8 << 20];
        let size = 8 << 20;
        for (how, data) in [(2, zlib(&zeros)), (3, zstd::stream::encode_all(&zeros[..], 3).unwrap())] {
            let data = packed(how, size, &data);
            let inner = unpack(&data, false).unwrap();
            assert_eq!((inner.data.len(), inner.cut), (MOST, true));
        }
        assert!(unpack(&packed(1, size, &snap::raw::Encoder::new().compress_vec(&zeros).unwrap()), false).is_none());
        assert!(unpack(&packed(1, 5, b"\xff\xff\xff\xff\x0f"), false).is_none(), "Snappy that says 4 GiB");
    }
}
