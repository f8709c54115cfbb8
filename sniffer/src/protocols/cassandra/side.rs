//! One direction of a connection: where the next message begins, and in which form. Neither pairs nor reports anything.

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

/// Bytes that tell whether an envelope begins here: its header, and what its body begins with.
const ENOUGH: usize = HEADER + 4;

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub enum Unit {
    /// An envelope that stands by itself.
    Envelope(Header),
    /// A segment of v5.
    Segment(Segment),
    /// So many bytes more will tell.
    Need(usize),
    /// So many bytes are neither.
    Junk(usize),
}

/// How messages are put into this direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// Not known; a message begins here.
    #[default]
    Unknown,
    /// Not known; a message begins somewhere.
    Searching,
    /// Envelopes by themselves: v3 and v4.
    Envelopes,
    /// Segments, of a connection with compression or without.
    Segments { lz4: bool },
}

/// See the module.
#[derive(Debug, Default)]
pub struct Side {
    form: Form,
    /// An envelope that comes in several segments.
    pub assembly: Option<Assembly>,
    /// The search for the next message.
    pub search: Resync,
}

impl Side {
    /// What `data` begins with. When it is a message, [`Side::found`] or [`Side::segmented`] is to be told.
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

    /// What [`Side::unit`] found is an envelope by itself.
    pub fn found(&mut self, header: &Header) {
        self.search.found();
        // The next message of v5 may be a segment.
        self.form = if header.version < 5 { Form::Envelopes } else { Form::Unknown };
    }

    /// What [`Side::unit`] found is a segment.
    pub fn segmented(&mut self, segment: &Segment) {
        self.search.found();
        self.form = Form::Segments { lz4: segment.lz4() };
    }

    /// Passes over `n` bytes that are no message.
    pub fn pass_over(&mut self, n: usize) -> Recovery {
        self.lose();
        self.search.passed(n)
    }

    /// Where the next message begins is not known any more.
    pub fn lose(&mut self) {
        self.form = Form::Searching;
        self.assembly = None;
    }

    /// Whether a segment has nothing but the rest of an envelope that nobody wants; then it is taken.
    pub fn skip(&mut self, segment: &Segment) -> bool {
        let plain = segment.plain;
        let Some(part) = self.assembly.as_mut().filter(|part| part.told && !segment.self_contained && plain as u64 <= part.left) else {
            return false;
        };
        part.take(plain);
        self.settle();
        true
    }

    /// Forgets the envelope in several segments when it is over.
    pub fn settle(&mut self) {
        if self.assembly.as_ref().is_some_and(|part| part.left == 0) {
            self.assembly = None;
        }
    }
}

/// Whether a look at three bytes leaves it open that a message begins here: the version of an envelope, or the unused bits at the top of a
/// segment's lengths. It spares most of the work in a long search.
fn may_begin(data: &[u8]) -> bool {
    let zero = |at: usize, bits: u8| data.get(at).is_none_or(|byte| byte & bits == 0);
    data.first().is_some_and(|version| matches!(version & 0x7f, 3..=5)) || zero(2, 0xfc) || zero(4, 0xf8)
}

/// Whether a message begins with the first byte. `expected`: one should.
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
            // What is searched for must be plainer than what is expected: more bytes are looked at.
            let plain = expected || header.flags & !COMPRESSED == 0 && header.length <= LONGEST_FOUND;
            if plain && header.begins_well(&data[HEADER..]) { Unit::Envelope(header) } else { Unit::Junk(1) }
        }
        None if data.len() < HEADER => Unit::Need(HEADER - data.len()),
        _ => Unit::Junk(1),
    }
}

/// An envelope that comes in several segments.
#[derive(Debug)]
pub struct Assembly {
    /// Of the envelope.
    pub header: Header,
    /// When its first byte was on the wire.
    pub time: Timestamp,
    /// It was reported; what still comes is not wanted.
    pub told: bool,
    /// Bytes of the envelope still to come.
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
    /// Its first part, with the header; it is reported as soon as `wanted` bytes are there.
    pub fn new(header: Header, wanted: usize, first: &[u8], time: Timestamp) -> Self {
        let mut part = Self { header, time, told: false, left: header.total(), wanted, bytes: Vec::new() };
        part.add(first);
        part
    }

    /// The next part.
    pub fn add(&mut self, payload: &[u8]) {
        if !self.told {
            let room = self.wanted.saturating_sub(self.bytes.len()).min(payload.len());
            self.bytes.extend_from_slice(&payload[..room]);
        }
        self.take(payload.len());
    }

    /// So many bytes came and are not wanted.
    pub fn take(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
    }

    /// As much of its body as is wanted, once that is there.
    pub fn body(&self) -> Option<&[u8]> {
        (self.bytes.len() >= self.wanted).then(|| self.bytes.get(HEADER..).unwrap_or_default())
    }

    /// It was reported.
    pub fn told(&mut self) {
        self.told = true;
        self.bytes = Vec::new();
    }
}
