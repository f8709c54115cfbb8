//! The view model: what the views of a run show. It is counted from the summaries of transactions and flows: services, operations, edges,
//! DNS names, TLS handshakes, flows, and the last transactions. All tables are limited, and what exceeds a limit is counted in one sum.
//!
//! The model has no clock: its time is that of the events, or the time that [`Model::advance`] gives. It is not shared; one thread owns it.

pub mod dns;
pub mod edges;
pub mod flows;
pub mod kept;
pub mod operations;
pub mod record;
pub mod services;
pub mod stats;
#[cfg(test)]
mod tests;
pub mod tls;

use crate::{
    net::FlowRecord,
    process::Ends,
    publish::observer::{Details, Transaction},
    time::Timestamp,
    view::{filter::Filter, names::Names},
};
pub use dns::{Dns, DnsRow};
pub use edges::{Edge, Edges};
pub use flows::{FlowRow, Flows};
pub use kept::Kept;
pub use operations::{Operation, Operations};
pub use record::Record;
pub use services::{Service, ServiceId, Services};
pub use stats::{Counted, Numbers, Range, Stats};
use std::{sync::Arc, time::Duration};
pub use tls::{Handshake, Tls, TlsRow};

/// Everything that was counted since the start of a run.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// All transactions.
    pub stats: Stats,
    /// Services and their operations.
    pub services: Services,
    /// Which client calls which service.
    pub edges: Edges,
    /// The last transactions.
    pub kept: Kept,
    /// The flows.
    pub flows: Flows,
    /// The names that were asked for.
    pub dns: Dns,
    /// The TLS handshakes.
    pub tls: Tls,
    /// The names of addresses.
    pub names: Names,
    /// The time of the first event or of the first [`Model::advance`].
    started: Option<Timestamp>,
    now: Timestamp,
    /// Buffer for the names of rows.
    name: String,
}

impl Model {
    /// Counts a transaction and keeps it.
    pub fn add(&mut self, record: Arc<Record>) {
        record.with(|of| self.count(of));
        self.kept.add(record);
    }

    /// Counts a transaction without keeping it.
    pub fn count(&mut self, of: &Transaction<'_>) {
        let counted = Counted {
            time: of.end.unwrap_or(of.time),
            is_error: of.status != "OK",
            bytes: of.source_bytes.saturating_add(of.destination_bytes),
            duration: of.duration,
        };
        self.see(of.time);
        self.see(counted.time);
        self.stats.add(&counted);
        if let Some(service) = self.services.add(of, &counted, &mut self.name) {
            self.edges.add(of, &counted, service);
        }
        match of.details {
            Details::Dns { name, kind, code, .. } => {
                self.names.learn(of);
                self.dns.add(of, (name, kind, code), &counted, &mut self.name);
            }
            Details::Tls { server_name, version, cipher, certificate_end } => {
                self.tls.add(of, &Handshake { name: server_name, version, cipher, certificate_end }, &counted);
            }
            Details::Http { .. } | Details::None => {}
        }
    }

    /// Counts a report of a flow.
    pub fn add_flow(&mut self, of: &FlowRecord, processes: &Ends) {
        self.see(of.start);
        self.see(of.end);
        self.flows.add(of, processes);
    }

    /// Sets the present time. Views of live traffic call it before they show the model; in a file the time is that of the events.
    pub fn advance(&mut self, now: Timestamp) {
        self.started.get_or_insert(now);
        self.now = now;
    }

    /// The model of the kept transactions and the known flows that a filter selects.
    pub fn selected(&self, filter: &Filter) -> Self {
        let mut model = Self::default();
        for (_, record) in self.kept.iter().filter(|(_, record)| record.with(|of| filter.selects(of))) {
            model.add(record.clone());
        }
        for (of, ends) in self.flows.known().filter(|(of, ends)| filter.selects_flow(of, ends)) {
            model.flows.add(of, ends);
        }
        // A filter selects transactions, and not what is known about addresses.
        model.names = self.names.clone();
        model.follow(self);
        model
    }

    /// Takes over the start and the present time of another model of the same run.
    pub fn follow(&mut self, other: &Self) {
        (self.started, self.now) = (other.started, other.now);
    }

    fn see(&mut self, time: Timestamp) {
        self.started = Some(self.started.map_or(time, |started| started.min(time)));
        self.now = self.now.max(time);
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The time since the start.
    pub fn covered(&self) -> Duration {
        Duration::from_nanos(self.now.since(self.started.unwrap_or(self.now)))
    }

    /// Transactions per second of these counts.
    pub fn rate(&self, stats: &Stats, range: Range) -> f64 {
        stats.rate(range, self.now, self.covered())
    }
}
