//! What the processor `dns` counts: answers of each name server, and how often the cache had the answer.

use super::super::reports::{Counting, Reported};
use crate::time::Durations;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The counters of one processor.
pub(super) struct Counts {
    servers: Mutex<BTreeMap<IpAddr, OfServer>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Clone, Default)]
struct OfServer {
    /// Answers with records, and everything else: other answers, and none.
    success: u64,
    failure: u64,
    /// How long answers took.
    times: Durations,
}

impl Counts {
    /// Counters for these name servers. Servers with one address and several ports are counted together.
    pub(super) fn new(servers: &[SocketAddr]) -> Self {
        let servers = servers.iter().map(|server| (server.ip(), OfServer::default())).collect();
        Self { servers: Mutex::new(servers), hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// Counts a look-up of an event.
    pub(super) fn asked(&self, is_known: bool) {
        let counter = if is_known { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a question to a name server. `nanos` is the time until its answer; `None` if there was none.
    pub(super) fn answered(&self, server: IpAddr, nanos: Option<u64>, has_records: bool) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(counts) = servers.get_mut(&server) else { return };
        if let Some(nanos) = nanos {
            counts.times.add(nanos);
        }
        if has_records {
            counts.success += 1;
        } else {
            counts.failure += 1;
        }
    }
}

impl Counting for Counts {
    fn each(&self, add: &mut dyn FnMut(&str, Reported)) {
        add("cache.hits", Reported::Count(self.hits.load(Ordering::Relaxed)));
        add("cache.misses", Reported::Count(self.misses.load(Ordering::Relaxed)));
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (server, OfServer { success, failure, times }) in servers {
            let server = server.to_string().replace('.', "_");
            add(&format!("{server}.success"), Reported::Count(success));
            add(&format!("{server}.failure"), Reported::Count(failure));
            add(&format!("{server}.request_duration.histogram"), Reported::Durations(times.into()));
        }
    }
}
