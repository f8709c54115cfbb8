//! The answers to `/`, `/stats` and `/state`, in Packetbeat's form.

use super::{
    histogram,
    process::{self, Process},
    report::{Identity, Report},
};
use serde_json::{Map, Value, json};

/// Name of the program in Packetbeat's documents.
const BEAT: &str = "packetbeat";

/// Counters that Packetbeat always reports. Other modules create a counter when they count for the first time; before that, the document
/// reports 0.
const ALWAYS: &[&str] = &[
    "amqp.unmatched_requests",
    "amqp.unmatched_responses",
    "dhcpv4.parse_failures",
    "dhcpv4.total_packets",
    "dns.unmatched_requests",
    "dns.unmatched_responses",
    "http.unmatched_requests",
    "http.unmatched_responses",
    "icmp.duplicate_requests",
    "icmp.unmatched_requests",
    "icmp.unmatched_responses",
    "libbeat.config.module.running",
    "libbeat.config.module.starts",
    "libbeat.config.module.stops",
    "libbeat.config.reloads",
    "libbeat.config.scans",
    "libbeat.output.batches.split",
    "libbeat.output.events.acked",
    "libbeat.output.events.active",
    "libbeat.output.events.batches",
    "libbeat.output.events.dead_letter",
    "libbeat.output.events.dropped",
    "libbeat.output.events.duplicates",
    "libbeat.output.events.failed",
    "libbeat.output.events.failure_store",
    "libbeat.output.events.toomany",
    "libbeat.output.events.total",
    "libbeat.output.read.bytes",
    "libbeat.output.read.errors",
    "libbeat.output.write.bytes",
    "libbeat.output.write.errors",
    "libbeat.pipeline.clients",
    "libbeat.pipeline.events.active",
    "libbeat.pipeline.events.dropped",
    "libbeat.pipeline.events.failed",
    "libbeat.pipeline.events.filtered",
    "libbeat.pipeline.events.published",
    "libbeat.pipeline.events.retry",
    "libbeat.pipeline.events.total",
    "libbeat.pipeline.queue.acked",
    "libbeat.pipeline.queue.added.bytes",
    "libbeat.pipeline.queue.added.events",
    "libbeat.pipeline.queue.consumed.bytes",
    "libbeat.pipeline.queue.consumed.events",
    "libbeat.pipeline.queue.filled.bytes",
    "libbeat.pipeline.queue.filled.events",
    "libbeat.pipeline.queue.filled.pct",
    "libbeat.pipeline.queue.max_bytes",
    "libbeat.pipeline.queue.max_events",
    "libbeat.pipeline.queue.removed.bytes",
    "libbeat.pipeline.queue.removed.events",
    "memcache.unfinished_transactions",
    "memcache.unmatched_requests",
    "memcache.unmatched_responses",
    "mongodb.unmatched_requests",
    "mysql.unmatched_requests",
    "mysql.unmatched_responses",
    "nfs.unmatched_requests",
    "pgsql.unmatched_responses",
    "redis.unmatched_requests",
    "redis.unmatched_responses",
    "thrift.unmatched_requests",
    "thrift.unmatched_responses",
];

/// `/`: who runs.
pub(super) fn root(who: &Identity) -> Value {
    let process = Process::read();
    json!({
        "beat": BEAT,
        "binary_arch": go_architecture(),
        "build_commit": concat!("sniffer-", env!("CARGO_PKG_VERSION")),
        "build_time": "",
        "elastic_licensed": false,
        "ephemeral_id": who.ephemeral_id,
        "gid": process.gid,
        "hostname": who.host.get("hostname"),
        "name": who.name,
        "uid": process.uid,
        "username": process::user_name(&process.uid),
        "uuid": who.id,
        "version": who.version,
    })
}

/// Returns the name that Go has for the architecture of this program.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/stats`: all counters.
pub fn stats(who: &Identity, report: &Report) -> Value {
    let mut counters = report.counters.clone();
    for name in ALWAYS.iter().filter(|name| !report.counters.gauges.contains_key(**name)) {
        counters.totals.entry((*name).to_owned()).or_default();
    }
    let mut stats = counters.tree();
    let process = Process::read();
    put(&mut stats, "libbeat.output.type", report.output.name.into());
    put(&mut stats, "libbeat.output.write.latency.histogram", histogram::full(&report.latency, MILLISECOND));
    put(&mut stats, "libbeat.output.write.latency_delta.histogram", histogram::short(&report.recent_latency, MILLISECOND));
    for (path, durations) in &report.histograms {
        put(&mut stats, path, histogram::full(durations, 1));
    }
    put(&mut stats, "beat", beat(who, &process));
    put(&mut stats, "system", system(&process));
    stats
}

/// The unit of the latency of outputs, in nanoseconds.
const MILLISECOND: u64 = 1_000_000;

/// Makes the object `beat` of `/stats`. There is no garbage collector, so `memory_alloc` is the memory that is not backed by files, and
/// `memory_sys` and `memory_total` are the address space of data.
fn beat(who: &Identity, process: &Process) -> Value {
    let cpu = |ms: u64| json!({"ticks": ms, "time": {"ms": ms}});
    let mut total = cpu(process.user_ms + process.system_ms);
    put(&mut total, "value", (process.user_ms + process.system_ms).into());
    json!({
        "cpu": {"system": cpu(process.system_ms), "total": total, "user": cpu(process.user_ms)},
        "handles": {"limit": {"hard": process.hard_limit, "soft": process.soft_limit}, "open": process.open_files},
        "info": {
            "ephemeral_id": who.ephemeral_id,
            "name": BEAT,
            "uptime": {"ms": u64::try_from(who.start.elapsed().as_millis()).unwrap_or(u64::MAX)},
            "version": who.version,
        },
        "memstats": {
            "gc_next": 0,
            "memory_alloc": process.anonymous,
            "memory_sys": process.data,
            "memory_total": process.data,
            "rss": process.resident,
        },
        "runtime": {"goroutines": process.threads},
    })
}

/// `/stats`: `system`.
fn system(process: &Process) -> Value {
    let load = |per: f64| {
        let [one, five, fifteen] = process.load.map(|load| histogram::number((load / per * 10_000.0).round() / 10_000.0));
        json!({"1": one, "5": five, "15": fifteen})
    };
    let mut all = load(1.0);
    put(&mut all, "norm", load(process.cores.max(1) as f64));
    json!({"cpu": {"cores": process.cores}, "load": all})
}

/// Makes the document of `/state`: the host, and what is configured.
pub fn state(who: &Identity, report: &Report) -> Value {
    let pick = |from: Option<&Map<String, Value>>, keys: &[&str]| -> Map<String, Value> {
        let value = |key: &str| from.and_then(|map| map.get(key)).cloned().unwrap_or_else(|| "".into());
        keys.iter().map(|key| ((*key).to_owned(), value(key))).collect()
    };
    let mut host = pick(Some(&who.host), &["architecture", "containerized", "hostname", "id"]);
    let os = pick(who.host.get("os").and_then(Value::as_object), &["codename", "family", "kernel", "name", "platform", "version"]);
    host.insert("os".into(), os.into());
    let mut state = json!({
        "beat": {"name": who.name},
        "host": host,
        "management": {"enabled": false},
        "output": {"batch_size": report.output.batch_size, "clients": report.output.clients, "name": report.output.name},
        "outputs": {"elasticsearch": {"cluster_uuid": report.output.cluster_uuid}},
        "queue": {"name": report.queue},
        "service": {"id": who.id, "name": BEAT, "version": who.version},
    });
    if let Some(uuid) = &who.cluster_uuid {
        put(&mut state, "monitoring.cluster_uuid", uuid.as_str().into());
    }
    state
}

/// The part of the documents of `monitoring` that says who sends them.
pub fn beat_of_monitoring(who: &Identity) -> Value {
    let host = who.host.get("hostname").or_else(|| who.host.get("name"));
    json!({"host": host, "name": who.name, "type": BEAT, "uuid": who.id, "version": who.version})
}

/// Sets the value at a dotted path. Missing objects on the path are made.
fn put(root: &mut Value, path: &str, value: Value) {
    let mut at = root;
    for key in path.split('.') {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[key];
    }
    *at = value;
}
