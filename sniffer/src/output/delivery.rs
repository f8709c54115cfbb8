//! Opens the one output that the configuration names, and runs its senders on the queue.

use super::{OUTPUTS, Output, OutputKind, counters::Counters, drive, hosts};
use crate::{
    config::{self, Node},
    opening::Opening,
    queue::{self, Queue},
};
use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
};

/// The configured output with its counters and the size of its queue.
pub struct Delivery {
    name: &'static str,
    output: Box<dyn Output>,
    queue: queue::Options,
    counters: Arc<Counters>,
}

/// Finds the enabled output of the configuration and reads its settings. Opens no connection.
///
/// # Errors
/// When no output or more than one is enabled, or a setting is wrong.
pub fn open(opening: &Opening<'_>) -> Result<Delivery, config::Error> {
    let root = opening.root;
    let outputs = root.get("output");
    let mut names = enabled(&outputs)?;
    for kind in OUTPUTS {
        if (kind.is_implied)(root)? && names.is_empty() {
            names.push(kind.name.to_owned());
        }
    }
    let name = match names.as_slice() {
        [] => return Err(root.error("no outputs are defined, please define one under the output section")),
        [name] => name,
        several => return Err(root.error(format!("more than one namespace configured accessing 'output': {}", several.join(", ")))),
    };
    let Some(OutputKind { name, open, .. }) = OUTPUTS.iter().find(|kind| kind.name == name) else {
        let known: Vec<&str> = OUTPUTS.iter().map(|kind| kind.name).collect();
        return Err(root.error(format!("output type {name} undefined; there are {}", known.join(", "))));
    };
    let node = outputs.get(name);
    let output = open(&opening.at(&node))?;
    let queue = queue::Options::read(root, &node, output.queue())?;
    Ok(Delivery { name, output, queue, counters: Arc::default() })
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

impl Delivery {
    /// The name of the output, as below `output`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the output's documents contain `@metadata`.
    pub fn wants_metadata(&self) -> bool {
        self.output.wants_metadata()
    }

    /// The options of the queue in front of the output.
    pub fn queue(&self) -> queue::Options {
        self.queue.clone()
    }

    /// The output's counters. They are updated while the output runs.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Addresses and ports of all servers that the output may connect to. Asks the resolver; names that do not resolve are left out.
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        hosts::resolve(&self.output.peers())
    }

    /// Delivers the records of the queue until the queue is closed and empty. When the future is dropped earlier (at the end of
    /// `shutdown_timeout`), unsettled records go back to the queue, and `queue.stats().events` is the number of undelivered records.
    pub async fn run(self, queue: Arc<dyn Queue>) {
        let options = self.output.options();
        let mut workers = tokio::task::JoinSet::new();
        for sender in self.output.senders(&self.counters) {
            workers.spawn(drive(sender, queue.clone(), options, self.counters.clone()));
        }
        while let Some(ended) = workers.join_next().await {
            if let Err(error) = ended {
                log::error!("An output worker ended: {error}");
            }
        }
    }

    /// `test output`: tries each step of connecting and writes the results to `out`. Returns whether all steps succeeded.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub async fn test(&self, out: &mut (dyn Write + Send)) -> io::Result<bool> {
        if let Some(test) = self.output.test(out) {
            return test.await;
        }
        writeln!(out, "{} output doesn't support testing", self.name)?;
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opening::testing;
    use std::time::Duration;

    fn opened(config: &str) -> Result<Delivery, String> {
        open(&testing::opening(&Node::parse(config).unwrap())).map_err(|e| e.to_string())
    }

    #[test]
    fn exactly_one_output() {
        for (config, expected) in [
            ("{}", Err("no outputs are defined")),
            ("output: {file: {path: /x, enabled: false}}", Err("no outputs are defined")),
            ("output: {file: {path: /x}, console: {}}", Err("more than one namespace configured")),
            ("output: {pigeon: {}}", Err("output type pigeon undefined; there are console, discard, elasticsearch, file")),
            ("output: {file: {path: /x}, console: {enabled: false}}", Ok("file")),
            ("output: {console: {pretty: true}}", Ok("console")),
            ("output: {discard: {}}", Ok("discard")),
            ("output: {elasticsearch: {hosts: ['localhost:9200']}}", Ok("elasticsearch")),
            ("cloud: {id: 'a:ZXhhbXBsZS5pbyRhYmM='}", Ok("elasticsearch")),
            ("{cloud: {id: 'a:ZXhhbXBsZS5pbyRhYmM='}, output: {discard: {}}}", Ok("discard")),
            ("{cloud: {auth: 'a:b'}, output: {discard: {}}}", Err("cloud.auth: only with cloud.id")),
        ] {
            match (opened(config).map(|o| o.name()), expected) {
                (Ok(name), Ok(wanted)) => assert_eq!(name, wanted, "{config}"),
                (Err(error), Err(wanted)) => assert!(error.contains(wanted), "{config}: {error}"),
                (got, wanted) => panic!("{config}: {got:?}, not {wanted:?}"),
            }
        }
    }

    #[test]
    fn every_output_is_listed_once_and_by_name() {
        let names: Vec<&str> = OUTPUTS.iter().map(|kind| kind.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    #[test]
    fn queue_options_of_each_output() {
        let queue = |config: &str| opened(config).map(|o| o.queue()).unwrap();
        assert_eq!(queue("output: {discard: {}}"), queue::Options::default());
        assert_eq!(queue("output: {discard: {queue: {mem: {events: 64}}}}").events, 64);
        let latency = queue("output: {elasticsearch: {hosts: [a], preset: latency}}");
        assert_eq!((latency.events, latency.flush.min_events, latency.flush.timeout), (4100, 2050, Duration::from_secs(1)));
    }

    #[test]
    fn batch_size_and_retries_of_each_output() {
        let options = |config: &str| opened(config).unwrap().output.options();
        let given = "{bulk_max_size: 7, max_retries: 9, backoff: {init: 2s}}";
        for (name, max_retries) in [("discard", 9), ("elasticsearch", 9), ("console", -1)] {
            let options = options(&format!("output: {{{name}: {given}}}"));
            assert_eq!(
                (options.bulk_max_size, options.max_retries, options.backoff.init),
                (7, max_retries, Duration::from_secs(2)),
                "{name}"
            );
        }
        assert_eq!((options("output: {discard: {}}").bulk_max_size, options("output: {elasticsearch: {}}").bulk_max_size), (2048, 1600));
    }

    #[tokio::test]
    async fn a_file_cannot_be_tested() {
        let mut out = Vec::new();
        assert!(!opened("output: {file: {path: /x}}").unwrap().test(&mut out).await.unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), "file output doesn't support testing\n");
    }
}
