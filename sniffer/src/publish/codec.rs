//! Writes documents. The constants of the publisher are merged while the event is written. If processors have to run on the event, it is
//! converted to a tree and edited.

use crate::{
    enrich::HostData,
    event::{Merged, json, shorten, tree::Tree},
    processors::{Chain, Destination, Instances},
    time::Timestamp,
};
use serde::Serialize;
use std::io::{self, Write as _};

/// Capacity of a buffer after its first write, if the limit allows it.
const LEAST_CAPACITY: usize = 1024;

/// Result of writing an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Encoded {
    /// The document is in the buffer.
    Written {
        /// Where the document is stored.
        destination: Destination,
        /// The time of the event, which a processor may have changed.
        time: Timestamp,
        /// The event after processing, if it was converted to a tree.
        edited: Option<Tree>,
    },
    /// A processor dropped the event.
    Dropped,
    /// The event cannot be serialized to JSON.
    Failed,
    /// The document is longer than the limit of the buffer.
    TooLarge,
}

/// A buffer for a document. When the document becomes longer than the limit, the rest of it is discarded. A limit is needed because a text
/// of control characters is six times as long in JSON. Writing never fails, because the JSON writer is measurably slower if it has to
/// handle errors of the buffer.
pub struct Bounded<'a> {
    /// The limit is checked only when a write needs more capacity.
    buffer: &'a mut Vec<u8>,
    /// Where the document begins in `buffer`.
    from: usize,
    /// The largest allowed length of `buffer`.
    most: usize,
    /// Whether bytes were discarded.
    exceeded: bool,
    /// Whether long texts and lists are cut off.
    shortens: bool,
}

impl<'a> Bounded<'a> {
    /// Appends at most `most` bytes to `buffer`, which should not have more spare capacity.
    pub fn new(buffer: &'a mut Vec<u8>, most: usize) -> Self {
        let from = buffer.len();
        Self { buffer, from, most: from.saturating_add(most), exceeded: false, shortens: false }
    }

    /// The same buffer, in which documents are shortened so that they fit.
    #[must_use]
    pub fn shortening(self) -> Self {
        Self { shortens: true, ..self }
    }

    fn document(&self) -> &[u8] {
        self.buffer.get(self.from..).unwrap_or_default()
    }

    /// Makes room for `more` bytes. Returns false if the limit does not allow it.
    #[cold]
    fn grow(&mut self, more: usize) -> bool {
        let needed = self.buffer.len().saturating_add(more);
        if needed > self.most {
            self.exceeded = true;
            return false;
        }
        let capacity = self.buffer.capacity();
        let capacity = (capacity + capacity / 2).max(LEAST_CAPACITY).clamp(needed, self.most);
        self.buffer.reserve_exact(capacity - self.buffer.len());
        true
    }

    /// Replaces the content of the buffer with `value` as JSON.
    fn write_json<T: Serialize>(&mut self, value: &T) -> Result<(), Encoded> {
        self.buffer.truncate(self.from);
        // The escapes of separators, which are written last, can double the length.
        let most = (self.most - self.from) / 2;
        let written = if self.shortens { shorten::write(&mut *self, value, most) } else { json::write(&mut *self, value) };
        self.escape_separators();
        match written {
            _ if self.exceeded => Err(Encoded::TooLarge),
            Ok(()) => Ok(()),
            Err(_) => Err(Encoded::Failed),
        }
    }
}

impl Bounded<'_> {
    /// Writes U+2028 and U+2029 as escapes, as Packetbeat does, because JavaScript and some readers of lines take them for the end of a
    /// line. They are rare, so the finished document is searched for them.
    fn escape_separators(&mut self) {
        let Some((first, _)) = separator(self.document()) else { return };
        let tail = self.buffer.split_off(self.from + first);
        let mut rest = tail.as_slice();
        while let Some((at, escape)) = separator(rest) {
            let (before, after) = rest.split_at(at);
            // Writing to this buffer never fails.
            let _ = self.write_all(before).and_then(|()| self.write_all(escape));
            rest = after.get(3..).unwrap_or_default();
        }
        let _ = self.write_all(rest);
    }
}

/// Where the first U+2028 or U+2029 is, and its escape.
fn separator(text: &[u8]) -> Option<(usize, &'static [u8])> {
    memchr::memmem::find_iter(text, b"\xe2\x80").find_map(|at| match text.get(at + 2)? {
        0xa8 => Some((at, &b"\\u2028"[..])),
        0xa9 => Some((at, b"\\u2029")),
        _ => None,
    })
}

impl io::Write for Bounded<'_> {
    #[inline]
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_all(data).map(|()| data.len())
    }

    #[inline]
    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        if data.len() <= self.buffer.capacity() - self.buffer.len() || self.grow(data.len()) {
            self.buffer.extend_from_slice(data);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The data that processors need besides the event.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The publisher's processing.
    pub chain: &'a Chain,
    /// The data about the host.
    pub host_data: &'a HostData,
    /// The time of the event.
    pub time: Timestamp,
    /// Digits of fractional seconds in documents.
    pub digits: u8,
}

/// Appends `event` to `buffer`. If the event cannot be written, a part of it may have been appended.
pub fn encode<E: Serialize>(event: &E, context: Context<'_>, instances: &mut Instances, buffer: &mut Bounded<'_>) -> Encoded {
    let Context { chain, time, .. } = context;
    if !chain.prepared.is_empty() {
        match buffer.write_json(&Merged { value: event, with: &chain.prepared }) {
            Ok(()) if chain.is_fast() => return Encoded::Written { destination: chain.destination.clone(), time, edited: None },
            Ok(()) => return edit(context, instances, buffer, false),
            Err(Encoded::TooLarge) => return Encoded::TooLarge,
            // The event has another kind of value where the constants have an object. This can be merged only as a tree.
            Err(_) => {}
        }
    }
    match buffer.write_json(event) {
        Ok(()) if chain.prepared.is_empty() && chain.is_fast() => {
            Encoded::Written { destination: Destination::default(), time, edited: None }
        }
        Ok(()) => edit(context, instances, buffer, true),
        Err(failure) => failure,
    }
}

/// Edits the document in `buffer` as a tree. `merge`: whether the constants must still be merged. The tree is made by parsing the written
/// JSON. This costs about as much as building a tree from the event, and event types then need only one serialization.
fn edit(context: Context<'_>, instances: &mut Instances, buffer: &mut Bounded<'_>, merge: bool) -> Encoded {
    let Context { chain, host_data, time, digits } = context;
    let Ok(fields) = serde_json::from_slice(buffer.document()) else { return Encoded::Failed };
    let mut tree = Tree::new(fields, time, digits);
    if merge {
        chain.constants().apply(&mut tree.fields);
    }
    let Some(destination) = chain.run(&mut tree, host_data, instances) else { return Encoded::Dropped };
    match buffer.write_json(&tree.finish()) {
        Ok(()) => Encoded::Written { destination, time: tree.time, edited: Some(tree) },
        Err(failure) => failure,
    }
}
