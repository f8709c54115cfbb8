//! The answer to `/metrics`: all counters in the text format of Prometheus, version 0.0.4.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use super::{
    process::Process,
    red::{self, Red},
    report::{Identity, Report},
};
use crate::time::Durations;
use std::{collections::BTreeMap, fmt::Write};

/// Prefix of the names of the program's own metrics.
const PREFIX: &str = "sniffer_";

/// The metrics that have the same name.
struct Family {
    kind: &'static str,
    help: String,
    /// The suffix of the name, labels and value of each sample.
    samples: Vec<(&'static str, String, f64)>,
}

/// All metrics by name.
#[derive(Default)]
pub(super) struct Families(BTreeMap<String, Family>);

impl Families {
    fn family(&mut self, name: &str, kind: &'static str, help: &str) -> &mut Family {
        self.0.entry(name.to_owned()).or_insert_with(|| Family { kind, help: help.to_owned(), samples: Vec::new() })
    }

    fn add(&mut self, name: &str, kind: &'static str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.family(name, kind, help).samples.push(("", labels_text(labels), value));
    }

    fn summary(&mut self, name: &str, help: &str, durations: &Durations) {
        let family = self.family(name, "summary", help);
        for quantile in ["0.5", "0.95", "0.99"] {
            let value = quantile.parse().map_or(0.0, |q| durations.quantile(q) as f64);
            family.samples.push(("", labels_text(&[("quantile", quantile)]), value / SECOND));
        }
        family.samples.push(("_sum", String::new(), durations.sum() / SECOND));
        family.samples.push(("_count", String::new(), durations.count() as f64));
    }

    /// Adds the series of transactions.
    fn transactions(&mut self, red: &Red) {
        for (key, numbers) in red.series() {
            let labels = [("protocol", &*key.protocol), ("server", &*key.server), ("operation", &*key.operation)];
            self.add("sniffer_transactions_total", "counter", "Transactions by server and operation.", &labels, numbers.count as f64);
            let help = "Transactions whose status is not OK, by server and operation.";
            self.add("sniffer_transaction_errors_total", "counter", help, &labels, numbers.errors as f64);
            let help = "Time from request to response, by server and operation.";
            let family = self.family("sniffer_transaction_duration_seconds", "histogram", help);
            let bounds = red::BOUNDS.iter().map(|bound| (*bound as f64 / SECOND).to_string()).chain(["+Inf".to_owned()]);
            let mut sum = 0;
            for (bound, n) in bounds.zip(numbers.buckets) {
                sum += n;
                let [protocol, server, operation] = labels;
                family.samples.push(("_bucket", labels_text(&[protocol, server, operation, ("le", bound.as_str())]), sum as f64));
            }
            family.samples.push(("_sum", labels_text(&labels), numbers.nanos as f64 / SECOND));
            family.samples.push(("_count", labels_text(&labels), sum as f64));
        }
    }

    /// The text of all metrics.
    fn text(&self) -> String {
        let mut text = String::new();
        for (name, Family { kind, help, samples }) in &self.0 {
            // A write to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", escaped(help, false));
            for (suffix, labels, value) in samples {
                let _ = writeln!(text, "{name}{suffix}{labels} {value}");
            }
        }
        text
    }
}

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

/// Returns all metrics of the program.
pub(super) fn metrics(who: &Identity, report: &Report) -> String {
    let mut families = Families::default();
    let versions = [("version", env!("CARGO_PKG_VERSION")), ("packetbeat", who.version)];
    families.add(
        "sniffer_build_info",
        "gauge",
        "The version of the program, and the version of Packetbeat that it is compatible with.",
        &versions,
        1.0,
    );
    for (name, total) in &report.counters.totals {
        counter(&mut families, who, name, *total as f64, "counter");
    }
    for (name, value) in &report.counters.gauges {
        counter(&mut families, who, name, *value, "gauge");
    }
    families.summary("sniffer_output_write_latency_seconds", "How long the output took to send each batch.", &report.latency);
    for input in &report.inputs {
        let of = [("device", input.device.as_str()), ("input", input.backend)];
        let mut add = |name: &str, help: &str, value: u64| families.add(name, "counter", help, &of, value as f64);
        add("sniffer_input_packets_total", "Packets handed to workers, by device.", input.packets);
        add("sniffer_input_matched_packets_total", "Packets that passed the filter, by device.", input.matched);
        add("sniffer_input_lost_packets_total", "Packets lost because the capture buffer was full, by device.", input.lost);
        for (transport, arrivals) in [("tcp", &input.traffic.tcp), ("udp", &input.traffic.udp)] {
            let of = [("device", input.device.as_str()), ("transport", transport)];
            let packets = (arrivals.with_data + arrivals.headers) as f64;
            families.add("sniffer_input_protocol_packets_total", "counter", "Packets on ports that a protocol claims.", &of, packets);
            let bytes = arrivals.bytes as f64;
            families.add("sniffer_input_protocol_bytes_total", "counter", "Bytes of data on ports that a protocol claims.", &of, bytes);
        }
    }
    if let Some(red) = &who.red {
        families.transactions(red);
    }
    let process = Process::read();
    let cpu = (process.user_ms + process.system_ms) as f64 / 1000.0;
    families.add("process_cpu_seconds_total", "counter", "CPU time in user mode and in the kernel.", &[], cpu);
    families.add("process_resident_memory_bytes", "gauge", "Resident memory.", &[], process.resident as f64);
    families.add("process_open_fds", "gauge", "Open descriptors.", &[], process.open_files as f64);
    families.add("process_max_fds", "gauge", "Limit of open descriptors.", &[], process.soft_limit as f64);
    families.add("process_threads", "gauge", "Threads.", &[], process.threads as f64);
    families.add("sniffer_uptime_seconds", "gauge", "Time since the start of the program.", &[], who.start.elapsed().as_secs_f64());
    families.text()
}

/// Adds one of the program's counters or gauges. A counter of a protocol has the protocol as a label.
fn counter(families: &mut Families, who: &Identity, name: &str, value: f64, kind: &'static str) {
    let end = if kind == "counter" { "_total" } else { "" };
    let of_protocol = name.split_once('.').and_then(|(protocol, rest)| who.protocols.contains(&protocol).then_some((protocol, rest)));
    if let Some((protocol, rest)) = of_protocol {
        let help = format!("The counter `PROTOCOL.{rest}`, by protocol.");
        families.add(&format!("{PREFIX}protocol_{}{end}", valid(rest)), kind, &help, &[("protocol", protocol)], value);
    } else if let Some((kind_of, transport)) = name.strip_prefix("flows.").and_then(|rest| rest.split_once('.')) {
        let help = format!("The {kind} `flows.{kind_of}.TRANSPORT`, by transport.");
        families.add(&format!("{PREFIX}flows_{}{end}", valid(kind_of)), kind, &help, &[("transport", transport)], value);
    } else {
        let short = name.strip_prefix("libbeat.").unwrap_or(name);
        families.add(&format!("{PREFIX}{}{end}", valid(short)), kind, &format!("The {kind} `{name}`."), &[], value);
    }
}

/// Returns `name` with only its letters, digits and underscores; every other character becomes an underscore.
fn valid(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn labels_text(labels: &[(&str, &str)]) -> String {
    let all: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value, true))).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

/// Escapes a help text or the value of a label. In the value of a label, quotation marks are escaped too.
fn escaped(text: &str, is_label: bool) -> String {
    let text = text.replace('\\', r"\\").replace('\n', r"\n");
    if is_label { text.replace('"', "\\\"") } else { text }
}
