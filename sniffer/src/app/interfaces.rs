//! Opens the interfaces of a plan with their filters.

use super::{Error, plan::Plan};
use crate::capture::{
    filter::Filters,
    open::{self, Capture},
    options::Replay,
};

/// Opens all interfaces, in the order of the plan, and returns them with their filters. `outputs` are the server ports of the outputs. An
/// interface whose device does not exist is opened when the device appears; if none of the devices exists, this is an error.
///
/// # Errors
/// When an interface cannot be opened, or when no device exists.
pub fn open(plan: &Plan, replay: &Replay, outputs: &[u16]) -> Result<Vec<(Capture, Filters)>, Error> {
    let (mut captures, mut missing) = (Vec::new(), Vec::new());
    for interface in &plan.interfaces {
        let mut filters = plan.filters(interface, outputs)?;
        let mut settings = interface.clone();
        if replay.dump.is_some() && interface.file.is_none() {
            (filters.counting, settings.shunt) = (None, false);
            log::info!("{}: every packet is copied for the dump, so the kernel does not count flows and `shunt` is off", interface.device);
        }
        let opened = match open::open(&settings, replay, &filters) {
            Err(error) if error.is_missing() => {
                missing.push((interface, error));
                filters.counting = None;
                captures.push((open::wait_for(&settings, replay, &filters).map_err(|e| e.at(interface))?, filters));
                continue;
            }
            opened => opened.map_err(|e| e.at(interface))?,
        };
        match &interface.file {
            Some(file) => {
                log::info!("Process watcher disabled when file input is used");
                log::info!("reading {}", file.display());
            }
            None => {
                let counting = filters.counting.as_deref().filter(|_| opened.counts_flows);
                let filter = counting.map_or(&filters, |counting| &counting.filters);
                let shown = if filter.text.is_empty() { "everything" } else { &filter.text };
                let (name, workers) = (opened.name(interface), opened.sources.len());
                log::info!("{name}: capturing with {}, {workers} worker(s), filter: {shown}", opened.how());
            }
        }
        filters.counting = filters.counting.take().filter(|_| opened.counts_flows);
        captures.push((opened, filters));
    }
    let all = missing.len() == plan.interfaces.len();
    for (interface, error) in missing {
        if all {
            return Err(error.at(interface).into());
        }
        log::warn!("{error}; capture on this device begins when the device exists");
    }
    Ok(captures)
}
