//! `output.kafka`: sends events to topics of a Kafka cluster.
//!
//! The messages of the protocol are those of the crate `kafka-protocol`, which generates them from Kafka's own definitions. Connections,
//! partitions and batches are here, because the delivery loop needs the outcome of each record, and retries itself.

mod broker;
mod cluster;
mod options;
mod partition;
mod records;
mod sasl;
mod worker;

use super::{
    Output, OutputKind, Peer, Sender,
    codec::Codec,
    connection::Dialer,
    counters::Counters,
    drive,
    hosts::{self, rotations},
    is_never_implied,
    select::{Keys, Selector},
};
use crate::{config, opening::Opening, queue::BoxFuture};
use options::{Metadata, Options};
use partition::Partitioner;
use records::Format;
use sasl::Mechanism;
use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};
use worker::Worker;

/// The output `kafka`, for the list of outputs.
pub(super) const OUTPUT: OutputKind = OutputKind { name: "kafka", open, is_implied: is_never_implied };

const TOPIC: Keys = Keys { list: "topics", name: "topic", ignores_case: false };
/// The name of the list of keys: `output.kafka` has no such option.
const KEY: Keys = Keys { list: "", name: "key", ignores_case: false };

struct Kafka {
    shared: Arc<Shared>,
    options: drive::Options,
    workers: usize,
    beat: String,
}

/// The part of the output that all workers share.
struct Shared {
    hosts: Vec<Peer>,
    dialer: Dialer,
    client_id: String,
    /// Mechanism, user and password.
    sasl: Option<(Mechanism, String, String)>,
    topic: Selector,
    key: Selector,
    codec: Codec,
    format: Format,
    partitioner: Partitioner,
    required_acks: i16,
    max_message_bytes: usize,
    timeout: Duration,
    broker_timeout: Duration,
    metadata: Metadata,
}

impl Kafka {
    fn read(opening: &Opening<'_>) -> Result<Self, config::Error> {
        let node = opening.node;
        super::refuse_kerberos(node)?;
        let options = Options::read(node)?;
        let hosts = hosts::peers(node, &options.hosts, "kafka", 9092)?;
        let set = |text: &Option<super::shapes::Scalar>| text.as_ref().map(|text| text.0.clone()).filter(|text| !text.is_empty());
        let topic = set(&options.topic);
        if topic.is_none() && node.get(TOPIC.list).items().is_empty() {
            return Err(node.error("either 'topic' or 'topics' must be defined"));
        }
        let key = set(&options.key);
        let shared = Shared {
            hosts,
            dialer: Dialer::read(opening, false, options.timeout)?,
            sasl: options.credentials(node)?,
            topic: Selector::read(node, TOPIC, topic.as_deref())?,
            key: Selector::read(&config::Node::default(), KEY, key.as_deref()).map_err(|error| node.get("key").error(error.to_string()))?,
            codec: Codec::new(&options.codec, false).map_err(|why| node.error(why))?,
            format: Format {
                compression: options.compression,
                level: options.compression_level,
                headers: options.headers.iter().map(|header| (header.key.clone(), header.value.0.clone())).collect(),
            },
            partitioner: Partitioner::read(&node.get("partition"))?,
            required_acks: options.required_acks,
            max_message_bytes: options.max_message_bytes,
            client_id: options.client_id,
            timeout: options.timeout,
            broker_timeout: options.broker_timeout,
            metadata: options.metadata,
        };
        let beat = set(&options.index).unwrap_or_else(|| "packetbeat".into());
        Ok(Self { shared: Arc::new(shared), options: node.read()?, workers: options.workers, beat })
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Output>, config::Error> {
    Kafka::read(opening).map(|output| Box::new(output) as Box<dyn Output>)
}

impl Output for Kafka {
    fn options(&self) -> drive::Options {
        self.options
    }

    fn metadata(&self) -> Option<&str> {
        Some(&self.beat)
    }

    fn peers(&self) -> Vec<Peer> {
        self.shared.hosts.iter().cloned().chain(self.shared.dialer.peer()).collect()
    }

    fn senders(self: Box<Self>, counters: &Arc<Counters>) -> Vec<Box<dyn Sender>> {
        // Every worker connects to all brokers, so hosts are not divided among workers. The hosts only serve to find the brokers.
        let rotations = rotations(self.shared.hosts.len(), false, self.workers);
        let sender = |hosts| Box::new(Worker::new(self.shared.clone(), hosts, counters.clone())) as Box<dyn Sender>;
        rotations.into_iter().map(sender).collect()
    }

    fn test<'a>(&'a self, out: &'a mut (dyn Write + Send)) -> Option<BoxFuture<'a, io::Result<bool>>> {
        Some(Box::pin(async move {
            let mut all = true;
            for (host, rotation) in self.shared.hosts.iter().zip(rotations(self.shared.hosts.len(), true, 1)) {
                let mut sender = Worker::new(self.shared.clone(), rotation, Arc::default());
                all &= self.shared.dialer.probe(host, None).run("kafka", &mut sender, out).await?;
            }
            Ok(all)
        }))
    }
}
