//! Carries text from the workers to one reader, usually standard output. The amount of waiting text is limited; lines for which there is no
//! room are counted.

use std::{
    io::{self, Write},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Maximum number of bytes that wait to be printed.
const MOST_WAITING: usize = 1 << 20;
/// How often a worker that waits for room checks whether it has to stop.
const LOOK: Duration = Duration::from_millis(100);

/// What a worker does with a line if there is no room.
#[derive(Clone, Copy, Debug)]
pub enum WhenFull<'a> {
    /// Drops and counts the line.
    Drop,
    /// Waits for room until the flag is true; then drops and counts the line.
    WaitUnless(&'a AtomicBool),
}

/// Numbers of accepted and dropped lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines accepted; they are printed in order.
    pub taken: u64,
    /// Lines dropped, because the reader was too slow or has gone.
    pub dropped: u64,
}

/// A buffer of lines, shared by the workers and the thread that prints. See the documentation of this module.
#[derive(Debug, Default)]
pub struct Screen {
    state: Mutex<State>,
    /// Wakes the printing thread: there is text, or the screen is closed.
    filled: Condvar,
    /// Wakes workers: there is room, or the reader has gone.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: String,
    counts: Counts,
    /// Set when no more lines will be added.
    closed: bool,
    /// Set when printing failed because the reader has gone.
    gone: bool,
}

impl Screen {
    /// Adds a line, which must end with a newline.
    pub fn add(&self, line: &str, full: WhenFull<'_>) {
        let mut state = self.lock();
        // A line that is longer than the limit is accepted if no other text waits.
        while !state.gone && !state.text.is_empty() && state.text.len() + line.len() > MOST_WAITING {
            match full {
                WhenFull::WaitUnless(stop) if !stop.load(Ordering::Relaxed) => {
                    state = self.drained.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => {
                    state.counts.dropped += 1;
                    return;
                }
            }
        }
        if state.gone {
            state.counts.dropped += 1;
            return;
        }
        state.text.push_str(line);
        state.counts.taken += 1;
        drop(state);
        self.filled.notify_one();
    }

    /// Ends the input: [`Screen::print`] returns when all lines are printed.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Prints added lines to `out` until [`Screen::close`]. Writes `before` in front of each block of lines. This method blocks, so it
    /// needs its own thread.
    ///
    /// # Errors
    /// When writing to `out` fails. No lines are accepted after that.
    pub fn print(&self, out: &mut dyn Write, before: &str) -> io::Result<()> {
        let mut text = String::new();
        loop {
            text.clear();
            let mut state = self.lock();
            while state.text.is_empty() && !state.closed {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.text.is_empty() {
                return Ok(());
            }
            std::mem::swap(&mut text, &mut state.text);
            drop(state);
            self.drained.notify_all();
            let printed = out.write_all(before.as_bytes()).and_then(|()| out.write_all(text.as_bytes())).and_then(|()| out.flush());
            if let Err(error) = printed {
                self.lock().gone = true;
                self.drained.notify_all();
                return Err(error);
            }
        }
    }

    /// Returns how many lines were accepted and how many were dropped until now.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{Arc, mpsc},
        thread,
    };

    /// A reader that accepts each text only after a message on `go`, and fails when the sender of `go` is dropped.
    struct Slow {
        go: mpsc::Receiver<()>,
        read: mpsc::Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.go.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.read.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_lines_in_order_and_then_the_end() {
        let screen = Screen::default();
        screen.add("a\n", WhenFull::Drop);
        screen.add("b\n", WhenFull::Drop);
        screen.close();
        let mut out = Vec::new();
        screen.print(&mut out, "> ").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "> a\nb\n");
        assert_eq!(screen.counts(), Counts { taken: 2, dropped: 0 });
    }

    #[test]
    fn a_live_source_drops_and_counts_lines_without_room() {
        let screen = Screen::default();
        let line = "x".repeat(MOST_WAITING / 2 - 1) + "\n";
        for _ in 0..5 {
            screen.add(&line, WhenFull::Drop);
        }
        assert_eq!(screen.counts(), Counts { taken: 2, dropped: 3 });
        screen.close();
        let mut out = Vec::new();
        screen.print(&mut out, "").unwrap();
        assert_eq!(out.len(), 2 * line.len());
    }

    #[test]
    fn a_file_waits_for_room_until_it_has_to_stop() {
        let (screen, stop) = (Arc::new(Screen::default()), Arc::new(AtomicBool::new(false)));
        let line = "y".repeat(MOST_WAITING);
        let ((go, going), (read, reading)) = (mpsc::channel(), mpsc::channel());
        let printer = thread::spawn({
            let screen = screen.clone();
            move || screen.print(&mut Slow { go: going, read }, "")
        });
        let worker = thread::spawn({
            let (screen, stop) = (screen.clone(), stop.clone());
            move || {
                for _ in 0..4 {
                    screen.add(&line, WhenFull::WaitUnless(&stop));
                }
            }
        });
        go.send(()).unwrap();
        assert_eq!(reading.recv().unwrap().len(), MOST_WAITING);
        // The printer holds the second line and the buffer the third. There is no room for the fourth, and its worker
        // is told to stop.
        stop.store(true, Ordering::Relaxed);
        worker.join().unwrap();
        let Counts { taken, dropped } = screen.counts();
        assert_eq!(taken + dropped, 4);
        assert!(dropped >= 1, "{taken} taken, {dropped} dropped");
        drop(go);
        assert_eq!(printer.join().unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn no_line_is_accepted_after_the_reader_has_gone() {
        let screen = Screen::default();
        screen.add("a\n", WhenFull::Drop);
        let ((go, going), (read, _reading)) = (mpsc::channel(), mpsc::channel());
        drop(go);
        assert!(screen.print(&mut Slow { go: going, read }, "").is_err());
        screen.add("b\n", WhenFull::WaitUnless(&AtomicBool::new(false)));
        assert_eq!(screen.counts(), Counts { taken: 1, dropped: 1 });
    }
}
