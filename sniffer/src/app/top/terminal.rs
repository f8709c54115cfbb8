//! The terminal: it is opened for the screens, read for keys, and given back as it was, whatever ends the program.

use super::{
    super::{SystemClock, notices::Notices, shared::Shared, watch},
    files, update,
};
use crate::{
    cli::Color,
    opening::Clock,
    view::{
        top::{Look, Outcome, State, draw, export::Export, press},
        units::counted,
        watch::layout::Style,
    },
};
use crossterm::{
    cursor, event,
    event::{Event, KeyEventKind},
    execute, terminal,
};
use ratatui::{Terminal, backend::CrosstermBackend};
use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    panic,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Time between two frames while no key is pressed.
const FRAME: Duration = Duration::from_millis(250);
/// How long the thread waits for a key before it checks whether the run has ended.
const WAIT: Duration = Duration::from_millis(50);

/// Whether there is a terminal that can show screens, and from which keys can be read. `input`: the file that is read. If it is standard
/// input, keys are read from the terminal of the process.
pub fn can_show_screens(input: Option<&Path>) -> bool {
    let has_keys = io::stdin().is_terminal() || (input == Some(Path::new("-")) && File::open("/dev/tty").is_ok());
    has_keys && watch::terminal::can_rewrite()
}

/// How screens look on this terminal.
pub fn look() -> Look {
    let Style { color, charset, ahead_of_utc } = watch::terminal::style(Color::Auto);
    Look { color, charset, ahead_of_utc }
}

/// Gives the terminal back when it is dropped.
struct Opened;

impl Opened {
    fn new() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let opened = Self;
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(opened)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back as it was. A second call changes nothing.
fn give_back() {
    // If this fails, the terminal is gone.
    let _ = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
    let _ = terminal::disable_raw_mode();
    let _ = io::stdout().flush();
}

/// Shows the screens until the user quits or the run ends.
///
/// # Errors
/// When the terminal cannot be used.
pub fn show(shared: &Shared, notices: &Notices, mut state: State) -> io::Result<()> {
    let opened = Opened::new()?;
    // The message of a panic of any thread is printed when the terminal is free, and not on a screen that is then cleared.
    let has_panicked = Arc::new(AtomicBool::new(false));
    let (panicked, before) = (has_panicked.clone(), panic::take_hook());
    panic::set_hook(Box::new(move |info| {
        if !panicked.swap(true, Ordering::SeqCst) {
            give_back();
        }
        before(info);
    }));
    let mut screen = Terminal::new(CrosstermBackend::new(io::stdout()))?;
    let mut drawn: Option<Instant> = None;
    while !shared.is_quit() && !has_panicked.load(Ordering::SeqCst) {
        if drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME) {
            let has_ended = update(shared, &mut state);
            if has_ended && state.source.is_live {
                break;
            }
            state.notice = notices.last();
            screen.draw(|frame| {
                let area = frame.area();
                draw(&mut state, area, frame.buffer_mut());
            })?;
            drawn = Some(Instant::now());
        }
        if !event::poll(WAIT)? {
            continue;
        }
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                match press(&mut state, key) {
                    Outcome::Quit => break,
                    Outcome::Draw => {}
                    Outcome::Export(export) => save(&mut state, &export),
                    Outcome::Copy(text) => {
                        io::stdout().write_all(files::clipboard(&text).as_bytes())?;
                        io::stdout().flush()?;
                    }
                }
                drawn = None;
            }
            Event::Resize(..) => drawn = None,
            _ => {}
        }
    }
    drop(opened);
    Ok(())
}

/// Writes an export to the current folder, and says so on the screen.
fn save(state: &mut State, export: &Export) {
    let now = SystemClock.now().text(3);
    // 2026-01-02T03:04:05.678Z
    let time: String = now.as_str().chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
    match files::save(Path::new(""), export, &time.replace('T', "-")) {
        Ok(path) => state.say(format!("{} in {}", counted(export.rows as u64, "row"), path.display()), false),
        Err(error) => state.say(format!("Not exported: {error}. The file would be in the folder in which top was started."), true),
    }
}
