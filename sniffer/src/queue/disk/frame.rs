//! The format of a record on disk. All numbers are little-endian.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | `F5 51 FA` and the version of the format, 1. `F5` never occurs in UTF-8, so documents do not contain this mark |
//! | 4 | length of the payload in bytes |
//! | 8 | sequence number |
//! | 4 | CRC-32C of length, sequence number and payload |
//! | length | the payload: time, destination, document |

use super::super::OVERHEAD;
use crate::{publish::Record, time::Timestamp};

/// The first bytes of each record. The last one is the version of the format.
pub(super) const MARK: [u8; 4] = [0xF5, 0x51, 0xFA, 1];
/// Size of the header: the bytes before the payload.
pub(super) const HEADER: usize = 20;
/// Largest payload in bytes. A document has at most 32 MiB (`publish/codec.rs`).
pub(super) const MOST: usize = 64 << 20;
/// Largest number of texts before the document.
const TEXTS: usize = 4;

/// Where a record is in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The first byte.
    pub at: u64,
    /// Size of the record in bytes, with its header.
    pub size: u32,
}

impl Place {
    /// Memory in bytes that the record takes while it is read or handed out.
    pub(super) fn memory(self) -> u64 {
        u64::from(self.size) + OVERHEAD as u64
    }
}

/// The result of [`parse`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// A valid record.
    Frame { sequence: u64, payload: &'a [u8] },
    /// The bytes are the beginning of a record. Reading it needs this many bytes.
    Needs(usize),
    /// Not a record.
    Bad,
}

fn checksum(length: [u8; 4], sequence: [u8; 8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&length), &sequence), payload)
}

/// Reads the record at the beginning of `data`.
pub(super) fn parse(data: &[u8]) -> Parsed<'_> {
    if !data.starts_with(MARK.get(..data.len().min(MARK.len())).unwrap_or(&MARK)) {
        return Parsed::Bad;
    }
    let Some((header, rest)) = data.split_first_chunk::<HEADER>() else { return Parsed::Needs(HEADER) };
    let [_, _, _, _, l0, l1, l2, l3, s0, s1, s2, s3, s4, s5, s6, s7, c0, c1, c2, c3] = *header;
    let (length, sequence) = ([l0, l1, l2, l3], [s0, s1, s2, s3, s4, s5, s6, s7]);
    let size = u32::from_le_bytes(length) as usize;
    if size > MOST {
        return Parsed::Bad;
    }
    let Some(payload) = rest.get(..size) else { return Parsed::Needs(HEADER + size) };
    if checksum(length, sequence, payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Parsed::Bad;
    }
    Parsed::Frame { sequence: u64::from_le_bytes(sequence), payload }
}

/// Appends a record to `out`. Returns its size in bytes; `None`: it is too large and nothing was appended.
pub(super) fn append(out: &mut Vec<u8>, sequence: u64, record: &Record) -> Option<usize> {
    let start = out.len();
    let size = append_parts(out, sequence, record);
    if size.is_none() {
        out.truncate(start);
    }
    size
}

fn append_parts(out: &mut Vec<u8>, sequence: u64, record: &Record) -> Option<usize> {
    let start = out.len();
    // The header is written after the payload, because it has the payload's length and checksum.
    out.extend([0; HEADER]);
    out.extend(record.route.time.0.to_le_bytes());
    let destination = &record.route.destination;
    let document = destination.document.as_deref();
    let texts: [Option<&str>; TEXTS] = [
        destination.target.as_deref(),
        destination.pipeline.as_deref(),
        document.and_then(|document| document.id.as_deref()),
        document.and_then(|document| document.operation.as_deref()),
    ];
    for text in texts {
        // A text is stored as its length plus one, and its bytes. A missing text is stored as zero.
        let length = text.map_or(Some(0), |text| u32::try_from(text.len()).ok()?.checked_add(1))?;
        out.extend(length.to_le_bytes());
        out.extend(text.unwrap_or_default().as_bytes());
    }
    out.extend_from_slice(&record.body);
    let (header, payload) = out.get_mut(start..)?.split_first_chunk_mut::<HEADER>()?;
    if payload.len() > MOST {
        return None;
    }
    let (length, sequence) = (u32::try_from(payload.len()).ok()?.to_le_bytes(), sequence.to_le_bytes());
    let sum = checksum(length, sequence, payload).to_le_bytes();
    let parts = MARK.into_iter().chain(length).chain(sequence).chain(sum);
    header.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    Some(HEADER + payload.len())
}

/// The record that a payload contains; `None` if the payload is invalid although its checksum is right.
pub(super) fn record(payload: &[u8]) -> Option<Record> {
    let (time, mut rest) = payload.split_first_chunk::<8>()?;
    let mut text = || -> Option<Option<String>> {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (text, after) = after.split_at_checked(length.saturating_sub(1))?;
        rest = after;
        if length == 0 { Some(None) } else { Some(Some(std::str::from_utf8(text).ok()?.to_owned())) }
    };
    let (target, pipeline, id, operation) = (text()?, text()?, text()?, text()?);
    let mut record = Record { body: rest.into(), ..Record::default() };
    record.route.time = Timestamp(u64::from_le_bytes(*time));
    let destination = &mut record.route.destination;
    (destination.target, destination.pipeline) = (target.map(Into::into), pipeline.map(Into::into));
    if id.is_some() || operation.is_some() {
        let document = destination.document.get_or_insert_default();
        (document.id, document.operation) = (id, operation);
    }
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::{Destination, Document, Route};

    #[test]
    fn every_field_comes_back_and_every_changed_byte_is_noticed() {
        let document = Document { id: Some("ä".into()), operation: Some(String::new()) };
        let destination = Destination { target: Some("index".into()), pipeline: None, document: Some(Box::new(document)) };
        let record = Record { route: Route { destination, time: Timestamp(5) }, body: b"{\"a\":1}".as_slice().into() };
        let mut data = Vec::new();
        let size = append(&mut data, 77, &record).unwrap();
        assert_eq!(size, data.len());
        let Parsed::Frame { sequence: 77, payload } = parse(&data) else { panic!("{:?}", parse(&data)) };
        let back = super::record(payload).unwrap();
        assert_eq!((&back.route, &*back.body), (&record.route, &*record.body));
        for at in 0..data.len() {
            assert!(matches!(parse(&data[..at]), Parsed::Needs(n) if n > at), "cut at {at}");
            let mut changed = data.clone();
            changed[at] ^= 1;
            assert!(!matches!(parse(&changed), Parsed::Frame { .. }), "byte {at}");
        }
    }
}
