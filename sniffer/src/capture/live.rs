//! A live source that survives the loss of its device: when the inner source fails, the failure is logged and the source is reopened as
//! soon as possible. The live source also follows a default route that moves to another device. It reads the clock, which only sources may
//! do.

use super::{Frame, Polled, Source, devices, replay::Opener, wrapper::Wrapper};
use std::{
    io, thread,
    time::{Duration, Instant},
};

/// Pause between two attempts to reopen a device.
const RETRY: Duration = Duration::from_secs(1);

/// The default route, if the user named it instead of a device, and the device that it leads to now.
struct Route {
    wanted: String,
    every: Duration,
    next: Instant,
    device: String,
}

/// A source that is reopened when it fails.
pub struct Live {
    name: String,
    open: Opener,
    current: Option<Box<dyn Source>>,
    retry_at: Instant,
    route: Option<Route>,
}

impl Live {
    /// Wraps `current`, which is open. `name` is the device as the user named it; `open` reopens it.
    pub fn new(name: &str, current: Box<dyn Source>, open: Opener) -> Self {
        Self { name: name.to_owned(), open, current: Some(current), retry_at: Instant::now(), route: None }
    }

    /// Looks up the route `wanted` once per `every` and moves to the route's device. `device` is the route's device at
    /// the start.
    #[must_use]
    pub fn following(mut self, wanted: &str, device: &str, every: Duration) -> Self {
        let next = Instant::now() + every;
        self.route = Some(Route { wanted: wanted.to_owned(), every, next, device: device.to_owned() });
        self
    }

    fn close(&mut self) {
        if let Some(mut source) = self.current.take() {
            // Errors are ignored: when the device is gone, the kernel may not answer. The counts since the last update are then lost.
            let _ = source.update_stats();
        }
    }

    fn follow(&mut self) {
        let Some(route) = &mut self.route else { return };
        let now = Instant::now();
        if now < route.next {
            return;
        }
        route.next = now + route.every;
        // Keep the device while there is no default route, because the route may come back.
        let Ok(found) = devices::resolve(&route.wanted) else { return };
        if found.name != route.device {
            log::info!("{}: the default route moved from device {} to device {}", route.wanted, route.device, found.name);
            route.device = found.name;
            self.close();
            self.retry_at = now;
        }
    }

    fn reopen(&mut self) {
        let now = Instant::now();
        if self.current.is_some() || now < self.retry_at {
            return;
        }
        match (self.open)() {
            Ok(source) => {
                log::info!("{}: the device is back; capturing again", self.name);
                self.current = Some(source);
            }
            Err(error) => {
                log::debug!("{}: {error}", self.name);
                self.retry_at = now + RETRY;
            }
        }
    }
}

impl Wrapper for Live {
    fn inner(&mut self) -> Option<&mut dyn Source> {
        self.current.as_deref_mut().map(|source| source as &mut dyn Source)
    }

    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        if self.route.is_some() {
            self.follow();
        }
        if self.current.is_none() {
            self.reopen();
        }
        let Some(source) = &mut self.current else {
            thread::sleep(wait.min(self.retry_at.saturating_duration_since(Instant::now())));
            return Ok(Polled::Idle);
        };
        match source.poll(wait, each) {
            Ok(polled) => Ok(polled),
            Err(error) => {
                log::warn!("{error}; opening the device is tried again every second");
                self.close();
                self.retry_at = Instant::now() + RETRY;
                Ok(Polled::Idle)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{control::DeviceStats, tally::Tally};
    use std::sync::Arc;

    /// A source that fails at its second poll, and counts its polls.
    struct Fragile(u32, Arc<Tally>);

    impl Source for Fragile {
        fn poll(&mut self, _: Duration, _: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
            self.0 += 1;
            if self.0 == 2 { Err(io::Error::other("device x has disappeared")) } else { Ok(Polled::Frames(1)) }
        }

        fn update_stats(&mut self) -> io::Result<()> {
            self.1.add(DeviceStats { seen: u64::from(std::mem::take(&mut self.0)), ..DeviceStats::default() });
            Ok(())
        }
    }

    #[test]
    fn a_source_that_fails_is_opened_again() {
        let tally = Arc::new(Tally::default());
        let (mut attempts, again) = (0, Arc::clone(&tally));
        let open: Opener = Box::new(move || {
            attempts += 1;
            if attempts == 1 { Err(super::super::Error::device("x", "not yet")) } else { Ok(Box::new(Fragile(0, Arc::clone(&again)))) }
        });
        let mut live = Live::new("x", Box::new(Fragile(0, Arc::clone(&tally))), open);
        let polled: Vec<Polled> = (0..2).map(|_| Wrapper::poll(&mut live, Duration::ZERO, &mut |_| {}).unwrap()).collect();
        assert_eq!(polled, [Polled::Frames(1), Polled::Idle]);
        assert_eq!(tally.get().seen, 2, "counted when it failed");
        live.retry_at = Instant::now();
        assert_eq!(Wrapper::poll(&mut live, Duration::ZERO, &mut |_| {}).unwrap(), Polled::Idle, "the first attempt fails");
        live.retry_at = Instant::now();
        assert_eq!(Wrapper::poll(&mut live, Duration::ZERO, &mut |_| {}).unwrap(), Polled::Frames(1));
        live.update_stats().unwrap();
        assert_eq!(tally.get().seen, 3);
    }
}
