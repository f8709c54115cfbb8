//! Capture by programs in the kernel: loads the object, attaches it to interfaces, and gives one [`Source`] per worker. The programs are
//! in `sniffer-ebpf`; what they are to match comes from [`super::filter`].

mod attach;
mod devices;
mod error;
mod loaded;
mod owner;
mod qdisc;
mod ring;
mod socket;
pub mod sys;
#[cfg(test)]
mod tests;

pub use devices::Device;
pub use error::Error;
pub use socket::{attach_classic, attach_filter, socket_filter};

use super::{Source, filter::Filters};
use loaded::{Chain, Loaded};
use ring::RingSource;
use std::sync::{Arc, Mutex, PoisonError};

/// Where programs are attached (`packetbeat.interfaces.hook`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hook {
    /// TC on an interface that has an address (XDP resets the link on many drivers, limits the MTU and undoes GRO); native XDP on one
    /// without, where the driver has it; a packet socket on `any` and loopback.
    #[default]
    Auto,
    /// XDP for what comes in, TC for what goes out.
    Xdp,
    /// TC both ways.
    Tc,
    /// A packet socket.
    Socket,
}

/// What to capture, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of interfaces; `any` for all of them, now and later.
    pub interfaces: Vec<String>,
    /// Where to attach.
    pub hook: Hook,
    /// Most bytes of a frame to copy.
    pub snaplen: u32,
    /// All rings together; each is rounded up to a power of two.
    pub buffer_bytes: usize,
    /// How many sources, at least 1.
    pub workers: usize,
    /// See packets for other hosts too, until the sources are dropped.
    pub promiscuous: bool,
    /// What is wanted.
    pub filter: Filters,
}

/// Attached programs, as long as one of its clones or sources lives.
#[derive(Clone)]
pub struct Capture {
    loaded: Arc<Mutex<Loaded>>,
}

impl Capture {
    /// Loads and attaches; packets that arrive from now on are in the sources, one per worker.
    ///
    /// # Errors
    /// When something is missing, and what would mend it.
    pub fn open(options: &Options) -> Result<(Self, Vec<Box<dyn Source>>), Error> {
        let devices = options.interfaces.iter().map(|name| devices::find(name)).collect::<Result<Vec<_>, _>>()?;
        let (mut loaded, rings) = Loaded::new(options, &devices)?;
        for device in &devices {
            attach::attach(&mut loaded, device, options)?;
        }
        let watched: Vec<Device> = devices.iter().filter(|device| device.ifindex != 0).cloned().collect();
        let on_any = devices.iter().any(|device| device.ifindex == 0);
        let capture = Self { loaded: Arc::new(Mutex::new(loaded)) };
        let sources = rings.into_iter().enumerate().map(|(worker, ring)| {
            let source: Box<dyn Source> = Box::new(RingSource::new(ring, worker as u32, capture.clone(), watched.clone(), on_any));
            source
        });
        let sources = sources.collect();
        Ok((capture, sources))
    }

    /// Puts another filter in the place of the one that runs. Every packet is judged by the one or the other.
    ///
    /// # Errors
    /// When the kernel refuses it; the old one stays.
    pub fn replace_filter(&self, filter: &Filters) -> Result<(), Error> {
        self.lock().set_filter(filter)
    }

    /// Where the programs are, in words: `eth0: tc`.
    pub fn hooks(&self) -> Vec<String> {
        self.lock().hooks.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Loaded> {
        // Nothing that holds the lock leaves it half done.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens interfaces for as long as the sources live.
///
/// # Errors
/// When something is missing, and what would mend it.
pub fn open(options: &Options) -> Result<Vec<Box<dyn Source>>, Error> {
    Capture::open(options).map(|(_, sources)| sources)
}
