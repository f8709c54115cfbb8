//! The rows of each screen, made from a view model.

use super::{
    look::{Look, Tone},
    place::{Place, ServiceId, Tab},
    redact::{Kind, Redaction},
    table::{Column, Key, Row, Table, Value, left, percent_text, right},
};
use crate::{
    net::Transport,
    process::Process,
    time::Timestamp,
    view::{
        model::{DnsRow, FlowRow, Model, Numbers, Operation, Range, Record, Service, Stats, record},
        naming::{self, Neighbour, is_error, nanos, result, socket_text},
        units::Size,
    },
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Maximum number of transactions that are listed.
const MOST_LISTED: usize = 1000;
/// A certificate that ends within this number of days is marked.
const SOON: u64 = 14;
const DAY: u64 = 86_400_000_000_000;

/// What rows are made from.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// The model.
    pub model: &'a Model,
    /// The range of the numbers.
    pub range: Range,
    /// Whether services have their names instead of their addresses.
    pub with_names: bool,
    /// The terminal.
    pub look: Look,
    /// The counters of the program, for the screen about its health.
    pub counters: &'a [(String, u64)],
    /// The pseudonyms that are shown instead of addresses, names and queries.
    pub redaction: Option<&'a Redaction>,
}

const SERVICES: &[Column] = &[
    left("SERVICE", (14, 46), 0),
    left("PROTO", (6, 9), 2),
    left("PROCESS", (9, 16), 5),
    right("RATE/s", 8, 0),
    right("ERR%", 6, 0),
    right("P50", 6, 6),
    right("P95", 6, 1),
    right("P99", 6, 4),
    right("BYTES/s", 8, 8),
    left("60 s", (8, 30), 3),
];
const OPERATIONS: &[Column] = &[
    left("OPERATION", (16, 64), 0),
    left("SERVICE", (16, 30), 9),
    right("RATE/s", 8, 0),
    right("ERR%", 6, 0),
    right("P50", 6, 6),
    right("P95", 6, 1),
    right("P99", 6, 4),
    right("TIME%", 7, 2),
    left("STATUS", (14, 24), 7),
    left("60 s", (8, 20), 3),
];
/// As [`OPERATIONS`], without the service.
const OF_SERVICE: &[Column] = &[
    left("OPERATION", (16, 90), 0),
    right("RATE/s", 8, 0),
    right("ERR%", 6, 0),
    right("P50", 6, 6),
    right("P95", 6, 1),
    right("P99", 6, 4),
    right("TIME%", 7, 2),
    left("STATUS", (14, 24), 7),
    left("60 s", (8, 20), 3),
];
const TAIL: &[Column] = &[
    left("TIME", (8, 8), 3),
    left("PROTO", (6, 9), 4),
    left("CLIENT", (9, 22), 6),
    left("SERVER", (14, 26), 5),
    left("REQUEST", (15, 80), 0),
    right("RESULT", 7, 0),
    right("TOOK", 6, 0),
    right("BYTES", 5, 7),
];
const FLOWS: &[Column] = &[
    left("CLIENT", (15, 26), 0),
    left("SERVER", (17, 28), 0),
    left("PROTO", (5, 5), 3),
    right("FLOWS", 6, 4),
    right("OPEN", 5, 2),
    right("OUT", 7, 1),
    right("IN", 7, 1),
    right("TOTAL", 7, 0),
];
const DNS: &[Column] = &[
    left("NAME", (18, 60), 0),
    left("TYPE", (5, 6), 2),
    right("COUNT", 7, 0),
    right("ERR%", 6, 0),
    right("P95", 6, 3),
    left("CODES", (14, 32), 5),
    left("ASKED BY", (14, 26), 4),
];
const TLS: &[Column] = &[
    left("SERVER", (18, 46), 0),
    left("VERSION", (8, 8), 1),
    left("CIPHER", (20, 40), 4),
    right("COUNT", 7, 0),
    right("ERR%", 6, 2),
    left("CERTIFICATE", (12, 14), 3),
];
const HEALTH: &[Column] = &[left("COUNTER", (28, 60), 0), right("TOTAL", 14, 0)];

impl Shown<'_> {
    /// The rows of a screen, not sorted; the sort that the screen begins with. `None` for a transaction, which is no table.
    pub fn table(&self, place: &Place) -> Option<Table> {
        let table = |columns, rows, sort| Some(Table { columns, rows, sort, hidden: Vec::new() });
        match place {
            Place::Tab(Tab::Services) => table(SERVICES, self.services(), Some((3, false))),
            Place::Tab(Tab::Operations) => {
                let services = self.model.services.list();
                let total = services.iter().map(|service| self.numbers(&service.stats).nanos).sum();
                table(OPERATIONS, services.iter().flat_map(|service| self.operations(service, total)).collect(), Some((7, false)))
            }
            Place::Service(id) => {
                let rows = id.find(self.model).map(|(_, of)| self.operations(of, self.numbers(&of.stats).nanos));
                let without_service = |mut row: Row| {
                    row.values.remove(1);
                    row
                };
                table(OF_SERVICE, rows.into_iter().flatten().map(without_service).collect(), Some((6, false)))
            }
            Place::Tab(Tab::Tail) => table(TAIL, self.last(|_| true), None),
            Place::Operation(id, name) => table(TAIL, self.of_operation(id, name), None),
            Place::Tab(Tab::Flows) => table(FLOWS, self.flows(), Some((7, false))),
            Place::Tab(Tab::Dns) => {
                table(DNS, self.model.dns.rows().iter().enumerate().map(|row| self.dns(row)).collect(), Some((2, false)))
            }
            Place::Tab(Tab::Tls) => table(TLS, self.tls(), Some((3, false))),
            Place::Tab(Tab::Health) => table(HEALTH, self.health(), None),
            Place::Transaction(_) => None,
        }
    }

    fn numbers(&self, stats: &Stats) -> Numbers {
        stats.over(self.range, self.model.now())
    }

    fn services(&self) -> Vec<Row> {
        let row = |key, name: Value, protocol: &str, process: Option<&Arc<Process>>, stats: &Stats| {
            let numbers = self.numbers(stats);
            let [p50, p95, p99] = percentiles(&numbers);
            let rate = self.model.rate(stats, self.range);
            let mean = numbers.bytes as f64 / numbers.count.max(1) as f64;
            let process = process.map_or_else(String::new, |process| self.hide(Kind::Name, &process.name));
            let errors = Value::Errors(numbers.error_percent());
            let per_second = Value::Spark(stats.per_second(self.model.now()).into());
            let (protocol, process) = (Value::text(protocol), Value::text(process));
            Row {
                key,
                values: vec![name, protocol, process, Value::Rate(rate), errors, p50, p95, p99, Value::Speed(mean * rate), per_second],
            }
        };
        let services = self.model.services.list().iter().map(|of| {
            let name = Value::text(self.service_name(of));
            row(Key::Service(ServiceId::of(of)), name, &of.protocol, of.process.as_ref(), &of.stats)
        });
        let rest = self.model.services.rest().map(|rest| row(Key::Row(0), other(), "", None, rest));
        services.chain(rest).collect()
    }

    /// The operations of a service. `total`: the time of which the share of an operation is said.
    fn operations(&self, service: &Service, total: u64) -> Vec<Row> {
        let id = ServiceId::of(service);
        let name = self.service_name(service);
        let row = |key, operation: Value, stats: &Stats, results: String| {
            let numbers = self.numbers(stats);
            let [p50, p95, p99] = percentiles(&numbers);
            let errors = Value::Errors(numbers.error_percent());
            let share = Value::Share(numbers.nanos as f64 * 100.0 / total.max(1) as f64);
            let per_second = Value::Spark(stats.per_second(self.model.now()).into());
            let (service, rate) = (Value::text(name.as_str()), Value::Rate(self.model.rate(stats, self.range)));
            Row { key, values: vec![operation, service, rate, errors, p50, p95, p99, share, Value::text(results), per_second] }
        };
        let one = |of: &Operation| {
            row(Key::Operation(id.clone(), of.name.clone()), Value::text(operation_text(self, &of.name)), &of.stats, results(&of.results))
        };
        let rest = service.operations.rest().map(|rest| row(Key::Row(0), other(), rest, String::new()));
        service.operations.list().iter().map(one).chain(rest).collect()
    }

    /// The last transactions of an operation.
    fn of_operation(&self, id: &ServiceId, name: &str) -> Vec<Row> {
        let Some((_, service)) = id.find(self.model) else { return Vec::new() };
        let mut text = String::new();
        self.last(|of| {
            of.with(|of| {
                text.clear();
                *of.protocol == *id.protocol && record::server(of).0 == id.address && {
                    service.operations.name(of, &mut text);
                    text == name
                }
            })
        })
    }

    /// The last transactions that `is_listed` selects, the oldest first.
    fn last(&self, mut is_listed: impl FnMut(&Record) -> bool) -> Vec<Row> {
        let found = self.model.kept.iter().rev().filter(|(_, of)| is_listed(of)).take(MOST_LISTED);
        let mut rows: Vec<Row> = found.map(|(number, of)| self.transaction(number, of)).collect();
        rows.reverse();
        rows
    }

    fn transaction(&self, number: u64, of: &Record) -> Row {
        of.with(|of| {
            let (client, server) = (record::client(of).0, record::server(of).0);
            let time = self.look.time(of.time).get(..8).unwrap_or_default().to_owned();
            let result = result(of);
            let (result, tone) = if is_error(of) { (format!("!{result}"), Tone::Error) } else { (result.to_owned(), Tone::Plain) };
            let took = Value::Latency(of.duration.map(nanos));
            let bytes = Value::Size(of.source_bytes.saturating_add(of.destination_bytes));
            let server = server.map(|server| self.named(server)).unwrap_or_default();
            let [time, protocol, server] = [time.as_str(), of.protocol, &server].map(Value::text);
            let client = Value::text(client.map(|socket| self.ip(socket.ip())).unwrap_or_default());
            let query = Value::text(self.hide(Kind::Query, of.query));
            Row { key: Key::Record(number), values: vec![time, protocol, client, server, query, Value::Text(result, tone), took, bytes] }
        })
    }

    fn flows(&self) -> Vec<Row> {
        let row = |(index, of): (usize, FlowRow)| {
            let transport = match of.transport {
                Some(Transport::Tcp) => "tcp",
                Some(Transport::Udp) => "udp",
                Some(Transport::Sctp) => "sctp",
                Some(Transport::Icmp | Transport::Icmp6) => "icmp",
                None => "",
            };
            let end = |process: Option<&Arc<Process>>, address: String| match process {
                Some(process) => format!("{address} {}", self.hide(Kind::Name, &process.name)),
                None => address,
            };
            let client = of.client.map(|socket| end(of.processes.source.as_ref(), self.ip(socket.ip())));
            let server = of.server.map(|socket| end(of.processes.destination.as_ref(), self.named(socket)));
            let [sent, received] = of.rates;
            let total = of.counts.iter().map(|count| count.bytes).fold(0, u64::saturating_add);
            let [client, server] = [client, server].map(|name| name.map_or_else(other, Value::text));
            let (flows, open) = (Value::Count(of.flows), Value::Count(of.open));
            let values =
                vec![client, server, Value::text(transport), flows, open, Value::Speed(sent), Value::Speed(received), Value::Size(total)];
            Row { key: Key::Row(index), values }
        };
        self.model.flows.rows(self.model.now()).into_iter().enumerate().map(row).collect()
    }

    fn dns(&self, (index, of): (usize, &DnsRow)) -> Row {
        let [_, p95, _] = percentiles(&of.numbers);
        let codes: Vec<String> = of.codes.iter().map(|(code, count)| format!("{code}:{count}")).collect();
        let asked_by = match &of.client {
            (Some(client), Some(process)) => format!("{} {}", self.ip(*client), self.hide(Kind::Name, &process.name)),
            (Some(client), None) => self.ip(*client),
            (None, _) => String::new(),
        };
        let (count, errors) = (Value::Count(of.numbers.count), Value::Errors(of.numbers.error_percent()));
        let values = vec![
            Value::text(self.hide(Kind::Name, &of.name)),
            Value::text(&*of.kind),
            count,
            errors,
            p95,
            Value::text(codes.join(" ")),
            Value::text(asked_by),
        ];
        Row { key: Key::Row(index), values }
    }

    fn tls(&self) -> Vec<Row> {
        let rows = self.model.tls.rows().iter().enumerate().map(|(index, of)| {
            let address = of.server.map(|server| self.named(server)).unwrap_or_default();
            let shown = self.hide(Kind::Name, &of.name);
            let name = match of.server {
                _ if of.name.is_empty() || !self.with_names => address,
                Some(server) => format!("{shown}:{}", server.port()),
                None => shown,
            };
            let weak = if of.is_weak() { ("!", Tone::Error) } else { ("", Tone::Plain) };
            let marked = |text: &str| if text.is_empty() { Value::text("") } else { Value::Text(format!("{}{text}", weak.0), weak.1) };
            let certificate = of.certificate_end.map_or_else(|| Value::text(""), |end| certificate(end, self.model.now()));
            let cipher = of.cipher.strip_prefix("TLS_").unwrap_or(&of.cipher);
            let (count, errors) = (Value::Count(of.numbers.count), Value::Errors(of.numbers.error_percent()));
            Row {
                key: Key::Row(index),
                values: vec![Value::text(name), marked(&of.version), Value::text(cipher), count, errors, certificate],
            }
        });
        rows.collect()
    }

    fn health(&self) -> Vec<Row> {
        let counters = self.counters.iter().filter(|(_, total)| *total > 0).enumerate();
        let row = |(index, (name, total)): (usize, &(String, u64))| Row {
            key: Key::Row(index),
            values: vec![Value::text(name.as_str()), Value::Count(*total)],
        };
        counters.map(row).collect()
    }

    pub fn service_name(&self, service: &Service) -> String {
        let known = self.model.names.of_end(service.address);
        match (self.redaction, service.name.as_deref().or(known), service.address) {
            (None, ..) => naming::service_name(self.model, service, self.with_names),
            (_, Some(name), Some(address)) if self.with_names => format!("{}:{}", self.hide(Kind::Name, name), address.port()),
            (_, _, Some(address)) => self.socket(address),
            (_, Some(name), None) => self.hide(Kind::Name, name),
            (_, None, None) => "?".to_owned(),
        }
    }

    /// The text, or its pseudonym if the screens are redacted.
    pub fn hide(&self, kind: Kind, text: &str) -> String {
        self.redaction.map_or_else(|| text.to_owned(), |redaction| redaction.of(kind, text))
    }

    fn ip(&self, address: IpAddr) -> String {
        self.hide(Kind::Address, &address.to_string())
    }

    /// The name that DNS gave the address, or the address, with the port.
    fn named(&self, socket: SocketAddr) -> String {
        match self.model.names.of(socket.ip()).filter(|_| self.with_names) {
            Some(name) if socket.port() == 0 => self.hide(Kind::Name, name),
            Some(name) => format!("{}:{}", self.hide(Kind::Name, name), socket.port()),
            None => self.socket(socket),
        }
    }

    /// Address and port, or its pseudonym.
    pub fn socket(&self, socket: SocketAddr) -> String {
        self.redaction.map_or_else(|| socket_text(socket), |redaction| redaction.socket(socket))
    }

    /// Who calls the service, and what the service's process calls, each with its rate. Empty if nobody is known.
    pub fn neighbours(&self, id: &ServiceId) -> [String; 2] {
        let [callers, called] = naming::neighbours(self.model, self.range, id, self.with_names);
        [("Called by", callers), ("Same process calls", called)].map(|(title, list)| {
            let more = list.len().saturating_sub(4);
            let protocol = |of: &Neighbour<'_>| of.service.map_or_else(String::new, |service| format!(" {}", service.protocol));
            let shown = |of: &Neighbour<'_>| match of.service {
                Some(service) => self.service_name(service),
                None if of.name.parse::<IpAddr>().is_ok() => self.hide(Kind::Address, &of.name),
                None => self.hide(Kind::Name, &of.name),
            };
            let name = |of: &Neighbour<'_>| format!("{}{} {}/s", shown(of), protocol(of), super::table::rate_text(of.rate));
            let names: Vec<String> = list.iter().take(4).map(name).collect();
            match (names.is_empty(), more) {
                (true, _) => String::new(),
                (_, 0) => format!("{title} {}.", names.join(", ")),
                _ => format!("{title} {} and {more} more.", names.join(", ")),
            }
        })
    }
}

/// All services as a table, sorted by rate.
pub fn services(shown: &Shown<'_>) -> Option<Table> {
    sorted(shown, &Place::Tab(Tab::Services))
}

/// All operations as a table, sorted by their share of the time.
pub fn operations(shown: &Shown<'_>) -> Option<Table> {
    sorted(shown, &Place::Tab(Tab::Operations))
}

fn sorted(shown: &Shown<'_>, place: &Place) -> Option<Table> {
    let mut table = shown.table(place)?;
    table.sort();
    Some(table)
}

/// The name of an operation, or its pseudonym.
pub fn operation_text(shown: &Shown<'_>, name: &str) -> String {
    shown.hide(Kind::Query, name)
}

/// The name of the row with what exceeds a limit.
fn other() -> Value {
    Value::Text("(other)".to_owned(), Tone::Dim)
}

fn percentiles(numbers: &Numbers) -> [Value; 3] {
    [50.0, 95.0, 99.0].map(|percent| Value::Latency(numbers.durations.percentile(percent)))
}

fn results(of: &[(Box<str>, u64)]) -> String {
    let mut sorted: Vec<_> = of.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    sorted.iter().map(|(result, count)| format!("{result}:{count}")).collect::<Vec<_>>().join(" ")
}

/// Days until a certificate ends.
fn certificate(end: Timestamp, now: Timestamp) -> Value {
    match end.since(now) / DAY {
        _ if end <= now => Value::Text("!has ended".to_owned(), Tone::Error),
        days @ 0..=SOON => Value::Text(format!("!{days} days"), Tone::Error),
        days => Value::text(format!("{days} days")),
    }
}

/// The bytes of a direction with their unit.
pub fn bytes_text(bytes: u64) -> String {
    if bytes < 1000 { format!("{bytes} B") } else { Size(bytes).to_string() }
}

/// A share in percent with its sign.
pub fn share_text(percent: f64) -> String {
    format!("{}%", percent_text(percent))
}
