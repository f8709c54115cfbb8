//! The records of a worker that are sent again later, while newer records are sent. They stay handed out by the queue, so the limits of the
//! queue bound them; a disk queue takes them back if many wait. Records that were refused equally often form a group, which is sent
//! together.

use crate::{
    output::backoff::{self, Backoff},
    queue::Batch,
};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// What the records of a group have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    /// Each record is sent alone, because the connection broke whenever it was sent.
    pub alone: bool,
    /// How often the server refused the records.
    pub refusals: u32,
}

/// The groups of records that wait.
pub(super) struct Waiting {
    groups: BTreeMap<Group, Members>,
    backoff: backoff::Options,
}

struct Members {
    batch: Batch,
    due: Instant,
    backoff: Backoff,
}

impl Waiting {
    pub(super) fn new(backoff: backoff::Options) -> Self {
        Self { groups: BTreeMap::new(), backoff }
    }

    /// Adds records to a group. If the group was empty, it becomes due after the first wait. If too many records wait, the queue takes back
    /// those whose refusals are not counted.
    pub(super) fn add(&mut self, group: Group, batch: Batch) {
        if batch.records().is_empty() {
            return;
        }
        let Some(batch) = batch.postpone(group == Group::default()) else { return };
        match self.groups.get_mut(&group) {
            Some(members) => members.batch.append(batch),
            None => {
                let mut backoff = Backoff::new(self.backoff);
                let due = Instant::now() + backoff.after_failure();
                self.groups.insert(group, Members { batch, due, backoff });
            }
        }
    }

    /// When the first group is due; `None` when nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.groups.values().map(|members| members.due).min()
    }

    /// Takes at most `max` records of the group that is due first. The other records of the group wait until [`Waiting::settled`] says that
    /// the attempt succeeded, or until the next wait is over.
    pub(super) fn take(&mut self, max: usize) -> Option<(Group, Batch)> {
        let group = *self.groups.iter().min_by_key(|(_, members)| members.due)?.0;
        let members = self.groups.get_mut(&group)?;
        let max = if group.alone { 1 } else { max };
        let rest = members.batch.split_off(max);
        let batch = std::mem::replace(&mut members.batch, rest);
        members.due = Instant::now() + members.backoff.after_failure();
        Some((group, batch))
    }

    /// Records the result of an attempt with records of a group. After a success the other records of the group are due at once.
    pub(super) fn settled(&mut self, group: Group, succeeded: bool) {
        let Some(members) = self.groups.get_mut(&group) else { return };
        if members.batch.records().is_empty() {
            self.groups.remove(&group);
        } else if succeeded {
            members.backoff.reset();
            members.due = Instant::now();
        }
    }

    /// Gives all records back to the queue, so that another worker can send them.
    pub(super) fn give_back(&mut self) {
        self.groups.clear();
    }
}
