//! Batches of records in Kafka's format version 2, and their compression. <https://kafka.apache.org/documentation/#recordbatch>
//!
//! The encoder of the library for Kafka's messages is not used: it keeps headers in a map, which loses a header that is given twice.

use flate2::{Compression as Level, write::GzEncoder};
use serde::Deserialize;
use std::io::{self, Write};

/// A Kafka message: one event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// The time of the message, in milliseconds since 1970.
    pub(super) time: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: &'a [u8],
}

/// The setting `compression`: how the messages are compressed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The format of batches.
#[derive(Clone, Debug)]
pub(super) struct Format {
    pub(super) compression: Compression,
    /// The level of gzip compression.
    pub(super) level: u32,
    /// Headers that every message gets.
    pub(super) headers: Vec<(String, String)>,
}

/// Number of bytes of a batch before its records.
const HEAD: usize = 61;

/// Maximum number of bytes of a record besides key, value and headers: seven numbers of variable length.
const RECORD: usize = 40;

/// Number of bytes of a batch from its beginning to the end of the checksum field.
const UNCHECKED: usize = 21;

/// Uncompressed bytes of one block of snappy.
const SNAPPY_BLOCK: usize = 32 << 10;

impl Format {
    /// Maximum number of bytes that a message adds to a batch, before compression.
    pub(super) fn size(&self, message: &Message<'_>) -> usize {
        let headers: usize = self.headers.iter().map(|(key, value)| key.len() + value.len() + 10).sum();
        RECORD + message.key.map_or(0, <[u8]>::len) + message.value.len() + headers
    }

    /// Maximum number of bytes of a batch with this single message, before compression.
    pub(super) fn size_alone(&self, message: &Message<'_>) -> usize {
        HEAD + self.size(message)
    }

    /// A batch with these messages.
    ///
    /// # Errors
    /// When compression fails.
    pub(super) fn batch(&self, messages: &[Message<'_>]) -> io::Result<Vec<u8>> {
        let base = messages.first().map_or(0, |message| message.time);
        let latest = messages.iter().map(|message| message.time).max().unwrap_or(base);
        let mut records = Vec::with_capacity(messages.iter().map(|message| self.size(message)).sum());
        let mut scratch = Vec::new();
        for (place, message) in (0..).zip(messages) {
            scratch.clear();
            self.record(message, message.time.saturating_sub(base), place, &mut scratch);
            number(signed(scratch.len()), &mut records);
            records.extend_from_slice(&scratch);
        }
        let records = self.compress(records)?;
        let count = i32::try_from(messages.len()).map_err(io::Error::other)?;
        let length = i32::try_from(HEAD - 12 + records.len()).map_err(io::Error::other)?;
        let mut batch = Vec::with_capacity(HEAD + records.len());
        batch.extend_from_slice(&0i64.to_be_bytes()); // base offset
        batch.extend_from_slice(&length.to_be_bytes());
        batch.extend_from_slice(&(-1i32).to_be_bytes()); // epoch of the partition's leader
        batch.push(2); // version of the format
        batch.extend_from_slice(&[0; 4]); // checksum, see below
        batch.extend_from_slice(&(self.compression as i16).to_be_bytes());
        batch.extend_from_slice(&(count - 1).to_be_bytes()); // offset of the last record
        batch.extend_from_slice(&base.to_be_bytes());
        batch.extend_from_slice(&latest.to_be_bytes());
        batch.extend_from_slice(&(-1i64).to_be_bytes()); // producer, its epoch and sequence: not idempotent
        batch.extend_from_slice(&(-1i16).to_be_bytes());
        batch.extend_from_slice(&(-1i32).to_be_bytes());
        batch.extend_from_slice(&count.to_be_bytes());
        batch.extend_from_slice(&records);
        let checksum = crc32c::crc32c(batch.get(UNCHECKED..).unwrap_or_default());
        if let Some(field) = batch.get_mut(UNCHECKED - 4..UNCHECKED) {
            field.copy_from_slice(&checksum.to_be_bytes());
        }
        Ok(batch)
    }

    fn record(&self, message: &Message<'_>, later: i64, place: i64, out: &mut Vec<u8>) {
        out.push(0); // attributes
        number(later, out);
        number(place, out);
        match message.key {
            Some(key) => text(key, out),
            None => number(-1, out),
        }
        text(message.value, out);
        number(signed(self.headers.len()), out);
        for (key, value) in &self.headers {
            text(key.as_bytes(), out);
            text(value.as_bytes(), out);
        }
    }

    fn compress(&self, plain: Vec<u8>) -> io::Result<Vec<u8>> {
        match self.compression {
            Compression::None => Ok(plain),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Level::new(self.level));
                encoder.write_all(&plain)?;
                encoder.finish()
            }
            Compression::Snappy => snappy(&plain),
            Compression::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(&plain)?;
                encoder.finish().map_err(io::Error::other)
            }
            Compression::Zstd => zstd::bulk::compress(&plain, zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }
}

/// Compresses with snappy, in the framing of Java's snappy library, which brokers and clients expect: a header, and blocks with their
/// lengths.
fn snappy(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(SNAPPY_BLOCK) {
        let compressed = encoder.compress_vec(block).map_err(io::Error::other)?;
        out.extend_from_slice(&u32::try_from(compressed.len()).map_err(io::Error::other)?.to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(out)
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// Appends a number of variable length, in zigzag form.
fn number(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends a text with its length.
fn text(bytes: &[u8], out: &mut Vec<u8>) {
    number(signed(bytes.len()), out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use kafka_protocol::records::{Compression as Codec, RecordBatchDecoder};
    use std::io::Read;

    /// Decompresses with the decoders of the libraries.
    fn plain(codec: Codec, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match codec {
            Codec::None => out.extend(bytes),
            Codec::Gzip => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap()),
            Codec::Lz4 => drop(lz4_flex::frame::FrameDecoder::new(bytes).read_to_end(&mut out).unwrap()),
            Codec::Zstd => out.extend(zstd::decode_all(bytes).unwrap()),
            Codec::Snappy => {
                let mut rest = bytes.strip_prefix(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01").unwrap();
                while let Some((length, tail)) = rest.split_at_checked(4) {
                    let (block, tail) = tail.split_at(u32::from_be_bytes(length.try_into().unwrap()) as usize);
                    out.extend(snap::raw::Decoder::new().decompress_vec(block).unwrap());
                    rest = tail;
                }
            }
        }
        out
    }

    #[test]
    fn another_decoder_reads_the_batches() {
        let long = "x".repeat(100_000);
        let message = |time, key, value| Message { time, key, value };
        let messages = [
            message(1_700_000_000_123, Some(&b"key"[..]), &b"value"[..]),
            message(1_700_000_000_100, None, long.as_bytes()),
            message(1_800_000_000_000, Some(b""), b""),
        ];
        for compression in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let headers = vec![("a".to_owned(), "b".to_owned()), ("empty".to_owned(), String::new())];
            let format = Format { compression, level: 4, headers };
            let batch = format.batch(&messages).unwrap();
            let most: usize = HEAD + messages.iter().map(|message| format.size(message)).sum::<usize>();
            assert!(batch.len() <= most, "{} > {most}", batch.len());
            let decompress = |bytes: &mut Bytes, codec: Codec| Ok(Bytes::from(plain(codec, bytes)));
            let set = RecordBatchDecoder::decode_with_custom_compression(&mut Bytes::from(batch), Some(decompress)).unwrap();
            assert_eq!(set.records.len(), messages.len(), "{compression:?}");
            for (place, (record, message)) in set.records.iter().zip(&messages).enumerate() {
                assert_eq!((record.timestamp, record.offset), (message.time, place as i64));
                assert_eq!((record.key.as_deref(), record.value.as_deref()), (message.key, Some(message.value)));
                let headers: Vec<_> = record.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
                assert_eq!(headers, [("a", Some(&b"b"[..])), ("empty", Some(b""))]);
            }
        }
    }

    #[test]
    fn numbers_of_variable_length() {
        for (value, expected) in [(0, &[0][..]), (-1, &[1]), (1, &[2]), (-64, &[127]), (64, &[128, 1]), (300, &[0xd8, 4])] {
            let mut out = Vec::new();
            number(value, &mut out);
            assert_eq!(out, expected, "{value}");
        }
        let mut out = Vec::new();
        number(i64::MIN, &mut out);
        assert_eq!(out, [[0xff; 9].as_slice(), &[1]].concat());
    }
}
