//! Log lines about deliveries that fail. The first failure of a kind is logged at once. After that, one line every ten seconds has the
//! number of events, so that a server that refuses everything does not fill the log.

use super::Reason;
use crate::{monitor::log::EVENT_DATA, publish::Record};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The shortest time between two lines of the same kind.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// Maximum number of bytes of an event in the log of dropped events.
const MOST_OF_EVENT: usize = 64 << 10;

/// Maximum number of kinds. Further kinds are logged as one kind.
const MOST: usize = 32;

/// The kind of event that a log line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// No connection could be made. The number in the line is the number of attempts.
    NotConnected,
    /// A batch could not be sent. Its events are kept.
    NotSent,
    /// The server did not accept the events now. They are sent again.
    SentAgain,
    /// Events were dropped.
    Dropped,
}

impl Subject {
    fn line(self, count: usize, why: &str) -> String {
        match (self, count) {
            (Self::NotConnected, 1) => format!("Failed to connect to the output: {why}"),
            (Self::NotConnected, _) => format!("Failed to connect to the output, {count} attempts: {why}"),
            (Self::NotSent, _) => format!("Failed to publish {count} events, which are kept and sent again: {why}"),
            (Self::SentAgain, _) => format!("{count} events are sent again: {why}"),
            (Self::Dropped, _) => format!("Cannot publish {count} events, which are dropped: {why}"),
        }
    }

    fn level(self) -> log::Level {
        match self {
            Self::NotConnected | Self::NotSent => log::Level::Error,
            Self::SentAgain | Self::Dropped => log::Level::Warn,
        }
    }
}

/// Writes an event that is dropped to the log of events (`logging.event_data`), with the server's own text.
pub(super) fn log_dropped(record: &Record, why: &Reason) {
    if !log::log_enabled!(target: EVENT_DATA, log::Level::Warn) {
        return;
    }
    let shown = record.body.get(..MOST_OF_EVENT).unwrap_or(&record.body);
    let detail = why.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    log::warn!(target: EVENT_DATA, "Cannot publish event {}: {why}{detail}", String::from_utf8_lossy(shown));
}

/// The notices of all workers of an output.
#[derive(Debug, Default)]
pub struct Notices(Mutex<BTreeMap<(Subject, String), Pending>>);

#[derive(Debug)]
struct Pending {
    last: Instant,
    count: usize,
}

impl Notices {
    /// Logs that a failure of this kind happened to `count` events. If the last line of this kind is less than ten seconds old, the
    /// function only adds to the number for the next line.
    pub(super) fn add(&self, subject: Subject, count: usize, why: &Reason) {
        if let Some(detail) = &why.detail {
            log::debug!("{}: {detail}", subject.line(count, &why.summary));
        }
        if let Some(line) = self.line(subject, count, &why.summary) {
            log::log!(subject.level(), "{line}");
        }
    }

    fn line(&self, subject: Subject, count: usize, why: &str) -> Option<String> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let mut key = (subject, why.to_owned());
        if kinds.len() >= MOST && !kinds.contains_key(&key) {
            key.1 = "for other reasons".into();
        }
        match kinds.get_mut(&key) {
            Some(pending) => {
                pending.count += count;
                None
            }
            None => {
                let line = subject.line(count, &key.1);
                kinds.insert(key, Pending { last: now, count: 0 });
                Some(line)
            }
        }
    }

    /// Logs the counts since the last lines. The caller calls it every second, and with `all` at the end.
    pub(super) fn flush(&self, all: bool) {
        for (subject, line) in self.due(all) {
            log::log!(subject.level(), "{line}");
        }
    }

    fn due(&self, all: bool) -> Vec<(Subject, String)> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, mut lines) = (Instant::now(), Vec::new());
        kinds.retain(|(subject, why), pending| {
            if !all && now.duration_since(pending.last) < EVERY {
                return true;
            }
            if pending.count == 0 {
                return false;
            }
            lines.push((*subject, subject.line(pending.count, why)));
            *pending = Pending { last: now, count: 0 };
            true
        });
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_in_ten_seconds_with_the_number() {
        let notices = Notices::default();
        let first = notices.line(Subject::Dropped, 3, "400 x");
        assert_eq!(first.as_deref(), Some("Cannot publish 3 events, which are dropped: 400 x"));
        for _ in 0..100 {
            assert_eq!(notices.line(Subject::Dropped, 2, "400 x"), None);
        }
        assert_eq!(notices.due(false), []);
        assert!(notices.line(Subject::Dropped, 1, "400 y").is_some(), "another reason is another kind");
        tokio::time::advance(EVERY).await;
        let line = |count| (Subject::Dropped, format!("Cannot publish {count} events, which are dropped: 400 x"));
        assert_eq!(notices.due(false), [line(200)]);
        assert_eq!(notices.line(Subject::Dropped, 5, "400 x"), None);
        assert_eq!(notices.due(true), [line(5)]);
        tokio::time::advance(EVERY).await;
        assert_eq!((notices.due(false), notices.0.lock().unwrap().len()), (vec![], 0), "nothing new: forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_kinds_is_bounded() {
        let notices = Notices::default();
        let lines = (0..1000).filter_map(|n| notices.line(Subject::SentAgain, 1, &format!("{n}"))).count();
        assert_eq!((lines, notices.0.lock().unwrap().len()), (MOST + 1, MOST + 1));
        assert_eq!(notices.due(true), [(Subject::SentAgain, "967 events are sent again: for other reasons".into())]);
    }
}
