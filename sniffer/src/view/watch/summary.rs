//! The summary at the end: counts, errors and durations of each protocol, the slowest transactions, and what was lost or not shown.

use super::{
    feed::Counts,
    layout::{Layout, Style},
    status::Packets,
    tally::{Counted, Tally},
};
use crate::{
    time::Timestamp,
    view::{
        text,
        units::{Grouped, Latency, counted},
    },
};
use std::{fmt::Write, time::Duration};

/// What the summary is made from.
#[derive(Debug, Default)]
pub struct Summary {
    /// The counts of selected transactions.
    pub tally: Tally,
    /// Numbers of events.
    pub counts: Counts,
    /// Events for which no line was printed although the filter selects them.
    pub not_shown: u64,
    /// Numbers of packets.
    pub packets: Packets,
    /// Whether documents were read, and no packets.
    pub has_documents: bool,
}

impl Summary {
    /// The text, with a newline at the end of each line. `width`: the columns of the terminal; `None` on a pipe.
    pub fn text(&self, style: Style, width: Option<usize>) -> String {
        let mut out = String::new();
        let flows = self.tally.protocols.iter().find(|counted| counted.protocol == "flow").map_or(0, |counted| counted.count);
        let transactions = self.tally.count() - flows;
        out.push_str(&counted(transactions, "transaction"));
        if flows > 0 {
            // Writing to a string does not fail.
            let _ = write!(out, " and {}", counted(flows, "flow"));
        }
        if let Some((first, last)) = self.tally.period {
            if last > first {
                let _ = write!(out, " in {}", Latency(Duration::from_nanos(last.since(first))));
            }
            let local = |time: Timestamp| time.shifted(i64::from(style.ahead_of_utc) * 1_000_000_000).text(3);
            let (first, last) = (local(first), local(last));
            let (first, last) = (first.as_str(), last.as_str());
            let day = |text: &str| text.get(..10).unwrap_or_default().to_owned();
            let time = |text: &str| text.get(11..19).unwrap_or_default().to_owned();
            let end = if day(first) == day(last) { time(last) } else { format!("{} {}", day(last), time(last)) };
            let _ = write!(out, ", {} {}", day(first), time(first));
            if day(first) != day(last) || time(first) != time(last) {
                let _ = write!(out, " to {end}");
            }
        }
        out.push('\n');
        if self.tally.count() > 0 {
            self.table(&mut out);
        }
        // One slow transaction is no list.
        if self.tally.slowest.len() > 1 {
            out.push_str("Slowest\n");
            let mut layout = Layout::new(style, width);
            self.tally.slowest.iter().for_each(|row| layout.write(&mut out, row));
        }
        self.losses(&mut out);
        out.lines().fold(String::new(), |mut all, line| {
            // Lines of transactions already fit, and may contain colours.
            match width.filter(|&width| !line.contains('\x1b') && line.len() > width) {
                Some(width) => drop(text::push(&mut all, line, width, style.charset)),
                None => all.push_str(line),
            }
            all.push('\n');
            all
        })
    }

    fn table(&self, out: &mut String) {
        let mut protocols: Vec<&Counted> = self.tally.protocols.iter().collect();
        protocols.sort_by_key(|counted| std::cmp::Reverse(counted.count));
        let _ = writeln!(out, "{:<10}{:>9}{:>9}{:>9}{:>9}{:>9}", "PROTOCOL", "COUNT", "ERRORS", "P50", "P95", "P99");
        for Counted { protocol, count, errors, durations, longest } in protocols {
            let mut name = String::new();
            text::push(&mut name, protocol, 10, text::Charset::Ascii);
            let _ = write!(out, "{name:<10}{:>9}{:>9}", Grouped(*count), Grouped(*errors));
            for percent in [50.0, 95.0, 99.0] {
                // The middle of a bucket can be longer than the longest duration.
                let nanos = durations.percentile(percent).map(|nanos| nanos.min(*longest));
                let latency = nanos.map(|nanos| Latency(Duration::from_nanos(nanos)).to_string());
                let _ = write!(out, "{:>9}", latency.as_deref().unwrap_or("-"));
            }
            out.push('\n');
        }
    }

    fn losses(&self, out: &mut String) {
        let Packets { seen, matched, lost } = self.packets;
        if !self.has_documents {
            let _ = writeln!(out, "Packets: {} seen, {} matched, {} lost", Grouped(seen), Grouped(matched), Grouped(lost));
        }
        let mut parts = Vec::new();
        if self.not_shown > 0 {
            parts.push(format!("{} not shown", Grouped(self.not_shown)));
        }
        if self.counts.hidden > 0 {
            parts.push(format!("{} hidden by the filter", Grouped(self.counts.hidden)));
        }
        if !parts.is_empty() {
            let _ = writeln!(out, "Transactions: {}", parts.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{row::Row, tally::tests::transaction},
        *,
    };
    use crate::publish::observer::Transaction;

    fn summary(rows: impl IntoIterator<Item = Transaction<'static>>) -> Summary {
        let mut tally = Tally::default();
        rows.into_iter().for_each(|of| tally.add(&Row::of_transaction(&of)));
        Summary { tally, packets: Packets { seen: 8114, matched: 40, lost: 0 }, ..Summary::default() }
    }

    #[test]
    fn the_summary_of_some_transactions() {
        let slow = Transaction {
            protocol: "dns",
            status: "Error",
            result: "NXDOMAIN",
            query: "A api.shop.local",
            duration: Some(Duration::from_millis(1090)),
            time: Timestamp(transaction().time.0 + 62_000_000_000),
            ..transaction()
        };
        let mut summary = summary([transaction(), slow, Transaction { duration: None, ..transaction() }]);
        (summary.not_shown, summary.counts.hidden) = (5, 1200);
        assert_eq!(
            summary.text(Style { ahead_of_utc: 8 * 3600, ..Style::default() }, Some(80)),
            "\
3 transactions in 1m02s, 2026-01-02 11:04:05 to 11:05:07
PROTOCOL      COUNT   ERRORS      P50      P95      P99
http              2        0    1.1ms    1.1ms    1.1ms
dns               1        1    1.09s    1.09s    1.09s
Slowest
11:05:07 dns   10.0.0.7 > 10.0.0.5:8080 A api.shop.local       !NXD  1.09s  2.1K
11:04:05 http  10.0.0.7 > 10.0.0.5:8080 GET /orders/4711?full~  200  1.1ms  2.1K
Packets: 8,114 seen, 40 matched, 0 lost
Transactions: 5 not shown, 1,200 hidden by the filter
"
        );
    }

    #[test]
    fn one_transaction_and_none() {
        assert!(summary([transaction()]).text(Style::default(), None).starts_with("1 transaction, 2026-01-02 03:04:05\n"));
        assert_eq!(summary([]).text(Style::default(), None), "0 transactions\nPackets: 8,114 seen, 40 matched, 0 lost\n");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let all = summary([transaction(), Transaction { query: "\u{1b}[2J你好你好你好你好你好", ..transaction() }]);
        for width in [40, 60, 80, 120] {
            for line in all.text(Style { charset: text::Charset::Utf8, ..Style::default() }, Some(width)).lines() {
                assert!(text::push(&mut String::new(), line, 999, text::Charset::Utf8) <= width, "{width}: {line}");
            }
        }
    }
}
