//! Ways to replay a capture file: repeatedly (`-l`), at its original pace (without `-t`), or packet by packet (`-O`).
//!
//! Each way is a [`Wrapper`]. The wrappers read the clock, which only sources may do, and they copy frames: they are not optimised for
//! speed.

use super::{Error, Frame, Polled, Source, wrapper::Wrapper};
use crate::time::Timestamp;
use std::{
    collections::VecDeque,
    io::{self, BufRead, Write},
    ops::Range,
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Opens a source; can be called repeatedly.
pub type Opener = Box<dyn FnMut() -> Result<Box<dyn Source>, Error> + Send>;

/// Reads a file several times, by reopening it.
pub struct Looped {
    open: Opener,
    current: Box<dyn Source>,
    /// How many more times the file is reopened; `None` means forever.
    left: Option<u64>,
    /// Whether the current round delivered a frame. A file without frames is not reopened, so that `-l 0` on it ends.
    had_frames: bool,
}

impl Looped {
    /// Reads the source that `open` returns `loops` times; 0 means forever.
    ///
    /// # Errors
    /// The errors of `open`.
    pub fn new(mut open: Opener, loops: u64) -> Result<Self, Error> {
        let current = open()?;
        Ok(Self { open, current, left: loops.checked_sub(1), had_frames: false })
    }
}

impl Wrapper for Looped {
    fn inner(&mut self) -> Option<&mut dyn Source> {
        Some(self.current.as_mut())
    }

    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        let polled = self.current.poll(wait, each)?;
        match polled {
            Polled::Frames(count) => self.had_frames |= count > 0,
            Polled::Idle => {}
            Polled::Ended => {
                if self.left == Some(0) || !self.had_frames {
                    return Ok(Polled::Ended);
                }
                self.current.update_stats()?;
                self.current = (self.open)().map_err(io::Error::other)?;
                self.left = self.left.map(|left| left - 1);
                self.had_frames = false;
                return Ok(Polled::Frames(0));
            }
        }
        Ok(polled)
    }
}

/// Copies of the frames that one poll of a source delivered, in order.
#[derive(Default)]
struct CopiedFrames {
    bytes: Vec<u8>,
    frames: VecDeque<(Frame<'static>, Range<usize>)>,
}

impl CopiedFrames {
    fn fill(&mut self, source: &mut dyn Source, wait: Duration) -> io::Result<Polled> {
        self.bytes.clear();
        source.poll(wait, &mut |frame| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(frame.data);
            self.frames.push_back((Frame { data: &[], ..frame }, start..self.bytes.len()));
        })
    }

    fn next_time(&self) -> Option<Timestamp> {
        self.frames.front().map(|(frame, _)| frame.time)
    }

    fn hand_over(&mut self, time: Option<Timestamp>, each: &mut dyn FnMut(Frame<'_>)) {
        if let Some((frame, range)) = self.frames.pop_front() {
            each(Frame { time: time.unwrap_or(frame.time), data: self.bytes.get(range).unwrap_or_default(), ..frame });
        }
    }
}

/// Delivers frames with their original gaps, and with the current time as timestamp.
pub struct Paced {
    inner: Box<dyn Source>,
    copied: CopiedFrames,
    /// The timestamp of the last frame delivered, and the moment when it was due.
    last: Option<(Timestamp, Instant)>,
}

impl Paced {
    /// Paces the frames of `inner`.
    pub fn new(inner: Box<dyn Source>) -> Self {
        Self { inner, copied: CopiedFrames::default(), last: None }
    }
}

impl Wrapper for Paced {
    fn inner(&mut self) -> Option<&mut dyn Source> {
        Some(self.inner.as_mut())
    }

    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        let until = Instant::now() + wait;
        let mut count = 0;
        if self.copied.next_time().is_none() {
            match self.copied.fill(self.inner.as_mut(), wait)? {
                Polled::Frames(_) => {}
                other => return Ok(other),
            }
        }
        while let Some(time) = self.copied.next_time() {
            let now = Instant::now();
            // A timestamp that is smaller than the previous one, as at the start of the next round, counts as no gap.
            let due = self.last.map_or(Some(now), |(last, due)| due.checked_add(Duration::from_nanos(time.since(last)))).unwrap_or(now);
            if due > now {
                if count > 0 {
                    break;
                }
                thread::sleep(due.min(until).saturating_duration_since(now));
                if due > until {
                    return Ok(Polled::Idle);
                }
            }
            self.last = Some((time, due));
            let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.copied.hand_over(Some(Timestamp(u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX))), each);
            count += 1;
        }
        Ok(Polled::Frames(count))
    }
}

/// Delivers one frame for every line that the user enters.
pub struct Stepped {
    inner: Box<dyn Source>,
    copied: CopiedFrames,
    lines: Receiver<()>,
    prompt: Box<dyn Write + Send>,
    asked: bool,
}

impl Stepped {
    /// Reads `lines` on a separate thread, so that timers and signals are handled while the user enters nothing.
    pub fn new(inner: Box<dyn Source>, lines: impl BufRead + Send + 'static, prompt: impl Write + Send + 'static) -> Self {
        let (pressed, receiver) = sync_channel(0);
        thread::spawn(move || {
            for line in lines.lines() {
                if line.is_err() || pressed.send(()).is_err() {
                    return;
                }
            }
        });
        Self { inner, copied: CopiedFrames::default(), lines: receiver, prompt: Box::new(prompt), asked: false }
    }
}

impl Wrapper for Stepped {
    fn inner(&mut self) -> Option<&mut dyn Source> {
        Some(self.inner.as_mut())
    }

    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        if self.copied.next_time().is_none() {
            match self.copied.fill(self.inner.as_mut(), wait)? {
                Polled::Frames(count) if count > 0 => {}
                other => return Ok(other),
            }
        }
        if !std::mem::replace(&mut self.asked, true) {
            writeln!(self.prompt, "Press enter to read packet")?;
            self.prompt.flush()?;
        }
        match self.lines.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => Ok(Polled::Idle),
            // After the end of the standard input no further line will come, so deliver the remaining frames without waiting.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                self.asked = false;
                self.copied.hand_over(None, each);
                Ok(Polled::Frames(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Link, Segments};

    /// A source that delivers frames with these timestamps in one poll.
    struct Times(Vec<u64>);

    impl Source for Times {
        fn poll(&mut self, _: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
            let times = std::mem::take(&mut self.0);
            for time in &times {
                let data = time.to_be_bytes();
                each(Frame {
                    time: Timestamp(*time),
                    link: Link::Ethernet,
                    data: &data,
                    wire_len: 8,
                    tag: None,
                    ifindex: 0,
                    segments: Segments::default(),
                    task: Default::default(),
                });
            }
            Ok(if times.is_empty() { Polled::Ended } else { Polled::Frames(times.len()) })
        }

        fn update_stats(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn times(source: &mut dyn Source) -> Vec<(u64, u64)> {
        let mut seen = Vec::new();
        let mut each = |f: Frame<'_>| seen.push((f.time.0, u64::from_be_bytes(*f.data.first_chunk().unwrap())));
        while source.poll(Duration::from_millis(5), &mut each).unwrap() != Polled::Ended {}
        seen
    }

    #[test]
    fn a_file_is_read_several_times() {
        let mut three = Looped::new(Box::new(|| Ok(Box::new(Times(vec![1, 2])))), 3).unwrap();
        assert_eq!(times(&mut three).iter().map(|t| t.0).collect::<Vec<_>>(), [1, 2, 1, 2, 1, 2]);
        let mut empty = Looped::new(Box::new(|| Ok(Box::new(Times(Vec::new())))), 0).unwrap();
        assert_eq!(times(&mut empty), [], "for ever, but there is nothing");
        let mut forever = Looped::new(Box::new(|| Ok(Box::new(Times(vec![1])))), 0).unwrap();
        let mut count = 0;
        for _ in 0..100 {
            assert_ne!(Wrapper::poll(&mut forever, Duration::ZERO, &mut |_| count += 1).unwrap(), Polled::Ended);
        }
        assert_eq!(count, 50);
    }

    #[test]
    fn gaps_are_kept_and_timestamps_are_the_current_time() {
        let start = Instant::now();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let milli = 1_000_000;
        let mut paced = Paced::new(Box::new(Times(vec![1000 * milli, 1030 * milli, 500 * milli, 530 * milli, 530 * milli])));
        let seen = times(&mut paced);
        let took = start.elapsed();
        assert_eq!(seen.iter().map(|t| t.1 / milli).collect::<Vec<_>>(), [1000, 1030, 500, 530, 530]);
        let after: Vec<u64> = seen.iter().map(|t| (t.0 - wall) / milli).collect();
        assert!(after[1] >= 30 && after[2] >= 30 && after[3] >= 60 && after[4] >= 60, "{after:?}");
        assert!(took >= Duration::from_millis(60) && took < Duration::from_secs(5), "{took:?}");
    }

    #[test]
    fn each_line_of_input_delivers_one_frame() {
        let (lines, mut keyboard) = io::pipe().unwrap();
        let (mut screen, prompt) = io::pipe().unwrap();
        let mut stepped = Stepped::new(Box::new(Times(vec![7, 8])), io::BufReader::new(lines), prompt);
        let mut seen = Vec::new();
        let mut poll = |wait| Wrapper::poll(&mut stepped, Duration::from_millis(wait), &mut |f| seen.push(f.time.0)).unwrap();
        assert_eq!((poll(1), poll(1)), (Polled::Idle, Polled::Idle));
        keyboard.write_all(b"\n").unwrap();
        assert_eq!(poll(5000), Polled::Frames(1));
        assert_eq!(poll(1), Polled::Idle);
        keyboard.write_all(b"\n").unwrap();
        assert_eq!(poll(5000), Polled::Frames(1));
        assert_eq!(poll(1), Polled::Ended);
        assert_eq!(seen, [7, 8]);
        drop(stepped);
        let mut printed = String::new();
        io::Read::read_to_string(&mut screen, &mut printed).unwrap();
        assert_eq!(printed, "Press enter to read packet\nPress enter to read packet\n");
    }
}
