//! Devices come and go: programs are attached again to one that is back, and move with a default route. The rings stay.

use super::{Capture, Options, attach, find};
use crate::capture::devices::Device;
use std::time::Instant;

pub(super) struct Watch {
    options: Options,
    devices: Vec<Watched>,
    route_at: Instant,
}

struct Watched {
    wanted: String,
    device: Device,
    gone: bool,
}

impl Watch {
    /// `devices` are those that `options.interfaces` name, in the same order.
    pub fn new(options: &Options, devices: Vec<Device>) -> Self {
        let devices = options.interfaces.iter().cloned().zip(devices).map(|(wanted, device)| Watched { wanted, device, gone: false });
        Self { options: options.clone(), devices: devices.collect(), route_at: Instant::now() }
    }

    /// Looks at every device; to be called now and then.
    pub fn look(&mut self, capture: &Capture, now: Instant) {
        let follow = self.options.follow_route.filter(|_| now >= self.route_at);
        if let Some(every) = follow {
            self.route_at = now + every;
        }
        for watched in &mut self.devices {
            if watched.device.is_any() {
                continue;
            }
            let is_route = watched.wanted.starts_with("default_route");
            let there = super::super::sys::interface_index(&watched.device.name).is_ok_and(|ifindex| ifindex == watched.device.ifindex);
            if there && !(is_route && follow.is_some()) {
                continue;
            }
            if !there && !watched.gone {
                watched.gone = true;
                log::warn!("{}: the device is gone; it is looked for every second", watched.device.name);
                capture.lock().detach(watched.device.ifindex);
            }
            // A name stays with its device; a route, and a number, may lead to another one.
            let Ok(found) = find(if is_route { &watched.wanted } else { &watched.device.name }) else { continue };
            if there && found.ifindex == watched.device.ifindex {
                continue;
            }
            let mut loaded = capture.lock();
            match attach::attach(&mut loaded, &found, &self.options) {
                Ok(()) => {
                    log::info!("{}: capturing on {}", watched.wanted, found.name);
                    loaded.detach(watched.device.ifindex);
                    watched.device = found;
                    watched.gone = false;
                }
                Err(error) => log::debug!("{}: {error}", watched.wanted),
            }
        }
    }
}
