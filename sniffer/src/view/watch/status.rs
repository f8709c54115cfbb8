//! The status line: rate, errors and counts since the start in one line that fits the terminal.

use super::feed::Counts;
use crate::view::units::{Grouped, Latency, counted};
use std::time::Duration;

/// What the status line shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Status {
    /// Numbers of events.
    pub counts: Counts,
    /// Selected events in the last second.
    pub rate: u64,
    /// Events for which no line was printed although the filter selects them.
    pub not_shown: u64,
    /// Numbers of packets.
    pub packets: Packets,
    /// A TCP port of servers that no protocol has, if this host has connections to it.
    pub busy: Option<u16>,
    /// Whether a filter of libpcap selects the packets, instead of the ports.
    pub has_pcap_filter: bool,
    /// Time since the start.
    pub running: Duration,
    /// Whether lines are held back.
    pub is_paused: bool,
    /// Whether keys are read.
    pub has_keys: bool,
}

/// Numbers of packets since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// Packets that capture saw.
    pub seen: u64,
    /// Packets that its filter matched.
    pub matched: u64,
    /// Packets that were lost because a buffer was full.
    pub lost: u64,
}

impl Status {
    /// The line, in at most `width` columns of ASCII. Parts for which there is no room are left out, the least important first.
    pub fn line(&self, width: usize) -> String {
        let mut parts = if self.counts.selected > 0 { self.numbers() } else { self.nothing_yet() };
        let keys = match (self.has_keys, self.is_paused) {
            (false, _) => "",
            (true, false) => "Space pause, q quit",
            (true, true) => "Space continue, q quit",
        };
        let length = |parts: &[String]| parts.iter().map(|part| part.len() + 2).sum::<usize>().saturating_sub(2);
        while parts.len() > 1 && length(&parts) > width {
            parts.pop();
        }
        let mut line: String = parts.join("  ").chars().take(width).collect();
        let gap = width.saturating_sub(line.len() + keys.len());
        if !keys.is_empty() && gap >= 2 {
            line.extend(std::iter::repeat_n(' ', gap));
            line.push_str(keys);
        }
        line
    }

    fn numbers(&self) -> Vec<String> {
        let Counts { selected, errors, hidden, .. } = self.counts;
        let share = errors as f64 * 100.0 / selected as f64;
        let mut parts = vec![format!("{}/s", Grouped(self.rate)), format!("{share:.1}% errors"), counted(selected, "transaction")];
        parts.push(format!("lost {}", Grouped(self.packets.lost)));
        if self.is_paused {
            parts.insert(0, "PAUSED".to_owned());
        }
        if self.not_shown > 0 {
            parts.push(format!("not shown {}", Grouped(self.not_shown)));
        }
        if hidden > 0 {
            parts.push(format!("filter hides {}", Grouped(hidden)));
        }
        parts
    }

    fn nothing_yet(&self) -> Vec<String> {
        let time = Latency(Duration::from_secs(self.running.as_secs()));
        let Packets { seen, matched, lost } = self.packets;
        let seconds = self.running.as_secs();
        let since = if seconds < 1 {
            String::new()
        } else if seconds < 60 {
            format!(" for {seconds}s")
        } else {
            format!(" for {time}")
        };
        let (what, hints) = match (self.counts.hidden, seen, matched) {
            (1.., ..) => (format!("{} hidden by the filter", counted(self.counts.hidden, "transaction")), Vec::new()),
            (_, 0, _) => ("no packets".to_owned(), vec!["`sniffer devices` lists the devices".to_owned()]),
            (_, _, 0) if self.has_pcap_filter => (format!("{}, none matches the filter of libpcap", counted(seen, "packet")), Vec::new()),
            (_, _, 0) => (format!("{}, none on a watched port", counted(seen, "packet")), self.other_ports()),
            _ if self.has_pcap_filter => {
                (format!("{}, {} match the filter of libpcap", counted(seen, "packet"), Grouped(matched)), self.other_ports())
            }
            _ => (format!("{}, {} on watched ports", counted(seen, "packet"), Grouped(matched)), Vec::new()),
        };
        let mut parts = vec![format!("Nothing yet{since}: {what}")];
        if self.is_paused {
            parts.insert(0, "PAUSED".to_owned());
        }
        if lost > 0 {
            parts.push(format!("lost {}", Grouped(lost)));
        }
        parts.extend(hints);
        parts
    }

    /// What to do if the traffic is on other ports. The port comes first, because a narrow terminal has no room for more.
    fn other_ports(&self) -> Vec<String> {
        match self.busy {
            None => vec!["-p any recognises protocols on all ports".to_owned()],
            Some(port) => vec![format!("busy: port {port}"), format!("-p {port}=PROTOCOL adds it, -p any adds all")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            counts: Counts { selected: 12_306, errors: 98, hidden: 0, dropped: 0 },
            rate: 4102,
            packets: Packets { seen: 20_000, matched: 15_000, lost: 0 },
            has_keys: true,
            ..Status::default()
        }
    }

    #[test]
    fn the_line_fits_every_width() {
        let all = Status { is_paused: true, not_shown: 1204, counts: Counts { hidden: 7, ..status().counts }, ..status() };
        let none = Status { counts: Counts::default(), ..status() };
        for width in 0..200 {
            for status in [all, status(), none, Status { packets: Packets::default(), ..none }] {
                assert!(status.line(width).len() <= width, "{width}: {}", status.line(width));
            }
        }
        assert_eq!(status().line(80), "4,102/s  0.8% errors  12,306 transactions  lost 0            Space pause, q quit");
        assert_eq!(status().line(40), "4,102/s  0.8% errors");
        assert_eq!(
            all.line(120),
            "PAUSED  4,102/s  0.8% errors  12,306 transactions  lost 0  not shown 1,204  filter hides 7        Space continue, q quit"
        );
    }

    #[test]
    fn what_an_empty_screen_means() {
        let none = Status { counts: Counts::default(), packets: Packets::default(), running: Duration::from_secs(12), ..status() };
        assert_eq!(none.line(79), "Nothing yet for 12s: no packets  `sniffer devices` lists the devices");
        let seen = Status { packets: Packets { seen: 8114, matched: 0, lost: 0 }, has_keys: false, ..none };
        assert_eq!(seen.line(110), "Nothing yet for 12s: 8,114 packets, none on a watched port  -p any recognises protocols on all ports");
        let busy = Status { busy: Some(8123), ..seen };
        assert_eq!(busy.line(80), "Nothing yet for 12s: 8,114 packets, none on a watched port  busy: port 8123");
        assert_eq!(
            busy.line(120),
            "Nothing yet for 12s: 8,114 packets, none on a watched port  busy: port 8123  -p 8123=PROTOCOL adds it, -p any adds all"
        );
        let matched = Status { packets: Packets { seen: 8114, matched: 3, lost: 2 }, running: Duration::ZERO, ..seen };
        assert_eq!(matched.line(100), "Nothing yet: 8,114 packets, 3 on watched ports  lost 2");
        let filtered = Status { has_pcap_filter: true, ..matched };
        assert_eq!(
            filtered.line(110),
            "Nothing yet: 8,114 packets, 3 match the filter of libpcap  lost 2  -p any recognises protocols on all ports"
        );
        assert_eq!(
            Status { has_pcap_filter: true, ..seen }.line(110),
            "Nothing yet for 12s: 8,114 packets, none matches the filter of libpcap"
        );
        let hidden = Status { counts: Counts { hidden: 1, ..Counts::default() }, ..seen };
        assert_eq!(hidden.line(100), "Nothing yet for 12s: 1 transaction hidden by the filter");
    }
}
