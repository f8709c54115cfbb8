//! The terminal: its width and charset, whether it has colours, and its keys.

use super::super::shared;
use crate::{
    cli::Color,
    view::{text::Charset, watch::layout::Style},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::read,
    process::getpgrp,
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr},
};
use std::{
    env,
    io::{self, IsTerminal},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tokio::sync::Notify;

/// How long the thread of the keys waits before it checks whether the program has to leave the terminal alone.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The variable of the environment; `None` if it is not set or empty.
fn variable(name: &str) -> Option<String> {
    env::var_os(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned())
}

/// Whether standard output is a terminal whose lines can be rewritten.
pub fn can_rewrite() -> bool {
    io::stdout().is_terminal() && !is_dumb()
}

fn is_dumb() -> bool {
    variable("TERM").is_none_or(|name| name == "dumb")
}

/// How lines look on this terminal, or on a pipe.
pub fn style(color: Color) -> Style {
    let color = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => can_rewrite() && variable("NO_COLOR").is_none(),
    };
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).unwrap_or_default();
    Style { color, charset: Charset::of_locale(&locale), ahead_of_utc: shared::ahead_of_utc() }
}

/// The name of the zone of the shown times: `UTC+8`, `UTC-3:30`.
pub fn zone(ahead_of_utc: i32) -> String {
    let minutes = ahead_of_utc.unsigned_abs() / 60;
    let sign = if ahead_of_utc < 0 { '-' } else { '+' };
    match (minutes / 60, minutes % 60) {
        (0, 0) => "UTC".to_owned(),
        (hours, 0) => format!("UTC{sign}{hours}"),
        (hours, minutes) => format!("UTC{sign}{hours}:{minutes:02}"),
    }
}

/// Columns and rows of the terminal on standard output; `None` if there is none, or if it does not tell.
pub fn size() -> Option<(usize, usize)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// Reads keys from the terminal on standard input. Until it is dropped, the terminal does not echo them, and does not wait for Enter.
pub struct Keys {
    before: Termios,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Keys {
    /// Starts to read keys. Space toggles `paused`; `q` notifies `quit`. Returns `None` if standard input is no terminal.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn read(paused: Arc<AtomicBool>, quit: Arc<Notify>) -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        let Some(before) = tcgetattr(&stdin).ok().filter(|_| stdin.is_terminal()) else { return Ok(None) };
        let stop = Arc::new(AtomicBool::new(false));
        let mut keys = Self { before, stop: stop.clone(), thread: None };
        keys.thread = Some(
            thread::Builder::new()
                .name("keys".into())
                .spawn(move || while !stop.load(Ordering::Relaxed) && wait_for_keys(&paused, &quit) {})?,
        );
        Ok(Some(keys))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The thread ends after at most LOOK. Until then it could change the settings again.
            let _ = thread.join();
        }
        if is_in_foreground() {
            // Keys that were typed and not read are dropped, so that the shell does not get them.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
        }
    }
}

/// Whether this process may use the terminal. A process in the background that reads from the terminal or changes its settings is stopped.
fn is_in_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

/// Waits for keys for a limited time, and serves them. Returns false if there will be no keys.
fn wait_for_keys(paused: &AtomicBool, quit: &Notify) -> bool {
    let stdin = io::stdin();
    if !is_in_foreground() {
        thread::sleep(LOOK.try_into().unwrap_or_default());
        return true;
    }
    // The settings are checked again and again, because the shell restores its own when it suspends the program.
    match tcgetattr(&stdin) {
        Ok(mut settings) if settings.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO) => {
            settings.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            if tcsetattr(&stdin, OptionalActions::Now, &settings).is_err() {
                return false;
            }
        }
        Ok(_) => {}
        Err(_) => return false,
    }
    let mut descriptors = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut descriptors, Some(&LOOK)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return true,
        Ok(_) => {}
        Err(_) => return false,
    }
    let mut typed = [0; 64];
    match read(&stdin, &mut typed) {
        Ok(0) | Err(_) => false,
        Ok(number) => {
            typed.iter().take(number).for_each(|&key| serve(key, paused, quit));
            true
        }
    }
}

fn serve(key: u8, paused: &AtomicBool, quit: &Notify) {
    match key {
        b' ' => drop(paused.fetch_xor(true, Ordering::Relaxed)),
        b'q' | b'Q' => quit.notify_one(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_zones() {
        let names = [0, 8 * 3600, -(3 * 3600 + 1800), 5 * 3600 + 2700].map(zone);
        assert_eq!(names, ["UTC", "UTC+8", "UTC-3:30", "UTC+5:45"]);
    }

    #[test]
    fn space_toggles_the_pause() {
        let (paused, quit) = (AtomicBool::new(false), Notify::new());
        let states = [b' ', b'x', b' '].map(|key| {
            serve(key, &paused, &quit);
            paused.load(Ordering::Relaxed)
        });
        assert_eq!(states, [true, true, false]);
    }
}
