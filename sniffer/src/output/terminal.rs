//! The output of `watch`: one readable line per transaction, with time, client, server, request, result and duration.

use super::{Error, Output, Sender, Sent, console, counters::Counters, drive};
use crate::{
    publish::Record,
    queue::{self, BoxFuture, Flush},
};
use serde_json::Value;
use std::{fmt::Write, sync::Arc};

/// Most characters of a column. Longer text is cut and ends in `…`.
const WIDEST: usize = 100;

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Use terminal colours.
    pub color: bool,
    /// The terminal shows a status line, which is erased before lines are written.
    pub over_status: bool,
}

/// The sender: writes the lines to standard output.
struct Terminal {
    style: Style,
    counters: Arc<Counters>,
    text: String,
}

impl Output for Style {
    fn options(&self) -> drive::Options {
        drive::Options::default()
    }

    fn queue(&self) -> queue::Options {
        let queue = queue::Options::default();
        queue::Options { flush: Flush { min_events: 1, ..queue.flush }, ..queue }
    }

    fn senders(self: Box<Self>, counters: &Arc<Counters>) -> Vec<Box<dyn Sender>> {
        vec![Box::new(Terminal { style: *self, counters: counters.clone(), text: String::new() })]
    }
}

impl Sender for Terminal {
    fn send<'a>(&'a mut self, batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>> {
        self.text.clear();
        if self.style.over_status {
            self.text.push_str(WIPE);
        }
        for record in batch {
            // The program wrote the document itself, so it is valid JSON.
            if let Ok(document) = serde_json::from_slice(&record.body) {
                self.text.push_str(&line(&document, self.style));
                self.text.push('\n');
            }
        }
        Box::pin(std::future::ready(console::print(self.text.as_bytes(), &self.counters).map(|()| Sent::All)))
    }
}

/// Control sequence that moves the cursor to the start of the line and erases the line.
pub const WIPE: &str = "\r\x1b[K";

/// The line of one document, without the line end.
pub fn line(document: &Value, style: Style) -> String {
    let text = |path: &str| document.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let mut out = String::with_capacity(160);
    // Only the time of day: whoever watches live traffic knows the date.
    out.push_str(text("/@timestamp").get(11..23).unwrap_or_default());
    let (status, kind) = (text("/status"), text("/type"));
    let _ = write!(out, "  {kind:<9}{:<23}→ {:<23}", end(document, "source"), end(document, "destination"));
    let what = what(document);
    let _ = write!(out, "{}", paint(style, "1", &shorten(&what)));
    let ending = ending(document);
    let color = if status == "OK" || status.is_empty() { "32" } else { "31" };
    if !ending.is_empty() {
        let _ = write!(out, "  {}", paint(style, color, &ending));
    }
    if let Some(duration) = document.pointer("/event/duration").and_then(Value::as_u64) {
        let _ = write!(out, "  {}", paint(style, "2", &latency(duration)));
    }
    let note = document.pointer("/error/message").map(|m| m.as_str().map_or_else(|| m.to_string(), str::to_owned));
    if let Some(note) = note {
        let _ = write!(out, "  {}", paint(style, "33", &shorten(&note)));
    }
    out
}

fn end(document: &Value, side: &str) -> String {
    let at = |key: &str| document.pointer(&format!("/{side}/{key}"));
    let ip = match at("ip") {
        Some(Value::String(ip)) => ip.as_str(),
        Some(Value::Array(ips)) => ips.last().and_then(Value::as_str).unwrap_or_default(),
        _ => at("mac").and_then(Value::as_str).unwrap_or("?"),
    };
    match at("port").and_then(Value::as_u64) {
        Some(port) if ip.contains(':') => format!("[{ip}]:{port}"),
        Some(port) => format!("{ip}:{port}"),
        None => ip.to_owned(),
    }
}

/// The request in short: some protocols have a form of their own; for the others the query, else the action, else method and resource.
fn what(document: &Value) -> String {
    let text = |path: &str| document.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let domain = text("/destination/domain");
    match text("/type") {
        "http" if !domain.is_empty() => {
            let (method, path) = text("/query").split_once(' ').unwrap_or((text("/query"), ""));
            format!("{method} {domain}{path}")
        }
        "dns" => format!("{} {}", text("/dns/question/type"), text("/dns/question/name")),
        "icmp" => {
            text("/icmp/request/message").to_owned()
                + if text("/icmp/request/message").is_empty() { text("/icmp/response/message") } else { "" }
        }
        "tls" => format!("{} {}", text("/tls/client/server_name"), text("/tls/cipher")).trim().to_owned(),
        "flow" => {
            let count = |path: &str| document.pointer(path).and_then(Value::as_u64).unwrap_or_default();
            format!("{} {} packets, {} bytes", text("/network/transport"), count("/network/packets"), count("/network/bytes"))
        }
        _ if !text("/query").is_empty() => text("/query").to_owned(),
        _ if !text("/event/action").is_empty() => text("/event/action").to_owned(),
        _ => format!("{} {}", text("/method"), text("/resource")).trim().to_owned(),
    }
}

/// The result of the transaction: the protocol's status code or error message if there is one, else `status`.
fn ending(document: &Value) -> String {
    let status = document.pointer("/status").and_then(Value::as_str).unwrap_or_default();
    if let Some(code) = document.pointer("/http/response/status_code").and_then(Value::as_u64) {
        return code.to_string();
    }
    let own =
        ["/dns/response_code", "/mysql/error_message", "/pgsql/error_message", "/redis/error", "/nfs/status", "/icmp/response/message"];
    let own = own.iter().find_map(|path| document.pointer(path).and_then(Value::as_str)).unwrap_or_default();
    shorten(if own.is_empty() { status } else { own })
}

/// Nanoseconds as text, in µs, ms or s.
fn latency(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{} µs", ns / 1000),
        1_000_000..10_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

fn paint(style: Style, code: &str, text: &str) -> String {
    if style.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// At most [`WIDEST`] characters of `text`. Control characters become spaces, so that traffic cannot control the terminal.
fn shorten(text: &str) -> String {
    let mut out: String = text.chars().take(WIDEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(WIDEST).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines() {
        let mut document = json!({"@timestamp": "2026-01-02T03:04:05.678Z", "type": "http", "status": "Error", "query": "GET /a\u{1b}[2J",
            "source": {"ip": "10.0.0.1", "port": 40000}, "destination": {"ip": "fd00::1", "port": 80, "domain": "x.org"},
            "http": {"response": {"status_code": 404}}, "event": {"duration": 1_500_000}});
        assert_eq!(
            line(&document, Style::default()),
            "03:04:05.678  http     10.0.0.1:40000         → [fd00::1]:80           GET x.org/a [2J  404  1.5 ms"
        );
        document["http"] = Value::Null;
        document["error"] = json!({"message": ["a", "b"]});
        assert!(
            line(&document, Style { color: true, over_status: false })
                .ends_with("\x1b[31mError\x1b[0m  \x1b[2m1.5 ms\x1b[0m  \x1b[33m[\"a\",\"b\"]\x1b[0m")
        );
    }

    #[test]
    fn latencies() {
        assert_eq!([999, 1_234_567, 12_000_000_000].map(latency), ["0 µs", "1.2 ms", "12.0 s"]);
    }
}
