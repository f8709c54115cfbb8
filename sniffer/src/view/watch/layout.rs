//! [`Layout`]: the columns of a line, which depend on the width of the terminal, and the text of a row in these columns.

use super::row::{Outcome, Peer, Row};
use crate::{
    process::Process,
    time::Timestamp,
    view::{
        text::{self, Charset},
        units::{Latency, Size},
    },
};
use std::fmt::Write;

/// Columns that the two ends take at least, if there is room.
const PEERS: usize = 22;
/// Columns of the request at least, on a pipe and in a wide terminal. On a pipe a longer request moves the columns behind it.
const REQUEST: usize = 40;
/// In a terminal with more columns, the request has only the columns that requests needed until now. Otherwise a wide gap would be before the
/// status.
const WIDE: usize = 100;
/// Widths of the protocol column: the least, and the most.
const PROTOCOL: [usize; 2] = [5, 9];
/// Columns of the duration: `59m59s`.
const LATENCY: usize = 6;
/// Columns of the size: `9.1M` and a space.
const BYTES: usize = 5;

/// How lines look, whatever the width of the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether to use colours.
    pub color: bool,
    /// Which characters the terminal displays.
    pub charset: Charset,
    /// Seconds by which the shown times are ahead of UTC.
    pub ahead_of_utc: i32,
}

/// Which columns there are, and how wide they are at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    /// Digits of the time: 8 for `23:38:46`, 12 with milliseconds, 0 without the column.
    time: usize,
    /// Whether the client is shown besides the server.
    client: bool,
    client_port: bool,
    /// Most columns of the ends; 0 without the column.
    peers: usize,
    /// Columns of the status.
    status: usize,
    bytes: bool,
    /// Most columns of the processes; 0 without the column.
    processes: usize,
    pids: bool,
}

impl Columns {
    /// The columns for a terminal; `None` for a pipe, which has all of them. As the width shrinks, columns are left out before the request
    /// is cut to nothing.
    fn of(width: Option<usize>) -> Self {
        let narrowest = Self { time: 0, client: false, client_port: false, peers: 0, status: 4, bytes: false, processes: 0, pids: false };
        let all = Self { time: 8, client: true, bytes: true, peers: 99, ..narrowest };
        match width {
            Some(0..48) => narrowest,
            Some(48..64) => Self { peers: 16, ..narrowest },
            Some(64..72) => Self { peers: 16, time: 8, ..narrowest },
            Some(72..100) => all,
            Some(100..110) => Self { time: 12, status: 9, ..all },
            Some(110..140) => Self { time: 12, status: 9, processes: 18, ..all },
            Some(140..160) => Self { time: 12, status: 9, processes: 18, client_port: true, ..all },
            _ => Self { time: 12, status: 9, processes: 40, pids: true, client_port: true, ..all },
        }
    }
}

/// The columns of the lines. Columns grow with their contents, up to a limit, and do not shrink again.
#[derive(Clone, Debug)]
pub struct Layout {
    style: Style,
    /// The width of the terminal; `None` on a pipe.
    width: Option<usize>,
    columns: Columns,
    protocol: usize,
    peers: usize,
    request: usize,
    processes: usize,
    /// Buffers.
    cell: String,
    end: String,
    shown_processes: String,
}

impl Layout {
    /// Makes the layout for a terminal with `width` columns; `None` for a pipe.
    pub fn new(style: Style, width: Option<usize>) -> Self {
        let [cell, end, shown_processes] = Default::default();
        Self {
            style,
            width,
            columns: Columns::of(width),
            protocol: PROTOCOL[0],
            peers: PEERS,
            request: REQUEST,
            processes: 0,
            cell,
            end,
            shown_processes,
        }
    }

    /// Follows a change of the terminal's width.
    pub fn resize(&mut self, width: Option<usize>) {
        if self.width != width {
            *self = Self { protocol: self.protocol, ..Self::new(self.style, width) };
        }
    }

    /// The width of the terminal; `None` on a pipe.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// Appends the line of a row, with a newline.
    pub fn write(&mut self, out: &mut String, row: &Row) {
        let columns = self.columns;
        if columns.time > 0 {
            push_time(out, row.time, self.style.ahead_of_utc, columns.time > 8);
            out.push(' ');
        }
        self.protocol = self.protocol.max(row.protocol().len().min(PROTOCOL[1]));
        let used = text::push(out, row.protocol(), self.protocol, Charset::Ascii);
        pad(out, self.protocol - used + 1);
        self.gather_processes(row);
        let most = self.most_for_peers();
        if most > 0 {
            self.push_peers(out, row, most);
        }
        self.push_request(out, row);
        self.push_status(out, row);
        self.cell.clear();
        if let Some(duration) = row.duration {
            // Writing to a string does not fail.
            let _ = write!(self.cell, "{}", Latency(duration));
        }
        pad(out, (LATENCY + 1).saturating_sub(self.cell.len()));
        let is_slow = row.duration.is_some_and(|duration| duration.as_secs() >= 1);
        paint(out, self.style.color && is_slow, "33", &self.cell);
        if columns.bytes {
            self.cell.clear();
            let _ = write!(self.cell, "{}", Size(row.bytes));
            pad(out, (BYTES + 1).saturating_sub(self.cell.len()));
            out.push_str(&self.cell);
        }
        if self.processes > 0 && !self.shown_processes.is_empty() {
            out.push(' ');
            paint(out, self.style.color, "2", &self.shown_processes);
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }

    /// Puts the text of the processes into `shown_processes`, and widens their column.
    fn gather_processes(&mut self, row: &Row) {
        self.shown_processes.clear();
        let Some(ends) = row.processes.as_ref().filter(|_| self.columns.processes > 0) else { return };
        self.cell.clear();
        let with_pids = self.columns.pids;
        let one = |cell: &mut String, process: &Process| {
            cell.push_str(&process.name);
            if with_pids {
                let _ = write!(cell, "[{}]", process.pid);
            }
        };
        if let Some(process) = &ends.source {
            one(&mut self.cell, process);
        }
        self.cell.push_str(" > ");
        if let Some(process) = &ends.destination {
            one(&mut self.cell, process);
        }
        let used = text::push(&mut self.shown_processes, self.cell.trim(), self.columns.processes, self.style.charset);
        self.processes = self.processes.max(used);
    }

    /// Columns for the ends and the request together on a terminal.
    fn left(&self) -> Option<usize> {
        let Columns { time, status, bytes, .. } = self.columns;
        let optional = |columns: usize| if columns > 0 { columns + 1 } else { 0 };
        let others = optional(time) + self.protocol + 1 + 1 + status + 1 + LATENCY + if bytes { BYTES + 1 } else { 0 };
        self.width.map(|width| width.saturating_sub(others + optional(self.processes)))
    }

    fn most_for_peers(&self) -> usize {
        match (self.columns, self.left()) {
            (Columns { peers, client: true, .. }, Some(left)) => peers.min(left * 3 / 5),
            (Columns { peers, .. }, _) => peers,
        }
    }

    fn push_peers(&mut self, out: &mut String, row: &Row, most: usize) {
        // Other programs that read the lines get addresses.
        let names = row.names.each_ref().map(|name| name.as_deref().filter(|_| self.width.is_some()));
        let [source, destination] =
            [0, 1].map(|end: usize| (row.peers.get(end).copied().unwrap_or_default(), names.get(end).copied().flatten()));
        let Columns { client, client_port, .. } = self.columns;
        self.cell.clear();
        self.end.clear();
        if client {
            push_peer(&mut self.cell, source, client_port || !row.from_client);
            push_peer(&mut self.end, destination, client_port || row.from_client);
            let room = most.saturating_sub(3);
            let half = room / 2;
            let (first, second) = match (self.cell.len(), self.end.len()) {
                (first, second) if first + second <= room => (first, second),
                (first, _) if first <= half => (first, room - first),
                (_, second) if second <= room - half => (room - second, second),
                _ => (half, room - half),
            };
            cut_middle(&mut self.cell, first);
            cut_middle(&mut self.end, second);
            self.cell.push_str(" > ");
            self.cell.push_str(&self.end);
        } else {
            push_peer(&mut self.cell, if row.from_client { destination } else { source }, true);
            cut_middle(&mut self.cell, most);
        }
        self.peers = self.peers.max(self.cell.len());
        out.push_str(&self.cell);
        pad(out, self.peers.min(most).saturating_sub(self.cell.len()) + 1);
    }

    fn push_request(&mut self, out: &mut String, row: &Row) {
        let most = self.left().map(|left| match self.most_for_peers() {
            0 => left,
            most => left.saturating_sub(self.peers.min(most) + 1),
        });
        self.cell.clear();
        push_on_one_line(&mut self.cell, row.request());
        if !row.note().is_empty() {
            let open = if row.request().is_empty() { "(" } else { " (" };
            let _ = write!(self.cell, "{open}{})", row.note());
        }
        let used = text::push(out, &self.cell, most.unwrap_or(usize::MAX), self.style.charset);
        let columns = match (most, self.width) {
            (Some(most), Some(WIDE..)) => {
                self.request = self.request.max(used);
                self.request.min(most)
            }
            (Some(most), _) => most,
            (None, _) => REQUEST,
        };
        pad(out, columns.saturating_sub(used) + 1);
    }

    fn push_status(&mut self, out: &mut String, row: &Row) {
        let most = self.columns.status;
        self.cell.clear();
        if row.outcome == Outcome::Error {
            self.cell.push('!');
        }
        let code = row.code();
        let is_number = !code.is_empty() && code.len() <= 4 && code.bytes().all(|byte| byte.is_ascii_digit());
        let code = match (row.outcome, code) {
            _ if is_number => code,
            (Outcome::None, _) => "",
            (Outcome::Success, _) => "OK",
            (Outcome::Error, "") => "ERR",
            (Outcome::Error, "NXDOMAIN") if most < 9 => "NXD",
            (Outcome::Error, code) => code,
        };
        self.cell.push_str(code.get(..code.floor_char_boundary(most - self.cell.len())).unwrap_or_default());
        pad(out, most.saturating_sub(self.cell.len()));
        paint(out, self.style.color && row.outcome == Outcome::Error, "31", &self.cell);
    }
}

/// Appends the time of day, with or without milliseconds.
fn push_time(out: &mut String, time: Timestamp, ahead_of_utc: i32, with_millis: bool) {
    let seconds = (time.0 / 1_000_000_000).saturating_add_signed(i64::from(ahead_of_utc)) % 86_400;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if with_millis {
        let _ = write!(out, ".{:03}", time.0 / 1_000_000 % 1000);
    }
}

/// Appends an end: its name or address, and the port if it is wanted.
fn push_peer(out: &mut String, (peer, name): (Peer, Option<&str>), with_port: bool) {
    if let (Peer::Socket(socket), Some(name)) = (peer, name) {
        out.push_str(name);
        if with_port && socket.port() > 0 {
            let _ = write!(out, ":{}", socket.port());
        }
        return;
    }
    let _ = match peer {
        Peer::Unknown => write!(out, "?"),
        Peer::Socket(socket) if socket.port() == 0 || !with_port => write!(out, "{}", socket.ip()),
        Peer::Socket(socket) => write!(out, "{socket}"),
        Peer::Ethernet([a, b, c, d, e, g]) => write!(out, "{a:02X}-{b:02X}-{c:02X}-{d:02X}-{e:02X}-{g:02X}"),
    };
}

/// Appends a text whose line breaks and tabs, with the blanks around them, become one blank. Statements of SQL often have them.
fn push_on_one_line(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(place) = rest.find(['\n', '\t']) {
        let (before, after) = rest.split_at(place);
        out.push_str(before.trim_end_matches([' ', '\r', '\n', '\t']));
        out.push(' ');
        rest = after.trim_start_matches([' ', '\r', '\n', '\t']);
    }
    out.push_str(rest);
}

/// Cuts an ASCII text in its middle to `most` characters. The end of an address, with its port, stays.
fn cut_middle(text: &mut String, most: usize) {
    if text.len() > most && most > 0 {
        let before = (most - 1) / 2;
        let after = text.len() - (most - 1 - before);
        text.replace_range(before..after, "~");
    }
}

fn pad(out: &mut String, columns: usize) {
    out.extend(std::iter::repeat_n(' ', columns));
}

fn paint(out: &mut String, color: bool, code: &str, text: &str) {
    if color && !text.is_empty() {
        let _ = write!(out, "\x1b[{code}m{text}\x1b[0m");
    } else {
        out.push_str(text);
    }
}
