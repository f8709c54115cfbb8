//! Writes documents. The constants of the publisher are merged while the event is written. If processors have to run on the event, it is
//! converted to a tree and edited.

use crate::{
    enrich::HostData,
    event::{Merged, tree::Tree},
    processors::{Chain, Destination, Instances},
    time::Timestamp,
};
use serde::Serialize;
use std::io;

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

/// A buffer for a document. Writing fails when the document becomes longer than the limit. A limit is needed because text of control
/// characters is six times as long in JSON.
pub struct Bounded<'a> {
    buffer: &'a mut Vec<u8>,
    most: usize,
    exceeded: bool,
}

impl<'a> Bounded<'a> {
    /// Writes at most `most` bytes into `buffer`.
    pub fn new(buffer: &'a mut Vec<u8>, most: usize) -> Self {
        Self { buffer, most, exceeded: false }
    }

    /// Why writing failed.
    fn failure(&self) -> Encoded {
        if self.exceeded { Encoded::TooLarge } else { Encoded::Failed }
    }
}

impl io::Write for Bounded<'_> {
    #[inline]
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_all(data).map(|()| data.len())
    }

    #[inline]
    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        if self.buffer.len() + data.len() > self.most {
            self.exceeded = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What processors need besides the event.
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

/// Writes `event` to `buffer`, which must be empty.
pub fn encode<E: Serialize>(event: &E, context: Context<'_>, instances: &mut Instances, buffer: &mut Bounded<'_>) -> Encoded {
    let Context { chain, time, .. } = context;
    let merged = chain.prepared.is_empty() || serde_json::to_writer(&mut *buffer, &Merged { value: event, with: &chain.prepared }).is_ok();
    if buffer.exceeded {
        return Encoded::TooLarge;
    }
    if merged && !chain.prepared.is_empty() {
        if chain.is_fast() {
            return Encoded::Written { destination: chain.destination.clone(), time, edited: None };
        }
        return edit(context, instances, buffer, false);
    }
    buffer.buffer.clear();
    if serde_json::to_writer(&mut *buffer, event).is_err() {
        return buffer.failure();
    }
    if merged && chain.is_fast() {
        Encoded::Written { destination: Destination::default(), time, edited: None }
    } else {
        edit(context, instances, buffer, true)
    }
}

/// Edits the document in `buffer` as a tree. `merge`: the constants have not been merged yet. The tree is made by parsing the written JSON.
/// This costs about as much as building a tree from the event, and event types then need only one serialization.
fn edit(context: Context<'_>, instances: &mut Instances, buffer: &mut Bounded<'_>, merge: bool) -> Encoded {
    let Context { chain, host_data, time, digits } = context;
    let Ok(fields) = serde_json::from_slice(buffer.buffer) else { return Encoded::Failed };
    let mut tree = Tree::new(fields, time, digits);
    if merge {
        chain.constants().apply(&mut tree.fields);
    }
    let Some(destination) = chain.run(&mut tree, host_data, instances) else { return Encoded::Dropped };
    buffer.buffer.clear();
    match serde_json::to_writer(&mut *buffer, tree.finish()) {
        Ok(()) => Encoded::Written { destination, time: tree.time, edited: Some(tree) },
        Err(_) => buffer.failure(),
    }
}
