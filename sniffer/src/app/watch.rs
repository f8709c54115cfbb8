//! `watch`: zero configuration, for people. All protocols on their usual ports, on all interfaces unless told otherwise; one line per
//! transaction on the terminal, and a status line below while nothing matches.

use super::{
    Error,
    plan::Plan,
    run::{Job, OutputGone, Status},
};
use crate::{
    capture::options::Replay,
    cli::WatchFlags,
    config::{Node, Paths},
    monitor::{
        Metrics,
        log::{CommandLine, Logger},
    },
    output::{
        self, Delivery,
        terminal::{Style, WIPE},
    },
    protocols::PROTOCOLS,
};
use serde_json::json;
use std::io::{self, IsTerminal, Write};

/// Shows transactions until the file ends or a signal comes.
pub fn watch(flags: &WatchFlags) -> Result<bool, Error> {
    let root = Node::parse(&settings(flags)?)?;
    // Only what goes wrong: the lines are for transactions.
    Logger::open(&Node::parse("{level: warning}")?, &CommandLine { stderr: true, ..CommandLine::default() })?.install()?;
    let plan = Plan::read(&root, flags.file.as_deref(), None)?;
    let stdout = io::stdout().is_terminal();
    let lives = stdout && io::stderr().is_terminal() && flags.file.is_none();
    let paths = Paths::standard();
    let output = if flags.json {
        output::open(&super::opening(&root, &paths))?
    } else {
        Delivery::terminal(Style { color: stdout, over_status: lives })
    };
    let replay = Replay { top_speed: true, ..Replay::default() };
    let status = (lives && !flags.json).then(status);
    let job = Job { plan, replay, paths: &paths, keeps_data: false, metrics: Metrics::default(), reporter: None, publish: true, status };
    match job.run(output) {
        // `watch | head` has seen enough.
        Err(error) if error.is::<OutputGone>() => Ok(true),
        result => result.map(|()| true),
    }
}

/// The configuration that nobody had to write.
fn settings(flags: &WatchFlags) -> Result<String, Error> {
    let protocols: Vec<_> = PROTOCOLS.iter().map(|p| json!({"type": p.name, "ports": p.ports})).collect();
    let device = flags.device.as_deref().unwrap_or("any");
    let mut settings = json!({"packetbeat": {"interfaces": {"device": device}, "protocols": protocols}});
    if flags.json {
        settings["output.console"] = json!({});
        settings["queue.mem"] = json!({"flush.min_events": 1, "flush.timeout": "100ms"});
    }
    Ok(serde_json::to_string(&settings)?)
}

/// One line that lives: what is watched, what came, and what to try when nothing matches.
fn status() -> Status {
    let mut shown = 0;
    Box::new(move |counters, captures| {
        let of = |name: &str| counters.totals.get(name).copied().unwrap_or(0);
        let (seen, matched, events) = (of("capture.seen"), of("capture.matched"), of("libbeat.pipeline.events.published"));
        shown += 1;
        let hint = match (events, seen) {
            (1.., _) => "",
            (0, 0) => " · no packets at all: `sniffer devices` lists what there is, -i chooses",
            (0, _) if shown > 10 => " · nothing of a known protocol yet: is the traffic on its usual port?",
            (0, _) => "",
        };
        let text = format!("{WIPE}{}: {seen} packets seen, {matched} matched, {events} transactions{hint}", captures.join(", "));
        // A terminal that is gone is the output's to notice.
        let _ = io::stderr().write_all(text.as_bytes());
    })
}
