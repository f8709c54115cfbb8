//! The size of the next batch. The size is reduced when connections break, so that an event that breaks connections is sent alone in the
//! end. With `slow_start` the first batches are small.

/// The size of the first batch with `slow_start`.
const SLOW: usize = 10;

/// Number of consecutive broken connections after which batches become smaller. A single broken connection is ordinary, for example because
/// the server was restarted.
const BREAKS: u32 = 2;

/// Number of consecutive single events with which the connection may break before the server is taken for the cause. One event that
/// breaks connections is followed by others that do not.
const SINGLES: u32 = 2;

/// The cause of a broken connection, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is not known.
    Unknown,
    /// The single event that was sent.
    Event,
    /// The server, for example one that accepts connections and never answers.
    Server,
}

/// The largest size of the next batch.
#[derive(Debug)]
pub(super) struct Window {
    max: usize,
    size: usize,
    breaks: u32,
    /// Number of consecutive broken connections with a single event.
    singles: u32,
    /// Whether there are other workers, which may have another server.
    has_others: bool,
}

impl Window {
    /// Makes a window of the largest size. `max`: `bulk_max_size`; 0 means as many as the queue hands out. `has_others`: whether there are
    /// other workers, which may have another server.
    pub(super) fn new(max: usize, slow_start: bool, has_others: bool) -> Self {
        let max = if max == 0 { usize::MAX } else { max };
        Self { max, size: if slow_start { SLOW.min(max) } else { max }, breaks: 0, singles: 0, has_others }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Records that the server answered a batch.
    pub(super) fn answered(&mut self) {
        self.size = self.size.saturating_mul(2).min(self.max);
        self.breaks = 0;
        self.singles = 0;
    }

    /// Records that the connection broke while a batch of `count` records was sent. Returns the cause.
    pub(super) fn broke(&mut self, count: usize) -> Cause {
        self.breaks = self.breaks.saturating_add(1);
        if self.breaks < BREAKS {
            return Cause::Unknown;
        }
        self.size = (count / 2).clamp(1, self.max);
        if count > 1 {
            return Cause::Unknown;
        }
        self.singles = self.singles.saturating_add(1);
        if self.has_others && self.singles > SINGLES { Cause::Server } else { Cause::Event }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_at_repeated_breaks_and_grows_with_answers() {
        let mut window = Window::new(100, false, false);
        assert_eq!(window.broke(100), Cause::Unknown);
        assert_eq!(window.size(), 100, "a single break has other causes");
        let mut sizes = Vec::new();
        while window.broke(window.size()) == Cause::Unknown {
            sizes.push(window.size());
        }
        assert_eq!(sizes, [50, 25, 12, 6, 3, 1]);
        for expected in [2, 4, 8, 16, 32, 64, 100, 100] {
            window.answered();
            assert_eq!(window.size(), expected);
        }
    }

    #[test]
    fn a_server_is_the_cause_if_other_workers_may_have_another_one() {
        for has_others in [true, false] {
            let mut window = Window::new(1, false, has_others);
            let mut causes = |count: usize| (0..count).map(|_| window.broke(1)).collect::<Vec<_>>();
            let last = if has_others { Cause::Server } else { Cause::Event };
            assert_eq!(causes(5), [Cause::Unknown, Cause::Event, Cause::Event, last, last], "{has_others}");
            window.answered();
            assert_eq!((window.broke(1), window.broke(1)), (Cause::Unknown, Cause::Event));
        }
    }

    #[test]
    fn slow_start_and_no_limit() {
        assert_eq!(Window::new(4, true, false).size(), 4);
        let mut window = Window::new(2048, true, false);
        assert_eq!(window.size(), 10);
        window.answered();
        assert_eq!(window.size(), 20);
        let mut window = Window::new(0, false, false);
        window.broke(3200);
        window.broke(3200);
        assert_eq!(window.size(), 1600);
        window.answered();
        assert_eq!(window.size(), 3200);
    }
}
