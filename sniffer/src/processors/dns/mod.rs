//! `dns`: looks up the names of addresses, and records of names.

mod client;
mod counts;
#[cfg(test)]
mod tests;

use super::{
    AtStart, Decision, Factory, Facts, ProcessorKind, Shared, kit,
    kit::Span,
    lookup::{Limits, LookUps},
    options::options,
    reports, shared,
};
use crate::{
    config::Error,
    enrich::HostData,
    event::{
        constants::Constants,
        tree::{Object, Tree},
    },
    opening::{Clock, Opening},
};
use client::{Client, Kind};
use counts::Counts;
use serde::Deserialize;
use serde_json::Value;
use std::{fmt, sync::Arc, time::Duration};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "dns",
    about: "Looks up the names of addresses (`reverse`), or the records of names, with name servers. While packets are captured, an event never \
            waits for an answer: it goes on without it, and later events with the same address get it from the cache. While a capture file is \
            read, events wait.",
    example: "type: reverse\nfields: {source.ip: source.domain}\nnameservers: [192.0.2.53]\ntag_on_failure: [_dns_failed]",
    options: &[
        ("", Dns::OPTIONS),
        ("success_cache.", SuccessCache::OPTIONS),
        ("failure_cache.", FailureCache::OPTIONS),
        ("success_cache.capacity. and failure_cache.capacity.", Capacity::OPTIONS),
    ],
    open,
};

options! {
    #[derive(Debug)]
    struct Dns {
        /// `reverse` (the same as `PTR`) looks up addresses; `A`, `AAAA` and `TXT` look up names.
        r#type: Kind,
        /// The fields with addresses or names, each with the field for the answer.
        fields: Object,
        /// `append` adds the answer to a field that exists, `replace` replaces it.
        action: Action = Action::Append,
        /// `udp` (TCP if the answer is truncated) or `tls`.
        transport: Transport = Transport::Udp,
        /// The name servers, with or without a port, tried in this order. Without this option, those of `/etc/resolv.conf` are used.
        nameservers: Vec<String> = Vec::new(),
        /// The longest time to wait for one name server.
        timeout: Span = Span(Duration::from_millis(500)),
        /// Tags that are added to an event for which there is no answer.
        tag_on_failure: Vec<String> = Vec::new(),
        /// How answers are remembered.
        success_cache: SuccessCache = SuccessCache::default(),
        /// How failures are remembered.
        failure_cache: FailureCache = FailureCache::default(),
    }
}

options! {
    #[derive(Debug)]
    struct SuccessCache {
        /// Accepted without effect: answers are always remembered.
        enabled: bool = true,
        /// The number of answers.
        capacity: Capacity = Capacity::default(),
        /// The shortest time; an answer with a longer TTL is remembered as long as that.
        min_ttl: Span = Span(Duration::from_secs(60)),
    }
}

options! {
    #[derive(Debug)]
    struct FailureCache {
        /// Accepted without effect: failures are always remembered.
        enabled: bool = true,
        /// The number of failures. Answers and failures share the larger of both capacities.
        capacity: Capacity = Capacity::default(),
        /// The time after which a failed look-up is tried again.
        ttl: Span = Span(Duration::from_secs(60)),
    }
}

options! {
    #[derive(Debug)]
    struct Capacity {
        /// Accepted without effect: memory is allocated as it is needed.
        initial: usize = 1000,
        /// Maximum number of entries.
        max: usize = 10_000,
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self { initial: 1000, max: 10_000 }
    }
}

impl Default for SuccessCache {
    fn default() -> Self {
        Self { enabled: true, capacity: Capacity::default(), min_ttl: Span(Duration::from_secs(60)) }
    }
}

impl Default for FailureCache {
    fn default() -> Self {
        Self { enabled: true, capacity: Capacity::default(), ttl: Span(Duration::from_secs(60)) }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Action {
    Append,
    Replace,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Transport {
    Udp,
    Tls,
}

/// Maximum number of entries of the cache, whatever the configuration says.
const MAX_CAPACITY: usize = 1_000_000;
/// Number of look-ups at a time.
const THREADS: usize = 8;

/// The answer to a question; `None` is a failure.
type Answer = Option<Arc<[String]>>;

struct Resolver {
    options: Dns,
    fields: Vec<(String, String)>,
    look_ups: LookUps<String, Answer>,
    clock: &'static dyn Clock,
    counts: Arc<Counts>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = Dns::read(opening.node)?;
    let fields = kit::field_pairs(&options.fields).map_err(|error| opening.node.get("fields").error(error))?;
    let (SuccessCache { enabled: _, capacity: most, min_ttl }, FailureCache { enabled: _, capacity: failures, ttl }) =
        (&options.success_cache, &options.failure_cache);
    // These options are read but have no effect.
    let _ = (options.success_cache.enabled, options.failure_cache.enabled, most.initial);
    let (min_ttl, ttl, connections) = (min_ttl.0, ttl.0, opening.connections.cloned());
    let client = Client::new(options.r#type, options.transport == Transport::Tls, &options.nameservers, options.timeout.0, connections);
    let client = client.map_err(|error| opening.node.error(error))?;
    client.servers().iter().for_each(|server| opening.expect(server.port()));
    let counts = Arc::new(Counts::new(client.servers()));
    reports::add(opening, "dns", None, &counts);
    let (of_servers, clock) = (counts.clone(), opening.clock);
    let limits = Limits {
        name: "dns",
        threads: THREADS,
        capacity: most.max.max(failures.max).min(MAX_CAPACITY),
        wait: client.longest() + Duration::from_secs(1),
    };
    let look_up = move |name: &String| match client.look_up(name, &of_servers, clock) {
        Ok((answer, valid)) => (Some(answer.into()), valid.max(min_ttl)),
        Err(error) => {
            log::debug!("dns: {name}: {error}");
            (None, ttl)
        }
    };
    let look_ups = LookUps::start(opening, limits, Box::new(look_up))
        .map_err(|error| opening.node.error(format!("starting a thread for look-ups failed: {error}")))?;
    Ok(shared(Resolver { options, fields, look_ups, clock, counts }))
}

impl Resolver {
    /// Looks up one field. Returns false if there is no answer.
    fn look_up(&self, event: &mut Tree, from: &str, to: &str) -> bool {
        let Some(Value::String(text)) = event.get(from) else { return true };
        let now = self.clock.now();
        self.counts.asked(self.look_ups.is_known(text, now));
        let Some(answer) = self.look_ups.get(text, now) else { return true };
        let Some(answer) = answer else { return false };
        let texts: Vec<Value> = answer.iter().map(|text| text.as_str().into()).collect();
        let existing = match self.options.action {
            Action::Append => event.get(to).cloned(),
            Action::Replace => None,
        };
        let value = match (existing, texts.as_slice()) {
            (None, [only]) if self.options.r#type == Kind::Reverse => only.clone(),
            (None, _) => texts.into(),
            (Some(Value::Array(mut list)), _) => {
                list.extend(texts);
                list.into()
            }
            (Some(first), _) => [vec![first], texts].concat().into(),
        };
        if let Err(error) = event.put(to, value) {
            log::debug!("dns: {to}: {error}");
        }
        true
    }
}

impl Shared for Resolver {
    fn apply_at_start(&self, constants: &mut Constants, facts: &Facts, _: &HostData) -> AtStart {
        let never = self.fields.iter().all(|(from, _)| kit::never_has(from, constants, facts));
        if never { AtStart::Done } else { AtStart::PerEvent }
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let mut failed = false;
        for (from, to) in &self.fields {
            failed |= !self.look_up(event, from, to);
        }
        if failed && !self.options.tag_on_failure.is_empty() {
            let tags: Vec<Value> = self.options.tag_on_failure.iter().map(|tag| tag.as_str().into()).collect();
            if let Err(error) = event.append("tags", &tags) {
                log::debug!("dns: tags: {error}");
            }
        }
        Decision::Keep
    }
}
