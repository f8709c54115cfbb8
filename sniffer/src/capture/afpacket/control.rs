//! The control of `AF_PACKET` capture: it knows every open socket of the interface, and swaps the filter on all of them. Sockets that are
//! opened later (the device came back) get the filter of that time.

use super::{AfPacket, Config, Filter, socket::Socket};
use crate::{
    capture::{
        Error,
        control::{Control, DeviceStats},
        devices::Device,
        filter::Filters,
        options::Interface,
        tally::Tally,
    },
    net::{FlowKey, FlowRecord, Verdict},
    time::Timestamp,
};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// See the module.
pub struct AfPacketControl {
    interface: Interface,
    state: Mutex<State>,
    tally: Arc<Tally>,
}

/// Locked while a device is opened and while the filter is replaced: no socket misses a new filter. Nobody takes it per packet.
struct State {
    filters: Filters,
    sockets: Vec<Attached>,
}

/// A socket and the filter that is on it.
struct Attached {
    /// Its source owns it; when that is closed the socket is gone.
    socket: Weak<Socket>,
    device: Device,
    filter: Arc<Filter>,
}

impl AfPacketControl {
    /// Opens nothing yet.
    pub fn new(interface: &Interface, filters: &Filters) -> Self {
        let state = State { filters: filters.clone(), sockets: Vec::new() };
        Self { interface: interface.clone(), state: Mutex::new(state), tally: Arc::default() }
    }

    /// Opens `workers` sockets on `device` with the newest filter, as [`super::open`] does.
    ///
    /// # Errors
    /// Those of [`super::open`], with the device's name.
    pub fn open(&self, device: &Device, workers: usize, group: Option<u16>) -> Result<(Vec<AfPacket>, Option<u16>), Error> {
        let mut state = self.lock();
        let filter = Arc::new(Filter::new(&state.filters, device, self.interface.snaplen)?);
        let config = Config::new(&self.interface, device);
        let (sources, group) =
            super::open(&config, workers, group, &filter, &self.tally).map_err(|error| Error::device(&device.name, error))?;
        state.sockets.retain(|attached| attached.socket.strong_count() > 0);
        state.sockets.extend(sources.iter().map(|source| Attached {
            socket: Arc::downgrade(&source.socket),
            device: device.clone(),
            filter: Arc::clone(&filter),
        }));
        Ok((sources, group))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control for AfPacketControl {
    fn set_filter(&self, filters: &Filters) -> Result<(), Error> {
        let snaplen = self.interface.snaplen;
        let mut state = self.lock();
        state.sockets.retain(|attached| attached.socket.strong_count() > 0);
        // All programs are made before the first is attached. Sockets on one device share theirs.
        let mut made: Vec<(u32, Arc<Filter>)> = Vec::new();
        for Attached { device, .. } in &state.sockets {
            if !made.iter().any(|(ifindex, _)| *ifindex == device.ifindex) {
                made.push((device.ifindex, Arc::new(Filter::new(filters, device, snaplen)?)));
            }
        }
        let new = |device: &Device| made.iter().find(|(ifindex, _)| *ifindex == device.ifindex).map(|(_, filter)| filter);
        let attach = |socket: &Weak<Socket>, filter: &Filter| -> io::Result<()> {
            // Of a source that was closed meanwhile nothing is left to filter.
            socket.upgrade().map_or(Ok(()), |socket| socket.filter(filter, snaplen))
        };
        for (done, Attached { socket, device, .. }) in state.sockets.iter().enumerate() {
            let Some(filter) = new(device) else { continue };
            if let Err(error) = attach(socket, filter) {
                for Attached { socket, device, filter } in state.sockets.iter().take(done) {
                    if let Err(error) = attach(socket, filter) {
                        log::warn!("{}: the old filter is back on some of the sockets only: {error}", device.name);
                    }
                }
                return Err(Error::device(&device.name, format!("attaching the filter: {error}")));
            }
        }
        for attached in &mut state.sockets {
            if let Some(filter) = new(&attached.device) {
                attached.filter = Arc::clone(filter);
            }
        }
        state.filters = filters.clone();
        Ok(())
    }

    fn apply(&self, verdicts: &[(FlowKey, Verdict)]) {
        self.tally.not_entered(verdicts.len());
    }

    fn drain_flows(&self, _: Timestamp, _: &mut dyn FnMut(&FlowRecord)) -> Result<(), Error> {
        Ok(())
    }

    fn stats(&self) -> Result<DeviceStats, Error> {
        Ok(self.tally.get())
    }
}
