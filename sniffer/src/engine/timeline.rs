//! The packet time, on which all timers run. The packet time follows the timestamps of the frames, and does not go back
//! unless the clock of the capturing machine was set back. When the clock is set, the timestamps make a step. This
//! module decides for each timestamp whether it is a step, a single wrong time, or the time of a frame that arrived
//! late.

use crate::{
    capture::{Frame, Link, Segments, StrippedTag, Task},
    time::Timestamp,
};
use std::time::Duration;

/// A frame whose timestamp is later than the packet time by more than this may have a wrong timestamp. The frame waits
/// until the timestamp of the next frame shows whether it is right.
const FAR_AHEAD: Duration = Duration::from_secs(60);
/// Frames of several interfaces or rings may arrive in another order than they were on the wire, but not by more than
/// this.
const LATE: Duration = Duration::from_secs(10);
/// If the timestamps of this number of consecutive frames are earlier than the packet time by more than [`LATE`], the
/// clock was set back (a step).
const FRAMES_OF_STEP: u32 = 4;

/// The meaning of a frame's timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The packet time advances to the timestamp.
    Next,
    /// The frame arrived late or its timestamp is wrong: the packet time does not change.
    Behind,
    /// The clock was set back: timers must start again from this time.
    SteppedBack,
    /// The frame must wait until it is known whether its timestamp is right.
    Unsure,
}

/// The packet time, and the frame whose timestamp is in doubt.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    now: Timestamp,
    /// Number of consecutive frames whose timestamps were earlier than the packet time by more than [`LATE`].
    behind: u32,
    /// Number of frames since the last step back.
    since_step: u64,
    waiting: Option<Waiting>,
    /// Number of steps and single wrong times.
    steps: u64,
}

/// A frame whose timestamp may be wrong.
#[derive(Debug)]
pub(super) struct Waiting {
    time: Timestamp,
    link: Link,
    data: Vec<u8>,
    wire_len: u32,
    tag: Option<StrippedTag>,
    ifindex: u32,
    segments: Segments,
    task: Task,
}

impl Waiting {
    /// The frame, with its corrected timestamp.
    pub(super) fn frame(&self) -> Frame<'_> {
        let Self { time, link, ref data, wire_len, tag, ifindex, segments, task } = *self;
        Frame { time, link, data, wire_len, tag, ifindex, segments, task }
    }
}

impl Timeline {
    /// The greatest time since the last step.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Number of steps and single wrong times.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether a frame waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Returns the waiting frame, if there is one, with the time that results from the next known time `next` (`None`:
    /// the end of the input). The frame must be processed before anything at `next`.
    pub(super) fn release(&mut self, next: Option<Timestamp>) -> Option<Waiting> {
        let mut waiting = self.waiting.take()?;
        if next.is_some_and(|next| next.after(LATE) < waiting.time) {
            self.step(
                "a frame was {} s ahead of those before and after it; it takes the time between theirs",
                waiting.time.since(self.now),
            );
            waiting.time = Timestamp(self.now.0 + next.map_or(0, |next| next.since(self.now)) / 2);
        }
        self.now = self.now.max(waiting.time);
        Some(waiting)
    }

    /// Handles the timestamp of a frame. `cost` is the work of a step back, measured in frames.
    pub(super) fn frame(&mut self, time: Timestamp, cost: usize) -> Meaning {
        self.since_step = self.since_step.saturating_add(1);
        if time >= self.now {
            let far = self.now != Timestamp::default() && time.since(self.now) > FAR_AHEAD.as_nanos() as u64;
            self.behind = 0;
            if far {
                return Meaning::Unsure;
            }
            self.now = time;
            return Meaning::Next;
        }
        if time.after(LATE) >= self.now {
            self.behind = 0;
            return Meaning::Behind;
        }
        self.behind = self.behind.saturating_add(1);
        // A step back needs at least `cost` frames since the last one. Therefore alternating timestamps at most double the
        // work per frame.
        if self.behind < FRAMES_OF_STEP || self.since_step < cost as u64 {
            return Meaning::Behind;
        }
        self.step("the time of the packets went back by {} s; timers start again from it", self.now.since(time));
        (self.now, self.behind, self.since_step) = (time, 0, 0);
        Meaning::SteppedBack
    }

    /// Keeps a frame whose timestamp is [`Meaning::Unsure`].
    pub(super) fn wait(&mut self, frame: &Frame<'_>) {
        let Frame { time, link, data, wire_len, tag, ifindex, segments, task } = *frame;
        self.waiting = Some(Waiting { time, link, data: data.to_vec(), wire_len, tag, ifindex, segments, task });
    }

    /// Advances the time to `now` without a frame. Returns whether it advances.
    pub(super) fn advance(&mut self, now: Timestamp) -> bool {
        let later = now > self.now;
        self.now = self.now.max(now);
        later
    }

    /// Counts a step; the first one is logged.
    fn step(&mut self, what: &str, nanos: u64) {
        self.steps += 1;
        if self.steps == 1 {
            log::warn!("{} (later steps are only counted, as time.steps)", what.replace("{}", &(nanos / 1_000_000_000).to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * SECOND)
    }

    fn meanings(timeline: &mut Timeline, times: &[u64]) -> Vec<Meaning> {
        times.iter().map(|&seconds| timeline.frame(at(seconds), 0)).collect()
    }

    #[test]
    fn what_a_time_means() {
        use Meaning::{Behind, Next, SteppedBack, Unsure};
        let mut timeline = Timeline::default();
        assert_eq!(meanings(&mut timeline, &[5000, 5060, 5055, 5061, 5122]), [Next, Next, Behind, Next, Unsure]);
        assert_eq!(
            meanings(&mut timeline, &[1000, 1001, 1002, 5062, 1003, 1004, 1005]),
            [Behind, Behind, Behind, Next, Behind, Behind, Behind]
        );
        assert_eq!(meanings(&mut timeline, &[1006, 1007, 5063]), [SteppedBack, Next, Unsure]);
        assert_eq!((timeline.now(), timeline.steps()), (at(1007), 1));
    }

    #[test]
    fn a_frame_far_ahead_is_judged_by_the_next() {
        let data = [1, 2, 3];
        let frame = |seconds| Frame {
            time: at(seconds),
            link: Link::RawIp,
            data: &data,
            wire_len: 3,
            tag: None,
            ifindex: 0,
            segments: Segments::default(),
            task: Default::default(),
        };
        for (next, time, steps) in [
            (Some(at(5002)), 5001, 1),
            (Some(at(4999)), 5000, 1),
            (Some(at(8601)), 8600, 0),
            (Some(at(8595)), 8600, 0),
            (Some(at(20_000)), 8600, 0),
            (None, 8600, 0),
        ] {
            let mut timeline = Timeline::default();
            assert_eq!((timeline.frame(at(5000), 0), timeline.frame(at(8600), 0)), (Meaning::Next, Meaning::Unsure));
            timeline.wait(&frame(8600));
            let released = timeline.release(next).unwrap();
            assert_eq!(
                (released.frame().time, released.frame().data, timeline.now(), timeline.steps()),
                (at(time), &data[..], at(time), steps),
                "{next:?}"
            );
            assert!(timeline.release(next).is_none());
        }
    }

    #[test]
    fn steps_back_are_rarer_than_what_they_cost() {
        let mut timeline = Timeline::default();
        let mut steps = 0;
        for round in 0..1000 {
            for n in 0..10 {
                // The timestamps alternate between two clocks that differ by 40 s.
                let time = at(5000 + n + if round % 2 == 0 { 40 } else { 0 });
                steps += usize::from(timeline.frame(time, 500) == Meaning::SteppedBack);
            }
        }
        assert!((1..=20).contains(&steps), "{steps}");
    }
}
