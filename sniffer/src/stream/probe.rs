//! Detects the protocol of a connection on a port that several protocols share or that no protocol claims. The prober
//! is a parser that hands the connection over to the protocol that recognises the first bytes.

use crate::{
    net::Direction,
    protocols::{Close, Context, Probe, Progress, Protocol, Recovery, StreamParser},
};

/// Maximum number of bytes of one direction that are examined, enough for a TLS hello or an HTTP header section in several segments.
const MOST_LOOKED_AT: usize = 4096;
/// Maximum number of bytes of one direction that are passed to the candidates when every segment is examined; bytes that are
/// examined repeatedly count each time. Beyond this limit the candidates are asked only when the number of bytes has
/// doubled, so that a connection in tiny segments costs no more than other connections.
const MOST_ASKED: usize = 64 << 10;

/// The protocols that a connection may still have.
pub struct Prober {
    candidates: Vec<&'static Protocol>,
    /// For each direction, the number of bytes passed to the candidates, see [`MOST_ASKED`].
    asked: [usize; 2],
}

impl Prober {
    /// Makes a prober for these protocols.
    pub fn new(candidates: impl Iterator<Item = &'static Protocol>) -> Self {
        Self { candidates: candidates.collect(), asked: [0; 2] }
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
            None => {
                let asked = &mut self.asked[dir.index()];
                *asked += data.len();
                let need = if *asked > MOST_ASKED { need.max(data.len()) } else { need };
                // The parser asks for at most one byte more than the limit, because no probe needs
                // bytes beyond the limit.
                Progress::Consumed { bytes: 0, need: need.min((MOST_LOOKED_AT + 1).saturating_sub(data.len())) }
            }
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
