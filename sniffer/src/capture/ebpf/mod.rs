//! Capture by programs in the kernel: loads the object, attaches it to an interface, and gives one [`Source`] per worker. The programs are
//! in `sniffer-ebpf`; what they are to match comes from [`super::filter`].

mod attach;
mod control;
mod error;
mod loaded;
mod owner;
mod qdisc;
mod ring;
mod socket;
pub mod sys;
#[cfg(test)]
mod tests;
mod watch;

pub use control::EbpfControl;
pub use error::Error;
pub use socket::socket_filter;

use super::{Source, devices::Device, filter::Filters, options::Interface};
use attach::Attachments;
use loaded::Loaded;
use ring::RingSource;
use std::sync::Arc;
use watch::Watch;

/// What an interface is opened as: its sources, one per worker, and its control.
pub type Opened = (Vec<Box<dyn Source>>, Arc<EbpfControl>);

/// Loads and attaches as `interface` says; packets that arrive on `device` from now on are in the sources, one per worker. The programs stay
/// attached as long as the control or one of the sources lives.
///
/// # Errors
/// When something is missing, and what would mend it.
pub fn open(interface: &Interface, device: &Device, filters: &Filters) -> Result<Opened, Error> {
    let (loaded, rings) = Loaded::new(interface, device, filters)?;
    let mut attachments = Attachments::new(loaded);
    attachments.attach(device, interface)?;
    let control = Arc::new(EbpfControl::new(attachments));
    // One worker looks after the device for all.
    let mut watch = Some(Watch::new(interface, device));
    let sources = rings.into_iter().map(|ring| {
        let source: Box<dyn Source> = Box::new(RingSource::new(ring, Arc::clone(&control), watch.take(), device.is_any()));
        source
    });
    let sources = sources.collect();
    Ok((sources, control))
}
