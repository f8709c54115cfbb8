//! The control of a libpcap capture. A worker owns the libpcap handle, so a new filter waits in a [`Slot`] until that
//! worker polls.

use super::{Config, Expression, Libpcap};
use crate::capture::{
    Error, Link, compile,
    devices::Device,
    filter::Filters,
    options::Interface,
    slot::Slot,
    tally::{FilterOnlyControl, Tally},
};
use std::sync::{Arc, Mutex, PoisonError};

/// The control of a libpcap capture. See the documentation of this module.
pub struct LibpcapControl {
    interface: Interface,
    /// The filter expression in force, or to be installed at the next poll.
    filter: Arc<Slot<Expression>>,
    /// The header that frames of the device begin with. Whether an expression is valid depends on this header. `None` before the device is
    /// opened for the first time.
    link: Mutex<Option<Link>>,
    tally: Arc<Tally>,
}

impl LibpcapControl {
    /// Makes the control without opening a device.
    pub fn new(interface: &Interface, filters: &Filters) -> Self {
        Self { interface: interface.clone(), filter: Slot::new(Expression::of(filters)), link: Mutex::default(), tally: Arc::default() }
    }

    /// Opens `device` with the newest filter. It is called again when the device comes back.
    ///
    /// # Errors
    /// libpcap's message, with the device's name.
    pub fn open(&self, device: &Device) -> Result<Libpcap, Error> {
        let source = Libpcap::open(&Config::new(&self.interface, device), &self.filter, Arc::clone(&self.tally))?;
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(source.link());
        Ok(source)
    }
}

impl FilterOnlyControl for LibpcapControl {
    fn replace_filter(&self, filters: &Filters) -> Result<(), Error> {
        // Compile the expression here to report an error to the caller: at the worker's next poll it could only be
        // logged.
        let link = *self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = link {
            compile::for_link_without_tags(Expression::of(filters).for_link(link), link)?;
        }
        self.filter.set(Expression::of(filters));
        Ok(())
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
