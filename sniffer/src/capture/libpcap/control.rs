//! The control of a libpcap capture. The handle belongs to a worker, so a new filter waits in a slot until that worker polls.

use super::{Config, Libpcap};
use crate::{
    capture::{
        Error, Link, compile,
        control::{Control, DeviceStats},
        devices::Device,
        filter::Filters,
        options::Interface,
        slot::Slot,
        tally::Tally,
    },
    net::{FlowKey, FlowRecord, Verdict},
    time::Timestamp,
};
use std::sync::{Arc, Mutex, PoisonError};

/// See the module.
pub struct LibpcapControl {
    interface: Interface,
    /// The expression in force, or about to be.
    filter: Arc<Slot<String>>,
    /// What the frames of the device begin with: it decides what an expression may ask for.
    link: Mutex<Option<Link>>,
    tally: Arc<Tally>,
}

impl LibpcapControl {
    /// Opens nothing yet.
    pub fn new(interface: &Interface, filters: &Filters) -> Self {
        Self { interface: interface.clone(), filter: Slot::new(filters.text.clone()), link: Mutex::default(), tally: Arc::default() }
    }

    /// Opens `device`, as often as it has to be, each time with the newest filter.
    ///
    /// # Errors
    /// In libpcap's words, with the device's name.
    pub fn open(&self, device: &Device) -> Result<Libpcap, Error> {
        let source = Libpcap::open(&Config::new(&self.interface, device), &self.filter, Arc::clone(&self.tally))?;
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(source.link());
        Ok(source)
    }
}

impl Control for LibpcapControl {
    fn set_filter(&self, filters: &Filters) -> Result<(), Error> {
        // The worker could only log that libpcap refuses the expression, so it is compiled here first.
        let link = *self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = link {
            compile::for_link_without_tags(&filters.text, link)?;
        }
        self.filter.set(filters.text.clone());
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
