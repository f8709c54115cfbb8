//! The thread that prints: it takes rows from the feed, and writes lines and the status line to standard output.

use super::terminal;
use crate::view::watch::{
    burst::{Burst, MOST_LINES},
    feed::{Feed, Taken},
    layout::{Layout, Style},
    row::Row,
    status::{Packets, Status},
};
use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Moves to the start of the line and clears everything from there. A status line that the terminal has wrapped because its window became
/// narrower is cleared, too.
///
/// The line is cleared before the rest of the screen: tmux saves what is cleared by `\x1b[J` in its history if that is the whole screen.
pub const WIPE: &str = "\r\x1b[K\x1b[J";
/// How often the status line is rewritten, and the size of the terminal is read.
const REDRAW: Duration = Duration::from_millis(250);
/// The period over which the rate is measured.
const RATE: Duration = Duration::from_secs(1);
/// How long rows are gathered on a pipe, so that many lines are written at once.
const GATHER: Duration = Duration::from_millis(5);
/// Size in bytes of the text that is written at once.
const BLOCK: usize = 64 << 10;

/// What the printing thread shares with the main thread and the thread of the keys.
#[derive(Debug, Default)]
pub struct Shared {
    /// The rows, and the numbers of events.
    pub feed: Arc<Feed>,
    /// Whether lines are held back.
    pub paused: Arc<AtomicBool>,
    /// Rows that the printing thread took and did not print.
    pub not_printed: AtomicU64,
    /// Numbers of packets.
    packets: Mutex<Packets>,
    /// The port of [`Shared::set_busy`]; 0: none.
    busy: AtomicU16,
}

impl Shared {
    /// Sets the numbers of packets.
    pub fn set_packets(&self, packets: Packets) {
        *self.packets.lock().unwrap_or_else(PoisonError::into_inner) = packets;
    }

    /// The numbers of packets.
    pub fn packets(&self) -> Packets {
        *self.packets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the port that is not watched and has most connections.
    pub fn set_busy(&self, port: Option<u16>) {
        self.busy.store(port.unwrap_or_default(), Ordering::Relaxed);
    }

    /// Number of selected events for which no line was printed.
    pub fn not_shown(&self) -> u64 {
        self.feed.counts().dropped + self.not_printed.load(Ordering::Relaxed)
    }
}

/// Where lines are written to, and what the status line is about.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// How lines look.
    pub style: Style,
    /// Whether standard output is a terminal.
    pub is_terminal: bool,
    /// Whether there is a status line, and the number of lines is limited: live capture on a terminal.
    pub is_live: bool,
    /// Whether keys are read.
    pub has_keys: bool,
    /// Whether a filter of libpcap selects the packets, instead of the ports.
    pub has_pcap_filter: bool,
}

/// The state of the printing thread.
struct Printer<'a> {
    shared: &'a Shared,
    screen: Screen,
    layout: Layout,
    height: usize,
    burst: Burst,
    started: Instant,
    /// When the status line is rewritten next.
    redraw: Instant,
    /// The number of events when the rate was measured last, and the rate.
    rate: (Instant, u64, u64),
    /// Text that was not written yet.
    text: String,
}

/// Prints rows to `out` until the feed ends.
///
/// # Errors
/// When writing fails. No rows are accepted after that.
pub fn print(shared: &Shared, screen: Screen, out: &mut dyn Write) -> io::Result<()> {
    let now = Instant::now();
    let mut printer = Printer {
        shared,
        screen,
        layout: Layout::new(screen.style, None),
        height: 0,
        burst: Burst::default(),
        started: now,
        redraw: now,
        rate: (now, 0, 0),
        text: String::new(),
    };
    let result = printer.run(out);
    if result.is_err() {
        shared.feed.abandon();
    }
    result
}

impl Printer<'_> {
    fn run(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let mut rows = VecDeque::new();
        loop {
            let until = self.burst.end_of_second().map_or(self.redraw, |end| end.min(self.redraw));
            let taken = self.shared.feed.take(until, &mut rows);
            // The terminal may have been resized while this thread waited.
            self.measure();
            for row in rows.drain(..) {
                self.row(row);
                if self.text.len() >= BLOCK {
                    self.write(out)?;
                }
            }
            self.end_second(taken == Taken::Ended);
            if taken == Taken::Ended {
                if std::mem::take(&mut self.screen.is_live) {
                    self.text.insert_str(0, WIPE);
                }
                return self.write(out);
            }
            let now = Instant::now();
            let is_due = now >= self.redraw;
            if is_due {
                self.redraw = now + REDRAW;
            }
            if !self.text.is_empty() || is_due && self.screen.is_live {
                self.write(out)?;
            }
            if !self.screen.is_terminal {
                thread::sleep(GATHER);
            }
        }
    }

    /// Reads the size of the terminal.
    fn measure(&mut self) {
        if let Some((width, height)) = terminal::size().filter(|_| self.screen.is_terminal) {
            self.layout.resize(Some(width));
            self.height = height;
        }
    }

    fn row(&mut self, row: Row) {
        if self.shared.paused.load(Ordering::Relaxed) {
            self.shared.not_printed.fetch_add(1, Ordering::Relaxed);
        } else if !self.screen.is_live {
            self.layout.write(&mut self.text, &row);
        } else if let Some(row) = self.burst.add(row, Instant::now()) {
            self.layout.write(&mut self.text, &row);
        }
    }

    /// Prints the rows that waited for the end of the second.
    fn end_second(&mut self, at_once: bool) {
        // The status line takes a row of the screen.
        let screen = self.height.saturating_sub(1).clamp(2, MOST_LINES);
        let Some((rows, more)) = self.burst.end(Instant::now(), screen, at_once) else { return };
        if self.shared.paused.load(Ordering::Relaxed) {
            self.shared.not_printed.fetch_add(rows.len() as u64 + more.total(), Ordering::Relaxed);
            return;
        }
        rows.iter().for_each(|row| self.layout.write(&mut self.text, row));
        if more.total() > 0 {
            self.shared.not_printed.fetch_add(more.total(), Ordering::Relaxed);
            self.text.push_str(&more.line(self.layout.width().unwrap_or(usize::MAX)));
            self.text.push('\n');
        }
    }

    /// Writes the text, and the status line below it.
    fn write(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.screen.is_live {
            self.text.insert_str(0, WIPE);
            let status = self.status();
            if let Some(width) = self.layout.width() {
                // A line that is too long for the terminal is cut: the terminal may have become narrower after its size was read.
                self.text.extend(["\x1b[?7l", status.line(width).as_str(), "\x1b[?7h"]);
                // With the cursor at its start, the status line can be cleared after the terminal has wrapped it.
                self.text.push('\r');
            }
        }
        out.write_all(self.text.as_bytes())?;
        self.text.clear();
        out.flush()
    }

    fn status(&mut self) -> Status {
        let (now, counts) = (Instant::now(), self.shared.feed.counts());
        let (measured, before, rate) = &mut self.rate;
        let period = now.saturating_duration_since(*measured);
        if period >= RATE {
            *rate = ((counts.selected - *before) as f64 / period.as_secs_f64()).round() as u64;
            (*measured, *before) = (now, counts.selected);
        }
        Status {
            counts,
            rate: *rate,
            not_shown: self.shared.not_shown(),
            packets: self.shared.packets(),
            busy: Some(self.shared.busy.load(Ordering::Relaxed)).filter(|port| *port > 0),
            running: self.started.elapsed(),
            is_paused: self.shared.paused.load(Ordering::Relaxed),
            has_keys: self.screen.has_keys,
            has_pcap_filter: self.screen.has_pcap_filter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::watch::tally::tests::transaction;

    /// What is printed for `number` rows.
    fn printed(shared: &Shared, number: usize, is_live: bool) -> String {
        for _ in 0..number {
            shared.feed.add(Row::of_transaction(&transaction()), None);
        }
        shared.feed.close();
        let mut out = Vec::new();
        let screen = Screen { style: Style::default(), is_terminal: is_live, is_live, has_keys: false, has_pcap_filter: false };
        print(shared, screen, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_pipe_gets_every_line_and_no_status() {
        let shared = Shared::default();
        let out = printed(&shared, 1000, false);
        assert_eq!(out.lines().count(), 1000);
        assert!(!out.contains(['\x1b', '\r']));
        assert_eq!(shared.not_shown(), 0);
    }

    #[test]
    fn a_terminal_gets_a_limited_number_of_lines_and_the_rest_is_counted() {
        let shared = Shared::default();
        let out = printed(&shared, 1000, true);
        let lines = out.matches('\n').count();
        assert!((2..=MOST_LINES).contains(&lines), "{lines}");
        assert_eq!(lines as u64 - 1 + shared.not_shown(), 1000);
        assert!(out.contains(" more in this second: http "), "{out}");
    }

    #[test]
    fn a_pause_holds_lines_back_and_counts_them() {
        let shared = Shared::default();
        shared.paused.store(true, Ordering::Relaxed);
        let out = printed(&shared, 10, true);
        assert!(!out.contains('\n'), "{out}");
        assert_eq!(shared.not_shown(), 10);
    }
}
