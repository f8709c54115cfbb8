//! One direction of a connection: finds the next message and its form. This module does not pair requests with responses, and does not
//! report events.

use super::{
    segment::Segment,
    wire::{COMPRESSED, HEADER, Header, LONGEST_FOUND},
};
use crate::{
    protocols::{
        Recovery,
        kit::{held::Held, resync::Resync},
    },
    time::Timestamp,
};

/// Number of bytes that show whether an envelope begins at a place: its header, and the start of its body.
const ENOUGH: usize = HEADER + 4;

/// The kind of the next bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Unit {
    /// An envelope outside of segments.
    Envelope(Header),
    /// A segment of v5.
    Segment(Segment),
    /// This number of further bytes is needed to decide.
    Need(usize),
    /// This number of bytes is neither an envelope nor a segment.
    Junk(usize),
}

/// The form of the messages in this direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// The form is not known. A message begins at the next byte.
    #[default]
    Unknown,
    /// The form is not known. A message may begin at the next byte, because the capture began here.
    Joined,
    /// Neither the form nor the start of a message is known.
    Searching,
    /// Envelopes without segments: v3 and v4.
    Envelopes,
    /// Segments, of a connection with or without compression.
    Segments { lz4: bool },
}

/// The state of one direction of a connection.
#[derive(Debug, Default)]
pub struct Side {
    form: Form,
    /// An envelope that consists of several segments.
    pub assembly: Option<Assembly>,
    /// The search for the next message.
    pub search: Resync,
}

impl Side {
    /// The kind of the start of `data`. If it is a message, [`Side::found`] or [`Side::segmented`] must be called.
    pub fn unit(&self, data: &[u8]) -> Unit {
        match self.form {
            Form::Envelopes => match Header::read(data) {
                Some(header) if header.version < 5 => Unit::Envelope(header),
                _ if data.len() < HEADER => Unit::Need(HEADER - data.len()),
                _ => Unit::Junk(1),
            },
            Form::Segments { lz4 } => match Segment::read(data, lz4) {
                Some(segment) => Unit::Segment(segment),
                None if data.len() < Segment::HEADER => Unit::Need(Segment::HEADER - data.len()),
                None => Unit::Junk(1),
            },
            Form::Unknown => here(data, true),
            Form::Joined => match here(data, true) {
                Unit::Envelope(header) if header.length > LONGEST_FOUND => Unit::Junk(1),
                unit => unit,
            },
            Form::Searching => {
                for at in (0..data.len()).filter(|at| may_begin(&data[*at..])) {
                    match here(&data[at..], false) {
                        Unit::Junk(_) => {}
                        unit if at == 0 => return unit,
                        _ => return Unit::Junk(at),
                    }
                }
                Unit::Junk(data.len())
            }
        }
    }

    /// Notes that [`Side::unit`] found an envelope outside of segments.
    pub fn found(&mut self, header: &Header) {
        self.search.found();
        // In v5 the next message may be a segment.
        self.form = if header.version < 5 { Form::Envelopes } else { Form::Unknown };
    }

    /// Notes that [`Side::unit`] found a segment.
    pub fn segmented(&mut self, segment: &Segment) {
        self.search.found();
        self.form = Form::Segments { lz4: segment.lz4() };
    }

    /// Skips `n` bytes that are not a message.
    pub fn pass_over(&mut self, n: usize) -> Recovery {
        self.lose();
        self.search.passed(n)
    }

    /// Notes that the first data may begin inside a message.
    pub fn join(&mut self) {
        self.form = Form::Joined;
    }

    /// Notes that the start of the next message is unknown.
    pub fn lose(&mut self) {
        self.form = Form::Searching;
        self.assembly = None;
    }

    /// Whether a segment contains only the rest of an envelope that is not needed; it is then consumed.
    pub fn skip(&mut self, segment: &Segment) -> bool {
        let plain = segment.plain;
        let Some(part) = self.assembly.as_mut().filter(|part| part.reported && !segment.self_contained && plain as u64 <= part.left) else {
            return false;
        };
        part.take(plain);
        self.settle();
        true
    }

    /// Removes the envelope in several segments when it is complete.
    pub fn settle(&mut self) {
        if self.assembly.as_ref().is_some_and(|part| part.left == 0) {
            self.assembly = None;
        }
    }
}

/// Whether the first three bytes may be the start of a message: the version of an envelope, or the unused high bits of a segment's lengths.
/// This test avoids most of the work in a long search.
fn may_begin(data: &[u8]) -> bool {
    let zero = |at: usize, bits: u8| data.get(at).is_none_or(|byte| byte & bits == 0);
    data.first().is_some_and(|version| matches!(version & 0x7f, 3..=5)) || zero(2, 0xfc) || zero(4, 0xf8)
}

/// Whether a message begins at the first byte. `expected`: a message should begin here.
fn here(data: &[u8], expected: bool) -> Unit {
    let segment = Segment::read(data, false).or_else(|| Segment::read(data, true));
    if let Some(segment) = segment {
        return Unit::Segment(segment);
    }
    match Header::read(data) {
        Some(header) if header.unframed() => {
            let enough = ENOUGH.min(HEADER + header.length as usize);
            if data.len() < enough {
                return Unit::Need(enough - data.len());
            }
            // In a search more bytes are examined than for an expected message, to avoid false matches.
            let plain = expected || header.flags & !COMPRESSED == 0 && header.length <= LONGEST_FOUND;
            if plain && header.begins_well(&data[HEADER..]) { Unit::Envelope(header) } else { Unit::Junk(1) }
        }
        None if data.len() < HEADER => Unit::Need(HEADER - data.len()),
        _ => Unit::Junk(1),
    }
}

/// An envelope that consists of several segments.
#[derive(Debug)]
pub struct Assembly {
    /// The header of the envelope.
    pub header: Header,
    /// Packet time of the envelope's first byte.
    pub time: Timestamp,
    /// Whether the envelope was reported. Its remaining bytes are then skipped.
    pub reported: bool,
    /// Number of remaining bytes of the envelope.
    pub left: u64,
    wanted: usize,
    bytes: Vec<u8>,
}

impl Held for Assembly {
    fn held(&self) -> usize {
        self.bytes.held()
    }
}

impl Assembly {
    /// Starts with the first part, which has the header. The envelope is reported as soon as `wanted` bytes of it have
    /// arrived.
    pub fn new(header: Header, wanted: usize, first: &[u8], time: Timestamp) -> Self {
        let mut part = Self { header, time, reported: false, left: header.total(), wanted, bytes: Vec::new() };
        part.add(first);
        part
    }

    /// Adds the next part.
    pub fn add(&mut self, payload: &[u8]) {
        if !self.reported {
            let room = self.wanted.saturating_sub(self.bytes.len()).min(payload.len());
            self.bytes.extend_from_slice(&payload[..room]);
        }
        self.take(payload.len());
    }

    /// Notes that this number of bytes arrived that are not needed.
    pub fn take(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
    }

    /// The needed part of the body, if it is complete.
    pub fn body(&self) -> Option<&[u8]> {
        (self.bytes.len() >= self.wanted).then(|| self.bytes.get(HEADER..).unwrap_or_default())
    }

    /// Notes that the envelope was reported.
    pub fn set_reported(&mut self) {
        self.reported = true;
        self.bytes = Vec::new();
    }
}
