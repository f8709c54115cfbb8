//! Opens the one output that the configuration names, and runs its senders on the queue.

use super::{
    OUTPUTS, Output, OutputKind,
    counters::Counters,
    drive::{Common, drive},
    notices::Notices,
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
    pub(super) common: Common,
}

/// Finds the enabled output of the configuration and reads its settings. Opens no connection.
///
/// # Errors
/// When no output or more than one is enabled, or a setting is wrong.
pub fn open(opening: &Opening<'_>) -> Result<Delivery, config::Error> {
    let root = opening.root;
    let outputs = root.get("output");
    let mut enabled = enabled(&outputs)?;
    for kind in OUTPUTS {
        if (kind.is_implied)(root)? && enabled.is_empty() {
            enabled.push((kind.name.to_owned(), outputs.get(kind.name)));
        }
    }
    let (name, node) = match enabled.as_slice() {
        [] => return Err(none_defined(root, &outputs)),
        [only] => only,
        several => return Err(several_defined(&outputs, several)),
    };
    let Some(OutputKind { name, open, .. }) = OUTPUTS.iter().find(|kind| kind.name == name) else {
        let known: Vec<&str> = OUTPUTS.iter().map(|kind| kind.name).collect();
        return Err(node.error(format!("output type {name} undefined; there are {}", known.join(", "))));
    };
    misplaced_settings(root, &outputs, node)?;
    // Outputs that are switched off are not read.
    outputs.entries().filter(|(other, _)| other != name).for_each(|(_, other)| other.accept());
    let output = open(&opening.at(node))?;
    let queue = queue::Options::read(root, node, output.queue())?;
    Ok(Delivery { name, output, queue, common: Common::default() })
}

/// Returns the enabled outputs. If any output has settings, these are the outputs with settings; otherwise those of which only the name is
/// written (`output.console:`).
fn enabled(outputs: &Node) -> Result<Vec<(String, Node)>, config::Error> {
    if !outputs.is_unset() && !outputs.is_map() {
        return Err(outputs.error("expected the name of an output and its settings, for example `output.elasticsearch.hosts`"));
    }
    let (mut enabled, mut empty) = (Vec::new(), Vec::new());
    for (name, node) in outputs.entries() {
        if node.is_unset() {
            empty.push((name.to_owned(), node.clone()));
        } else if !is_output(name) && !node.is_map() {
            // This is a setting without an output, see `misplaced_settings`.
        } else if node.get("enabled").read::<Option<bool>>()?.unwrap_or(true) {
            enabled.push((name.to_owned(), node.clone()));
        }
    }
    if enabled.is_empty() {
        empty.retain(|(name, _)| is_output(name));
        enabled = empty;
    }
    Ok(enabled)
}

fn is_output(name: &str) -> bool {
    OUTPUTS.iter().any(|kind| kind.name == name)
}

fn several_defined(outputs: &Node, several: &[(String, Node)]) -> config::Error {
    let names: Vec<String> = several.iter().map(|(name, node)| format!("{name} ({})", node.place())).collect();
    let at = several.last().map_or(outputs, |(_, node)| node);
    at.error(format!(
        "more than one namespace configured accessing 'output': {}; keep one, or switch the others off with `enabled: false`",
        names.join(", ")
    ))
}

/// Returns the error when no output is switched on. The error names a setting that looks like an output at the wrong path.
fn none_defined(root: &Node, outputs: &Node) -> config::Error {
    let message = "no outputs are defined, please define one under the output section";
    let below = [root.get("packetbeat.output"), root.get("packetbeat.outputs"), root.get("outputs")];
    let misplaced = below.into_iter().find(|node| !node.is_null());
    if let Some(node) = misplaced {
        let name = node.entries().next().map_or("console", |(name, _)| name).to_owned();
        return node.error(format!("{message}: outputs belong below `output` at the top level; write `output.{name}`"));
    }
    if let Some(kind) = OUTPUTS.iter().find(|kind| root.contains(kind.name)) {
        let node = root.get(kind.name);
        return node.error(format!("{message}: an output belongs below `output`; write `output.{}`", kind.name));
    }
    if let Some((name, node)) = outputs.entries().find(|(name, node)| !is_output(name) && !node.is_map() && !node.is_null()) {
        return node
            .error(format!("{message}: `{name}` is a setting of an output; write `output.NAME.{name}`, with the name of the output"));
    }
    match outputs.entries().next() {
        Some((name, node)) => node.error(format!("{message}: output.{name} is switched off")),
        None => root.error(message),
    }
}

/// Refuses settings that are beside the output instead of below it, if there are no settings below the output. Otherwise a wrong
/// indentation would send events to the default host.
fn misplaced_settings(root: &Node, outputs: &Node, output: &Node) -> Result<(), config::Error> {
    if !output.is_unset() {
        return Ok(());
    }
    let key = output.key();
    let beside = outputs.entries().find(|(name, node)| *name != "enabled" && !is_output(name) && !node.is_map() && !node.is_null());
    let wrong = |name: &str, node: &Node| Err(node.error(format!("`{name}` belongs below `{key}`; indent it, or write `{key}.{name}`")));
    if let Some((name, node)) = beside {
        return wrong(name, node);
    }
    match ["hosts", "path"].into_iter().find(|name| root.contains(name) && !root.get(name).is_map()) {
        Some(name) => wrong(name, &root.get(name)),
        None => Ok(()),
    }
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

    /// The output's counters. They are updated while the output runs.
    pub fn counters(&self) -> Arc<Counters> {
        self.common.counters.clone()
    }

    /// The ports of all servers and proxies that the output may connect to, sorted and without duplicates.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.output.peers().iter().map(|peer| peer.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Delivers the records of the queue until the queue is closed and empty. When the future is dropped earlier (at the end of
    /// `shutdown_timeout`), unsettled records go back to the queue, and `queue.stats().events` is the number of undelivered records.
    pub async fn run(self, queue: Arc<dyn Queue>) {
        let options = self.output.options();
        let mut workers = tokio::task::JoinSet::new();
        let at_end = FlushAtEnd(self.common.notices.clone());
        for sender in self.output.senders(&self.common.counters) {
            workers.spawn(drive(sender, queue.clone(), options, self.common.clone()));
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

/// Logs what was counted and not logged yet, also when delivery is cancelled.
struct FlushAtEnd(Arc<Notices>);

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        self.0.flush(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opening::testing;

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
