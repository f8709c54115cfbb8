//! Makes the documents that `monitoring` sends: the counters and the state that the HTTP endpoint shows, too.

use super::collector::Collector;
use crate::{
    endpoint::{self, Identity, Source},
    monitor::Metrics,
    output::Monitored,
};
use serde_json::Value;
use std::sync::Arc;

/// Counters of documents, all of which are 0 at the start.
const COUNTERS: &[&str] = &[TOTAL, PUBLISHED, DROPPED];
const TOTAL: &str = "monitoring.pipeline.events.total";
const PUBLISHED: &str = "monitoring.pipeline.events.published";
const DROPPED: &str = "monitoring.pipeline.events.dropped";

/// The source of the documents.
pub struct Documents {
    who: Identity,
    collector: Arc<Collector>,
    metrics: Metrics,
}

impl Documents {
    /// Makes the source, and the counters of its documents.
    pub fn new(who: Identity, collector: Arc<Collector>, metrics: Metrics) -> Self {
        COUNTERS.iter().for_each(|name| metrics.add(name, 0));
        Self { who, collector, metrics }
    }
}

impl Monitored for Documents {
    fn beat(&self) -> Value {
        endpoint::beat_of_monitoring(&self.who)
    }

    fn metrics(&self) -> Value {
        endpoint::stats(&self.who, &self.collector.report())
    }

    fn state(&self) -> Value {
        endpoint::state(&self.who, &self.collector.report())
    }

    fn count(&self, accepted: bool) {
        self.metrics.add(TOTAL, 1);
        self.metrics.add(if accepted { PUBLISHED } else { DROPPED }, 1);
    }
}
