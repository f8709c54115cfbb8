//! placeholder
use crate::{decode::Packet, publish::Sink, time::Timestamp};
/// placeholder
pub struct FlowTable;
impl FlowTable {
    /// .
    pub fn packet(&mut self, _p: &Packet<'_>, _c: Option<u64>) {}
    /// .
    pub fn report(&mut self, _now: Timestamp, _s: &mut Sink, _p: usize) {}
    /// .
    pub fn finish(&mut self, _now: Timestamp, _s: &mut Sink, _p: usize) {}
    /// .
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        std::iter::empty()
    }
}
