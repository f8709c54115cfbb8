//! Decodes the content and transfer codings of bodies that are kept (RFC 9110, 8.4.1): gzip, deflate, zstd. The output
//! is bounded.

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use std::io::{self, Read};

/// Largest window of a zstd body: 8 MiB, the limit of RFC 9659.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Number of members of a gzip body that are always decoded, whatever the length of the body.
const FREE_MEMBERS: usize = 64;
/// Number of compressed bytes that allow one further member, see [`FREE_MEMBERS`].
const BYTES_OF_MEMBER: usize = 256;

/// The error of a body that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason, as it is reported in the document.
    pub reason: String,
    /// The bytes decoded before the error.
    pub partial: Vec<u8>,
}

/// Decodes one coding, to at most `most` bytes. `None` if there was nothing to decode.
///
/// # Errors
/// The reason, and the bytes decoded before the error.
pub fn decode(coding: &str, data: &[u8], most: usize) -> Result<Option<Vec<u8>>, Failure> {
    let failed = |reason: &str| Failure { reason: reason.into(), partial: Vec::new() };
    match coding {
        "identity" | "" => Ok(None),
        "gzip" | "x-gzip" => gunzip(data, most).map(Some),
        // RFC 9110 specifies the zlib format; many servers send raw deflate.
        "deflate" | "x-deflate" => match data {
            [cmf, flags, ..] if cmf & 15 == 8 && u16::from_be_bytes([*cmf, *flags]) % 31 == 0 => {
                read(ZlibDecoder::new(data), most, |r| data.len() - r.get_ref().len()).map(Some)
            }
            _ => read(DeflateDecoder::new(data), most, |r| data.len() - r.get_ref().len()).map(Some),
        },
        "zstd" => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(data).map_err(|e| failed(&e.to_string()))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|e| failed(&e.to_string()))?;
            read(decoder, most, |r| data.len() - r.get_ref().len()).map(Some)
        }
        _ => Err(failed("decoder not found")),
    }
}

/// Returns the beginning of a text that takes at most `most` bytes as a JSON string. A control character takes six bytes in JSON, and a
/// byte that is not UTF-8 becomes U+FFFD, which takes three. A compressed body of a few bytes may contain megabytes of such bytes.
pub fn shown(text: &[u8], most: usize) -> &[u8] {
    const LONGEST: usize = 6;
    if text.len().saturating_mul(LONGEST) <= most {
        return text;
    }
    let (mut end, mut length) = (0, 0);
    let mut fits = |bytes: usize| {
        length += bytes;
        length <= most
    };
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            let written = match c {
                '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
                '\0'..' ' => LONGEST,
                c => c.len_utf8(),
            };
            if !fits(written) {
                return &text[..end];
            }
            end += c.len_utf8();
        }
        if !chunk.invalid().is_empty() && !fits('\u{fffd}'.len_utf8()) {
            return &text[..end];
        }
        end += chunk.invalid().len();
    }
    text
}

/// Decodes the members of a gzip body. Starting a decoder costs as much as decoding some kilobytes, and a member may have no content.
fn gunzip(data: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
    let members = FREE_MEMBERS + data.len() / BYTES_OF_MEMBER;
    let (mut partial, mut rest) = (Vec::new(), data);
    for _ in 0..members {
        let mut reader = GzDecoder::new(rest);
        let before = data.len() - rest.len();
        let decoded = read(reader.by_ref(), most - partial.len(), |r| before + rest.len() - r.get_ref().len());
        let mut failed = |failure: Failure| {
            partial.extend_from_slice(&failure.partial);
            Failure { partial: std::mem::take(&mut partial), ..failure }
        };
        let decoded = decoded.map_err(&mut failed)?;
        partial.extend_from_slice(&decoded);
        rest = reader.into_inner();
        if rest.is_empty() {
            return Ok(partial);
        }
    }
    Err(Failure { reason: "gzip: too many members".into(), partial })
}

fn read<R: Read>(mut reader: R, most: usize, taken: impl Fn(&R) -> usize) -> Result<Vec<u8>, Failure> {
    let mut partial = Vec::new();
    let result = reader.by_ref().take(most as u64 + 1).read_to_end(&mut partial);
    let reason = match result {
        Ok(n) if n <= most => return Ok(partial),
        Ok(_) => "body truncated due to size limitation".into(),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => "unexpected EOF".into(),
        Err(e) => match e.to_string() {
            text if text.contains("header") => "gzip: invalid header".into(),
            text if text.contains("checksum") => "gzip: invalid checksum".into(),
            _ => format!("flate: corrupt input before offset {}", taken(&reader)),
        },
    };
    partial.truncate(most);
    Err(Failure { reason, partial })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };
    use std::io::Write;

    macro_rules! packed {
        ($encoder:ident, $data:expr) => {{
            let mut e = $encoder::new(vec![], Compression::default());
            e.write_all($data).unwrap();
            e.finish().unwrap()
        }};
    }

    #[test]
    fn decodes() {
        let text = b"hello hello hello".repeat(20);
        for (coding, data) in [
            ("gzip", packed!(GzEncoder, &text)),
            ("deflate", packed!(ZlibEncoder, &text)),
            ("x-deflate", packed!(DeflateEncoder, &text)),
            ("zstd", zstd::bulk::compress(&text, 3).unwrap()),
        ] {
            assert_eq!(decode(coding, &data, 1000), Ok(Some(text.clone())), "{coding}");
            let short = decode(coding, &data, 100).unwrap_err();
            assert_eq!((short.reason.as_str(), short.partial.len()), ("body truncated due to size limitation", 100), "{coding}");
        }
        assert_eq!(decode("identity", b"x", 10), Ok(None));
    }

    #[test]
    fn a_text_is_shown_as_far_as_its_json_is_short_enough() {
        let json = |text: &[u8]| serde_json::to_string(&String::from_utf8_lossy(text)).unwrap().len() - 2;
        for text in ["\0".repeat(100), "a".repeat(100), "\n\"\\".repeat(50), "ä€".repeat(30), format!("{}\u{1}", "ä".repeat(70))] {
            for most in 0..700 {
                let out = shown(text.as_bytes(), most);
                assert!(json(out) <= most && text.as_bytes().starts_with(out) && std::str::from_utf8(out).is_ok(), "{text:?} {most}");
                assert!(out.len() == text.len() || json(out) + 6 > most, "{text:?} {most}: too short, {}", out.len());
            }
        }
        let binary = [0x80; 50];
        assert_eq!(shown(&binary, 300), binary);
        assert_eq!(shown(&binary, 10).len(), 3, "each byte becomes U+FFFD");
    }

    #[test]
    fn members_of_a_gzip_body_are_bounded_by_its_length() {
        let (empty, line) = (packed!(GzEncoder, b""), packed!(GzEncoder, &b"one line of a log\n".repeat(100)));
        assert_eq!(decode("gzip", &[&line[..], &empty, &line].concat(), 1 << 20), Ok(Some(b"one line of a log\n".repeat(200))));
        let short = decode("gzip", &[&line[..], &line].concat(), 2000).unwrap_err();
        assert_eq!((short.reason.as_str(), short.partial.len()), ("body truncated due to size limitation", 2000));
        let many = decode("gzip", &[&line[..], &empty.repeat(50_000)].concat(), 1 << 20).unwrap_err();
        assert_eq!((many.reason.as_str(), many.partial.len()), ("gzip: too many members", 1800));
        // The number of gzip members is not limited as long as the members have content.
        let random: Vec<u8> = (0..600_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let stored = packed!(GzEncoder, &random).repeat(2000);
        assert_eq!(decode("gzip", &stored, 2 << 20).map(|body| body.map(|b| b.len())), Ok(Some(600 * 2000)));
        assert_eq!(decode("gzip", &[&line[..], b"no member of gzip"].concat(), 1 << 20).unwrap_err().reason, "gzip: invalid header");
    }

    #[test]
    fn says_why_not() {
        let mut data = packed!(GzEncoder, &b"hello hello hello".repeat(20));
        let reason = |coding: &str, data: &[u8]| decode(coding, data, 1000).unwrap_err().reason;
        assert_eq!(reason("br", b"x"), "decoder not found");
        assert_eq!(reason("gzip", b"no gzip at all"), "gzip: invalid header");
        assert_eq!(reason("gzip", &data[..data.len() - 10]), "unexpected EOF");
        let crc = data.len() - 6;
        data[crc] ^= 1;
        assert_eq!(reason("gzip", &data), "gzip: invalid checksum");
        assert!(reason("deflate", b"\xff\xff\xff\xff").starts_with("flate: corrupt input before offset "));
    }
}
