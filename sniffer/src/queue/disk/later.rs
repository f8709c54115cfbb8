//! Records that the queue took back because their target accepts nothing for a long time. Only the places of these records are in memory. A
//! limited number of them is due at a time. The time until the next ones are due grows until one of them is settled.

use super::frame::Place;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Number of records that become due together.
const AT_ONCE: usize = 256;
/// Largest number of records in this list. If there are more, the output's worker keeps them.
const MOST: usize = 500_000;
/// The first and the longest wait until the next records are due. Each wait is twice as long as the previous one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

pub(super) struct Later {
    /// The places of the records by their numbers.
    places: BTreeMap<u64, Place>,
    /// The records from this number on become due next. After the last record the list begins again with the first.
    next: u64,
    due: Option<Instant>,
    wait: Duration,
}

impl Default for Later {
    fn default() -> Self {
        Self { places: BTreeMap::new(), next: 0, due: None, wait: FIRST_WAIT }
    }
}

impl Later {
    pub(super) fn has_room(&self, records: usize) -> bool {
        self.places.len() + records <= MOST
    }

    pub(super) fn add(&mut self, number: u64, place: Place, now: Instant) {
        self.places.insert(number, place);
        self.due.get_or_insert(now + self.wait);
    }

    /// When the next records are due; `None` if there are no records.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.places.is_empty())
    }

    /// Takes the records that are due.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(u64, Place)> {
        if self.due().is_none_or(|due| now < due) {
            return Vec::new();
        }
        if self.places.range(self.next..).next().is_none() {
            self.next = 0;
        }
        let taken: Vec<(u64, Place)> = self.places.range(self.next..).take(AT_ONCE).map(|(number, place)| (*number, *place)).collect();
        for (number, _) in &taken {
            self.places.remove(number);
            self.next = number + 1;
        }
        self.due = Some(now + self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        taken
    }

    /// Records that one of the records was settled. The others are then due at once.
    pub(super) fn succeeded(&mut self) {
        self.wait = FIRST_WAIT;
        self.due = self.due.map(|_| Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_due_with_growing_waits_until_one_succeeds() {
        let (mut later, start) = (Later::default(), Instant::now());
        assert_eq!(later.due(), None);
        for number in 0..1000 {
            later.add(number, Place { at: 0, size: 1 }, start);
        }
        let mut now = start;
        let mut turns = Vec::new();
        for _ in 0..7 {
            let due = later.due().unwrap();
            assert!(later.take_due(due - Duration::from_millis(1)).is_empty());
            let taken = later.take_due(due);
            turns.push((taken[0].0, taken.len(), (due - now).as_secs()));
            // The target refuses these records again.
            taken.into_iter().for_each(|(number, place)| later.add(number, place, due));
            now = due;
        }
        assert_eq!(turns, [(0, 256, 1), (256, 256, 1), (512, 256, 2), (768, 232, 4), (0, 256, 8), (256, 256, 15), (512, 256, 15)]);
        later.succeeded();
        assert!(later.due().unwrap() <= Instant::now());
        assert!(later.has_room(MOST - 1000) && !later.has_room(MOST));
    }
}
