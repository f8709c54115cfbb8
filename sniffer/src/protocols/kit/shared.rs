//! A plugin for protocols whose parsers share only the options of the protocol.

use crate::{
    net::Direction,
    protocols::{Context, Plugin, StreamParser},
};
use std::{sync::Arc, time::Duration};

/// The type of a function that handles a datagram. Its first argument has the options of the protocol.
type OnDatagram<T> = fn(&T, Direction, &[u8], &mut Context<'_>);

/// A plugin whose only state is its options. `T` is the type of the options, `P` the parser of one connection.
pub struct Shared<T, P> {
    options: Arc<T>,
    connect: fn(Arc<T>) -> P,
    on_datagram: OnDatagram<T>,
    time_out: Option<Duration>,
}

impl<T, P> Shared<T, P> {
    /// Makes a plugin that makes a parser with `connect` for each connection, and ignores datagrams.
    pub fn new(options: T, connect: fn(Arc<T>) -> P) -> Self {
        Self { options: Arc::new(options), connect, on_datagram: |_, _, _, _| (), time_out: None }
    }

    /// Sets [`Plugin::time_out_on_connections`].
    #[must_use]
    pub fn with_time_out(self, time_out: Duration) -> Self {
        Self { time_out: Some(time_out), ..self }
    }

    /// Lets the plugin handle datagrams too.
    #[must_use]
    pub fn with_datagrams(self, on_datagram: OnDatagram<T>) -> Self {
        Self { on_datagram, ..self }
    }
}

impl<T: Send + Sync, P: StreamParser + 'static> Plugin for Shared<T, P> {
    fn connect(&self) -> Option<Box<dyn StreamParser>> {
        Some(Box::new((self.connect)(Arc::clone(&self.options))))
    }

    fn on_datagram(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) {
        (self.on_datagram)(&self.options, dir, data, cx);
    }

    fn time_out_on_connections(&self) -> Option<Duration> {
        self.time_out
    }

    /// The plugin holds no bytes that depend on traffic: the size of the options does not change.
    fn held(&self) -> usize {
        0
    }
}
