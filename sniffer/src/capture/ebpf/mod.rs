//! Capture by programs in the kernel: loads the object, attaches it to interfaces, and gives one [`Source`] per worker. The programs are
//! in `sniffer-ebpf`; what they are to match comes from [`super::filter`].

mod attach;
mod error;
mod kernel;
mod loaded;
mod owner;
mod qdisc;
mod ring;
mod socket;
pub mod sys;
#[cfg(test)]
mod tests;
mod watch;

pub use error::Error;
pub use kernel::KERNEL;
pub use socket::{attach_classic, attach_filter, socket_filter};

use super::{
    Source,
    control::{Control, DeviceStats},
    devices::{self, Device},
    filter::Filters,
};
use crate::{
    net::{FlowKey, FlowRecord, Verdict},
    time::Timestamp,
};
use loaded::Loaded;
use ring::RingSource;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use watch::Watch;

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
    /// As [`devices::resolve`] takes them; `any` for all of them, now and later.
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
    /// How often a default route is looked up again; whoever names a device stays with it.
    pub follow_route: Option<Duration>,
}

/// Attached programs, as long as one of its clones or sources lives.
#[derive(Clone)]
pub struct Capture {
    loaded: Arc<Mutex<Loaded>>,
    not_entered: Arc<AtomicU64>,
}

impl Capture {
    /// Loads and attaches; packets that arrive from now on are in the sources, one per worker.
    ///
    /// # Errors
    /// When something is missing, and what would mend it.
    pub fn open(options: &Options) -> Result<(Self, Vec<Box<dyn Source>>), Error> {
        let devices = options.interfaces.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
        let (mut loaded, rings) = Loaded::new(options, &devices)?;
        for device in &devices {
            attach::attach(&mut loaded, device, options)?;
        }
        let on_any = devices.iter().any(Device::is_any);
        let capture = Self { loaded: Arc::new(Mutex::new(loaded)), not_entered: Arc::default() };
        // One worker looks after the devices for all.
        let mut watch = Some(Watch::new(options, devices));
        let sources = rings.into_iter().enumerate().map(|(worker, ring)| {
            let source: Box<dyn Source> = Box::new(RingSource::new(ring, worker as u32, capture.clone(), watch.take(), on_any));
            source
        });
        let sources = sources.collect();
        Ok((capture, sources))
    }

    /// Where the programs are, in words: `eth0: tc`.
    pub fn hooks(&self) -> Vec<String> {
        self.lock().attached.iter().map(|attached| attached.hook.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Loaded> {
        // Nothing that holds the lock leaves it half done.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control for Capture {
    fn set_filter(&self, filters: &Filters) -> Result<(), super::Error> {
        self.lock().set_filter(filters).map_err(|e| super::Error::Setting(e.to_string()))
    }

    fn apply(&self, verdicts: &[(FlowKey, Verdict)]) {
        self.not_entered.fetch_add(verdicts.len() as u64, Ordering::Relaxed);
    }

    fn drain_flows(&self, _: Timestamp, _: &mut dyn FnMut(&FlowRecord)) -> Result<(), super::Error> {
        Ok(())
    }

    fn stats(&self) -> Result<DeviceStats, super::Error> {
        let counters = self.lock().all_counters().map_err(|e| super::Error::Setting(e.to_string()))?;
        Ok(DeviceStats {
            seen: counters.seen,
            unmatched: counters.seen.saturating_sub(counters.matched),
            copied: counters.copied,
            lost: counters.lost,
            not_entered: self.not_entered.load(Ordering::Relaxed),
            ..DeviceStats::default()
        })
    }
}

fn find(name: &str) -> Result<Device, Error> {
    devices::resolve(name).map_err(|error| match error {
        super::Error::Device { device, reason } => Error::Interface { name: device, reason },
        other => Error::Interface { name: name.to_owned(), reason: other.to_string() },
    })
}

/// Whether frames of a device begin with an IP header.
fn is_raw_ip(device: &Device) -> bool {
    device.link.is_some_and(|link| link != super::Link::Ethernet)
}

/// Interfaces without a link header, as far as there are any now.
fn raw_ip_interfaces() -> Vec<u32> {
    let all = sys::interfaces().unwrap_or_default();
    let raw = all
        .into_iter()
        .filter(|(_, name)| super::sys::hardware_type(name).is_ok_and(|kind| super::afpacket::link_of(kind) != super::Link::Ethernet));
    raw.map(|(ifindex, _)| ifindex).collect()
}
