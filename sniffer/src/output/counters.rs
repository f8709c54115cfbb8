//! The counters of an output. The output's senders add to them, and `app` reads them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($field:ident $name:literal $doc:literal)*) => {
        /// The counters of an output, under Packetbeat's names.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $doc] pub $field: Counter,)*
        }

        /// The values of all counters at one time.
        struct Values {
            $($field: u64,)*
        }

        impl Counters {
            /// Reads the counters in the order of their declaration.
            fn values(&self) -> Values {
                Values { $($field: self.$field.get(),)* }
            }

            /// Calls `total` with name and value of each counter, and `gauge` with name and value of each gauge. The counters of events
            /// satisfy total = acked + failed + dropped + active.
            pub fn each(&self, mut total: impl FnMut(&'static str, u64), mut gauge: impl FnMut(&'static str, f64)) {
                let values = self.values();
                $(total($name, values.$field);)*
                gauge("libbeat.output.events.active", values.active() as f64);
            }
        }
    };
}

counters! {
    acked "libbeat.output.events.acked" "Events delivered, duplicates and dead letters included."
    failed "libbeat.output.events.failed" "Events that could not be delivered and are sent again."
    dropped "libbeat.output.events.dropped" "Events dropped: refused permanently, or more than `max_retries` times."
    duplicates "libbeat.output.events.duplicates" "Events that the server already had."
    dead_letter "libbeat.output.events.dead_letter" "Events refused and stored in the dead letter index."
    toomany "libbeat.output.events.toomany" "Events refused because the server is busy (429)."
    batches "libbeat.output.events.batches" "Batches taken from the queue."
    splits "libbeat.output.batches.split" "Batches that were too large for the server, and sent in halves."
    retries "libbeat.pipeline.events.retry" "Events sent again."
    write_bytes "libbeat.output.write.bytes" "Bytes written."
    write_errors "libbeat.output.write.errors" "Failed writes and requests."
    read_bytes "libbeat.output.read.bytes" "Bytes of the responses."
    read_errors "libbeat.output.read.errors" "Responses that were incomplete or could not be read."
    // This counter is read last, because an event is counted here before it is counted as acked, failed or dropped.
    total "libbeat.output.events.total" "Events whose sending began; an event counts again for each attempt."
}

impl Counters {
    /// Counts the events that are being sent as failed. The caller must make sure that their senders have ended without an outcome.
    pub(super) fn abandon(&self) {
        let active = self.values().active() as usize;
        self.failed.add(active);
        self.retries.add(active);
    }
}

impl Values {
    /// Events that are being sent: their outcome is not known yet.
    fn active(&self) -> u64 {
        self.total.saturating_sub(self.acked + self.failed + self.dropped)
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n` to the counter.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Relaxed);
    }

    /// The current value of the counter.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
