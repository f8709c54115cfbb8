//! The methods of one connection that wait for their answers.

use super::{
    event::Request,
    methods::{Method, Role},
};
use crate::{net::Direction, time::Timestamp};
use std::{collections::VecDeque, mem};

/// On all channels: a client may have 2047 of them, but hardly asks on all at once.
const MOST: usize = 1024;
/// Bytes of their arguments.
const MOST_HELD: usize = 4 << 20;

/// See the module.
#[derive(Default)]
pub struct Waiting {
    /// Oldest first.
    requests: VecDeque<Request<'static>>,
    held: usize,
}

impl Waiting {
    /// One more waits. What there is no room for any more comes back.
    pub fn push(&mut self, request: Request<'static>) -> Vec<Request<'static>> {
        let mut out = vec![];
        self.held += request.args.len();
        self.requests.push_back(request);
        while self.requests.len() > MOST || self.held > MOST_HELD {
            let Some(oldest) = self.remove(0) else { break };
            out.push(oldest);
        }
        out
    }

    /// The request that `method` answers, which was sent in direction `dir`. Answers come in the order of the requests of a channel:
    /// those before it will have none and are given to `lost`.
    pub fn answered(
        &mut self,
        method: &Method,
        dir: Direction,
        channel: u16,
        mut lost: impl FnMut(Request<'static>),
    ) -> Option<Request<'static>> {
        let same = |r: &Request<'_>| r.channel == channel && r.dir != dir;
        let answers =
            |r: &Request<'_>| r.method.class == method.class && matches!(r.method.role, Role::Asks(ids) if ids.contains(&method.id));
        let fits = |r: &Request<'_>| same(r) && answers(r);
        let at = self.requests.iter().position(fits)?;
        if self.requests.get(at).is_some_and(|r| r.gaps[dir.index()]) && self.requests.iter().filter(|r| fits(r)).count() > 1 {
            // Whose answer was in the gap, and whose is this?
            self.take(fits).into_iter().for_each(lost);
            return None;
        }
        let asked = self.remove(at)?;
        for i in (0..at).rev() {
            if self.requests.get(i).is_some_and(same) {
                self.remove(i).into_iter().for_each(&mut lost);
            }
        }
        Some(asked)
    }

    /// Something is lost in that direction. Takes out those of which nothing is known any more: their answers may be in one gap, and
    /// requests after them in another. A close is the last on its channel.
    pub fn gap(&mut self, dir: Direction) -> VecDeque<Request<'static>> {
        self.requests.iter_mut().for_each(|r| r.gaps[dir.index()] = true);
        self.take(|r| r.gaps == [true; 2] && !r.method.closes())
    }

    /// Takes out those that `which` names.
    pub fn take(&mut self, which: impl Fn(&Request<'_>) -> bool) -> VecDeque<Request<'static>> {
        if !self.requests.iter().any(&which) {
            return VecDeque::new();
        }
        let (out, kept): (VecDeque<_>, VecDeque<_>) = mem::take(&mut self.requests).into_iter().partition(which);
        self.requests = kept;
        self.held = self.requests.iter().map(|r| r.args.len()).sum();
        out
    }

    /// Since when the oldest waits.
    pub fn since(&self) -> Option<Timestamp> {
        self.requests.front().map(|r| r.time)
    }

    /// Client and server were taken for each other.
    pub fn turn_round(&mut self) {
        for r in &mut self.requests {
            r.dir = r.dir.reverse();
            r.gaps.swap(0, 1);
        }
    }

    fn remove(&mut self, at: usize) -> Option<Request<'static>> {
        let request = self.requests.remove(at)?;
        self.held = self.held.saturating_sub(request.args.len());
        Some(request)
    }
}
