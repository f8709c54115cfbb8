//! Capture by eBPF programs: loads the object, attaches its programs to an interface, and makes one [`Source`] per
//! worker. The programs are in `sniffer-ebpf`; the filters come from [`super::filter`].

mod attach;
mod clsact;
mod control;
mod error;
mod flows;
mod loaded;
mod netlink;
mod qdisc;
mod raw_ip;
mod ring;
mod socket;
pub mod sys;
#[cfg(test)]
mod tests;
mod waker;
mod watch;

pub use control::EbpfControl;
pub use error::Error;
pub use flows::LAG;
pub use socket::socket_filter;

use super::{Source, devices::Device, filter::Filters, options::Interface};
use attach::Attachments;
use loaded::Loaded;
use ring::RingSource;
use std::sync::Arc;
use watch::Watch;

/// An open interface: its sources, one per worker, and its control.
pub type Opened = (Vec<Box<dyn Source>>, Arc<EbpfControl>);

/// Loads the programs and attaches them to `device` as `interface` says. With `counts` the programs count
/// flows, if `filters` has the settings for that. The sources, one per worker, deliver packets
/// from now on. The programs stay attached as long as the control or one of the sources exists.
///
/// # Errors
/// When the kernel refuses; the message says what is missing and what would help.
pub fn open(interface: &Interface, device: &Device, filters: &Filters, counts: bool) -> Result<Opened, Error> {
    let (loaded, rings, flows) = Loaded::new(interface, device, filters, counts)?;
    let mut attachments = Attachments::new(loaded);
    attachments.attach(device, interface)?;
    let control = Arc::new(EbpfControl::new(attachments, flows));
    // Only the first worker watches the device.
    let mut watch = Some(Watch::new(interface, device));
    let sources = rings.into_iter().map(|ring| {
        let source: Box<dyn Source> = Box::new(RingSource::new(ring, Arc::clone(&control), watch.take()));
        source
    });
    let sources = sources.collect();
    Ok((sources, control))
}
