//! Writes documents. The constants of the publisher are merged while the event is written; if processors need the
//! event, it is converted to a tree and edited.

use crate::{
    enrich::HostData,
    event::{Merged, tree::Tree},
    processors::{Chain, Instances},
};
use serde::Serialize;
use std::sync::Arc;

/// Result of writing an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Encoded {
    /// The document is in the buffer.
    Written {
        /// Target and ingest pipeline of the document.
        route: [Option<Arc<str>>; 2],
        /// The event after processing, if it was converted to a tree.
        edited: Option<Tree>,
    },
    /// A processor dropped the event.
    Dropped,
    /// The event cannot be serialized to JSON.
    Failed,
}

/// Writes `event` to `buffer`, which must be empty.
pub fn encode<E: Serialize>(event: &E, chain: &Chain, host_data: &HostData, instances: &mut Instances, buffer: &mut Vec<u8>) -> Encoded {
    let merged = chain.prepared.is_empty() || serde_json::to_writer(&mut *buffer, &Merged { value: event, with: &chain.prepared }).is_ok();
    if merged && !chain.prepared.is_empty() {
        if chain.is_fast() {
            return Encoded::Written { route: [chain.target.clone(), chain.pipeline.clone()], edited: None };
        }
        return edit(chain, host_data, instances, buffer, false);
    }
    buffer.clear();
    if serde_json::to_writer(&mut *buffer, event).is_err() {
        return Encoded::Failed;
    }
    if merged && chain.is_fast() {
        Encoded::Written { route: [None, None], edited: None }
    } else {
        edit(chain, host_data, instances, buffer, true)
    }
}

/// Edits the document in `buffer` as a tree. `merge`: the constants have not been merged yet. Parsing the written JSON
/// costs about as much as building a tree from the event would, and event types then need only one serialization.
fn edit(chain: &Chain, host_data: &HostData, instances: &mut Instances, buffer: &mut Vec<u8>, merge: bool) -> Encoded {
    let Ok(object) = serde_json::from_slice(buffer) else { return Encoded::Failed };
    let mut tree = Tree(object);
    if merge {
        chain.constants().apply(&mut tree.0);
    }
    let Some(route) = chain.run(&mut tree, host_data, instances) else { return Encoded::Dropped };
    buffer.clear();
    match serde_json::to_writer(buffer, &tree.0) {
        Ok(()) => Encoded::Written { route, edited: Some(tree) },
        Err(_) => Encoded::Failed,
    }
}
