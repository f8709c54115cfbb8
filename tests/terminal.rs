//! A terminal made by tmux, for tests of what a user sees.

use crate::net::{PATIENCE, becomes, until};
use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// The sizes of terminals in which views are tested: columns and rows.
pub const SIZES: [(u16, u16); 4] = [(40, 10), (80, 24), (120, 40), (200, 60)];

/// A terminal made by tmux, which is removed when it is dropped.
pub struct Terminal {
    socket: String,
    folder: tempfile::TempDir,
}

impl Terminal {
    /// Starts `command` (of a shell) in a terminal. Its settings are written before and after. `tmux`: the command that starts tmux.
    pub fn start(mut tmux: Command, (width, height): (u16, u16), command: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let socket = format!("snf{}w{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        let terminal = Self { socket, folder: tempfile::tempdir().unwrap() };
        let at = |name: &str| terminal.folder.path().join(name).display().to_string();
        let [before, new, after] = ["before", "new", "after"].map(at);
        let script = format!("stty -g > {before}; {command}; stty -g > {new}; mv {new} {after}; exec cat");
        let size = [width.to_string(), height.to_string()];
        tmux.args(["-L", &terminal.socket, "-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1], &script]);
        tmux.env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR").env_remove("TMUX");
        let output = tmux.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        terminal
    }

    /// Runs a command of tmux and returns what it prints.
    pub fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").args(["-L", &self.socket]).args(args).output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// All lines, in which lines that the terminal has wrapped are joined.
    pub fn lines(&self) -> Vec<String> {
        self.tmux(&["capture-pane", "-p", "-J", "-S", "-"]).lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits until a line contains `text`.
    pub fn wait_for(&self, text: &str) {
        self.until(&format!("{text:?} on the screen"), || self.lines().iter().any(|line| line.contains(text)));
    }

    /// Like [`until`], but a failure prints the screen.
    pub fn until(&self, what: &str, ready: impl FnMut() -> bool) {
        assert!(becomes(ready), "{what}: not within {PATIENCE:?}; the screen:\n{}", self.lines().join("\n"));
    }

    /// Types keys, each by its name in tmux.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// The rows of the screen as they are, with their trailing blanks removed.
    pub fn rows(&self) -> Vec<String> {
        self.tmux(&["capture-pane", "-p"]).lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// The rows with the sequences that set colours.
    pub fn rows_with_colors(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// The id of the program that the shell of the terminal runs.
    pub fn program(&self) -> u32 {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let children = || fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.trim())).unwrap_or_default();
        let is_program = |id: &u32| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == "sniffer");
        let mut found = None;
        self.until("the program runs", || {
            found = children().split_whitespace().filter_map(|id| id.parse().ok()).find(is_program);
            found.is_some()
        });
        found.unwrap()
    }

    /// Removes the terminal while the program runs.
    pub fn close(&self) {
        self.tmux(&["kill-server"]);
    }

    /// Waits for the end of the command, and checks that the settings of the terminal are as before.
    pub fn wait_for_the_end(&self) {
        let file = |name: &str| fs::read_to_string(self.folder.path().join(name));
        until("the end of the program", || file("after").is_ok());
        assert_eq!(file("before").unwrap(), file("after").unwrap(), "the settings of the terminal");
    }

    /// Checks the lines from the first one that contains `text`.
    pub fn assert_no_line_wraps_from(&self, text: &str, width: u16) {
        for line in self.lines().iter().skip_while(|line| !line.contains(text)) {
            assert!(line.chars().count() <= usize::from(width), "{} columns in {width}: {line}", line.chars().count());
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.socket, "kill-server"]).output();
    }
}

/// Whether tmux is installed. If not, prints that `test` is skipped.
pub fn has_tmux(test: &str) -> bool {
    let has = Command::new("tmux").arg("-V").output().is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("SKIPPED {test}: it needs tmux");
    }
    has
}
