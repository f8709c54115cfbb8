//! What an output counts. Shared by its workers and whoever reports; plain sums, no order between them is promised.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($field:ident $name:literal $doc:literal)*) => {
        /// The counters of the output, under the names that operators know.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $doc] pub $field: Counter,)*
        }

        impl Counters {
            /// Calls with each name and its total.
            pub fn each(&self, mut call: impl FnMut(&'static str, u64)) {
                $(call($name, self.$field.get());)*
            }
        }
    };
}

counters! {
    total "libbeat.output.events.total" "Events handed to the output; again for each retry."
    acked "libbeat.output.events.acked" "Events delivered, duplicates and dead letters included."
    failed "libbeat.output.events.failed" "Events that have to be sent again."
    dropped "libbeat.output.events.dropped" "Events lost: refused for good or too often."
    duplicates "libbeat.output.events.duplicates" "Events that were there already."
    dead_letter "libbeat.output.events.dead_letter" "Events refused and put into the place for such."
    toomany "libbeat.output.events.toomany" "Events refused because the server is busy (429)."
    batches "libbeat.output.events.batches" "Batches taken from the queue."
    retries "libbeat.pipeline.events.retry" "Events sent once more."
    write_bytes "libbeat.output.write.bytes" "Bytes written."
    write_errors "libbeat.output.write.errors" "Failed writes and requests."
    read_bytes "libbeat.output.read.bytes" "Bytes of the answers."
    read_errors "libbeat.output.read.errors" "Answers that broke off."
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
