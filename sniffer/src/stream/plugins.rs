//! The plugins of the configured protocols in one worker, and their timers.

use crate::{
    net::Peers,
    protocols::{Context, Plugin, Protocol, StreamParser},
    publish::{PublisherId, Sink},
    time::Timestamp,
};
use std::time::Duration;

/// Maximum number of requests that a plugin drops before the total is computed again.
const EVICTED_AT_ONCE: usize = 64;

/// The plugins of one worker, by [`PublisherId`].
#[derive(Default)]
pub struct Plugins {
    entries: Vec<Option<Entry>>,
    /// Bytes held by all plugins.
    held: usize,
}

struct Entry {
    protocol: &'static Protocol,
    /// The plugin; `None` if the protocol is no longer configured. The entry remains, because its counters still need a name.
    plugin: Option<Box<dyn Plugin>>,
    /// When the plugin's timer is due.
    wake: Option<Timestamp>,
    /// Bytes held by the plugin after the last call.
    held: usize,
}

/// The arguments of a call of a plugin.
pub struct Call<'a> {
    /// The time of the packet or of the timer.
    pub now: Timestamp,
    /// The ends of the conversation.
    pub peers: Peers,
    /// Receives the events.
    pub sink: &'a mut Sink,
    /// The value of [`Context::strict`].
    pub strict: bool,
    /// The value of [`Context::missing`].
    pub missing: u32,
}

impl Plugins {
    /// Adds a configured protocol. It replaces the one with the same id.
    pub fn insert(&mut self, id: PublisherId, protocol: &'static Protocol, plugin: Box<dyn Plugin>) {
        let place = id.index();
        if self.entries.len() <= place {
            self.entries.resize_with(place + 1, || None);
        }
        self.remove(id);
        let held = plugin.held();
        self.held += held;
        self.entries[place] = Some(Entry { protocol, plugin: Some(plugin), wake: None, held });
    }

    /// The ids of all configured protocols, in ascending order.
    pub fn ids(&self) -> Vec<PublisherId> {
        let configured = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.plugin.is_some());
        (0..).zip(&self.entries).filter(|(_, entry)| configured(entry)).map(|(id, _)| PublisherId(id)).collect()
    }

    /// The protocol with this id, also if it is no longer configured.
    pub fn protocol(&self, id: PublisherId) -> Option<&'static Protocol> {
        self.entry(id).map(|entry| entry.protocol)
    }

    /// The first configured protocol with this name.
    pub fn named(&self, name: &str) -> Option<PublisherId> {
        let is = |e: &Option<Entry>| e.as_ref().is_some_and(|e| e.plugin.is_some() && e.protocol.name == name);
        (0..).zip(&self.entries).find(|(_, entry)| is(entry)).map(|(id, _)| PublisherId(id))
    }

    /// Makes a parser for a new TCP connection; `None` if the protocol has none or is no longer configured.
    pub fn connect(&self, id: PublisherId) -> Option<Box<dyn StreamParser>> {
        self.entry(id)?.plugin.as_ref()?.connect()
    }

    /// How long a request on a connection of this protocol waits; see [`Plugin::time_out_on_connections`].
    pub fn time_out_on_connections(&self, id: PublisherId) -> Option<Duration> {
        self.entry(id)?.plugin.as_ref()?.time_out_on_connections()
    }

    /// Bytes held by all plugins: pending datagrams and requests.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Calls a plugin. Does nothing if the protocol is no longer configured.
    pub fn call(&mut self, id: PublisherId, mut with: Call<'_>, f: impl FnOnce(&mut dyn Plugin, &mut Context<'_>)) {
        let Some(Some(Entry { plugin: Some(plugin), wake, held, .. })) = self.entries.get_mut(id.index()) else { return };
        let mut cx = Context::new(with.now, &mut with.peers, with.sink, id, with.strict).with_wake(*wake).with_missing(with.missing);
        f(plugin.as_mut(), &mut cx);
        *wake = cx.wake();
        let before = std::mem::replace(held, plugin.held());
        self.held = self.held - before + *held;
    }

    /// Makes the plugin that holds most bytes drop requests until all plugins together hold at most `bytes`. Returns
    /// the number of dropped requests.
    pub fn evict(&mut self, bytes: usize, now: Timestamp, sink: &mut Sink, strict: bool) -> u64 {
        let mut evicted = 0;
        while self.held > bytes {
            let largest = (0..).zip(&self.entries).filter_map(|(id, entry)| Some((entry.as_ref()?.held, id))).max();
            let Some((before, id)) = largest else { break };
            let (excess, mut found) = (self.held - bytes, false);
            let with = Call { now, peers: Peers::unspecified(), sink, strict, missing: 0 };
            self.call(PublisherId(id), with, |plugin, cx| {
                for _ in 0..EVICTED_AT_ONCE {
                    found = plugin.evict(cx);
                    evicted += u64::from(found);
                    if !found || plugin.held() + excess <= before {
                        break;
                    }
                }
            });
            if !found {
                break;
            }
        }
        evicted
    }

    /// Calls the timers that are due at `now`. Without `timers`, due timers are removed without a
    /// call.
    pub fn wake(&mut self, now: Timestamp, sink: &mut Sink, timers: bool) {
        for id in 0..self.entries.len() as u32 {
            let Some(Some(Entry { wake, .. })) = self.entries.get_mut(id as usize) else { continue };
            if wake.is_some_and(|due| due <= now) {
                *wake = None;
                if timers {
                    let with = Call { now, peers: Peers::unspecified(), sink, strict: false, missing: 0 };
                    self.call(PublisherId(id), with, |plugin, cx| plugin.on_timer(cx));
                }
            }
        }
    }

    /// Takes over all plugins of `newer`. They replace those with the same id.
    pub fn replace_with(&mut self, newer: Self) {
        for (id, entry) in (0..).zip(newer.entries) {
            if let Some(Entry { protocol, plugin: Some(plugin), .. }) = entry {
                self.insert(PublisherId(id), protocol, plugin);
            }
        }
    }

    /// Removes the plugin of a protocol that is no longer configured.
    pub fn remove(&mut self, id: PublisherId) {
        if let Some(Some(entry)) = self.entries.get_mut(id.index()) {
            self.held -= std::mem::take(&mut entry.held);
            (entry.plugin, entry.wake) = (None, None);
        }
    }

    /// Ends a plugin: makes it report its pending requests.
    pub fn end(&mut self, id: PublisherId, now: Timestamp, sink: &mut Sink) {
        self.call(id, Call { now, peers: Peers::unspecified(), sink, strict: false, missing: 0 }, |plugin, cx| plugin.on_end(cx));
    }

    /// At the end of the input, makes every plugin whose time-out is not longer than `most` report
    /// its pending requests.
    pub fn end_all(&mut self, most: Duration, now: Timestamp, sink: &mut Sink) {
        for id in self.ids() {
            let plugin = self.entry(id).and_then(|entry| entry.plugin.as_ref());
            if plugin.is_some_and(|plugin| plugin.time_out().unwrap_or_default() <= most) {
                self.end(id, now, sink);
            }
        }
    }

    fn entry(&self, id: PublisherId) -> Option<&Entry> {
        self.entries.get(id.index())?.as_ref()
    }
}
