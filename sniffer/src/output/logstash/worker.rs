//! The senders: each sends a batch as one window through the connection that the senders of a worker share.

use super::{
    Shared,
    channel::{Channel, Done},
    wire,
};
use crate::{
    output::{Error, Outcome, Sender, Sent, codec, counters::Counters, hosts::Rotation},
    publish::Record,
    queue::BoxFuture,
};
use std::{borrow::Cow, sync::Arc};
use tokio::sync::Mutex;

/// The connection of a worker.
pub(super) struct Link {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

struct State {
    hosts: Rotation,
    channel: Option<Arc<Channel>>,
}

impl Link {
    /// The connection of a worker that uses these hosts, one at a time.
    pub(super) fn new(shared: Arc<Shared>, hosts: Rotation, counters: Arc<Counters>) -> Self {
        Self { shared, counters, state: State { hosts, channel: None }.into() }
    }

    /// Returns the open connection. The function opens one if there is none, or if the last one was closed while it was idle or is older
    /// than `ttl`. Windows that were written to the last connection are completed there.
    async fn channel(&self) -> Result<Arc<Channel>, Error> {
        let mut state = self.state.lock().await;
        if let Some(channel) = state.channel.as_ref().filter(|channel| !channel.is_over()) {
            return Ok(channel.clone());
        }
        state.channel = None;
        let shared = &self.shared;
        let peer = shared.hosts.get(state.hosts.current()).ok_or_else(|| Error::Unreachable("no such host".into()))?;
        match shared.dialer.dial(peer, None).await {
            Ok(connection) => {
                log::info!("Connection to logstash {}:{} established", peer.host, peer.port);
                let channel = Arc::new(Channel::new(connection, shared.timeout, shared.ttl));
                state.channel = Some(channel.clone());
                Ok(channel)
            }
            Err(error) => {
                state.hosts.advance();
                Err(error)
            }
        }
    }

    /// Moves to the next host after a failure, once for all windows of the connection.
    async fn failed(&self, channel: &Arc<Channel>) {
        let mut state = self.state.lock().await;
        if state.channel.as_ref().is_some_and(|current| Arc::ptr_eq(current, channel)) {
            state.channel = None;
            state.hosts.advance();
        }
    }
}

/// A sender, which has one window on its way at a time.
pub(super) struct Worker(pub(super) Arc<Link>);

impl Worker {
    async fn send_batch(&self, batch: &[Record]) -> Result<Sent, Error> {
        let (link, mut bytes) = (&self.0, Vec::new());
        let escaped = |record: &Record| codec::escape(&record.body);
        let documents: Vec<Cow<'_, [u8]>> = match link.shared.escape_html {
            true => batch.iter().map(|record| Cow::Owned(escaped(record))).collect(),
            false => batch.iter().map(|record| Cow::Borrowed(&*record.body)).collect(),
        };
        let documents: Vec<&[u8]> = documents.iter().map(AsRef::as_ref).collect();
        wire::window(&documents, link.shared.compression, &mut bytes).map_err(|e| Error::TooLarge(e.to_string().into()))?;
        let count = u32::try_from(batch.len()).map_err(|e| Error::TooLarge(e.to_string().into()))?;
        let channel = link.channel().await?;
        let done = channel.send(&bytes, count).await;
        if !matches!(done, Ok(Done { failed: None, .. })) {
            link.counters.write_errors.add(1);
            link.failed(&channel).await;
        }
        link.counters.write_bytes.add(bytes.len());
        match done? {
            Done { failed: None, .. } => Ok(Sent::All),
            Done { failed: Some(why), acknowledged: 0 } => Err(Error::Broken(why)),
            Done { failed: Some(why), acknowledged } => {
                let outcome = |place| if place < acknowledged { Outcome::Delivered } else { Outcome::Later(why.clone()) };
                Ok(Sent::Each((0..batch.len()).map(outcome).collect()))
            }
        }
    }
}

impl Sender for Worker {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { self.0.channel().await.map(drop) })
    }

    fn send<'a>(&'a mut self, batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>> {
        Box::pin(self.send_batch(batch))
    }
}
