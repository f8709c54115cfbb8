//! The screen of one transaction.

use super::{
    look::Tone,
    redact::Kind,
    rows::{Shown, bytes_text, operation_text, share_text},
    state::State,
    table::{Column, Key, Row, Table, Value, left},
    words::{quoted, word},
};
use crate::{
    process::{Ends, Process},
    publish::observer::{Details, Transaction},
    view::{
        model::{Record, record},
        naming::{is_error, nanos, result},
        units::Latency,
    },
};
use std::{net::SocketAddr, sync::Arc};

/// Width of the names of fields.
const NAMES: usize = 30;

/// A line of the screen.
pub struct Line {
    /// The text.
    pub text: String,
    /// Its tone.
    pub tone: Tone,
    /// The words of a filter that select the field of this line.
    pub words: Option<String>,
}

/// The lines of the screen.
pub fn lines(state: &State, of: &Record) -> Vec<Line> {
    let shown = state.shown();
    of.with(|of| {
        let mut lines = Vec::new();
        let mut add = |text, tone, words| lines.push(Line { text, tone, words });
        let took = of.duration.map(|duration| format!("  {}", Latency(duration))).unwrap_or_default();
        let (mark, tone) = if is_error(of) { ("!", Tone::Error) } else { ("", Tone::Bold) };
        let query = shown.hide(Kind::Query, of.query);
        add(format!("{query}  {mark}{}{took}  {}", result(of), state.look.time(of.time)), tone, None);
        let Ends { source, destination } = of.processes;
        let ends = format!("{} > {}", end(&shown, of.source, source.as_ref()), end(&shown, of.destination, destination.as_ref()));
        let client = record::client(of).0.map(|client| format!("client={}", client.ip()));
        add(ends, Tone::Plain, client);
        add(format!("sent {}, received {}", bytes_text(of.source_bytes), bytes_text(of.destination_bytes)), Tone::Plain, None);
        if let Some(rank) = rank(state, of) {
            add(rank, Tone::Plain, None);
        }
        add(String::new(), Tone::Plain, None);
        for field in fields(of) {
            let words = match field.word {
                "" => None,
                "text" => quoted(&field.value),
                name => word(name, &field.value),
            };
            let value = field.kind.map_or_else(|| field.value.clone(), |kind| shown.hide(kind, &field.value));
            add(format!("{:<NAMES$}{value}", field.name), Tone::Plain, words);
        }
        lines
    })
}

/// The fields of the transaction as a table, for exports.
pub fn table(state: &State, of: &Record) -> Table {
    const COLUMNS: &[Column] = &[left("FIELD", (NAMES, NAMES), 0), left("VALUE", (10, 80), 0)];
    let shown = state.shown();
    let value = |field: &Field| field.kind.map_or_else(|| field.value.clone(), |kind| shown.hide(kind, &field.value));
    let row =
        |(index, field): (usize, Field)| Row { key: Key::Row(index), values: vec![Value::text(field.name), Value::text(value(&field))] };
    let rows = of.with(|of| fields(of).into_iter().enumerate().map(row).collect());
    Table { columns: COLUMNS, rows, sort: None, hidden: Vec::new() }
}

fn end(shown: &Shown<'_>, socket: Option<SocketAddr>, process: Option<&Arc<Process>>) -> String {
    let address = socket.map_or_else(|| "?".to_owned(), |socket| shown.socket(socket));
    let name = |process: &Arc<Process>| format!("{address} {}[{}]", shown.hide(Kind::Name, &process.name), process.pid);
    process.map_or_else(|| address.clone(), name)
}

/// How the duration compares with those of the same operation.
fn rank(state: &State, of: &Transaction<'_>) -> Option<String> {
    let duration = of.duration?;
    let model = state.model();
    let (address, _) = record::server(of);
    let service = model.services.find(address, of.protocol)?.1;
    let mut name = String::new();
    service.operations.name(of, &mut name);
    let operation = service.operations.find(&name)?;
    let numbers = operation.stats.over(state.range, model.now());
    let below = numbers.durations.percent_below(nanos(duration))?;
    let name = operation_text(&state.shown(), &name);
    Some(format!("slower than {} of {name} ({} of them)", share_text(below), numbers.count))
}

/// A field of a transaction.
struct Field {
    name: &'static str,
    value: String,
    /// The field of the filter language, or `text` for a text that may be anywhere; empty if a filter cannot select the value.
    word: &'static str,
    /// What the value is, if it can be redacted.
    kind: Option<Kind>,
}

/// The fields of the summary that have a value.
fn fields(of: &Transaction<'_>) -> Vec<Field> {
    let mut all = Vec::new();
    let mut add = |name, value: &str, word, kind| {
        if !value.is_empty() {
            all.push(Field { name, value: value.to_owned(), word, kind });
        }
    };
    add("type", of.protocol, "type", None);
    add("status", of.status, "status", None);
    add("method", of.method, "method", None);
    add("resource", of.resource, "path", Some(Kind::Query));
    add("query", of.query, "query", Some(Kind::Query));
    add("result", of.result, "rcode", None);
    match of.details {
        Details::None => {}
        Details::Http { host } => add("destination.domain", host, "text", Some(Kind::Name)),
        Details::Dns { name, kind, code, addresses } => {
            add("dns.question.name", name, "text", Some(Kind::Name));
            add("dns.question.type", kind, "", None);
            add("dns.response_code", code, "rcode", None);
            add("dns.resolved_ip", addresses, "", Some(Kind::Address));
        }
        Details::Tls { server_name, version, cipher, certificate_end } => {
            add("tls.client.server_name", server_name, "text", Some(Kind::Name));
            add("tls.version", version, "", None);
            add("tls.cipher", cipher, "", None);
            add("tls.server.not_after", certificate_end, "", None);
        }
    }
    of.notes.iter().for_each(|note| add("error.message", note, "error.message", Some(Kind::Query)));
    for (name, time) in [("event.start", of.start), ("event.end", of.end)] {
        time.into_iter().for_each(|time| add(name, time.text(9).as_str(), "", None));
    }
    for (name, process) in [("source", &of.processes.source), ("destination", &of.processes.destination)] {
        let Some(process) = process else { continue };
        let names = match name {
            "source" => ["source.process.name", "source.user.name", "source.container", "source.service"],
            _ => ["destination.process.name", "destination.user.name", "destination.container", "destination.service"],
        };
        let values = [&process.name, &process.user_name, &process.container, &process.service];
        for ((name, value), word) in names.into_iter().zip(values).zip(["proc", "user", "container", "service"]) {
            add(name, value, word, Some(Kind::Name));
        }
    }
    all
}
