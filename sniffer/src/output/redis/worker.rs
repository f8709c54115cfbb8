//! The sender: opens a connection, and sends a batch as one pipeline of commands with a reply for each.

use super::{
    DataType, Shared,
    resp::{self, Reply},
};
use crate::{
    output::{
        Error, Outcome, Reason, Sender, Sent, codec,
        connection::{Connection, io_with_time_limit, is_closed, write},
        counters::Counters,
        hosts::Rotation,
    },
    publish::Record,
    queue::BoxFuture,
};
use std::sync::Arc;
use tokio::io::BufReader;

/// A sender and its hosts, which it uses one at a time.
pub(super) struct Worker {
    shared: Arc<Shared>,
    hosts: Rotation,
    counters: Arc<Counters>,
    pub(super) connection: Option<BufReader<Connection>>,
}

/// The commands of a batch.
#[derive(Default)]
struct Pipeline {
    bytes: Vec<u8>,
    /// The number of records of each command, in the order of the commands.
    records: Vec<usize>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, hosts: Rotation, counters: Arc<Counters>) -> Self {
        Self { shared, hosts, counters, connection: None }
    }

    /// Opens a connection to the current host, or moves to the next host on failure.
    async fn open(&mut self) -> Result<(), Error> {
        self.connection = None;
        match self.introduce().await {
            Ok((connection, version)) => {
                let peer = self.shared.hosts.get(self.hosts.current()).map(|host| format!("{}:{}", host.peer.host, host.peer.port));
                log::info!("Connection to redis {} established{version}", peer.unwrap_or_default());
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                self.hosts.advance();
                Err(error)
            }
        }
    }

    /// Connects, authenticates and selects the database. The function also returns the version of the server for the log.
    async fn introduce(&self) -> Result<(BufReader<Connection>, String), Error> {
        let shared = &self.shared;
        let host = shared.hosts.get(self.hosts.current()).ok_or_else(|| Error::Unreachable("no such host".into()))?;
        let mut stream = BufReader::new(shared.dialer.dial(&host.peer, host.tls).await?);
        let at = format!("redis {}:{}", host.peer.host, host.peer.port);
        if !host.password.is_empty() {
            let words: &[&str] =
                if host.username.is_empty() { &["AUTH", &host.password] } else { &["AUTH", &host.username, &host.password] };
            self.ask(&mut stream, words, &at).await?;
        }
        self.ask(&mut stream, &["PING"], &at).await?;
        if shared.db > 0 {
            self.ask(&mut stream, &["SELECT", &shared.db.to_string()], &at).await?;
        }
        let mut version = String::new();
        if shared.datatype == DataType::List && shared.key.constant().is_some() {
            // The reply of INFO is only for the log, as in Packetbeat. A user who has only the right to append gets an error, which is
            // ignored.
            let info = self.ask(&mut stream, &["INFO"], &at).await.unwrap_or_default();
            version =
                info.lines().find_map(|line| line.strip_prefix("redis_version:")).map(|v| format!(", version {v}")).unwrap_or_default();
        }
        Ok((stream, version))
    }

    /// Sends a command and returns the text of its reply.
    async fn ask(&self, stream: &mut BufReader<Connection>, words: &[&str], at: &str) -> Result<String, Error> {
        let name = words.first().copied().unwrap_or_default();
        write(stream, &resp::command(words), self.shared.timeout).await?;
        match io_with_time_limit(self.shared.timeout, name, resp::read(stream)).await? {
            Reply::Text(text) => Ok(text),
            Reply::Number(number) => Ok(number.to_string()),
            Reply::Error(text) => Err(Error::Unreachable(format!("{at}: {name}: {text}").into())),
        }
    }

    /// Writes the commands for the records, and sets the outcome of records that cannot be sent.
    fn pipeline(&self, batch: &[Record], outcomes: &mut [Outcome]) -> Pipeline {
        let (shared, mut pipeline, mut value) = (&self.shared, Pipeline::default(), Vec::new());
        let name: &[u8] = if shared.datatype == DataType::List { b"RPUSH" } else { b"PUBLISH" };
        let one_command = shared.key.constant().filter(|_| shared.datatype == DataType::List);
        let mut values = Vec::new();
        for (record, outcome) in batch.iter().zip(outcomes) {
            value.clear();
            if !shared.codec.write(record, &mut value) {
                *outcome = Outcome::Rejected(codec::MISSING_FIELD.into());
                continue;
            }
            if one_command.is_some() {
                resp::word(&value, &mut values);
                match pipeline.records.first_mut() {
                    Some(count) => *count += 1,
                    None => pipeline.records.push(1),
                }
                continue;
            }
            let Some(key) = shared.key.choose(record).filter(|key| !key.is_empty()) else {
                *outcome = Outcome::Rejected(shared.key.missing("key", record));
                continue;
            };
            resp::begin(3, &mut pipeline.bytes);
            [name, key.as_bytes(), &value].iter().for_each(|word| resp::word(word, &mut pipeline.bytes));
            pipeline.records.push(1);
        }
        if let (Some(key), Some(count)) = (one_command, pipeline.records.first()) {
            resp::begin(2 + count, &mut pipeline.bytes);
            [name, key.as_bytes()].iter().for_each(|word| resp::word(word, &mut pipeline.bytes));
            pipeline.bytes.append(&mut values);
        }
        pipeline
    }

    async fn send_batch(&mut self, batch: &[Record]) -> Result<Sent, Error> {
        let mut outcomes = vec![Outcome::Delivered; batch.len()];
        let pipeline = self.pipeline(batch, &mut outcomes);
        // The connection is put back only when every reply was read. If this future is dropped earlier, the connection is closed.
        let mut connection = self.connection.take();
        if let Some(stream) = &mut connection
            && is_closed(stream.get_mut()).await
        {
            // The server closes idle connections (`timeout` in its configuration), which is no failure.
            self.open().await?;
            connection = self.connection.take();
        }
        let mut stream = connection.ok_or_else(|| Error::Unreachable("not connected".into()))?;
        let mut open = outcomes.iter_mut().filter(|outcome| **outcome == Outcome::Delivered);
        let mut answered = 0;
        let timeout = self.shared.timeout;
        let mut failed = write(&mut stream, &pipeline.bytes, timeout).await.err();
        self.counters.write_errors.add(usize::from(failed.is_some()));
        for &count in &pipeline.records {
            let reply = match failed {
                None => io_with_time_limit(timeout, "reading the reply", resp::read(&mut stream)).await,
                Some(_) => break,
            };
            match reply {
                Ok(Reply::Error(text)) => open.by_ref().take(count).for_each(|outcome| *outcome = Outcome::Later(refusal(&text))),
                Ok(Reply::Text(_) | Reply::Number(_)) => open.by_ref().take(count).for_each(drop),
                Err(error) => {
                    self.counters.read_errors.add(1);
                    failed = Some(error);
                    break;
                }
            }
            answered += count;
        }
        match failed {
            None => self.connection = Some(stream),
            Some(error) => {
                self.hosts.advance();
                if answered == 0 {
                    return Err(error);
                }
                // Events whose reply has arrived stay delivered. For the next batch the worker connects again.
                open.for_each(|outcome| *outcome = Outcome::Later(error.reason().clone()));
            }
        }
        self.counters.write_bytes.add(pipeline.bytes.len());
        if outcomes.iter().all(|outcome| *outcome == Outcome::Delivered) { Ok(Sent::All) } else { Ok(Sent::Each(outcomes)) }
    }
}

/// Why a command was refused. No event is the cause: the server has no memory left, is read-only or is loading its data, the user lacks
/// rights, or the key has a value of another type.
fn refusal(text: &str) -> Reason {
    let code: String = text.chars().take_while(|c| c.is_ascii_uppercase()).take(40).collect();
    Reason::with_detail(format!("the server refuses the command: {code}"), text)
}

impl Sender for Worker {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.open())
    }

    fn send<'a>(&'a mut self, batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>> {
        Box::pin(self.send_batch(batch))
    }
}
