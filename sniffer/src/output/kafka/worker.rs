//! The sender: distributes a batch over the partitions of its topics, sends each broker its part, and reads the outcome of each part.

use super::{Shared, broker::name, cluster::Cluster, partition::Partitioner, records::Message};
use crate::{
    output::{Error, Outcome, Reason, Sender, Sent, codec, counters::Counters, hosts::Rotation},
    publish::Record,
    queue::BoxFuture,
};
use kafka_protocol::{
    ResponseError,
    messages::{
        ProduceRequest, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::StrBytes,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// A sender with what it knows of the cluster.
pub(super) struct Worker {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    cluster: Cluster,
    partitioner: Partitioner,
}

/// A record that can be sent.
struct Prepared {
    /// The index of the record in the batch.
    place: usize,
    topic: String,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    time: i64,
    partition: i32,
}

impl Prepared {
    fn message(&self) -> Message<'_> {
        Message { time: self.time, key: self.key.as_deref(), value: &self.value }
    }
}

/// The records of the batch that are sent to a partition as one batch of Kafka.
type Part = Vec<Prepared>;

/// The parts for one broker, by topic and partition. The first part of each partition is sent first, so that the order is kept.
type Parts = BTreeMap<(String, i32), VecDeque<Part>>;

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, hosts: Rotation, counters: Arc<Counters>) -> Self {
        let (cluster, partitioner) = (Cluster::new(shared.clone(), hosts), shared.partitioner.clone());
        Self { shared, counters, cluster, partitioner }
    }

    /// Prepares the records, and sets the outcome of those that cannot be sent.
    fn prepare(&self, batch: &[Record], outcomes: &mut [Outcome]) -> Vec<Prepared> {
        let shared = &self.shared;
        let mut prepared = Vec::with_capacity(batch.len());
        for (place, (record, outcome)) in batch.iter().zip(outcomes).enumerate() {
            let Some(topic) = shared.topic.choose(record).filter(|topic| !topic.is_empty()) else {
                *outcome = Outcome::Rejected(shared.topic.missing("topic", record));
                continue;
            };
            let mut value = Vec::new();
            if !shared.codec.write(record, &mut value) {
                *outcome = Outcome::Rejected(codec::MISSING_FIELD.into());
                continue;
            }
            let key = shared.key.choose(record).map(|key| key.into_owned().into_bytes()).filter(|key| !key.is_empty());
            let time = i64::try_from(record.route.time.0 / 1_000_000).unwrap_or(i64::MAX);
            let message = Prepared { place, topic: topic.into_owned(), key, value, time, partition: 0 };
            if shared.format.size_alone(&message.message()) > shared.max_message_bytes {
                *outcome = Outcome::Rejected(format!("larger than max_message_bytes ({})", shared.max_message_bytes).into());
                continue;
            }
            prepared.push(message);
        }
        prepared
    }

    /// Chooses the partitions, and returns the parts for each broker. The function sets the outcome of records whose topic or partition
    /// cannot be used now.
    fn distribute(&mut self, batch: &[Record], prepared: Vec<Prepared>, outcomes: &mut [Outcome]) -> BTreeMap<i32, Parts> {
        let mut brokers: BTreeMap<i32, Parts> = BTreeMap::new();
        // The number of bytes in the last part of each partition.
        let mut sizes: BTreeMap<(String, i32), usize> = BTreeMap::new();
        let mut set = |place: usize, outcome: Outcome| {
            if let Some(slot) = outcomes.get_mut(place) {
                *slot = outcome;
            }
        };
        for mut message in prepared {
            let topic = self.cluster.topic(&message.topic);
            let (error, leaders) = topic.map_or((UNKNOWN_TOPIC, &[][..]), |topic| (topic.error, &topic.leaders));
            if error != 0 || leaders.is_empty() {
                let error = if error == 0 { UNKNOWN_TOPIC } else { error };
                set(message.place, outcome(error).unwrap_or(Outcome::Delivered));
                self.cluster.forget_leaders();
                continue;
            }
            let event = match batch.get(message.place).filter(|_| self.partitioner.needs_event()) {
                Some(record) => serde_json::from_slice(&record.body).unwrap_or_default(),
                None => Value::Null,
            };
            let usable: Vec<usize> = (0..leaders.len())
                .filter(|partition| !self.partitioner.reachable_only || leaders.get(*partition).is_some_and(Option::is_some))
                .collect();
            let chosen = self.partitioner.choose(message.key.as_deref(), &event, usable.len());
            let partition = usable.get(chosen).copied().unwrap_or_default();
            let Some(leader) = leaders.get(partition).copied().flatten() else {
                set(message.place, Outcome::Later("the partition has no leader".into()));
                self.cluster.forget_leaders();
                continue;
            };
            message.partition = i32::try_from(partition).unwrap_or_default();
            let place = (message.topic.clone(), message.partition);
            let size = self.shared.format.size(&message.message());
            let bytes = sizes.entry(place.clone()).or_default();
            let parts = brokers.entry(leader).or_default().entry(place).or_default();
            *bytes += size;
            match parts.back_mut().filter(|_| *bytes <= self.shared.max_message_bytes) {
                Some(part) => part.push(message),
                None => {
                    *bytes = self.shared.format.size_alone(&message.message());
                    parts.push_back(vec![message]);
                }
            }
        }
        brokers
    }

    async fn send_batch(&mut self, batch: &[Record]) -> Result<Sent, Error> {
        let mut outcomes = vec![Outcome::Delivered; batch.len()];
        let prepared = self.prepare(batch, &mut outcomes);
        if self.cluster.is_unknown() {
            self.cluster.discover().await?;
        }
        let topics: BTreeSet<String> = prepared.iter().map(|message| message.topic.clone()).collect();
        self.cluster.update(&topics).await?;
        let mut brokers = self.distribute(batch, prepared, &mut outcomes);
        let (mut delivered, mut broken) = (0, None);
        while brokers.values().any(|parts| !parts.is_empty()) {
            // All brokers get their requests before the first response is read, so that they work at the same time.
            let mut waiting = Vec::new();
            for (&id, parts) in &mut brokers {
                let round: Vec<Part> = parts.values_mut().filter_map(VecDeque::pop_front).collect();
                if round.is_empty() {
                    continue;
                }
                match self.write(id, &round).await {
                    Ok(version) => waiting.push((id, version, round)),
                    Err(error) => {
                        self.fail(id, parts, round, &error, &mut outcomes);
                        broken = Some(error);
                    }
                }
            }
            for (id, version, round) in waiting {
                let Some(parts) = brokers.get_mut(&id) else { continue };
                match self.read(id, version).await {
                    Ok(codes) => delivered += self.settle(&codes, round, parts, &mut outcomes),
                    Err(error) => {
                        self.fail(id, parts, round, &error, &mut outcomes);
                        broken = Some(error);
                    }
                }
            }
            brokers.values_mut().for_each(|parts| parts.retain(|_, parts| !parts.is_empty()));
        }
        match broken {
            // No record was delivered or rejected, so the failure is one of the connections.
            Some(error) if delivered == 0 && !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Rejected(_))) => Err(error),
            _ if outcomes.iter().all(|outcome| *outcome == Outcome::Delivered) => Ok(Sent::All),
            _ => Ok(Sent::Each(outcomes)),
        }
    }

    /// Writes the request for a broker. Returns the version of the response; `None` if the broker sends no response.
    async fn write(&mut self, id: i32, round: &[Part]) -> Result<Option<i16>, Error> {
        let mut topics: BTreeMap<&str, Vec<PartitionProduceData>> = BTreeMap::new();
        for part in round {
            let Some(first) = part.first() else { continue };
            let messages: Vec<Message<'_>> = part.iter().map(Prepared::message).collect();
            let records = self.shared.format.batch(&messages).map_err(|e| Error::Refused(e.to_string().into()))?;
            let data = PartitionProduceData::default().with_index(first.partition).with_records(Some(records.into()));
            topics.entry(&first.topic).or_default().push(data);
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            TopicProduceData::default().with_name(TopicName(StrBytes::from_string(name.to_owned()))).with_partition_data(partitions)
        });
        let request = ProduceRequest::default()
            .with_acks(self.shared.required_acks)
            .with_timeout_ms(i32::try_from(self.shared.broker_timeout.as_millis()).unwrap_or(i32::MAX))
            .with_topic_data(topics.collect());
        let broker = self.cluster.broker(id).await?;
        let (version, length) = broker.send(&request).await.inspect_err(|_| self.counters.write_errors.add(1))?;
        self.counters.write_bytes.add(length);
        Ok((self.shared.required_acks != 0).then_some(version))
    }

    /// Reads the response, which has an error code for each partition.
    async fn read(&mut self, id: i32, version: Option<i16>) -> Result<BTreeMap<(String, i32), i16>, Error> {
        let Some(version) = version else { return Ok(BTreeMap::new()) };
        let broker = self.cluster.connected(id).ok_or_else(|| Error::Broken("not connected".into()))?;
        let answer = broker.response::<ProduceRequest>(version).await.inspect_err(|_| self.counters.read_errors.add(1))?;
        let codes = answer.responses.iter().flat_map(|topic| {
            topic.partition_responses.iter().map(|part| ((topic.name.0.as_str().to_owned(), part.index), part.error_code))
        });
        Ok(codes.collect())
    }

    /// Settles a round. Parts that are too large for the broker are halved and sent in the next round. Returns how many records are
    /// delivered.
    fn settle(&mut self, codes: &BTreeMap<(String, i32), i16>, round: Vec<Part>, parts: &mut Parts, outcomes: &mut [Outcome]) -> usize {
        let mut delivered = 0;
        for mut part in round {
            let Some(place) = part.first().map(|first| (first.topic.clone(), first.partition)) else { continue };
            let code = match self.shared.required_acks {
                0 => 0,
                _ => codes.get(&place).copied().unwrap_or(NO_ANSWER),
            };
            if TOO_LARGE.contains(&code) && part.len() > 1 {
                let second = part.split_off(part.len() / 2);
                let queue = parts.entry(place).or_default();
                queue.push_front(second);
                queue.push_front(part);
                continue;
            }
            let Some(outcome) = outcome(code) else {
                delivered += part.len();
                continue;
            };
            if matches!(outcome, Outcome::Later(_)) {
                self.cluster.forget_leaders();
            }
            for one in &part {
                if let Some(slot) = outcomes.get_mut(one.place) {
                    *slot = outcome.clone();
                }
            }
        }
        delivered
    }

    /// Records that a broker failed. Its records are sent later, to the broker that is the leader then.
    fn fail(&mut self, id: i32, parts: &mut Parts, round: Vec<Part>, error: &Error, outcomes: &mut [Outcome]) {
        self.cluster.disconnect(id);
        let rest = std::mem::take(parts).into_values().flatten();
        for one in round.into_iter().chain(rest).flatten() {
            if let Some(slot) = outcomes.get_mut(one.place) {
                *slot = Outcome::Later(error.reason().clone());
            }
        }
    }
}

/// Kafka's error code UNKNOWN_TOPIC_OR_PARTITION.
const UNKNOWN_TOPIC: i16 = 3;

/// An internal code: the broker's answer does not mention the partition.
const NO_ANSWER: i16 = -1;

/// Kafka's error codes MESSAGE_TOO_LARGE and RECORD_LIST_TOO_LARGE.
const TOO_LARGE: [i16; 2] = [10, 18];

/// The outcome that an error code means; `None` if the code means success.
fn outcome(code: i16) -> Option<Outcome> {
    if code == 0 {
        return None;
    }
    let why = Reason::from(format!("the broker says {}", name(code)));
    Some(match ResponseError::try_from_code(code) {
        Some(ResponseError::MessageTooLarge | ResponseError::RecordListTooLarge) => {
            Outcome::Rejected(why.prefixed("the event alone is larger than the broker accepts"))
        }
        Some(ResponseError::InvalidTopicException) => Outcome::Rejected(why),
        Some(ResponseError::InvalidRecord | ResponseError::InvalidTimestamp | ResponseError::UnsupportedForMessageFormat) => {
            Outcome::Retry(why)
        }
        _ => Outcome::Later(why),
    })
}

impl Sender for Worker {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.cluster.discover())
    }

    fn send<'a>(&'a mut self, batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>> {
        Box::pin(self.send_batch(batch))
    }
}
