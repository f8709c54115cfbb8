//! `watch`: shows live transactions. Without a configuration file it captures all protocols on their default ports, on all interfaces unless
//! one is named. There is one line for each transaction, on a terminal a status line below them, and a summary at the end.

pub(super) mod asked;
mod busy;
mod contents;
mod printer;
pub(super) mod terminal;

use super::{
    Error,
    documents::{self, Input},
    plan::Plan,
    privileges::{self, Needs, Seccomp},
    run::{Job, OutputGone},
    view::{Status, View, Watched},
};
use crate::{
    cli::{Invocation, WatchFlags},
    config::{Loaded, Node},
    monitor::log::{CommandLine, Logger},
    output,
    publish::observer::Observer,
    view::{
        filter::Filter,
        text,
        watch::{feed::Feeder, layout::Style, status::Packets, summary::Summary},
    },
};
use asked::{Asked, Form};
use busy::Busy;
use contents::Contents;
use printer::{Screen, Shared, WIPE};
use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};
use terminal::Keys;
use tokio::sync::{Notify, oneshot};

/// Sections of a configuration that have no effect on `watch`: where and how documents are delivered, and the log.
pub(super) const NOT_READ: &[&str] =
    &["cloud", "http", "keystore", "logging", "monitoring", "output", "path", "queue", "reload", "setup", "web"];

/// How long the lines of documents that were read may take after a signal.
const LEAVE: Duration = Duration::from_secs(1);
/// Columns that the names of devices, or the name of a file, have at least in the first line.
const NAMES: usize = 20;

/// Shows transactions until the file ends, a signal arrives, or `q` is typed.
pub fn watch(invocation: &Invocation, flags: &WatchFlags) -> Result<bool, Error> {
    let source = &flags.source;
    let form = if flags.json { Form::Documents } else { Form::Lines };
    let Asked { loaded, delivery, device, expression, filter, .. } = asked::read(&invocation.load, source, form)?;
    let (root, paths) = (&loaded.root, &loaded.paths);
    let documents = source.file.as_deref().map(Input::open).transpose()?.flatten();
    let has_documents = documents.is_some();
    if has_documents && flags.json {
        return Err("the file of -r has documents already; --json prints those of a capture".into());
    }
    // A file is read too fast for a status line.
    let is_live = source.file.is_none() && !flags.json && terminal::can_rewrite();
    // Only warnings and errors are logged unless -d asks for more, because the terminal shows transactions. -v lists the ports.
    let before = before_messages(is_live);
    let log = CommandLine { stderr: true, plain: true, before, verbose: false, ..super::command_line(invocation, paths) };
    Logger::open(&Node::parse("{level: warning}")?, &log)?.install()?;
    let mut plan = Plan::read(root, source.file.as_deref(), None)?;
    asked::narrow(&mut plan.interfaces, device.as_deref(), expression.as_deref())?;
    for warning in loaded.warnings.iter().chain(&plan.warnings) {
        log::warn!("{warning}");
    }
    privileges::become_user(flags.user.as_deref(), &[])?;
    privileges::restrict(&Needs::of(&plan, !flags.json), &Seccomp::read(root)?)?;
    let output = output::open(&super::opening(&delivery, paths))?;
    let shared = Arc::new(Shared::default());
    // The keys are read until the end of this function. Then the terminal gets its settings back, also after an error.
    let quit = Arc::new(Notify::new());
    let keys = if is_live { Keys::read(shared.paused.clone(), quit.clone())? } else { None };
    let screen = Screen {
        style: terminal::style(flags.color),
        is_terminal: io::stdout().is_terminal(),
        is_live,
        has_keys: keys.is_some(),
        has_pcap_filter: plan.interfaces.iter().any(|interface| interface.bpf_filter.is_some()),
    };
    let watched = plan.watched(invocation.log.verbose);
    let view = (!flags.json).then(|| view(&shared, screen, filter, watched, quit)).transpose()?;
    let busy = Busy::new(|port| plan.is_watched(port));
    // With `--json` the console output prints the documents; without it no documents are printed.
    let job = Job { publish: flags.json, status: (!flags.json).then(|| status(shared.clone(), busy)), view, ..Job::for_view(plan, paths) };
    NOT_READ.iter().for_each(|section| root.get(section).accept());
    let result = match (documents, job.view) {
        (Some(documents), Some(view)) => documents::show(documents, view, LEAVE, |_| {}),
        (_, view) => Job { view, ..job }.run(output),
    };
    drop(keys);
    // After an error the printing thread may not have cleared the status line.
    to_stderr(before);
    match result {
        // The reader of standard output is gone (`watch | head`). This is not an error.
        Err(error) if error.is::<OutputGone>() => Ok(true),
        Err(error) => Err(error),
        Ok(()) => {
            if !flags.json {
                summarise(&shared, screen, has_documents);
                if let Some(file) = source.file.as_deref().filter(|_| !has_documents) {
                    explain(file, &loaded, &shared, &source.expression)?;
                }
            }
            Ok(true)
        }
    }
}

/// Writes the summary.
fn summarise(shared: &Shared, screen: Screen, has_documents: bool) {
    let (counts, packets) = (shared.feed.counts(), shared.packets());
    let summary = Summary { tally: shared.feed.take_tally(), counts, not_shown: shared.not_shown(), packets, has_documents };
    let width = terminal::size().map(|(width, _)| width).filter(|_| screen.is_terminal);
    let color = screen.style.color && io::stderr().is_terminal();
    to_stderr(&summary.text(Style { color, ..screen.style }, width));
}

/// Explains why nothing is shown of a file. Standard input cannot be read again.
///
/// # Errors
/// When the file is gone.
fn explain(file: &Path, loaded: &Loaded, shared: &Shared, expression: &[String]) -> Result<(), Error> {
    let counts = shared.feed.counts();
    if counts.selected > 0 || counts.hidden > 0 || file == Path::new("-") || file.metadata().is_ok_and(|data| !data.is_file()) {
        return Ok(());
    }
    if !expression.is_empty() {
        to_stderr(&format!("Only packets that match `{}` were read. Without this filter:\n", expression.join(" ")));
    }
    let plan = Plan::read(&loaded.root, Some(file), None)?;
    to_stderr(&Contents::read(file)?.explain(file, loaded.files.is_empty(), |port| plan.is_watched(port)));
    Ok(())
}

/// The text that clears the status line, if there is one, before a message is written.
fn before_messages(is_live: bool) -> &'static str {
    if is_live && io::stderr().is_terminal() { WIPE } else { "" }
}

/// Writes text for the user that is not a transaction. If this fails, the terminal is gone, and there is nobody to tell.
fn to_stderr(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Starts the thread that prints lines to standard output. `filter` selects the transactions. `watched`: the protocols and ports. `quit` is notified
/// when the person asks for the end.
fn view(shared: &Arc<Shared>, screen: Screen, filter: Filter, watched: String, quit: Arc<Notify>) -> io::Result<View> {
    let (over, ended) = oneshot::channel();
    let printing = shared.clone();
    thread::Builder::new().name("screen".into()).spawn(move || {
        match printer::print(&printing, screen, &mut io::stdout()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => log::error!("standard output: {error}"),
            _ => {}
        }
        // The receiver is gone when the program ends before everything is printed. That is not an error.
        let _ = over.send(());
    })?;
    let (feed, finished, filter) = (shared.feed.clone(), shared.feed.clone(), Arc::new(filter));
    let observer = move |worker: Watched<'_>| -> Box<dyn Observer> {
        let waits = (!worker.live).then(|| worker.stop.clone());
        Box::new(Feeder::new(feed.clone(), waits, filter.clone()))
    };
    let started = move |captures: &[String]| {
        let zone = terminal::zone(screen.style.ahead_of_utc);
        let width = terminal::size().map(|(width, _)| width).filter(|_| screen.is_terminal);
        to_stderr(&format!("{}{}", before_messages(screen.is_live), first_lines(captures, &watched, &zone, width)));
    };
    Ok(View { observer: Box::new(observer), started: Box::new(started), quit, finish: Box::new(move || finished.close()), ended })
}

/// What is watched, on the first line; further lines of `watched` follow. The lines are cut to `width`.
fn first_lines(captures: &[String], watched: &str, zone: &str, width: Option<usize>) -> String {
    let (first, rest) = watched.split_once('\n').unwrap_or((watched, ""));
    let width = width.unwrap_or(usize::MAX);
    let [long, short] = [first, first.trim_end_matches(" (-v lists them)")].map(|first| format!(", {first}, times {zone}"));
    let end = if width >= long.len() + NAMES { long } else { short };
    // If the line is too long, the names of devices are cut and not the numbers behind them.
    let (mut line, mut out) = (String::new(), String::new());
    text::push(&mut line, &captures.join(", "), width.saturating_sub(end.len()).max(NAMES), text::Charset::Ascii);
    line.push_str(&end);
    text::push(&mut out, &line, width, text::Charset::Ascii);
    out.push('\n');
    for line in rest.lines() {
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Keeps the numbers of packets for the status line and the summary, and the port that may be missing while no packet is on a watched port.
fn status(shared: Arc<Shared>, mut busy: Busy) -> Status {
    Box::new(move |counters| {
        let of = |name: &str| counters.totals.get(name).copied().unwrap_or(0);
        let lost = of("capture.lost") + of("capture.unread");
        let (seen, matched) = (of("capture.seen"), of("capture.matched"));
        shared.set_packets(Packets { seen, matched, lost });
        shared.set_busy(if seen > 0 && matched == 0 { busy.port() } else { None });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_fits_the_terminal() {
        let captures = ["any (eBPF: eth0, lo, veth1, veth2, veth3, veth4)".to_owned()];
        let watched = "16 protocols on 41 ports (-v lists them)";
        let line = |width| first_lines(&captures, watched, "UTC+8", width);
        assert_eq!(line(Some(80)), "any (eBPF: eth0, lo, vet~, 16 protocols on 41 ports (-v lists them), times UTC+8\n");
        assert_eq!(line(Some(60)), "any (eBPF: eth0, lo,~, 16 protocols on 41 ports, times UTC+8\n");
        assert_eq!(line(Some(40)), "any (eBPF: eth0, lo~, 16 protocols on 4~\n");
        assert_eq!(line(None), format!("{}, {watched}, times UTC+8\n", captures[0]));
        assert_eq!(first_lines(&captures[..1], "1 protocol on 1 port\n  dns  53", "UTC", None).lines().nth(1), Some("  dns  53"));
    }
}
