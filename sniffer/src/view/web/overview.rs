//! The answer to `/api/view`: the state of the run, and tables.

use super::{
    parameters::{Parameters, Refused},
    state::State,
    values::{Base, Numbers, ProcessText, Table, micros, rounded},
};
use crate::view::{
    model::{DnsRow, Edge, FlowRow, Range, Service, ServiceId, TlsRow, kept::MOST_KEPT},
    naming,
};
use serde::{Serialize, Serializer};
use std::net::IpAddr;

/// The tables that can be asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    services: bool,
    edges: bool,
    dns: bool,
    tls: bool,
    flows: bool,
    health: bool,
}

impl Parts {
    fn read(text: &str) -> Result<Self, Refused> {
        let mut parts = Self::default();
        for name in text.split(',') {
            let part = match name.trim() {
                "services" => &mut parts.services,
                "edges" => &mut parts.edges,
                "dns" => &mut parts.dns,
                "tls" => &mut parts.tls,
                "flows" => &mut parts.flows,
                "health" => &mut parts.health,
                other => {
                    let error = format!("`{other}` is no part; there are services, edges, dns, tls, flows and health");
                    return Err(Refused::parameter("parts", error));
                }
            };
            *part = true;
        }
        Ok(parts)
    }
}

#[derive(Serialize)]
struct Overview<'a> {
    now_us: u64,
    live: bool,
    ended: bool,
    host: &'a str,
    capture: &'a str,
    watched: &'a str,
    covered_ns: u64,
    zone_seconds: i32,
    range: &'static str,
    totals: Numbers,
    packets: Packets,
    skipped: u64,
    hidden: u64,
    filter_sees: usize,
    notice: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Table<ServiceRow<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edges: Option<Table<EdgeRow<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<DnsTable<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Table<TlsText<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flows: Option<Table<FlowText<'a>, FlowText<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health<'a>>,
}

#[derive(Serialize)]
struct Packets {
    seen: u64,
    matched: u64,
    lost: u64,
}

#[derive(Serialize)]
struct Health<'a> {
    #[serde(serialize_with = "as_object")]
    counters: &'a [(String, u64)],
}

fn as_object<S: Serializer>(counters: &[(String, u64)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(counters.iter().filter(|(_, total)| *total > 0).map(|(name, total)| (name, total)))
}

#[derive(Serialize)]
struct ServiceRow<'a> {
    id: String,
    name: String,
    address: Option<IpAddr>,
    port: Option<u16>,
    protocol: &'a str,
    process: Option<ProcessText<'a>>,
    numbers: Numbers,
    operations: usize,
}

#[derive(Serialize)]
struct EdgeRow<'a> {
    client: Option<IpAddr>,
    process: Option<ProcessText<'a>>,
    service: Option<String>,
    rate: f64,
    count: u64,
    errors: u64,
}

#[derive(Serialize)]
struct DnsTable<'a> {
    #[serde(flatten)]
    table: Table<DnsText<'a>>,
    wide: Vec<Wide<'a>>,
}

#[derive(Serialize)]
struct DnsText<'a> {
    name: &'a str,
    kind: &'a str,
    numbers: Numbers,
    codes: &'a [(Box<str>, u64)],
    client: Option<IpAddr>,
    process: Option<ProcessText<'a>>,
}

#[derive(Serialize)]
struct Wide<'a> {
    domain: &'a str,
    names: usize,
    mean_length: u64,
}

#[derive(Serialize)]
struct TlsText<'a> {
    name: &'a str,
    address: Option<IpAddr>,
    port: Option<u16>,
    version: &'a str,
    cipher: &'a str,
    weak: bool,
    certificate_end_us: Option<u64>,
    numbers: Numbers,
}

#[derive(Serialize)]
struct FlowText<'a> {
    client: Option<IpAddr>,
    client_process: Option<ProcessText<'a>>,
    address: Option<IpAddr>,
    port: Option<u16>,
    process: Option<ProcessText<'a>>,
    transport: Option<&'static str>,
    flows: u64,
    open: u64,
    bytes: [u64; 2],
    rates: [f64; 2],
    packets: u64,
}

/// Answers the request.
///
/// # Errors
/// When a parameter is wrong.
pub fn answer(state: &mut State, parameters: &Parameters) -> Result<Vec<u8>, Refused> {
    let parts = Parts::read(parameters.get("parts").unwrap_or("services"))?;
    let range = parameters.range(state.source.is_live)?;
    let limit = parameters.limit(2000, 200)?;
    let selected = state.filters.model(parameters.get("filter").unwrap_or_default(), &state.protocols, &state.live);
    let model = selected.map_err(|wrong| Refused::filter(&wrong))?.unwrap_or(&state.live);
    let base = Base { model, range };
    let count = |of: &crate::view::model::Model| of.stats.count(range, state.live.now());
    let flows = if parts.flows { model.flows.rows(model.now()) } else { Vec::new() };
    let overview = Overview {
        now_us: micros(state.live.now()),
        live: state.source.is_live,
        ended: state.has_ended,
        host: &state.source.host,
        capture: &state.source.capture,
        watched: &state.source.watched,
        covered_ns: naming::nanos(state.live.covered()),
        zone_seconds: state.zone_seconds,
        range: if range == Range::All { "all" } else { "5m" },
        totals: base.of(&model.stats),
        packets: Packets { seen: state.health.seen, matched: state.health.matched, lost: state.health.lost },
        skipped: state.health.skipped,
        hidden: count(&state.live).saturating_sub(count(model)),
        filter_sees: MOST_KEPT,
        notice: state.notice.as_deref(),
        services: parts.services.then(|| services(base, limit)),
        edges: parts.edges.then(|| edges(base, limit)),
        dns: parts.dns.then(|| dns(base, limit)),
        tls: parts.tls.then(|| tls(base, limit)),
        flows: parts.flows.then(|| flow_table(&flows, model.flows.has_rest(), limit)),
        health: parts.health.then_some(Health { counters: &state.health.counters }),
    };
    State::json(&overview)
}

fn services(base: Base<'_>, limit: usize) -> Table<ServiceRow<'_>> {
    let list = base.model.services.list().iter();
    let items = list.map(|of| (of.stats.count(base.range, base.model.now()), of)).collect();
    Table::new(items, limit, base.model.services.rest().map(|rest| base.of(rest)), |of: &Service| ServiceRow {
        id: ServiceId::of(of).to_string(),
        name: naming::service_name(base.model, of, true),
        address: of.address.map(|socket| socket.ip()),
        port: of.address.map(|socket| socket.port()),
        protocol: &of.protocol,
        process: ProcessText::of(of.process.as_ref()),
        numbers: base.of(&of.stats),
        operations: of.operations.list().len(),
    })
}

fn edges(base: Base<'_>, limit: usize) -> Table<EdgeRow<'_>> {
    let model = base.model;
    let items = model.edges.list().iter().map(|of| (of.count(), of)).collect();
    Table::new(items, limit, model.edges.rest().map(|rest| base.of(rest)), |of: &Edge| EdgeRow {
        client: of.client,
        process: ProcessText::of(of.process.as_ref()),
        service: model.services.list().get(of.service).map(|service| ServiceId::of(service).to_string()),
        rate: rounded(of.rate(base.range, model.now(), model.covered())),
        count: of.count(),
        errors: of.errors(),
    })
}

fn dns(base: Base<'_>, limit: usize) -> DnsTable<'_> {
    let dns = &base.model.dns;
    let items = dns.rows().iter().map(|of| (of.numbers.count, of)).collect();
    let table = Table::new(items, limit, dns.rest().map(|rest| base.of_sums(rest)), |of: &DnsRow| DnsText {
        name: &of.name,
        kind: &of.kind,
        numbers: base.of_sums(&of.numbers),
        codes: &of.codes,
        client: of.client.0,
        process: ProcessText::of(of.client.1.as_ref()),
    });
    let mut wide: Vec<Wide<'_>> = dns.wide_domains().map(|(domain, names, mean_length)| Wide { domain, names, mean_length }).collect();
    wide.sort_by(|a, b| b.names.cmp(&a.names).then_with(|| a.domain.cmp(b.domain)));
    DnsTable { table, wide }
}

fn tls(base: Base<'_>, limit: usize) -> Table<TlsText<'_>> {
    let tls = &base.model.tls;
    let items = tls.rows().iter().map(|of| (of.numbers.count, of)).collect();
    Table::new(items, limit, tls.rest().map(|rest| base.of_sums(rest)), |of: &TlsRow| TlsText {
        name: &of.name,
        address: of.server.map(|socket| socket.ip()),
        port: of.server.map(|socket| socket.port()),
        version: &of.version,
        cipher: &of.cipher,
        weak: of.is_weak(),
        certificate_end_us: of.certificate_end.map(micros),
        numbers: base.of_sums(&of.numbers),
    })
}

/// The rows by their bytes. `has_rest`: whether the last one is what exceeds the limits.
fn flow_table(rows: &[FlowRow], has_rest: bool, limit: usize) -> Table<FlowText<'_>, FlowText<'_>> {
    let rest = rows.last().filter(|_| has_rest).map(flow);
    let rows = rows.iter().take(rows.len() - usize::from(rest.is_some()));
    let size = |of: &FlowRow| of.counts.iter().map(|count| count.bytes).fold(0, u64::saturating_add);
    Table::new(rows.map(|of| (size(of), of)).collect(), limit, rest, |of: &FlowRow| flow(of))
}

fn flow(of: &FlowRow) -> FlowText<'_> {
    FlowText {
        client: of.client.map(|socket| socket.ip()),
        client_process: ProcessText::of(of.processes.source.as_ref()),
        address: of.server.map(|socket| socket.ip()),
        port: of.server.map(|socket| socket.port()),
        process: ProcessText::of(of.processes.destination.as_ref()),
        transport: of.transport.map(crate::net::Transport::name),
        flows: of.flows,
        open: of.open,
        bytes: of.counts.map(|count| count.bytes),
        rates: of.rates.map(rounded),
        packets: of.counts.iter().map(|count| count.packets).fold(0, u64::saturating_add),
    }
}
