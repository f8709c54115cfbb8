//! `top`: screens about live traffic or a capture file, or one table that is printed after a while. Like `watch`, it needs no configuration.

mod files;
mod report;
mod terminal;

use super::{
    Error, documents,
    run::{Job, OutputGone},
    shared::{Shared, host_name},
    watch::asked::{self, ForScreens},
};
use crate::{
    cli::{Invocation, TopFlags},
    config::{self, nanoseconds},
    output,
    protocols::PROTOCOLS,
    view::top::{Look, Source, State},
};
use report::Format;
use std::{
    io::{self, Write},
    panic,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, oneshot};

/// How long the thread of the screens may take to give the terminal back.
const LEAVE: Duration = Duration::from_secs(1);
/// How often the thread without screens empties the inbox, and how often its end is checked.
const TAKE: Duration = Duration::from_millis(50);

/// What the command shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    /// Screens.
    Screens,
    /// One table, at the end of the input or of this time.
    Table(Format, Option<Duration>),
}

/// Shows screens until the user quits, or prints one table.
pub fn top(invocation: &Invocation, flags: &TopFlags) -> Result<bool, Error> {
    let shows = shows(flags, terminal::can_show_screens(flags.source.file.as_deref()))?;
    let ForScreens { asked, plan, documents, notices } = asked::read_for_screens(&invocation.load, &flags.source, false)?;
    let (root, paths) = (&asked.loaded.root, &asked.loaded.paths);
    let is_live = plan.is_live();
    let output = output::open(&super::opening(&asked.delivery, paths))?;
    let source = Source {
        host: flags.source.file.as_deref().map_or_else(host_name, file_name),
        watched: plan.watched(false).replace(" (-v lists them)", ""),
        is_live,
        unit: if documents.is_some() { "line" } else { "packet" },
        example: "curl http://127.0.0.1:8000/".to_owned(),
        ..Source::default()
    };
    let names = PROTOCOLS.iter().map(|protocol| protocol.name).collect();
    let look = if shows == Shows::Screens { terminal::look() } else { Look::default() };
    let state = State::new(source, look, &asked.text, names);
    let shared = Arc::new(Shared::default());
    let (over, ended) = oneshot::channel();
    let (showing, writing) = (shared.clone(), notices.clone());
    let screen = thread::Builder::new().name("screen".into()).spawn(move || {
        let result = match shows {
            Shows::Screens => terminal::show(&showing, &writing, state),
            Shows::Table(format, time) => print(&showing, state, format, time),
        };
        showing.inbox.leave();
        // The receiver is gone if the run has ended before.
        let _ = over.send(());
        result
    })?;
    // The run ends when the thread of the screens does.
    let view = shared.view(Arc::new(Notify::new()), ended, || {});
    let result = match documents {
        Some(documents) => {
            let counting = shared.clone();
            documents::show(documents, view, Duration::ZERO, move |counts| counting.set_documents(counts))
        }
        None => Job { status: Some(shared.status()), view: Some(view), ..Job::for_view(plan, paths) }.run(output),
    };
    shared.quit();
    // The thread gives the terminal back before it ends. It does not end if the terminal was closed while it waited for a key.
    let limit = Instant::now() + LEAVE;
    while !screen.is_finished() && Instant::now() < limit {
        thread::sleep(TAKE);
    }
    let shown = if screen.is_finished() { screen.join() } else { Ok(Ok(())) };
    for warning in config::leftover(root) {
        log::warn!("{warning}");
    }
    notices.print();
    match (result, shown) {
        (_, Err(panicked)) => panic::resume_unwind(panicked),
        (Err(error), _) if !error.is::<OutputGone>() => Err(error),
        (_, Ok(Err(error))) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(true),
    }
}

/// What the flags ask for.
fn shows(flags: &TopFlags, can_show_screens: bool) -> Result<Shows, String> {
    let format = match (flags.json, flags.csv, flags.markdown) {
        (true, ..) => Some(Format::Json),
        (_, true, _) => Some(Format::Csv),
        (.., true) => Some(Format::Markdown),
        _ => None,
    };
    let time = |text: &String| {
        let nanos = nanoseconds(text).and_then(|nanos| u64::try_from(nanos).ok()).filter(|nanos| *nanos > 0);
        nanos.map(Duration::from_nanos).ok_or_else(|| format!("--for {text}: expected a time, such as 30s or 5m"))
    };
    let time = flags.time.as_ref().map(time).transpose()?;
    match (format, time) {
        (None, None) if can_show_screens => Ok(Shows::Screens),
        (None, None) if flags.source.file.is_some() => Ok(Shows::Table(Format::Text, None)),
        (_, None) if flags.source.file.is_none() => Err(
            "screens need a terminal (TERM is not dumb, and standard input and output are not redirected): sniffer top --for 30s prints \
             one table and ends; --json, --csv and --markdown are its formats"
                .to_owned(),
        ),
        (format, time) => Ok(Shows::Table(format.unwrap_or(Format::Text), time)),
    }
}

pub(super) fn file_name(path: &Path) -> String {
    if path == Path::new("-") {
        return "standard input".to_owned();
    }
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Prints one table when the input or the time ends.
fn print(shared: &Shared, mut state: State, format: Format, time: Option<Duration>) -> io::Result<()> {
    let end = time.map(|time| Instant::now() + time);
    let mut has_ended = false;
    while !has_ended {
        thread::sleep(TAKE);
        let is_over = end.is_some_and(|end| Instant::now() >= end) || shared.is_quit();
        has_ended = update(shared, &mut state) || is_over;
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(report::text(&state, format).as_bytes())?;
    stdout.flush()
}

/// Brings the screens up to date. Returns whether the workers have ended.
fn update(shared: &Shared, state: &mut State) -> bool {
    let mut items = Vec::new();
    let (health, capture, has_ended) = shared.take(&mut items);
    state.take(&mut items, Shared::now(state.source.is_live));
    (state.health, state.source.capture) = (health, capture);
    if has_ended {
        state.end();
    }
    has_ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::SourceFlags;

    #[test]
    fn screens_need_a_terminal() {
        let flags = |words: &[&str]| TopFlags {
            source: SourceFlags { file: words.contains(&"-r").then(|| "x.pcap".into()), ..SourceFlags::default() },
            json: words.contains(&"--json"),
            csv: words.contains(&"--csv"),
            time: words.iter().find(|word| word.ends_with('s')).map(|word| (*word).to_owned()),
            ..TopFlags::default()
        };
        let ten = Some(Duration::from_secs(10));
        assert_eq!(shows(&flags(&[]), true), Ok(Shows::Screens));
        assert!(shows(&flags(&[]), false).unwrap_err().contains("--for 30s"));
        assert!(shows(&flags(&["--json"]), true).unwrap_err().contains("--for 30s"), "a live capture does not end");
        assert_eq!(shows(&flags(&["-r"]), false), Ok(Shows::Table(Format::Text, None)));
        assert_eq!(shows(&flags(&["-r", "--csv"]), true), Ok(Shows::Table(Format::Csv, None)));
        assert_eq!(shows(&flags(&["10s"]), true), Ok(Shows::Table(Format::Text, ten)));
        assert_eq!(shows(&flags(&["10s", "--json"]), false), Ok(Shows::Table(Format::Json, ten)));
        for wrong in ["0s", "-5s", "xs"] {
            assert_eq!(shows(&flags(&[wrong]), true), Err(format!("--for {wrong}: expected a time, such as 30s or 5m")));
        }
    }
}
