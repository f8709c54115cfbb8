//! The verdicts about a connection, and the handling of segments that capture still copies after a verdict.

use super::{Connection, Env, Half, Reader};
use crate::{
    decode::Tcp,
    net::{FlowKey, Transport, Verdict},
    protocols::Close,
    publish::PublisherId,
    stream::{acceptance::Reason, reassembly::ahead},
    time::Timestamp,
};
use std::time::Duration;

/// Minimum length in bytes of a range that the parser does not need, for which a [`Verdict::Skip`] is made. Each verdict
/// costs an update of an eBPF map, and takes effect after about 10 ms (the time that a poll waits). In that time, a
/// connection with 1 Gbit/s transfers about 1 MiB.
const SHORTEST_SKIP: u64 = 1 << 20;
/// Maximum length in bytes of a range to skip. Sequence numbers and acknowledgements around the range have to be compared,
/// which is possible within half of all numbers. If the parser does not need a longer range, another verdict follows at the
/// end of the first.
const LONGEST_SKIP: u64 = 1 << 30;
/// If data is still copied this long after a [`Verdict::Shunt`], capture does not apply the verdict, or no longer applies it. The verdict
/// is then made again.
const AGAIN: Duration = Duration::from_secs(1);

/// The verdicts that capture got about a connection, and those that are still to be made.
#[derive(Clone, Copy, Default)]
pub(super) struct Told {
    /// The verdicts that are to be made.
    next: Next,
    /// Whether a verdict was made that has not been lifted.
    any: bool,
    /// When the last [`Verdict::Shunt`] was made.
    shunt: Option<Timestamp>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Next {
    shunt: bool,
    skip: [bool; 2],
    lift: bool,
}

impl Told {
    /// Makes the verdict that no parser needs the connection any more.
    pub fn shunt_later(&mut self) {
        self.next.shunt = true;
    }

    /// Lifts the verdicts, because the connection has ended.
    pub fn lift_later(&mut self) {
        self.next.lift = true;
    }
}

impl Connection {
    /// Makes the verdicts that are due.
    #[inline]
    pub fn make_verdicts(&mut self, env: &mut Env<'_>) {
        if self.told.next != Next::default() {
            self.make_verdicts_now(env);
        }
    }

    #[cold]
    fn make_verdicts_now(&mut self, env: &mut Env<'_>) {
        let Next { shunt, skip, lift } = std::mem::take(&mut self.told.next);
        if lift || self.is_over() {
            return self.lift(env);
        }
        if env.shunted.is_none() {
            return;
        }
        let key = self.flow_key();
        if shunt {
            self.told.shunt = Some(env.now);
            let [a, b] = &self.halves;
            (env.verdicts)(key, Verdict::Shunt { at: [a.order.front(), b.order.front()] });
        } else {
            for (sender, half) in self.halves.iter().enumerate().filter(|(half, _)| skip.get(*half) == Some(&true)) {
                if let Some((from, until)) = half.skip {
                    (env.verdicts)(key, Verdict::Skip { sender, from, until });
                }
            }
        }
        if !std::mem::replace(&mut self.told.any, true) && self.protocol != PublisherId::default() {
            env.sink.count(self.protocol, "shunted");
        }
    }

    /// Takes back the verdicts, because another connection between the same ends may follow.
    pub fn lift(&mut self, env: &mut Env<'_>) {
        if std::mem::take(&mut self.told).any {
            (env.verdicts)(self.flow_key(), Verdict::Lift);
        }
    }

    /// When capture last saw a segment of this connection without copying it.
    pub fn last_shunted(&self, env: &Env<'_>) -> Option<Timestamp> {
        let shunted = env.shunted.filter(|_| self.told.any)?(&self.flow_key())?;
        Some(env.sink.steady(shunted.last, env.now))
    }

    /// Whether the last verdict was that no segment needs to be copied.
    #[inline]
    pub(super) fn is_shunted(&self) -> bool {
        self.told.shunt.is_some()
    }

    /// Handles a segment without SYN after a [`Verdict::Shunt`]. There is no parser, so only the end of the connection matters.
    /// Capture has seen the segments that were not copied and knows the position of the stream. Returns what
    /// [`Connection::segment`] returns.
    #[inline(never)]
    pub(super) fn shunted_segment(&mut self, half: usize, segment: &Tcp<'_>, env: &mut Env<'_>) -> bool {
        let ends = segment.flags.fin() || segment.flags.rst();
        let reach = self.acceptance.reach(1 - half);
        let near = |at: u32| ahead(segment.seq, at).unsigned_abs() <= reach;
        let front = self.halves[half].order.front();
        let mut is_near = front.is_some_and(near);
        if ends {
            let known = env.shunted.and_then(|shunted| shunted(&self.flow_key()));
            if let Some(at) = known.and_then(|known| known.at.get(half).copied().flatten()) {
                // Segments that were copied before the verdict was in force may be ahead of the position of capture.
                let is_behind = front.is_some_and(|front| ahead(at, front) > 0);
                is_near = near(at) || is_near && !is_behind;
            }
            if !is_near {
                self.ignore(half, if segment.flags.rst() { Reason::Reset } else { Reason::Fin }, env);
                return false;
            }
        }
        let end = segment.seq.wrapping_add(segment.wire_payload);
        let order = &mut self.halves[half].order;
        if !is_near || order.next().is_none_or(|next| !near(next) || ahead(end, next) > 0) {
            order.follow(end);
        }
        if segment.flags.rst() {
            env.totals.resets += 1;
            self.end(Close::Reset, env);
        } else if segment.flags.fin() {
            self.close(half, Close::Fin, env);
        } else if segment.wire_payload > 0 && self.told.shunt.is_some_and(|made| made.after(AGAIN) <= env.now) {
            self.told.shunt_later();
            return true;
        }
        ends
    }

    /// Records a range of a half that the parser does not need. Short ranges are ignored, and so is a range if the last one includes the
    /// next byte.
    #[inline]
    pub(super) fn note_skip(&mut self, half: usize, env: &Env<'_>) {
        if self.halves[half].pending.to_skip() >= SHORTEST_SKIP {
            self.make_skip(half, env);
        }
    }

    #[cold]
    fn make_skip(&mut self, half: usize, env: &Env<'_>) {
        let Half { order, pending, skip, .. } = &mut self.halves[half];
        let (Some(next), Reader::Parser(_)) = (order.next(), &self.reader) else { return };
        if skip.is_some_and(|(_, until)| ahead(until, next) > 0) {
            return;
        }
        let length = pending.to_skip().min(LONGEST_SKIP) as u32; // at most 2^30
        *skip = Some((next, next.wrapping_add(length)));
        self.told.next.skip[half] = env.shunted.is_some();
    }

    /// Advances a half to `seq` or the end of the range that the parser does not need, because capture does not copy the segments
    /// of the range. The bytes in between are not a gap.
    #[inline]
    pub(super) fn skip_to(&mut self, half: usize, seq: u32, env: &mut Env<'_>) {
        if let Half { order, skip: Some((_, until)), closed: false, .. } = &self.halves[half]
            && env.shunted.is_some()
            && let Some(next) = order.next()
            && ahead(*until, next) > 0
            && ahead(seq, next) > 0
        {
            let to = if ahead(seq, *until) > 0 { *until } else { seq };
            self.ordered(half, env, |order, out, _| order.skip_to(to, out));
        }
    }

    /// The key of the connection in verdicts.
    fn flow_key(&self) -> FlowKey {
        FlowKey::new(self.peers.realm, Transport::Tcp, self.peers.client, self.peers.server)
    }
}
