//! The screen of one transaction.

use super::{
    look::Tone,
    rows::{bytes_text, share_text},
    state::State,
};
use crate::{
    process::{Ends, Process},
    publish::observer::{Details, Transaction},
    view::{
        model::{Record, record},
        naming::{is_error, nanos, result, socket_text},
        units::Latency,
    },
};
use std::{net::SocketAddr, sync::Arc};

/// Width of the names of fields.
const NAMES: usize = 30;

/// The lines of the screen, each with its tone.
pub fn lines(state: &State, of: &Record) -> Vec<(String, Tone)> {
    of.with(|of| {
        let mut lines = Vec::new();
        let took = of.duration.map(|duration| format!("  {}", Latency(duration))).unwrap_or_default();
        let (mark, tone) = if is_error(of) { ("!", Tone::Error) } else { ("", Tone::Bold) };
        lines.push((format!("{}  {mark}{}{took}  {}", of.query, result(of), state.look.time(of.time)), tone));
        let Ends { source, destination } = of.processes;
        lines.push((format!("{} > {}", end(of.source, source.as_ref()), end(of.destination, destination.as_ref())), Tone::Plain));
        lines.push((format!("sent {}, received {}", bytes_text(of.source_bytes), bytes_text(of.destination_bytes)), Tone::Plain));
        if let Some(rank) = rank(state, of) {
            lines.push((rank, Tone::Plain));
        }
        lines.push((String::new(), Tone::Plain));
        for (name, value) in fields(of) {
            lines.push((format!("{name:<NAMES$}{value}"), Tone::Plain));
        }
        lines
    })
}

fn end(socket: Option<SocketAddr>, process: Option<&Arc<Process>>) -> String {
    let address = socket.map_or_else(|| "?".to_owned(), socket_text);
    process.map_or_else(|| address.clone(), |process| format!("{address} {}[{}]", process.name, process.pid))
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
    Some(format!("slower than {} of {name} ({} of them)", share_text(below), numbers.count))
}

/// The fields of the summary that have a value.
fn fields(of: &Transaction<'_>) -> Vec<(&'static str, String)> {
    let details = match of.details {
        Details::None => [("", ""); 4],
        Details::Http { host } => [("destination.domain", host), ("", ""), ("", ""), ("", "")],
        Details::Dns { name, kind, code } => {
            [("dns.question.name", name), ("dns.question.type", kind), ("dns.response_code", code), ("", "")]
        }
        Details::Tls { server_name, version, cipher, certificate_end } => [
            ("tls.client.server_name", server_name),
            ("tls.version", version),
            ("tls.cipher", cipher),
            ("tls.server.not_after", certificate_end),
        ],
    };
    let texts = [
        ("type", of.protocol),
        ("status", of.status),
        ("method", of.method),
        ("resource", of.resource),
        ("query", of.query),
        ("result", of.result),
    ];
    let mut all: Vec<(&'static str, String)> = texts.into_iter().chain(details).map(|(name, text)| (name, text.to_owned())).collect();
    all.extend(of.notes.iter().map(|note| ("error.message", (*note).to_owned())));
    all.extend(
        [("event.start", of.start), ("event.end", of.end)]
            .map(|(name, time)| (name, time.map_or_else(String::new, |time| time.text(9).as_str().to_owned()))),
    );
    let processes = [("source.process", &of.processes.source), ("destination.process", &of.processes.destination)];
    for (name, process) in processes {
        let text = process.as_ref().map(|process| {
            let place = [&process.container, &process.service].into_iter().find(|text| !text.is_empty()).cloned().unwrap_or_default();
            format!("{}[{}] {} {place}", process.name, process.pid, process.user_name).trim_end().to_owned()
        });
        all.push((name, text.unwrap_or_default()));
    }
    all.retain(|(name, value)| !name.is_empty() && !value.is_empty());
    all
}
