//! From the configuration to the one output, and what the rest of the program asks of it.

use super::{
    console::Console,
    counters::Counters,
    discard::Discard,
    drive,
    elasticsearch::Elasticsearch,
    file::Files,
    shapes,
    terminal::{Style, Terminal},
};
use crate::{
    config::{self, Node},
    opening::Opening,
    queue::memory::{self, Queue},
};
use serde::Deserialize;
use std::{
    io::{self, Write},
    net::{IpAddr, ToSocketAddrs},
    sync::Arc,
};

/// The configured output.
pub struct AnyOutput {
    kind: Kind,
    options: drive::Options,
    queue: memory::Options,
    counters: Arc<Counters>,
}

enum Kind {
    File(Files),
    Console(Console),
    Discard,
    Terminal(Terminal),
    Elasticsearch(Box<Elasticsearch>),
}

/// What documents must look like for this output, for whoever encodes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Whether they hold `@metadata`.
    pub metadata: bool,
}

/// What a worker retries and waits for, where the output has no values of its own for that.
#[derive(Deserialize)]
#[serde(default)]
struct Common {
    bulk_max_size: usize,
    max_retries: i64,
    backoff: super::backoff::Options,
}

impl Default for Common {
    fn default() -> Self {
        let drive::Options { bulk_max_size, max_retries, backoff } = drive::Options::default();
        Self { bulk_max_size, max_retries, backoff }
    }
}

/// Finds the one output of the configuration and makes it ready; connects to nothing yet.
///
/// # Errors
/// When there is none or more than one, or its settings are wrong.
pub fn open(opening: &Opening<'_>) -> Result<AnyOutput, config::Error> {
    let root = opening.root;
    let cloud = super::elasticsearch::cloud(root)?;
    let outputs = shapes::at(root, "output");
    let mut names = outputs.as_ref().map(enabled).transpose()?.unwrap_or_default();
    if cloud.is_some() && names.is_empty() {
        names.push("elasticsearch".into());
    }
    let name = match names.as_slice() {
        [] => return Err(root.error("no outputs are defined, please define one under the output section")),
        [name] => name.as_str(),
        several => return Err(root.error(format!("more than one namespace configured accessing 'output': {}", several.join(", ")))),
    };
    let node = outputs.as_ref().and_then(|outputs| shapes::at(outputs, name)).unwrap_or_default();
    let opening = opening.at(&node);
    let counters = Arc::new(Counters::default());
    let mut queue = memory::Options::default();
    let mut options = drive::Options::default();
    let kind = match name {
        "file" => Kind::File(Files::open(&opening, counters.clone())?),
        "console" => Kind::Console(Console::open(&opening, counters.clone())?),
        "discard" => Kind::Discard,
        "elasticsearch" => {
            let output = Elasticsearch::open(&opening, cloud.as_ref(), counters.clone())?;
            (options, queue) = (output.drive(), output.queue());
            Kind::Elasticsearch(Box::new(output))
        }
        other => {
            return Err(root.error(format!("output type {other} undefined; there are console, discard, elasticsearch, file")));
        }
    };
    if name != "elasticsearch" {
        let Common { bulk_max_size, max_retries, backoff } = node.read()?;
        options = drive::Options { bulk_max_size, max_retries, backoff };
    }
    if matches!(kind, Kind::File(_) | Kind::Console(_)) {
        // There is no server whose refusals could be counted.
        options.max_retries = -1;
    }
    let queue = queue_options(root, &node, queue)?;
    Ok(AnyOutput { kind, options, queue, counters })
}

fn enabled(outputs: &Node) -> Result<Vec<String>, config::Error> {
    let mut names = Vec::new();
    for (name, node) in outputs.entries().filter(|(_, node)| !node.is_null()) {
        let switch = node.get("enabled");
        if switch.is_null() || switch.read::<bool>()? {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// `queue.mem` at top level, else below the output; what is not given stays as the output wants it.
fn queue_options(root: &Node, output: &Node, mut options: memory::Options) -> Result<memory::Options, config::Error> {
    fn some_bytes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        config::bytes::deserialize(deserializer).map(Some)
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Given {
        events: Option<usize>,
        #[serde(deserialize_with = "some_bytes")]
        bytes: Option<u64>,
        flush: GivenFlush,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct GivenFlush {
        min_events: Option<usize>,
        #[serde(deserialize_with = "config::duration_option::deserialize")]
        timeout: Option<std::time::Duration>,
    }
    let Some(node) = shapes::at(root, "queue.mem").or_else(|| shapes::at(output, "queue.mem")) else { return Ok(options) };
    let given: Given = node.read()?;
    options.events = given.events.unwrap_or(options.events);
    options.bytes = given.bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(options.bytes);
    options.flush.min_events = given.flush.min_events.unwrap_or(options.flush.min_events);
    options.flush.timeout = given.flush.timeout.unwrap_or(options.flush.timeout);
    if options.events < 32 {
        return Err(node.error(format!("queue.mem.events: {} is less than 32", options.events)));
    }
    options.flush.min_events = options.flush.min_events.min(options.events);
    Ok(options)
}

impl AnyOutput {
    /// The output of `watch`, which no configuration names: lines for people, at once.
    pub fn terminal(style: Style) -> Self {
        let queue = memory::Options::default();
        let queue = memory::Options { flush: memory::Flush { min_events: 1, ..queue.flush }, ..queue };
        let counters = Arc::new(Counters::default());
        Self { kind: Kind::Terminal(Terminal::new(style, counters.clone())), options: drive::Options::default(), queue, counters }
    }

    /// Its name, as under `output`.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::File(_) => "file",
            Kind::Console(_) => "console",
            Kind::Discard => "discard",
            Kind::Terminal(_) => "terminal",
            Kind::Elasticsearch(_) => "elasticsearch",
        }
    }

    /// How it wants its documents.
    pub fn encoding(&self) -> Encoding {
        Encoding { metadata: !matches!(self.kind, Kind::Elasticsearch(_)) }
    }

    /// How large the queue before it is to be.
    pub fn queue(&self) -> memory::Options {
        self.queue.clone()
    }

    /// What it counts, live.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Address and port of each server it may talk to, so that its own connections can be left alone. Asks the resolver; names that
    /// are not known now are missing.
    pub fn endpoints(&self) -> Vec<(IpAddr, u16)> {
        let Kind::Elasticsearch(output) = &self.kind else { return Vec::new() };
        let resolve = |(host, port): (String, u16)| (host.as_str(), port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
        let mut ends: Vec<_> =
            output.peers().into_iter().flat_map::<Vec<std::net::SocketAddr>, _>(resolve).map(|a| (a.ip(), a.port())).collect();
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// Delivers what comes through the queue until it is closed and empty. Dropped before that (a shutdown that waits no longer), it
    /// gives back what it has taken; `queue.stats().events` are then undelivered.
    pub async fn run(self, queue: Queue) {
        let Self { kind, options, counters, .. } = self;
        match kind {
            Kind::File(files) => drive(files, queue, options, counters).await,
            Kind::Console(console) => drive(console, queue, options, counters).await,
            Kind::Discard => drive(Discard, queue, options, counters).await,
            Kind::Terminal(terminal) => drive(terminal, queue, options, counters).await,
            Kind::Elasticsearch(output) => {
                let mut workers = tokio::task::JoinSet::new();
                for worker in output.workers() {
                    workers.spawn(drive(worker, queue.clone(), options, counters.clone()));
                }
                while let Some(ended) = workers.join_next().await {
                    if let Err(error) = ended {
                        log::error!("An output worker ended: {error}");
                    }
                }
            }
        }
    }

    /// `test output`: tries it, step by step, in words. Whether all went well.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub async fn test(&self, out: &mut (dyn Write + Send)) -> io::Result<bool> {
        match &self.kind {
            Kind::Elasticsearch(output) => output.test(out).await,
            _ => {
                writeln!(out, "{} output doesn't support testing", self.name())?;
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opening::testing;

    fn opened(config: &str) -> Result<AnyOutput, String> {
        open(&testing::opening(&Node::parse(config).unwrap())).map_err(|e| e.to_string())
    }

    #[test]
    fn exactly_one_output() {
        for (config, expected) in [
            ("{}", Err("no outputs are defined")),
            ("output: {file: {path: /x, enabled: false}}", Err("no outputs are defined")),
            ("output: {file: {path: /x}, console: {}}", Err("more than one namespace configured")),
            ("output: {pigeon: {}}", Err("output type pigeon undefined")),
            ("output: {file: {path: /x}, console: {enabled: false}}", Ok("file")),
            ("output: {console: {pretty: true}}", Ok("console")),
            ("output: {discard: {}}", Ok("discard")),
            ("output: {elasticsearch: {hosts: ['localhost:9200']}}", Ok("elasticsearch")),
        ] {
            match (opened(config).map(|o| o.name()), expected) {
                (Ok(name), Ok(wanted)) => assert_eq!(name, wanted, "{config}"),
                (Err(error), Err(wanted)) => assert!(error.contains(wanted), "{config}: {error}"),
                (got, wanted) => panic!("{config}: {got:?}, not {wanted:?}"),
            }
        }
    }

    #[test]
    fn the_queue_of_each_output() {
        let queue = |config: &str| opened(config).map(|o| o.queue());
        assert_eq!(queue("output: {discard: {}}").unwrap(), memory::Options::default());
        let options = queue("{output: {discard: {}}, queue: {mem: {events: 64, bytes: 1MiB, flush: {timeout: 1s}}}}").unwrap();
        assert_eq!((options.events, options.bytes, options.flush.min_events, options.flush.timeout.as_secs()), (64, 1 << 20, 64, 1));
        assert!(queue("{output: {discard: {}}, queue: {mem: {events: 31}}}").unwrap_err().contains("less than 32"));
        let latency = queue("output: {elasticsearch: {hosts: [a], preset: latency}}").unwrap();
        assert_eq!((latency.events, latency.flush.min_events, latency.flush.timeout.as_secs()), (4100, 2050, 1));
    }

    #[tokio::test]
    async fn a_file_cannot_be_tested() {
        let mut out = Vec::new();
        assert!(!opened("output: {file: {path: /x}}").unwrap().test(&mut out).await.unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), "file output doesn't support testing\n");
    }
}
