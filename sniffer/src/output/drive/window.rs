//! The size of the next batch. The size is reduced when connections break, so that an event that breaks connections is sent alone in the
//! end. With `slow_start` the first batches are small.

/// The size of the first batch with `slow_start`.
const SLOW: usize = 10;

/// Number of consecutive broken connections after which batches become smaller. A single broken connection is ordinary, for example because
/// the server was restarted.
const BREAKS: u32 = 2;

/// The largest size of the next batch.
#[derive(Debug)]
pub(super) struct Window {
    max: usize,
    size: usize,
    breaks: u32,
}

impl Window {
    /// Makes a window of the largest size. `max`: `bulk_max_size`; 0 means as many as the queue hands out.
    pub(super) fn new(max: usize, slow_start: bool) -> Self {
        let max = if max == 0 { usize::MAX } else { max };
        Self { max, size: if slow_start { SLOW.min(max) } else { max }, breaks: 0 }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Records that the server answered a batch.
    pub(super) fn answered(&mut self) {
        self.size = self.size.saturating_mul(2).min(self.max);
        self.breaks = 0;
    }

    /// Records that the connection broke while a batch of `count` records was sent. Returns whether this has repeatedly happened and the
    /// batch was a single record.
    pub(super) fn broke(&mut self, count: usize) -> bool {
        self.breaks = self.breaks.saturating_add(1);
        if self.breaks < BREAKS {
            return false;
        }
        self.size = (count / 2).clamp(1, self.max);
        count == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_at_repeated_breaks_and_grows_with_answers() {
        let mut window = Window::new(100, false);
        assert!(!window.broke(100));
        assert_eq!(window.size(), 100, "a single break has other causes");
        let mut sizes = Vec::new();
        while !window.broke(window.size()) {
            sizes.push(window.size());
        }
        assert_eq!(sizes, [50, 25, 12, 6, 3, 1]);
        for expected in [2, 4, 8, 16, 32, 64, 100, 100] {
            window.answered();
            assert_eq!(window.size(), expected);
        }
    }

    #[test]
    fn slow_start_and_no_limit() {
        assert_eq!(Window::new(4, true).size(), 4);
        let mut window = Window::new(2048, true);
        assert_eq!(window.size(), 10);
        window.answered();
        assert_eq!(window.size(), 20);
        let mut window = Window::new(0, false);
        window.broke(3200);
        window.broke(3200);
        assert_eq!(window.size(), 1600);
        window.answered();
        assert_eq!(window.size(), 3200);
    }
}
