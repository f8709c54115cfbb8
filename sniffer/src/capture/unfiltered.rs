//! A device whose filter the kernel does not run: every packet is copied, and the filter is applied in user space. Filters
//! with loops, very long ones, and those for which an old kernel has no memory are handled this way, whatever the backend.

use super::{
    Error, Link, Source,
    control::{Control, DeviceStats},
    filter::Filters,
    filtered::{Filtered, Programs, compile_each},
    slot::Slot,
    tally::Tally,
};
use crate::net::{FlowDelta, FlowKey, Shunted, Verdict};
use std::sync::Arc;

/// The control of a backend whose filter may be applied in user space.
pub struct FallbackControl {
    device: String,
    inner: Arc<dyn Control>,
    /// The programs in force; `None` while the kernel filters.
    programs: Arc<Slot<Option<Arc<Programs>>>>,
    /// The counters, in which the packets rejected in user space count as unmatched.
    tally: Arc<Tally>,
}

/// Sources and their control.
pub type Opened = (Vec<Box<dyn Source>>, Arc<dyn Control>);

/// Makes the filter of the opened sources of `device` replaceable by one that is applied in user space. `filters`: the
/// filter that is applied there from the beginning, `None` if the kernel filters.
///
/// # Errors
/// When the filter cannot be applied in user space either.
pub fn with_fallback(device: &str, opened: Opened, filters: Option<&Filters>) -> Result<Opened, Error> {
    let (sources, inner) = opened;
    let (programs, tally) = (Slot::new(filters.map(in_user_space).transpose()?), Arc::<Tally>::default());
    let filtered = |source| -> Box<dyn Source> { Box::new(Filtered::new(source, &programs, Arc::clone(&tally))) };
    let sources = sources.into_iter().map(filtered).collect();
    Ok((sources, Arc::new(FallbackControl { device: device.to_owned(), inner, programs, tally })))
}

fn in_user_space(filters: &Filters) -> Result<Arc<Programs>, Error> {
    compile_each(|link| if link == Link::Ethernet { &filters.text } else { &filters.text_raw_ip }).map(Arc::new)
}

/// Logs that a filter is applied in user space, and why.
pub fn log_fallback(device: &str, filters: &Filters, reason: &Error) {
    let text: String = filters.text.chars().take(200).collect();
    log::warn!("{device}: the kernel does not run the filter `{text}`, so every packet is copied and filtered by this program: {reason}");
}

impl Control for FallbackControl {
    fn set_filter(&self, filters: &Filters) -> Result<(), Error> {
        let Err(error) = self.inner.set_filter(filters) else {
            self.programs.set(None);
            return Ok(());
        };
        // While the kernel counts flows, it must know which packets the filter matches.
        if filters.counting.is_some() {
            return Err(error);
        }
        let Ok(programs) = in_user_space(filters) else { return Err(error) };
        // Until the workers poll again, the kernel still has the old filter, and user space applies the new filter to
        // the packets that pass the old one.
        self.programs.set(Some(programs));
        self.inner.set_filter(&Filters::default())?;
        log_fallback(&self.device, filters, &error);
        Ok(())
    }

    fn apply(&self, verdicts: &[(FlowKey, Verdict)]) {
        self.inner.apply(verdicts);
    }

    fn shunted(&self, key: &FlowKey) -> Option<Shunted> {
        self.inner.shunted(key)
    }

    fn drain_flows(&self, worker: usize, end: bool, each: &mut dyn FnMut(&FlowDelta)) -> Result<(), Error> {
        self.inner.drain_flows(worker, end, each)
    }

    fn stats(&self) -> Result<DeviceStats, Error> {
        let (mut stats, rejected) = (self.inner.stats()?, self.tally.get().unmatched);
        stats.unmatched += rejected;
        stats.copied = stats.copied.saturating_sub(rejected);
        Ok(stats)
    }
}
