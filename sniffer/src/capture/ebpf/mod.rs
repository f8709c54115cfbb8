//! Capture by eBPF programs: loads the object, attaches its programs to an interface, and makes one [`Source`] per
//! worker. The programs are in `sniffer-ebpf`; the filters come from [`super::filter`].

mod attach;
mod clsact;
mod control;
mod error;
mod flows;
pub mod links;
mod loaded;
mod netlink;
mod program;
mod qdisc;
mod raw_ip;
mod ring;
mod shunts;
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

use super::{
    Source,
    devices::Device,
    filter::Filters,
    options::{HookSetting, Interface},
};
use attach::Attachments;
use loaded::{AttachPoint, Loaded};
use ring::RingSource;
use std::sync::Arc;
use watch::Watch;

/// An open interface: its sources, one per worker, and its control.
pub type Opened = (Vec<Box<dyn Source>>, Arc<EbpfControl>);

/// Loads the programs and attaches them to `device` as `interface` says. With `counts` the programs count flows, if
/// `filters` has the settings for counting. The sources, one per worker, deliver packets from now on. The programs stay
/// attached as long as the control or one of the sources exists.
///
/// # Errors
///
/// When the kernel refuses; the message names the missing feature or privilege, and a remedy.
pub fn open(interface: &Interface, device: &Device, filters: &Filters, counts: bool) -> Result<Opened, Error> {
    let (loaded, rings, flows, shunts) = Loaded::new(interface, device, filters, counts)?;
    let mut attachments = Attachments::new(loaded);
    attachments.attach(device, interface)?;
    let control = Arc::new(EbpfControl::new(attachments, flows, shunts));
    // Only the first worker watches the device.
    let mut watch = Some(Watch::new(interface, device));
    let sources = rings.into_iter().map(|ring| {
        let source: Box<dyn Source> = Box::new(RingSource::new(ring, Arc::clone(&control), watch.take()));
        source
    });
    let sources = sources.collect();
    Ok((sources, control))
}

/// Loads the programs that `interface.hook` needs, and removes them again. Nothing is attached.
///
/// # Errors
/// When the kernel refuses; the message names the missing feature or privilege, and a remedy.
pub fn try_to_load(interface: &Interface, device: &Device, filters: &Filters) -> Result<(), Error> {
    let (mut loaded, ..) = Loaded::new(interface, device, filters, true)?;
    let points: &[AttachPoint] = match interface.hook {
        HookSetting::Xdp => &[AttachPoint::Xdp, AttachPoint::TcOut],
        HookSetting::Tc => &[AttachPoint::TcIn, AttachPoint::TcOut],
        HookSetting::Auto | HookSetting::Socket => &[AttachPoint::Socket],
    };
    points.iter().try_for_each(|point| loaded.load_programs(*point).map(|_| ()))
}
