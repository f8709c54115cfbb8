//! Verdicts: which packets capture no longer needs to copy. They are collected while packets are processed, and passed
//! to capture between two polls, because the source is borrowed during a poll.

use crate::{
    capture::control::Control,
    net::{FlowKey, Verdict},
    time::Timestamp,
};
use std::time::Duration;

/// Maximum number of verdicts collected in one poll; further ones are dropped and counted. A dropped verdict only means that packets
/// are copied that no parser needs.
const MOST: usize = 4096;
/// Longest time between two calls of capture.
const EVERY: Duration = Duration::from_secs(1);

/// Verdicts collected during a poll.
#[derive(Default)]
pub(super) struct Verdicts {
    collected: Vec<(FlowKey, Verdict)>,
    /// The time of the last call of capture.
    applied: Timestamp,
    shunts: u64,
    skips: u64,
    lifts: u64,
    dropped: u64,
}

impl Verdicts {
    pub fn push(&mut self, key: FlowKey, verdict: Verdict) {
        if self.collected.len() >= MOST {
            self.dropped += 1;
            return;
        }
        match verdict {
            Verdict::Shunt { .. } => self.shunts += 1,
            Verdict::Skip { .. } => self.skips += 1,
            Verdict::Lift => self.lifts += 1,
        }
        self.collected.push((key, verdict));
    }

    /// Passes the collected verdicts to capture. Calls `control` at least every second, so that it can forget verdicts about
    /// connections that are silent.
    pub fn apply(&mut self, control: &dyn Control, now: Timestamp) {
        if !self.collected.is_empty() || now.since(self.applied) >= EVERY.as_nanos() as u64 {
            self.applied = now;
            control.apply(&self.collected);
            self.collected.clear();
        }
    }

    /// Totals since the start, by metric name.
    pub fn counters(&self) -> [(&'static str, u64); 4] {
        let Self { shunts, skips, lifts, dropped, .. } = *self;
        [("verdicts.shunt", shunts), ("verdicts.skip", skips), ("verdicts.lift", lifts), ("verdicts.dropped", dropped)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::control::recording::{Call, Recording},
        net::{Realm, Transport},
    };

    #[test]
    fn verdicts_of_one_poll_are_bounded_and_handed_over_once() {
        let (mut verdicts, control) = (Verdicts::default(), Recording::default());
        let end = |port| std::net::SocketAddr::from(([10, 0, 0, 1], port));
        let key = |port| FlowKey::new(Realm::default(), Transport::Tcp, end(port), end(80));
        let apply = |verdicts: &mut Verdicts, seconds: u64| {
            verdicts.apply(&control, Timestamp(seconds * 1_000_000_000));
            control.take().into_iter().map(|call| if let Call::Apply(verdicts) = call { verdicts.len() } else { 9999 }).collect::<Vec<_>>()
        };
        assert_eq!(apply(&mut verdicts, 0), [0; 0], "nothing to say");
        for port in 0..5000 {
            verdicts.push(key(port), Verdict::Shunt { at: [Some(1), None] });
        }
        assert_eq!(apply(&mut verdicts, 0), [4096]);
        verdicts.push(key(1), Verdict::Skip { sender: 0, from: 1, until: 2 });
        verdicts.push(key(1), Verdict::Lift);
        assert_eq!(apply(&mut verdicts, 0), [2]);
        assert_eq!((apply(&mut verdicts, 1), apply(&mut verdicts, 1)), (vec![0], vec![]), "once a second without verdicts");
        assert_eq!(verdicts.counters().map(|(_, n)| n), [4096, 1, 1, 904]);
    }
}
