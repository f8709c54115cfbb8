//! Formats one line per event for people: time, protocol, source, destination, request, result and duration. This module does not print the
//! lines.

use super::screen::{Screen, WhenFull};
use crate::{
    net::FlowRecord,
    publish::observer::{Observer, Transaction},
    time::Timestamp,
};
use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

/// Maximum number of characters of a column; a longer text is cut and ends in `…`.
const WIDEST: usize = 100;

/// Control characters that move the cursor to the start of the line and clear the line.
pub const WIPE: &str = "\r\x1b[K";

/// An observer that writes a line for each event of a worker.
pub struct Lines {
    screen: Arc<Screen>,
    /// Whether to use the colours of a terminal.
    color: bool,
    /// For a worker that reads a file and waits for room on the screen: the flag that ends the waiting when it becomes true. `None` for a
    /// live source, which does not wait.
    waits: Option<Arc<AtomicBool>>,
    line: String,
}

impl Lines {
    /// Makes an observer that writes its lines to `screen`. `waits`: the flag that ends waiting, see the field of the
    /// same name.
    pub fn new(screen: Arc<Screen>, color: bool, waits: Option<Arc<AtomicBool>>) -> Self {
        Self { screen, color, waits, line: String::new() }
    }

    fn end(&mut self) {
        self.line.push('\n');
        let full = self.waits.as_deref().map_or(WhenFull::Drop, WhenFull::WaitUnless);
        self.screen.add(&self.line, full);
    }
}

impl Observer for Lines {
    fn transaction(&mut self, of: &Transaction<'_>) {
        self.line.clear();
        write_transaction(&mut self.line, of, self.color);
        self.end();
    }

    fn flow(&mut self, of: &FlowRecord) {
        self.line.clear();
        write_flow(&mut self.line, of, self.color);
        self.end();
    }
}

fn write_transaction(out: &mut String, of: &Transaction<'_>, color: bool) {
    begin(out, of.time, of.protocol, &end(of.source), &end(of.destination));
    paint(out, color, "1", &shorten(of.query));
    let ending = if of.result.is_empty() { of.status } else { of.result };
    if !ending.is_empty() {
        out.push_str("  ");
        paint(out, color, if of.status == "OK" || of.status.is_empty() { "32" } else { "31" }, &shorten(ending));
    }
    if let Some(duration) = of.duration {
        out.push_str("  ");
        paint(out, color, "2", &latency(duration));
    }
    let note = match of.notes {
        [] => return,
        [one] => shorten(one),
        several => shorten(&format!("[\"{}\"]", several.join("\",\""))),
    };
    out.push_str("  ");
    paint(out, color, "33", &note);
}

fn write_flow(out: &mut String, of: &FlowRecord, color: bool) {
    let parts = of.key.parts(of.reversed);
    let (source_port, destination_port) = parts.ports().unwrap_or_default();
    let ips = parts.innermost().and_then(|(source, destination)| Some((address(source)?, address(destination)?)));
    let ends = ips.map(|(source, destination)| [SocketAddr::new(source, source_port), SocketAddr::new(destination, destination_port)]);
    let macs = of.macs.get(usize::from(of.reversed)).copied().flatten();
    let [source, destination] = match (ends, macs) {
        (Some(ends), _) => ends.map(|socket| end(Some(socket))),
        (None, Some((source, destination))) => [source, destination].map(|mac| format!("{}", Mac(mac))),
        (None, None) => [end(None), end(None)],
    };
    let transport = match (parts.is_tcp(), parts.is_udp(), of.icmp.iter().any(Option::is_some)) {
        (true, ..) => "tcp ",
        (_, true, _) => "udp ",
        (.., true) => "icmp ",
        _ => "",
    };
    let (packets, bytes) = of.counts.iter().fold((0u64, 0u64), |sum, count| (sum.0 + count.packets, sum.1 + count.bytes));
    begin(out, of.end, "flow", &source, &destination);
    paint(out, color, "1", &format!("{transport}{packets} packets, {bytes} bytes"));
    out.push_str("  ");
    paint(out, color, "2", &latency(Duration::from_nanos(of.end.since(of.start))));
}

fn begin(out: &mut String, time: Timestamp, kind: &str, source: &str, destination: &str) {
    // Print only the time of day, because a user who watches live traffic knows the date.
    out.push_str(time.text(3).as_str().get(11..23).unwrap_or_default());
    // Writing to a string does not fail.
    let _ = write!(out, "  {kind:<9}{source:<23}→ {destination:<23}");
}

fn end(of: Option<SocketAddr>) -> String {
    match of {
        Some(socket) if socket.port() == 0 => socket.ip().to_string(),
        Some(socket) => socket.to_string(),
        None => "?".to_owned(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// An Ethernet address in upper case with dashes.
struct Mac([u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}-{b:02X}-{c:02X}-{d:02X}-{e:02X}-{g:02X}")
    }
}

/// Formats a duration in microseconds, milliseconds or seconds. The unit is the one that gives a short number.
fn latency(of: Duration) -> String {
    match of.as_nanos() {
        0..1_000_000 => format!("{} µs", of.as_micros()),
        1_000_000..10_000_000_000 => format!("{:.1} ms", of.as_nanos() as f64 / 1e6),
        _ => format!("{:.1} s", of.as_nanos() as f64 / 1e9),
    }
}

fn paint(out: &mut String, color: bool, code: &str, text: &str) {
    if color {
        let _ = write!(out, "\x1b[{code}m{text}\x1b[0m");
    } else {
        out.push_str(text);
    }
}

/// Returns at most [`WIDEST`] characters of `text`. Characters that could control the terminal become spaces.
fn shorten(text: &str) -> String {
    let mut out: String = text.chars().take(WIDEST).map(|c| if is_shown(c) { c } else { ' ' }).collect();
    if text.chars().nth(WIDEST).is_some() {
        out.push('…');
    }
    out
}

/// Whether the character is only displayed. False for control characters, characters that change the direction of text
/// (bidirectional controls, UAX #9; with them text can look like other text), line separators and invisible characters.
fn is_shown(c: char) -> bool {
    let is_invisible = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !is_invisible
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Count, Direction, Realm, StoredKey, Transport};

    fn transaction() -> Transaction<'static> {
        // 2026-01-02T03:04:05.678Z
        let start = Timestamp(1_767_323_045_678_000_000);
        Transaction {
            protocol: "http",
            realm: Realm::default(),
            transport: Transport::Tcp,
            from: Direction::ToServer,
            source: Some("10.0.0.1:40000".parse().unwrap()),
            destination: Some("[fd00::1]:80".parse().unwrap()),
            time: start,
            start: Some(start),
            end: None,
            duration: Some(Duration::from_micros(1500)),
            source_bytes: 0,
            destination_bytes: 0,
            method: "GET",
            resource: "/a",
            query: "GET x.org/a\u{1b}[2J",
            result: "404",
            status: "Error",
            notes: &[],
        }
    }

    fn line(of: &Transaction<'_>, color: bool) -> String {
        let mut out = String::new();
        write_transaction(&mut out, of, color);
        out
    }

    #[test]
    fn lines_of_transactions() {
        let all = transaction();
        assert_eq!(
            line(&all, false),
            "03:04:05.678  http     10.0.0.1:40000         → [fd00::1]:80           GET x.org/a [2J  404  1.5 ms"
        );
        let noted = Transaction { result: "", notes: &["a", "b"], ..all };
        assert_eq!(
            line(&noted, true),
            "03:04:05.678  http     10.0.0.1:40000         → [fd00::1]:80           \x1b[1mGET x.org/a [2J\x1b[0m  \x1b[31mError\x1b[0m  \
             \x1b[2m1.5 ms\x1b[0m  \x1b[33m[\"a\",\"b\"]\x1b[0m"
        );
        let little = Transaction {
            source: None,
            destination: Some("10.0.0.2:0".parse().unwrap()),
            duration: None,
            status: "OK",
            result: "",
            query: "",
            ..all
        };
        assert_eq!(line(&little, false), "03:04:05.678  http     ?                      → 10.0.0.2                 OK");
    }

    #[test]
    fn lines_of_flows() {
        let key = StoredKey::new(&[2, 0, 1, 0, 255, 0, 255, 255, 10, 0, 0, 1, 10, 0, 0, 2, 80, 0, 2, 0]);
        let mut flow = FlowRecord::new(key, true, transaction().time);
        flow.add(0, Count { packets: 2, bytes: 200 }, transaction().time, None, None);
        flow.add(1, Count { packets: 1, bytes: 100 }, Timestamp(transaction().time.0 + 2_000_000), None, None);
        let mut out = String::new();
        write_flow(&mut out, &flow, false);
        assert_eq!(out, "03:04:05.680  flow     10.0.0.2:2             → 10.0.0.1:80            tcp 3 packets, 300 bytes  2.0 ms");
        let mut flow = FlowRecord::new(StoredKey::new(&[]), false, transaction().time);
        flow.macs = [Some(([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 255])), None];
        out.clear();
        write_flow(&mut out, &flow, false);
        assert_eq!(out, "03:04:05.678  flow     02-00-00-00-00-01      → 02-00-00-00-00-FF      0 packets, 0 bytes  0 µs");
    }

    #[test]
    fn a_text_cannot_control_the_terminal() {
        for c in [
            "\u{7}",
            "\u{1b}",
            "\u{9b}",
            "\u{7f}",
            "\u{202e}",
            "\u{2066}",
            "\u{2069}",
            "\u{200f}",
            "\u{61c}",
            "\u{2028}",
            "\u{feff}",
            "\u{e0041}",
        ] {
            assert_eq!(shorten(&format!("a{c}b")), "a b", "{}", c.escape_unicode());
            let of = Transaction { query: c, result: c, notes: &[c, c], ..transaction() };
            assert!(!line(&of, false).contains(c), "{}", c.escape_unicode());
        }
        assert_eq!(shorten("Grüße, שלום, 你好 🙂"), "Grüße, שלום, 你好 🙂");
    }

    #[test]
    fn latencies() {
        assert_eq!([999, 1_234_567, 12_000_000_000].map(|ns| latency(Duration::from_nanos(ns))), ["0 µs", "1.2 ms", "12.0 s"]);
    }

    #[test]
    fn events_become_lines_on_the_screen() {
        let screen = Arc::new(Screen::default());
        let mut lines = Lines::new(screen.clone(), false, None);
        lines.transaction(&transaction());
        lines.flow(&FlowRecord::new(StoredKey::new(&[]), false, Timestamp(0)));
        screen.close();
        let mut out = Vec::new();
        screen.print(&mut out, "").unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().map(|line| line.get(14..18)).collect::<Vec<_>>(), [Some("http"), Some("flow")], "{out}");
    }
}
