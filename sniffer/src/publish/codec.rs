//! Writes documents. The constants of the publisher are merged while the event is written. If processors have to run on the event, it is
//! converted to a tree and edited.

use crate::{
    enrich::HostData,
    event::{Merged, tree::Tree},
    processors::{Chain, Destination, Instances},
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

/// Writes `event` to `buffer`, which must be empty.
pub fn encode<E: Serialize>(
    event: &E,
    chain: &Chain,
    host_data: &HostData,
    instances: &mut Instances,
    buffer: &mut Bounded<'_>,
) -> Encoded {
    let merged = chain.prepared.is_empty() || serde_json::to_writer(&mut *buffer, &Merged { value: event, with: &chain.prepared }).is_ok();
    if buffer.exceeded {
        return Encoded::TooLarge;
    }
    if merged && !chain.prepared.is_empty() {
        if chain.is_fast() {
            return Encoded::Written { destination: chain.destination.clone(), edited: None };
        }
        return edit(chain, host_data, instances, buffer, false);
    }
    buffer.buffer.clear();
    if serde_json::to_writer(&mut *buffer, event).is_err() {
        return buffer.failure();
    }
    if merged && chain.is_fast() {
        Encoded::Written { destination: Destination::default(), edited: None }
    } else {
        edit(chain, host_data, instances, buffer, true)
    }
}

/// Edits the document in `buffer` as a tree. `merge`: the constants have not been merged yet. The tree is made by parsing the written JSON.
/// This costs about as much as building a tree from the event, and event types then need only one serialization.
fn edit(chain: &Chain, host_data: &HostData, instances: &mut Instances, buffer: &mut Bounded<'_>, merge: bool) -> Encoded {
    let Ok(object) = serde_json::from_slice(buffer.buffer) else { return Encoded::Failed };
    let mut tree = Tree(object);
    if merge {
        chain.constants().apply(&mut tree.0);
    }
    let Some(destination) = chain.run(&mut tree, host_data, instances) else { return Encoded::Dropped };
    buffer.buffer.clear();
    match serde_json::to_writer(&mut *buffer, &tree.0) {
        Ok(()) => Encoded::Written { destination, edited: Some(tree) },
        Err(_) => buffer.failure(),
    }
}
