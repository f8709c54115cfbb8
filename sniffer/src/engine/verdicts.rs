//! Verdicts: what capture does not need to copy any more. They are collected while packets are processed, and passed to
//! capture between two polls, because the source is borrowed during a poll.

use crate::{
    capture::control::Control,
    net::{FlowKey, Verdict},
};

/// Maximum number of verdicts collected in one poll; further ones are dropped and counted. A dropped verdict only means that packets
/// are copied that no parser needs.
const MOST: usize = 4096;

/// Verdicts collected during a poll.
#[derive(Default)]
pub(super) struct Verdicts {
    collected: Vec<(FlowKey, Verdict)>,
    shunts: u64,
    skips: u64,
    dropped: u64,
}

impl Verdicts {
    pub fn push(&mut self, key: FlowKey, verdict: Verdict) {
        if self.collected.len() >= MOST {
            self.dropped += 1;
            return;
        }
        match verdict {
            Verdict::Shunt => self.shunts += 1,
            Verdict::Skip { .. } => self.skips += 1,
        }
        self.collected.push((key, verdict));
    }

    /// Passes the collected verdicts to capture.
    pub fn apply(&mut self, control: &dyn Control) {
        if !self.collected.is_empty() {
            control.apply(&self.collected);
            self.collected.clear();
        }
    }

    /// Totals since the start, by metric name.
    pub fn counters(&self) -> [(&'static str, u64); 3] {
        [("verdicts.shunt", self.shunts), ("verdicts.skip", self.skips), ("verdicts.dropped", self.dropped)]
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
        verdicts.apply(&control);
        assert_eq!(control.take(), [], "nothing to say");
        for port in 0..5000 {
            verdicts.push(key(port), Verdict::Shunt);
        }
        verdicts.apply(&control);
        verdicts.push(key(1), Verdict::Skip { sender: 0, from: 1, until: 2 });
        verdicts.apply(&control);
        let sizes: Vec<_> = control.take().iter().map(|call| if let Call::Apply(verdicts) = call { verdicts.len() } else { 0 }).collect();
        assert_eq!(sizes, [4096, 1]);
        assert_eq!(verdicts.counters().map(|(_, n)| n), [4096, 1, 904]);
    }
}
