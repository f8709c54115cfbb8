//! The methods of one connection that wait for their responses.

use super::{
    event::Request,
    methods::{Method, Role},
};
use crate::{
    net::Direction,
    protocols::kit::backlog::{Backlog, Limits},
};
use std::{collections::VecDeque, time::Duration};

/// Maximum number of waiting methods on all channels. A client may have 2047 channels, but hardly has a request on
/// each at once.
const MOST: usize = 1024;
/// Maximum number of bytes of the arguments of all waiting methods.
const MOST_HELD: usize = 4 << 20;

/// The requests of a connection that wait for their responses.
pub struct Waiting {
    /// The waiting methods of all channels and both directions.
    pub requests: Backlog<Request<'static>>,
}

impl Waiting {
    /// Makes an empty queue, in which each request waits for `timeout`.
    pub fn new(timeout: Duration) -> Self {
        Self { requests: Backlog::new(Limits { items: MOST, bytes: MOST_HELD, timeout }) }
    }

    /// Takes the request to which `method`, sent in direction `dir`, responds. Responses come in the order of the
    /// requests of a channel: the requests before it get none and are passed to `lost`.
    pub fn answered(
        &mut self,
        method: &Method,
        dir: Direction,
        channel: u16,
        mut lost: impl FnMut(Request<'static>),
    ) -> Option<Request<'static>> {
        let same = |r: &Request<'_>| r.channel == channel && r.dir != dir;
        let answers =
            |r: &Request<'_>| r.method.class == method.class && matches!(r.method.role, Role::Request(ids) if ids.contains(&method.id));
        let fits = |r: &Request<'_>| same(r) && answers(r);
        let at = self.requests.iter().position(fits)?;
        if self.requests.get(at).is_some_and(|r| r.gaps[dir.index()]) && self.requests.iter().filter(|r| fits(r)).count() > 1 {
            // Several requests fit, and the response to one of them may have been in the gap. It is unknown to which
            // request this response belongs.
            self.requests.extract(fits).into_iter().for_each(lost);
            return None;
        }
        let asked = self.requests.remove(at)?;
        for i in (0..at).rev() {
            if self.requests.get(i).is_some_and(same) {
                self.requests.remove(i).into_iter().for_each(&mut lost);
            }
        }
        Some(asked)
    }

    /// Handles lost data in this direction. When data was lost in both directions while a request waited, it is unknown whether the next
    /// matching response belongs to this request or to a lost one. Such requests are removed and returned. A close stays, because it is
    /// the last request on its channel.
    pub fn gap(&mut self, dir: Direction) -> VecDeque<Request<'static>> {
        self.requests.for_each_mut(|r| r.gaps[dir.index()] = true);
        self.requests.extract(|r| r.gaps == [true; 2] && !r.method.closes())
    }

    /// Swaps client and server.
    pub fn swap_sides(&mut self) {
        self.requests.for_each_mut(|r| {
            r.dir = r.dir.reverse();
            r.gaps.swap(0, 1);
        });
    }
}
