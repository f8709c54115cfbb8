//! Watches the device of an interface. Attaches the programs again when the device comes back, or when the programs
//! were removed, and moves them to another device when a default route moves. On `any` it keeps the list of devices
//! without a link header up to date. The ring buffers, and the newest filter in the jump tables, do not change.

use super::control::EbpfControl;
use crate::capture::{
    devices::{self, Device},
    options::Interface,
    sys::interface_name,
};
use std::time::Instant;

pub(super) struct Watch {
    interface: Interface,
    device: Device,
    gone: bool,
    route_at: Instant,
}

impl Watch {
    /// Makes the watcher. `device` is the device that the settings resolve to now.
    pub fn new(interface: &Interface, device: &Device) -> Self {
        Self { interface: interface.clone(), device: device.clone(), gone: false, route_at: Instant::now() }
    }

    /// Checks the device. The worker calls this function about once a second.
    pub fn look(&mut self, control: &EbpfControl, now: Instant) {
        if self.device.is_any() {
            control.lock().loaded_mut().follow_raw_ip();
            return;
        }
        let follow = self.interface.poll_default_route.filter(|_| now >= self.route_at);
        if let Some(every) = follow {
            self.route_at = now + every;
        }
        let is_route = devices::is_route(&self.interface.device);
        let name = interface_name(self.device.ifindex).ok();
        if let Some(name) = &name {
            if *name != self.device.name {
                log::info!("{}: the device is now called {name}", self.device.name);
                self.device.name.clone_from(name);
            }
            if let Err(error) = control.lock().check(&self.device) {
                log::debug!("{name}: {error}");
            }
        } else if !self.gone {
            self.gone = true;
            log::warn!("{}: the device is gone; checking every second whether it is back", self.device.name);
            control.lock().detach(self.device.ifindex);
        }
        if name.is_some() && !(is_route && follow.is_some()) {
            return;
        }
        // A default route may lead to another device. If the user gave a name or a number, the device is found again by the name that it
        // had last.
        let wanted = if is_route { &self.interface.device } else { &self.device.name };
        let Ok(found) = devices::resolve(wanted) else { return };
        if name.is_some() && found.ifindex == self.device.ifindex {
            return;
        }
        let mut attachments = control.lock();
        match attachments.attach(&found, &self.interface) {
            Ok(()) => {
                log::info!("{wanted}: capturing on device {}", found.name);
                attachments.detach(self.device.ifindex);
                self.device = found;
                self.gone = false;
            }
            Err(error) => log::debug!("{wanted}: {error}"),
        }
    }
}
