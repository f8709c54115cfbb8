//! The answers about single transactions: `/api/tail` and `/api/transaction`.

use super::{
    parameters::{Parameters, Refused},
    state::State,
    values::{ProcessText, micros, rounded},
};
use crate::{
    publish::observer::{Details, Transaction},
    view::{
        filter::Filter,
        model::{Model, Operations, Record, ServiceId, record},
        naming,
    },
};
use serde::{Serialize, ser::SerializeMap};
use std::net::IpAddr;

/// Maximum number of transactions of a connection that are named.
const MOST_OF_CONNECTION: usize = 100;

/// Rows of transactions as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The JSON text.
    pub json: Vec<u8>,
    /// Whether it has no rows.
    pub is_empty: bool,
    /// The `after` of the next request.
    next: u64,
    skipped: u64,
}

/// A row of `/api/tail`.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    pub seq: u64,
    pub time_us: u64,
    pub duration_ns: Option<u64>,
    pub protocol: &'a str,
    pub client: Option<IpAddr>,
    pub client_port: Option<u16>,
    pub client_process: Option<ProcessText<'a>>,
    pub server: Option<IpAddr>,
    pub server_port: Option<u16>,
    pub process: Option<ProcessText<'a>>,
    pub service: String,
    pub operation: &'a str,
    pub query: &'a str,
    pub result: &'a str,
    pub status: &'a str,
    pub error: bool,
    pub bytes: [u64; 2],
}

#[derive(Serialize)]
struct One<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    method: &'a str,
    resource: &'a str,
    transport: &'static str,
    start_us: Option<u64>,
    end_us: Option<u64>,
    notes: &'a [&'a str],
    vlans: Vec<u16>,
    details: DetailsText<'a>,
    slower_than_percent: Option<f64>,
    on_connection: Vec<u64>,
}

struct DetailsText<'a>(Details<'a>);

impl Serialize for DetailsText<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let names: &[&str] = match self.0 {
            Details::None => &[],
            Details::Http { .. } => &["host"],
            Details::Dns { .. } => &["name", "kind", "code"],
            Details::Tls { .. } => &["server_name", "version", "cipher", "certificate_end"],
        };
        let texts = self.0.texts();
        let known = || names.iter().zip(texts).filter(|(_, text)| !text.is_empty());
        let mut map = to.serialize_map(Some(known().count()))?;
        known().try_for_each(|(name, text)| map.serialize_entry(name, text))?;
        map.end()
    }
}

/// Appends the name of the operation of a transaction.
fn name_operation(model: &Model, of: &Transaction<'_>, to: &mut String) {
    match model.services.find(record::server(of).0, of.protocol) {
        Some((_, service)) => service.operations.name(of, to),
        None => Operations::default().name(of, to),
    };
}

/// Makes the row of a transaction. `operation`: a buffer.
pub(super) fn row<'a>(model: &Model, seq: u64, of: &Transaction<'a>, operation: &'a mut String) -> Row<'a> {
    operation.clear();
    name_operation(model, of, operation);
    let ((client, client_process), (server, process)) = (record::client(of), record::server(of));
    Row {
        seq,
        time_us: micros(of.time),
        duration_ns: of.duration.map(naming::nanos),
        protocol: of.protocol,
        client: client.map(|socket| socket.ip()),
        client_port: client.map(|socket| socket.port()),
        client_process: ProcessText::of(client_process),
        server: server.map(|socket| socket.ip()),
        server_port: server.map(|socket| socket.port()),
        process: ProcessText::of(process),
        service: ServiceId { address: server, protocol: of.protocol.into() }.to_string(),
        operation,
        query: of.query,
        result: naming::result(of),
        status: of.status,
        error: naming::is_error(of),
        bytes: bytes(of),
    }
}

/// The bytes of the client and of the server.
fn bytes(of: &Transaction<'_>) -> [u64; 2] {
    let (source, destination) = (of.source_bytes, of.destination_bytes);
    if of.from == crate::net::Direction::ToServer { [source, destination] } else { [destination, source] }
}

/// Which transactions a request is about.
pub(super) struct Selection<'a> {
    filter: Filter,
    /// Whether the parameter `service` names a service, and which one if its form is right.
    service: Option<Option<ServiceId>>,
    operation: Option<&'a str>,
    model: &'a Model,
    name: String,
}

impl<'a> Selection<'a> {
    /// Reads `filter`, `service` and `operation`.
    ///
    /// # Errors
    /// When the filter is wrong.
    pub(super) fn read(state: &'a State, parameters: &'a Parameters) -> Result<Self, Refused> {
        Ok(Self {
            filter: parameters.filter(&state.protocols)?,
            service: parameters.get("service").map(ServiceId::parse),
            operation: parameters.get("operation"),
            model: &state.live,
            name: String::new(),
        })
    }

    /// Whether a transaction is wanted.
    pub(super) fn selects(&mut self, of: &Record) -> bool {
        of.with(|of| {
            let is_of_service = match &self.service {
                None => true,
                Some(None) => false,
                Some(Some(id)) => *of.protocol == *id.protocol && record::server(of).0 == id.address,
            };
            is_of_service
                && self.filter.selects(of)
                && self.operation.is_none_or(|operation| {
                    self.name.clear();
                    name_operation(self.model, of, &mut self.name);
                    self.name == operation
                })
        })
    }
}

/// Answers `/api/tail`. `empty`: the answer before, which had no rows, if the request is held.
///
/// # Errors
/// When a parameter is wrong.
pub fn answer(state: &State, parameters: &Parameters, empty: Option<&Tail>) -> Result<Tail, Refused> {
    let limit = parameters.limit(1000, 100)?;
    let order = parameters.get("order").unwrap_or("new");
    let after = match empty {
        Some(empty) => Some(empty.next),
        None if parameters.get("after").is_none() => None,
        None => Some(parameters.number("after", 0..=u64::MAX, 0)?),
    };
    parameters.wait_ms()?;
    let mut selection = Selection::read(state, parameters)?;
    let kept = &state.live.kept;
    let mut skipped = empty.map_or(0, |empty| empty.skipped);
    let mut found: Vec<u64> = match (order, after) {
        ("new", Some(after)) => {
            let first = kept.added() - kept.len() as u64;
            // A number beyond the last one is of another run: everything is new.
            let after = if after > kept.added() { 0 } else { after };
            skipped += first.saturating_sub(after);
            let new = kept.iter().rev().take_while(|(seq, _)| *seq >= after);
            let mut found = Vec::new();
            for (seq, _) in new.filter(|(_, record)| selection.selects(record)) {
                if found.len() < limit { found.push(seq) } else { skipped += 1 }
            }
            found
        }
        ("new", None) => kept.iter().rev().filter(|(_, record)| selection.selects(record)).map(|(seq, _)| seq).take(limit).collect(),
        ("failed", _) => {
            let failed = kept.iter().rev().filter(|(_, record)| record.with(naming::is_error) && selection.selects(record));
            failed.map(|(seq, _)| seq).take(limit).collect()
        }
        ("slow", _) => {
            let took = |record: &Record| record.with(|of| of.duration);
            let all = kept.iter().filter(|(_, record)| selection.selects(record));
            let mut all: Vec<_> = all.filter_map(|(seq, record)| Some((took(record)?, seq))).collect();
            all.sort_unstable();
            // The rows are turned round below.
            all.split_off(all.len().saturating_sub(limit)).into_iter().map(|(_, seq)| seq).collect()
        }
        (other, _) => return Err(Refused::parameter("order", format!("`{other}` is no order; write new, slow or failed"))),
    };
    found.reverse();
    let mut json = b"{\"rows\":[".to_vec();
    let mut is_first = true;
    let mut operation = String::new();
    for (seq, of) in found.iter().filter_map(|seq| Some((*seq, kept.get(*seq)?))) {
        if !std::mem::take(&mut is_first) {
            json.push(b',');
        }
        of.with(|of| write(&row(&state.live, seq, of, &mut operation), &mut json))?;
    }
    let next = kept.added();
    json.extend(format!("],\"next\":{next},\"skipped\":{skipped}}}").into_bytes());
    Ok(Tail { json, is_empty: is_first, next, skipped })
}

/// Appends a JSON text.
///
/// # Errors
/// When a value cannot be written, which none of the rows has.
pub(super) fn write(of: &impl Serialize, to: &mut Vec<u8>) -> Result<(), Refused> {
    serde_json::to_writer(to, of).map_err(|error| Refused::new(500, format!("the answer cannot be written: {error}")))
}

/// Answers `/api/transaction`.
///
/// # Errors
/// When the parameter is wrong, or the transaction is not kept.
pub fn transaction(state: &State, parameters: &Parameters) -> Result<Vec<u8>, Refused> {
    if parameters.get("seq").is_none() {
        return Err(Refused::parameter("seq", "seq is missing; it is the number of a transaction, as /api/tail says it"));
    }
    let seq = parameters.number("seq", 0..=u64::MAX, 0)?;
    let kept = &state.live.kept;
    let found = kept.get(seq).ok_or_else(|| Refused::unknown("seq", "this transaction is no longer kept: newer ones took its place"))?;
    let mut operation = String::new();
    found.with(|of| {
        let ends = |of: &Transaction<'_>| (of.source.min(of.destination), of.source.max(of.destination), of.realm, of.transport);
        let on_connection = kept.iter().filter(|(_, other)| other.with(|other| ends(other) == ends(of)));
        let on_connection = nearest(on_connection.map(|(seq, _)| seq).collect(), seq);
        let row = row(&state.live, seq, of, &mut operation);
        let service = state.live.services.find(record::server(of).0, of.protocol);
        let known = service.and_then(|(_, service)| service.operations.find(row.operation));
        let below = known.zip(row.duration_ns).and_then(|(known, nanos)| known.stats.all().durations.percent_below(nanos));
        let vlans = of.realm.vlans;
        State::json(&One {
            method: of.method,
            resource: of.resource,
            transport: of.transport.name(),
            start_us: of.start.map(micros),
            end_us: of.end.map(micros),
            notes: of.notes,
            vlans: [vlans.outer, vlans.inner].into_iter().skip(2 - usize::from(vlans.count.min(2))).collect(),
            details: DetailsText(of.details),
            slower_than_percent: below.map(rounded),
            on_connection,
            row,
        })
    })
}

/// Of ascending numbers, the [`MOST_OF_CONNECTION`] around `seq`.
fn nearest(mut all: Vec<u64>, seq: u64) -> Vec<u64> {
    let place = all.partition_point(|other| *other < seq);
    let first = place.saturating_sub(MOST_OF_CONNECTION / 2).min(all.len().saturating_sub(MOST_OF_CONNECTION));
    all.drain(..first);
    all.truncate(MOST_OF_CONNECTION);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_of_a_connection() {
        let most = MOST_OF_CONNECTION as u64;
        let all: Vec<u64> = (0..1000).map(|number| number * 2).collect();
        for (seq, first) in [(0, 0), (most, 0), (1000, 1000 - most), (1998, 2000 - 2 * most)] {
            let found = nearest(all.clone(), seq);
            assert_eq!((found.len(), found[0], found.contains(&seq)), (MOST_OF_CONNECTION, first, true), "{seq}");
        }
        assert_eq!(nearest(vec![3, 5], 5), [3, 5]);
    }
}
