//! Lumberjack version 2, the protocol between Beats and Logstash: a window of numbered JSON documents, usually compressed, and
//! acknowledgements. <https://github.com/logstash-plugins/logstash-input-beats/blob/main/PROTOCOL.md>

use crate::output::Reason;
use flate2::{Compression, write::ZlibEncoder};
use std::io::{self, Write};

const VERSION: u8 = b'2';

/// Appends a window with these documents, numbered from 1. `compression`: the level of zlib; 0: not compressed.
///
/// # Errors
/// When there are too many documents, or they are too large for the protocol's 32-bit lengths.
pub(super) fn window(documents: &[&[u8]], compression: u32, out: &mut Vec<u8>) -> io::Result<()> {
    frame(b'W', documents.len(), out)?;
    if compression == 0 {
        return numbered(documents, out);
    }
    let mut plain = Vec::with_capacity(documents.iter().map(|document| document.len() + 10).sum());
    numbered(documents, &mut plain)?;
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(plain.len() / 6 + 64), Compression::new(compression));
    encoder.write_all(&plain)?;
    let compressed = encoder.finish()?;
    frame(b'C', compressed.len(), out)?;
    out.extend_from_slice(&compressed);
    Ok(())
}

fn numbered(documents: &[&[u8]], out: &mut Vec<u8>) -> io::Result<()> {
    for (number, document) in (1..).zip(documents) {
        frame(b'J', number, out)?;
        out.extend_from_slice(&length(document.len())?);
        out.extend_from_slice(document);
    }
    Ok(())
}

/// Appends the header of a frame: version, type and a number.
fn frame(kind: u8, number: usize, out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&[VERSION, kind]);
    out.extend_from_slice(&length(number)?);
    Ok(())
}

fn length(number: usize) -> io::Result<[u8; 4]> {
    u32::try_from(number).map(u32::to_be_bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "too large for a frame"))
}

/// Length of an acknowledgement.
pub(super) const ACKNOWLEDGEMENT: usize = 6;

/// Reads an acknowledgement: how many documents of the window the server has processed. 0 says that it is still working.
///
/// # Errors
/// When the bytes are no acknowledgement.
pub(super) fn acknowledgement([version, kind, number @ ..]: [u8; ACKNOWLEDGEMENT]) -> Result<u32, Reason> {
    if kind != b'A' || ![b'1', VERSION].contains(&version) {
        return Err("this is not the answer of Logstash's Beats input".into());
    }
    Ok(u32::from_be_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn frames() {
        let plain = b"2J\0\0\0\x01\0\0\0\x02{}2J\0\0\0\x02\0\0\0\x07{\"a\":1}";
        let mut out = Vec::new();
        window(&[b"{}", b"{\"a\":1}"], 0, &mut out).unwrap();
        assert_eq!(out, [&b"2W\0\0\0\x02"[..], plain].concat());
        for level in [1, 9] {
            let mut out = Vec::new();
            window(&[b"{}", b"{\"a\":1}"], level, &mut out).unwrap();
            assert_eq!(out[..8], *b"2W\0\0\0\x022C");
            assert_eq!(u32::from_be_bytes(out[8..12].try_into().unwrap()) as usize, out.len() - 12);
            let mut text = Vec::new();
            flate2::read::ZlibDecoder::new(&out[12..]).read_to_end(&mut text).unwrap();
            assert_eq!(text, plain);
        }
        assert_eq!(acknowledgement(*b"2A\0\0\x01\0"), Ok(256));
        for wrong in [*b"3A\0\0\0\0", *b"2W\0\0\0\0", *b"HTTP/1"] {
            assert!(acknowledgement(wrong).is_err(), "{wrong:?}");
        }
    }
}
