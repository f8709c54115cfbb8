//! Opens the one output that the configuration names, and runs its senders on the queue.

use super::{
    Output, OutputKind,
    counters::Counters,
    drive::{self, Telemetry, drive},
    elasticsearch::{self, Monitoring},
    measured::Measured,
    monitored::Monitored,
    notices::Notices,
    otlp::Metrics,
    selected::selected,
    sending::{By, Sending},
};
use crate::{
    config::{self, Node},
    opening::Opening,
    queue::{self, Queue},
};
use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

/// The configured output with its counters and the size of its queue.
pub struct Delivery {
    name: &'static str,
    output: Box<dyn Output>,
    queue: queue::Options,
    /// The settings from which `queue` was read.
    queue_settings: Node,
    monitoring: Option<Monitoring>,
    metrics: Option<Metrics>,
    pub(super) telemetry: Telemetry,
}

/// Finds the enabled output of the configuration and reads its settings. The function opens no connection.
///
/// # Errors
/// When no output or more than one is enabled, or a setting is wrong.
pub fn open(opening: &Opening<'_>) -> Result<Delivery, config::Error> {
    let (OutputKind { name, open, .. }, node) = selected(opening.root)?;
    let output = open(&opening.at(&node))?;
    let queue = queue::Options::read(opening.root, &node, output.queue(), opening.paths)?;
    let queue_settings = queue::Options::settings(opening.root, &node);
    let monitoring = Monitoring::read(opening, (*name == elasticsearch::NAME).then_some(&node))?;
    let metrics = Metrics::read(opening)?;
    Ok(Delivery { name, output, queue, queue_settings, monitoring, metrics, telemetry: Telemetry::default() })
}

impl Delivery {
    /// The name of the output: its key below `output`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The value of `@metadata.beat` in the output's documents; `None`: they do not contain `@metadata`.
    pub fn metadata(&self) -> Option<&str> {
        self.output.metadata()
    }

    /// The options of the queue in front of the output.
    pub fn queue(&self) -> queue::Options {
        self.queue.clone()
    }

    /// The section of the configuration that describes the queue, at the top level or below the output.
    pub fn queue_settings(&self) -> &Node {
        &self.queue_settings
    }

    /// Sets what `monitoring` sends, for this output and for those that follow it in a run.
    pub fn monitor(&mut self, source: Arc<dyn Monitored>) {
        self.telemetry.monitored = Some(source);
    }

    /// Sets what `otlp.metrics` sends, for this output and for those that follow it in a run.
    pub fn measure(&mut self, source: Arc<dyn Measured>) {
        self.telemetry.measured = Some(source);
    }

    /// Maximum number of series that `otlp.metrics` sends; `None` unless it is enabled.
    pub fn max_series(&self) -> Option<usize> {
        self.metrics.as_ref().map(Metrics::max_series)
    }

    /// Whether `monitoring` is enabled.
    pub fn has_monitoring(&self) -> bool {
        self.monitoring.is_some()
    }

    /// The output's counters. They are updated while the output runs.
    pub fn counters(&self) -> Arc<Counters> {
        self.telemetry.counters.clone()
    }

    /// Which output sends, and how long its batches take. Updated while the output runs.
    pub fn sending(&self) -> Arc<Sending> {
        self.telemetry.sending.clone()
    }

    /// The ports of all servers and proxies that the output, `monitoring` and `otlp.metrics` may connect to, sorted and without duplicates.
    pub fn ports(&self) -> Vec<u16> {
        let of_monitoring = self.monitoring.iter().flat_map(Monitoring::peers);
        let of_metrics = self.metrics.iter().flat_map(Metrics::peers);
        let mut ports: Vec<u16> = self.output.peers().into_iter().chain(of_monitoring).chain(of_metrics).map(|peer| peer.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Delivers the records of the queue until the queue is closed and empty. When the future is dropped earlier (at the end of
    /// `shutdown_timeout`), unsettled records go back to the queue, and `queue.stats().events` is the number of undelivered records.
    pub async fn run(self, queue: Arc<dyn Queue>) {
        let options = self.output.options();
        let mut workers = tokio::task::JoinSet::new();
        let at_end = FlushAtEnd(self.telemetry.notices.clone());
        // Outputs without a server take batches of any size.
        let has_limit = options.bulk_max_size > 0 && !self.output.peers().is_empty();
        let cluster_uuid = self.output.cluster_uuid();
        let senders = self.output.senders(&self.telemetry.counters);
        let batch_size = has_limit.then_some(options.bulk_max_size);
        self.telemetry.sending.begin(By { name: self.name, batch_size, senders: senders.len(), cluster_uuid });
        let mut monitoring = Box::pin(monitor(self.monitoring, self.telemetry.monitored.clone()));
        let measuring = self.metrics.as_ref().zip(self.telemetry.measured.as_ref());
        let mut metrics = Box::pin(async {
            match measuring {
                Some((metrics, source)) => metrics.run(source).await,
                None => std::future::pending().await,
            }
        });
        let options = drive::Options { has_others: senders.len() > 1, ..options };
        for sender in senders {
            workers.spawn(drive(sender, queue.clone(), options, self.telemetry.clone()));
        }
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                ended = workers.join_next() => match ended {
                    Some(Ok(())) => {}
                    Some(Err(error)) => log::error!("An output worker ended: {error}"),
                    None => break,
                },
                _ = second.tick() => at_end.0.flush(false),
                () = &mut monitoring => {}
                () = &mut metrics => {}
            }
        }
        if let Some((metrics, source)) = measuring {
            metrics.finish(source).await;
        }
    }

    /// Whether the output has a server that [`Self::test`] can try.
    pub fn is_testable(&self) -> bool {
        // The future does nothing until it is polled.
        self.output.test(&mut io::sink()).is_some()
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

/// Sends the documents of `monitoring`, if it is enabled. Never completes.
async fn monitor(monitoring: Option<Monitoring>, source: Option<Arc<dyn Monitored>>) {
    if let (Some(monitoring), Some(source)) = (monitoring, source) {
        monitoring.run(source).await;
    }
    std::future::pending().await
}

/// Logs the counts that are not logged yet when it is dropped, also when delivery is cancelled.
struct FlushAtEnd(Arc<Notices>);

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        self.0.flush(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{opening::testing, output::OUTPUTS};

    fn opened(config: &str) -> Result<Delivery, String> {
        open(&testing::opening(&Node::parse(config).unwrap())).map_err(|e| e.to_string())
    }

    #[test]
    fn exactly_one_output() {
        for (config, expected) in [
            ("{}", Err("no outputs are defined")),
            ("{packetbeat: {output: {console: {}}}}", Err("line 1: packetbeat.output: no outputs are defined")),
            ("\nelasticsearch: {hosts: [a]}", Err("line 2: elasticsearch: no outputs are defined")),
            ("output:\n  hosts: [a]", Err("line 2: output.hosts: no outputs are defined")),
            ("output: console", Err("line 1: output: expected the name of an output")),
            ("output:\n  elasticsearch:\n  hosts: [a]", Err("line 3: output.hosts: `hosts` belongs below `output.elasticsearch`")),
            ("output.elasticsearch:\nhosts: [a]", Err("line 2: hosts: `hosts` belongs below `output.elasticsearch`")),
            ("output:\n  console:\n  enabled: true", Ok("console")),
            ("output.console:", Ok("console")),
            ("output: {console: {}, pigeon: ''}", Ok("console")),
            ("output: {console: {enabled: ''}}", Ok("console")),
            (
                "\noutput.file.path: /x\noutput.console.pretty: true",
                Err("more than one namespace configured accessing 'output': file (line 2), console (line 3)"),
            ),
            ("output: {file: {path: /x, enabled: false}}", Err("no outputs are defined")),
            ("output: {file: {path: /x}, console: {}}", Err("more than one namespace configured")),
            ("output: {pigeon: {}}", Err("output.pigeon: output type pigeon undefined; there are ")),
            ("output: {file: {path: /x}, console: {enabled: false}}", Ok("file")),
            ("output: {console: {pretty: true}}", Ok("console")),
            ("output: {discard: {}}", Ok("discard")),
            ("output: {elasticsearch: {hosts: ['localhost:9200']}}", Ok("elasticsearch")),
            ("cloud: {id: 'a:ZXhhbXBsZS5pbyRhYmM='}", Ok("elasticsearch")),
            ("{cloud: {id: 'a:ZXhhbXBsZS5pbyRhYmM='}, output: {discard: {}}}", Ok("discard")),
            ("{cloud: {auth: 'a:b'}, output: {discard: {}}}", Err("cloud.auth needs cloud.id")),
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
