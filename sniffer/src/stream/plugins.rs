//! The configured protocols of one worker: their plugins, and the timers that plugins asked for.

use crate::{
    net::Peers,
    protocols::{Context, Plugin, Protocol, StreamParser},
    publish::{PublisherId, Sink},
    time::Timestamp,
};

/// Requests that a plugin gives up before the sum is looked at again.
const EVICTED_AT_ONCE: usize = 64;

/// The plugins of one worker, by [`PublisherId`].
#[derive(Default)]
pub struct Plugins {
    entries: Vec<Option<Entry>>,
    /// Bytes that all plugins hold.
    held: usize,
}

struct Entry {
    protocol: &'static Protocol,
    /// `None` once the protocol is not configured any more: its counters still have a name.
    plugin: Option<Box<dyn Plugin>>,
    /// When the plugin asked to be woken.
    wake: Option<Timestamp>,
    /// Bytes that the plugin held after the last call.
    held: usize,
}

/// What a call of a plugin needs besides the plugin.
pub struct Call<'a> {
    /// The time of the packet at hand, or of the timer.
    pub now: Timestamp,
    /// The ends of the conversation.
    pub peers: Peers,
    /// Where events go.
    pub sink: &'a mut Sink,
    /// See [`Context::strict`].
    pub strict: bool,
    /// See [`Context::missing`].
    pub missing: u32,
}

impl Plugins {
    /// Adds a configured protocol; it takes the place of one with the same id.
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

    /// The ids of all that are configured, in ascending order.
    pub fn ids(&self) -> Vec<PublisherId> {
        let configured = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.plugin.is_some());
        (0..).zip(&self.entries).filter(|(_, entry)| configured(entry)).map(|(id, _)| PublisherId(id)).collect()
    }

    /// What a configured protocol is; also of one that is not configured any more.
    pub fn protocol(&self, id: PublisherId) -> Option<&'static Protocol> {
        self.entry(id).map(|entry| entry.protocol)
    }

    /// The first configured protocol of that name.
    pub fn named(&self, name: &str) -> Option<PublisherId> {
        let is = |e: &Option<Entry>| e.as_ref().is_some_and(|e| e.plugin.is_some() && e.protocol.name == name);
        (0..).zip(&self.entries).find(|(_, entry)| is(entry)).map(|(id, _)| PublisherId(id))
    }

    /// A parser for a new TCP connection; `None` when the protocol has none or is not configured any more.
    pub fn connect(&self, id: PublisherId) -> Option<Box<dyn StreamParser>> {
        self.entry(id)?.plugin.as_ref()?.connect()
    }

    /// Bytes that all plugins hold: datagrams and requests that wait.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Calls a plugin. Nothing happens when it is not configured any more.
    pub fn call(&mut self, id: PublisherId, mut with: Call<'_>, f: impl FnOnce(&mut dyn Plugin, &mut Context<'_>)) {
        let Some(Some(Entry { plugin: Some(plugin), wake, held, .. })) = self.entries.get_mut(id.index()) else { return };
        let mut cx = Context::new(with.now, &mut with.peers, with.sink, id, with.strict).with_wake(*wake).with_missing(with.missing);
        f(plugin.as_mut(), &mut cx);
        *wake = cx.wake();
        let before = std::mem::replace(held, plugin.held());
        self.held = self.held - before + *held;
    }

    /// Makes the plugin that holds most give up requests until all plugins together hold at most `bytes`. Returns how many were given up.
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

    /// Wakes the plugins whose time has come at `now`. With `strict` their timers are dropped.
    pub fn wake(&mut self, now: Timestamp, sink: &mut Sink, strict: bool) {
        for id in 0..self.entries.len() as u32 {
            let Some(Some(Entry { wake, .. })) = self.entries.get_mut(id as usize) else { continue };
            if wake.is_some_and(|due| due <= now) {
                *wake = None;
                if !strict {
                    let with = Call { now, peers: Peers::unspecified(), sink, strict, missing: 0 };
                    self.call(PublisherId(id), with, |plugin, cx| plugin.on_timer(cx));
                }
            }
        }
    }

    /// Takes over all plugins of `newer`; one with the same id is dropped.
    pub fn replace_with(&mut self, newer: Self) {
        for (id, entry) in (0..).zip(newer.entries) {
            if let Some(Entry { protocol, plugin: Some(plugin), .. }) = entry {
                self.insert(PublisherId(id), protocol, plugin);
            }
        }
    }

    /// Drops the plugin of a protocol that is not configured any more.
    pub fn remove(&mut self, id: PublisherId) {
        if let Some(Some(entry)) = self.entries.get_mut(id.index()) {
            self.held -= std::mem::take(&mut entry.held);
            (entry.plugin, entry.wake) = (None, None);
        }
    }

    /// Nothing more comes for this plugin: it reports what still waits.
    pub fn end(&mut self, id: PublisherId, now: Timestamp, sink: &mut Sink) {
        self.call(id, Call { now, peers: Peers::unspecified(), sink, strict: false, missing: 0 }, |plugin, cx| plugin.on_end(cx));
    }

    /// The end of the input: every plugin reports what still waits.
    pub fn end_all(&mut self, now: Timestamp, sink: &mut Sink) {
        self.ids().into_iter().for_each(|id| self.end(id, now, sink));
    }

    fn entry(&self, id: PublisherId) -> Option<&Entry> {
        self.entries.get(id.index())?.as_ref()
    }
}
