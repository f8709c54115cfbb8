//! The last transactions, which a view can show one by one. Memory is limited; the oldest are dropped first.

use super::record::Record;
use std::{collections::VecDeque, sync::Arc};

/// Maximum number of transactions.
pub const MOST_KEPT: usize = 20_000;
/// Maximum number of bytes of these transactions.
pub const MOST_BYTES: usize = 16 << 20;

/// The last transactions, numbered from 0 in the order of their arrival.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    list: VecDeque<Arc<Record>>,
    bytes: usize,
    /// Number of transactions that were added.
    added: u64,
}

impl Kept {
    /// Adds a transaction.
    pub fn add(&mut self, record: Arc<Record>) {
        self.bytes += record.held();
        self.list.push_back(record);
        self.added += 1;
        while (self.list.len() > MOST_KEPT || self.bytes > MOST_BYTES)
            && let Some(oldest) = self.list.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.held());
        }
    }

    /// Number of transactions that were added, also of those that are no longer kept.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// Number of transactions.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are no transactions.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The transaction with a number, if it is still kept.
    pub fn get(&self, number: u64) -> Option<&Arc<Record>> {
        let first = self.added - self.list.len() as u64;
        self.list.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// The transactions with their numbers, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Arc<Record>)> + ExactSizeIterator {
        let first = self.added - self.list.len() as u64;
        self.list.iter().enumerate().map(move |(index, record)| (first + index as u64, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::observer::Transaction;
    use crate::view::testing::transaction;

    #[test]
    fn the_oldest_are_dropped() {
        let mut kept = Kept::default();
        let small = Arc::new(Record::new(&transaction()));
        (0..MOST_KEPT + 5).for_each(|_| kept.add(small.clone()));
        assert_eq!((kept.len(), kept.added()), (MOST_KEPT, MOST_KEPT as u64 + 5));
        assert_eq!((kept.get(4).is_some(), kept.get(5).is_some(), kept.get(MOST_KEPT as u64 + 5).is_some()), (false, true, false));
        let text = "x".repeat(5000);
        let large = Arc::new(Record::new(&Transaction { query: &text, resource: &text, ..transaction() }));
        (0..MOST_KEPT).for_each(|_| kept.add(large.clone()));
        assert_eq!(kept.len(), MOST_BYTES / large.held());
        let (first, last) = (kept.iter().next().unwrap().0, kept.iter().next_back().unwrap().0);
        assert_eq!((last, last - first + 1), (kept.added() - 1, kept.len() as u64));
    }
}
