//! The control of `AF_PACKET` capture. It knows every open socket of the interface and replaces the filter on all of
//! them. A socket opened later, because a device came back, gets the newest filter.

use super::{AfPacket, Config, SocketFilter, socket::Socket};
use crate::capture::{
    Error,
    devices::Device,
    filter::Filters,
    options::Interface,
    tally::{FilterOnlyControl, Tally},
};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// The control of `AF_PACKET` capture. See the documentation of this module.
pub struct AfPacketControl {
    interface: Interface,
    state: Mutex<State>,
    tally: Arc<Tally>,
}

/// The lock is held while a device is opened and while the filter is replaced, so that no socket misses a new filter. It is not taken per
/// packet.
struct State {
    filters: Filters,
    sockets: Vec<AttachedSocket>,
}

/// A socket and the filter attached to it.
struct AttachedSocket {
    /// The socket. Its source owns it, and the socket closes when the source is dropped.
    socket: Weak<Socket>,
    device: Device,
    filter: Arc<SocketFilter>,
}

impl AfPacketControl {
    /// Makes the control without opening a socket.
    pub fn new(interface: &Interface, filters: &Filters) -> Self {
        let state = State { filters: filters.clone(), sockets: Vec::new() };
        Self { interface: interface.clone(), state: Mutex::new(state), tally: Arc::default() }
    }

    /// Opens `workers` sockets on `device` with the newest filter. See [`super::open`].
    ///
    /// # Errors
    /// The errors of [`super::open`], with the device's name.
    pub fn open(&self, device: &Device, workers: usize, group: Option<u16>) -> Result<(Vec<AfPacket>, Option<u16>), Error> {
        let mut state = self.lock();
        let filter = Arc::new(SocketFilter::new(&state.filters, device, self.interface.snaplen)?);
        let config = Config::new(&self.interface, device);
        let (sources, group) =
            super::open(&config, workers, group, &filter, &self.tally).map_err(|error| Error::device(&device.name, error))?;
        state.sockets.retain(|attached| attached.socket.strong_count() > 0);
        state.sockets.extend(sources.iter().map(|source| AttachedSocket {
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

impl FilterOnlyControl for AfPacketControl {
    fn replace_filter(&self, filters: &Filters) -> Result<(), Error> {
        let snaplen = self.interface.snaplen;
        let mut state = self.lock();
        state.sockets.retain(|attached| attached.socket.strong_count() > 0);
        // Make all programs before attaching the first, so that a compile error changes nothing. Sockets on one device
        // share a program.
        let mut made: Vec<(u32, Arc<SocketFilter>)> = Vec::new();
        for AttachedSocket { device, .. } in &state.sockets {
            if !made.iter().any(|(ifindex, _)| *ifindex == device.ifindex) {
                made.push((device.ifindex, Arc::new(SocketFilter::new(filters, device, snaplen)?)));
            }
        }
        let new = |device: &Device| made.iter().find(|(ifindex, _)| *ifindex == device.ifindex).map(|(_, filter)| filter);
        let attach = |socket: &Weak<Socket>, filter: &SocketFilter| -> io::Result<()> {
            // A socket whose source was dropped in the meantime needs no filter.
            socket.upgrade().map_or(Ok(()), |socket| socket.filter(filter, snaplen))
        };
        for (done, AttachedSocket { socket, device, .. }) in state.sockets.iter().enumerate() {
            let Some(filter) = new(device) else { continue };
            if let Err(error) = attach(socket, filter) {
                for AttachedSocket { socket, device, filter } in state.sockets.iter().take(done) {
                    if let Err(error) = attach(socket, filter) {
                        log::warn!(
                            "{}: after a failed filter change, the old filter could not be restored on one of the sockets: {error}",
                            device.name
                        );
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

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
