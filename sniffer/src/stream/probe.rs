//! Finds out whose connection it is, on a port that several protocols share or that is nobody's. A parser like any other, that
//! hands over to the one that recognises the first bytes.

use crate::{
    net::Direction,
    protocols::{Close, Context, Probe, Progress, Protocol, Recovery, StreamParser},
};

/// Bytes of one direction after which nobody will recognise it any more: a TLS hello or an HTTP head in several segments.
const MOST_LOOKED_AT: usize = 4096;

/// See the module.
pub struct Prober {
    candidates: Vec<&'static Protocol>,
}

impl Prober {
    /// One of `candidates` it is, or none.
    pub fn new(candidates: impl Iterator<Item = &'static Protocol>) -> Self {
        Self { candidates: candidates.collect() }
    }
}

impl StreamParser for Prober {
    fn on_data(&mut self, dir: Direction, data: &[u8], _cx: &mut Context<'_>) -> Progress {
        let (mut found, mut need) = (None, usize::MAX);
        self.candidates.retain(|candidate| match (candidate.probe)(dir, data) {
            Probe::Yes => {
                found.get_or_insert(candidate.name);
                true
            }
            Probe::More(n) => {
                need = need.min(n);
                true
            }
            Probe::No => false,
        });
        match found {
            Some(to) => Progress::HandOver { bytes: 0, to },
            None if self.candidates.is_empty() || data.len() > MOST_LOOKED_AT => Progress::GiveUp,
            None => Progress::Consumed { bytes: 0, need },
        }
    }

    fn on_gap(&mut self, _dir: Direction, _lost: u64, _cx: &mut Context<'_>) -> Recovery {
        Recovery::Resume
    }

    fn on_close(&mut self, _dir: Direction, _why: Close, _cx: &mut Context<'_>) {}

    fn held(&self) -> usize {
        self.candidates.capacity() * size_of::<&Protocol>()
    }
}
