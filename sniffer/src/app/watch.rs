//! `watch`: shows live transactions without a configuration file: all protocols on their default ports, on all interfaces unless one is
//! named. One line for each transaction on the terminal, and a status line below them.

use super::{
    Error,
    plan::Plan,
    run::{Job, OutputGone},
    view::{Status, View, Watched},
};
use crate::{
    capture::options::Replay,
    cli::WatchFlags,
    config::{Node, Paths},
    monitor::{
        Metrics,
        log::{CommandLine, Logger},
    },
    output,
    protocols::PROTOCOLS,
    publish::observer::Observer,
    view::{
        lines::{Lines, WIPE},
        screen::Screen,
    },
};
use serde_json::json;
use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
    thread,
};
use tokio::sync::oneshot;

/// Shows transactions until the file ends or a signal arrives.
pub fn watch(flags: &WatchFlags) -> Result<bool, Error> {
    let root = Node::parse(&settings(flags)?)?;
    // Warnings and errors only: the terminal is for transactions.
    Logger::open(&Node::parse("{level: warning}")?, &CommandLine { stderr: true, ..CommandLine::default() })?.install()?;
    let plan = Plan::read(&root, flags.file.as_deref(), None)?;
    let paths = Paths::standard();
    let output = output::open(&super::opening(&root, &paths))?;
    let replay = Replay { top_speed: true, ..Replay::default() };
    let color = io::stdout().is_terminal();
    // The status line needs standard output and standard error on the terminal. It is only useful for live capture, because a file is read
    // too fast.
    let has_status = color && io::stderr().is_terminal() && flags.file.is_none() && !flags.json;
    let screen = Arc::new(Screen::default());
    let view = (!flags.json).then(|| view(&screen, color, if has_status { WIPE } else { "" })).transpose()?;
    let status = has_status.then(|| status(screen.clone()));
    // With `--json` the console output prints the documents; without it no documents are printed.
    let publish = flags.json;
    let (metrics, reporter, connections) = (Metrics::default(), None, None);
    let job = Job { plan, replay, paths: &paths, keeps_data: false, metrics, reporter, publish, connections, status, view, origin: None };
    let result = job.run(output);
    let dropped = screen.counts().dropped;
    match result {
        // The reader of standard output has gone (`watch | head`): not an error.
        Err(error) if error.is::<OutputGone>() => Ok(true),
        result => {
            if dropped > 0 {
                log::warn!("{dropped} transactions are not shown: standard output did not take their lines in time");
            }
            result.map(|()| true)
        }
    }
}

/// Starts the thread that prints lines to standard output. `before` is printed in front of each block of lines.
fn view(screen: &Arc<Screen>, color: bool, before: &'static str) -> io::Result<View> {
    let (over, ended) = oneshot::channel();
    let printing = screen.clone();
    thread::Builder::new().name("screen".into()).spawn(move || {
        match printing.print(&mut io::stdout(), before) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => log::error!("standard output: {error}"),
            _ => {}
        }
        // The receiver is gone when the program ends before everything is printed. That is not an error.
        let _ = over.send(());
    })?;
    let (shown, finished) = (screen.clone(), screen.clone());
    let observer = move |worker: Watched<'_>| -> Box<dyn Observer> {
        let waits = (!worker.live).then(|| worker.stop.clone());
        Box::new(Lines::new(shown.clone(), color, waits))
    };
    Ok(View { observer: Box::new(observer), finish: Box::new(move || finished.close()), ended })
}

/// The configuration that `watch` uses instead of a configuration file.
fn settings(flags: &WatchFlags) -> Result<String, Error> {
    let protocols: Vec<_> = PROTOCOLS.iter().map(|p| json!({"type": p.name, "ports": p.ports})).collect();
    let device = flags.device.as_deref().unwrap_or("any");
    let mut settings = json!({"packetbeat": {"interfaces": {"device": device}, "protocols": protocols}});
    if flags.json {
        settings["output.console"] = json!({});
        settings["queue.mem"] = json!({"flush.min_events": 1, "flush.timeout": "100ms"});
    } else {
        settings["output.discard"] = json!({});
    }
    Ok(serde_json::to_string(&settings)?)
}

/// The status line, rewritten every half second: the captures, the counters, and a hint when nothing matches.
fn status(screen: Arc<Screen>) -> Status {
    let mut times = 0;
    Box::new(move |counters, captures| {
        let of = |name: &str| counters.totals.get(name).copied().unwrap_or(0);
        let (seen, matched, lines) = (of("capture.seen"), of("capture.matched"), screen.counts());
        let events = lines.taken + lines.dropped;
        times += 1;
        let hint = match (events, seen) {
            (1.., _) if lines.dropped > 0 => format!(" · {} not shown: the terminal is too slow", lines.dropped),
            (1.., _) => String::new(),
            (0, 0) => " · no packets at all: `sniffer devices` lists what there is, -i chooses".to_owned(),
            (0, _) if times > 10 => " · nothing of a known protocol yet: is the traffic on its usual port?".to_owned(),
            (0, _) => String::new(),
        };
        let text = format!("{WIPE}{}: {seen} packets seen, {matched} matched, {events} transactions{hint}", captures.join(", "));
        // An error is not reported here: when the terminal has gone, the view ends.
        let _ = io::stderr().write_all(text.as_bytes());
    })
}
