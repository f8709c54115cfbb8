//! `add_id`: gives each event a unique id.

use super::{Decision, Factory, ProcessorKind, Shared, kit, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::Tree,
    opening::{Clock, Opening},
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde::Deserialize;
use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_id",
    about: "Writes an id that no other event has: 20 characters, made of the time, a random number that is chosen at start, and a counter, as \
            Elasticsearch makes them.",
    example: "target_field: event.id",
    options: &[("", AddId::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct AddId {
        /// The field for the id. `@metadata._id` makes it the id of the document.
        target_field: String = "@metadata._id".to_owned(),
        /// How ids are made. There is only `elasticsearch`.
        r#type: Type = Type::Elasticsearch,
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Elasticsearch,
}

struct Ids {
    options: AddId,
    clock: &'static dyn Clock,
    /// Distinguishes the ids of this processor from those of other processors and processes.
    node: [u8; 6],
    /// The number of the next id. It distinguishes ids of the same millisecond.
    next: AtomicU32,
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = AddId::read(opening.node)?;
    let Type::Elasticsearch = options.r#type;
    let [a, b, c, d, e, f, x, y, z, w, ..] = uuid::Uuid::new_v4().into_bytes();
    Ok(shared(Ids { options, clock: opening.clock, node: [a, b, c, d, e, f], next: AtomicU32::new(u32::from_be_bytes([x, y, z, w])) }))
}

impl Ids {
    fn id(&self) -> String {
        let [_, high, mid, low] = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let [.., t5, t4, t3, t2, t1, t0] = (self.clock.now().0 / 1_000_000).to_be_bytes();
        let [a, b, c, d, e, f] = self.node;
        // The bytes that change slowly are in the middle, so that consecutive ids have long parts in common. An index compresses such ids
        // well.
        BASE64_URL_SAFE_NO_PAD.encode([low, mid, t1, t2, t3, t4, t5, a, b, c, d, e, f, t0, high])
    }
}

impl Shared for Ids {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let target = &self.options.target_field;
        let result = event.put(target, self.id().into()).map_err(|error| format!("could not put value: {target}: {error}"));
        kit::keep(event, true, "failed to add an id in add_id processor: ", result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{opening::testing::Fixed, time::Timestamp};
    use std::collections::BTreeSet;

    static CLOCK: Fixed = Fixed(Timestamp(1_700_000_000_123_000_000));

    #[test]
    fn ids_of_one_millisecond_differ() {
        let options = AddId { target_field: String::new(), r#type: Type::Elasticsearch };
        let ids = Ids { options, clock: &CLOCK, node: [1; 6], next: AtomicU32::new(u32::MAX - 5) };
        let made: BTreeSet<String> = (0..1000).map(|_| ids.id()).collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(|id| id.len() == 20), "{made:?}");
    }
}
