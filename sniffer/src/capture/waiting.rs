//! An interface whose device does not exist yet: its sources wait for the device, and then deliver the packets of the opened one.

use super::{
    Error, Frame, Polled, Source,
    control::{Control, DeviceStats},
    filter::Filters,
    wrapper::Wrapper,
};
use crate::net::{FlowDelta, FlowKey, Shunted, Verdict};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Pause between two attempts to open the device.
const RETRY: Duration = Duration::from_secs(1);

/// The opened interface.
pub struct Opened {
    /// The sources, one for each worker.
    pub sources: Vec<Box<dyn Source>>,
    /// The control of the backend.
    pub control: Arc<dyn Control>,
    /// The capture method, for messages.
    pub how: String,
}

/// Opens the interface with a filter.
pub type Open = Box<dyn Fn(&Filters) -> Result<Opened, Error> + Send>;

/// The control of a waiting interface. After the device was opened, every call goes to the control of the backend.
pub struct WaitingControl {
    name: String,
    state: Mutex<State>,
    opened: OnceLock<Arc<dyn Control>>,
}

/// Locked while the device is opened, while the filter is replaced, and while a waiting worker looks for its source.
struct State {
    open: Open,
    /// The newest filter, for the device when it is opened.
    filters: Filters,
    next: Instant,
    /// The sources of the opened device that no worker has taken yet.
    sources: Vec<Box<dyn Source>>,
}

/// Makes the sources, one per worker, and the control of an interface that `open` opens as soon as its device exists. `name`: the device
/// as the user named it.
pub fn waiting(name: &str, workers: usize, filters: &Filters, open: Open) -> (Vec<Box<dyn Source>>, Arc<dyn Control>) {
    let state = State { open, filters: filters.clone(), next: Instant::now() + RETRY, sources: Vec::new() };
    let control = Arc::new(WaitingControl { name: name.to_owned(), state: Mutex::new(state), opened: OnceLock::new() });
    let source = |_| -> Box<dyn Source> { Box::new(Waiting { control: Arc::clone(&control), source: None }) };
    ((0..workers.max(1)).map(source).collect(), control)
}

impl WaitingControl {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A source of the opened device, for one worker. If the next attempt is due, the function first tries to open the device.
    fn take(&self) -> Option<Box<dyn Source>> {
        let mut state = self.lock();
        let now = Instant::now();
        if self.opened.get().is_none() && now >= state.next {
            match (state.open)(&state.filters) {
                Ok(Opened { sources, control, how }) => {
                    log::info!("{}: the device is there; capturing with {how}", self.name);
                    state.sources = sources;
                    let _ = self.opened.set(control); // the cell is empty until here
                }
                Err(error) if error.is_missing() => state.next = now + RETRY,
                Err(error) => {
                    log::warn!("{error}; opening the device is tried again in a minute");
                    state.next = now + 60 * RETRY;
                }
            }
        }
        state.sources.pop()
    }
}

impl Control for WaitingControl {
    fn set_filter(&self, filters: &Filters) -> Result<(), Error> {
        let mut state = self.lock();
        if let Some(control) = self.opened.get() {
            control.set_filter(filters)?;
        }
        state.filters = filters.clone();
        Ok(())
    }

    fn apply(&self, verdicts: &[(FlowKey, Verdict)]) {
        if let Some(control) = self.opened.get() {
            control.apply(verdicts);
        }
    }

    fn shunted(&self, key: &FlowKey) -> Option<Shunted> {
        self.opened.get()?.shunted(key)
    }

    fn drain_flows(&self, worker: usize, end: bool, each: &mut dyn FnMut(&FlowDelta)) -> Result<(), Error> {
        self.opened.get().map_or(Ok(()), |control| control.drain_flows(worker, end, each))
    }

    fn stats(&self) -> Result<DeviceStats, Error> {
        self.opened.get().map_or_else(|| Ok(DeviceStats::default()), |control| control.stats())
    }
}

/// A source that waits. If the opened device has fewer sources than workers, the remaining ones stay idle.
struct Waiting {
    control: Arc<WaitingControl>,
    source: Option<Box<dyn Source>>,
}

impl Wrapper for Waiting {
    fn inner(&mut self) -> Option<&mut dyn Source> {
        self.source.as_deref_mut().map(|source| source as &mut dyn Source)
    }

    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        if self.source.is_none() {
            self.source = self.control.take();
        }
        match &mut self.source {
            Some(source) => source.poll(wait, each),
            None => {
                thread::sleep(wait);
                Ok(Polled::Idle)
            }
        }
    }
}
