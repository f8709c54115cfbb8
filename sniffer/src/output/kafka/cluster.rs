//! The known state of a Kafka cluster: its brokers, and the leaders of the partitions of the topics in use.

use super::{Shared, broker::Broker};
use crate::output::{Error, Peer, hosts::Rotation};
use kafka_protocol::{
    messages::{MetadataRequest, MetadataResponse, TopicName, metadata_request::MetadataRequestTopic},
    protocol::StrBytes,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::time::Instant;

/// Maximum number of topics that are remembered. Their names can depend on events.
const MOST_TOPICS: usize = 10_000;

/// A topic: the leader of each partition, or the code of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) error: i16,
    /// The leader of each partition, indexed by the number of the partition; `None` for a partition that has no leader now.
    pub(super) leaders: Vec<Option<i32>>,
}

/// The state of the cluster as one worker knows it, with the worker's connections.
pub(super) struct Cluster {
    shared: Arc<Shared>,
    /// The configured hosts. The first request for the brokers goes to one of them.
    hosts: Rotation,
    brokers: BTreeMap<i32, Peer>,
    connections: BTreeMap<i32, Broker>,
    topics: BTreeMap<String, Topic>,
    /// Time of the last request for the topics.
    asked: Instant,
    /// Whether something has changed, so that the topics have to be asked for again.
    outdated: bool,
}

impl Cluster {
    pub(super) fn new(shared: Arc<Shared>, hosts: Rotation) -> Self {
        let (brokers, connections, topics) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { shared, hosts, brokers, connections, topics, asked: Instant::now(), outdated: true }
    }

    /// Asks one of the configured hosts for the brokers.
    pub(super) async fn discover(&mut self) -> Result<(), Error> {
        self.connections.clear();
        let peer = self.shared.hosts.get(self.hosts.current()).ok_or_else(|| Error::Unreachable("no such host".into()))?;
        let asked = async {
            let mut broker = Broker::open(peer, &self.shared).await?;
            broker.request(&metadata([])).await
        };
        match asked.await {
            Ok(answer) => {
                log::info!("Connection to kafka {}:{} established, {} brokers", peer.host, peer.port, answer.brokers.len());
                self.update_metadata(&answer);
                Ok(())
            }
            Err(error) => {
                self.hosts.advance();
                Err(Error::Unreachable(error.reason().clone()))
            }
        }
    }

    /// Whether no broker is known yet.
    pub(super) fn is_unknown(&self) -> bool {
        self.brokers.is_empty()
    }

    /// Marks the leaders as outdated, because they have changed or a broker cannot be reached.
    pub(super) fn forget_leaders(&mut self) {
        self.outdated = true;
    }

    /// Asks for the topics, unless they are known and not outdated. Topics that are being created are asked for again, at most as often as
    /// `metadata.retry` says.
    pub(super) async fn update(&mut self, topics: &BTreeSet<String>) -> Result<(), Error> {
        let options = self.shared.metadata;
        if self.topics.len() > MOST_TOPICS {
            self.topics.clear();
        }
        let old = !options.refresh_frequency.is_zero() && self.asked.elapsed() >= options.refresh_frequency;
        if self.outdated || old {
            self.topics.clear();
        }
        for attempt in 0.. {
            let is_ready = |topic: &Topic| topic.error == 0 && topic.leaders.iter().any(Option::is_some);
            let missing: Vec<&String> = topics.iter().filter(|name| !self.topics.get(*name).is_some_and(is_ready)).collect();
            if missing.is_empty() {
                break;
            }
            let request = metadata(missing.iter().map(|name| name.as_str()));
            let answer = self.ask_any(&request).await?;
            self.update_metadata(&answer);
            (self.outdated, self.asked) = (false, Instant::now());
            let unknown = |name: &&String| self.topics.get(*name).is_none_or(|topic| !is_ready(topic) && is_temporary(topic.error));
            if attempt >= options.retry.max || !topics.iter().any(|name| unknown(&name)) {
                break;
            }
            tokio::time::sleep(options.retry.backoff).await;
        }
        Ok(())
    }

    /// Asks a broker that can be reached.
    async fn ask_any(&mut self, request: &MetadataRequest) -> Result<MetadataResponse, Error> {
        let mut ids: Vec<i32> = self.brokers.keys().copied().collect();
        // Brokers with an open connection are asked first.
        ids.sort_by_key(|id| !self.connections.contains_key(id));
        let mut last = Error::Unreachable("no broker is known".into());
        for id in ids {
            match self.broker(id).await {
                Ok(broker) => match broker.request(request).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => {
                        self.disconnect(id);
                        last = error;
                    }
                },
                Err(error) => last = error,
            }
        }
        Err(Error::Unreachable(last.reason().clone()))
    }

    fn update_metadata(&mut self, answer: &MetadataResponse) {
        let peer = |broker: &kafka_protocol::messages::metadata_response::MetadataResponseBroker| {
            Some((broker.node_id.0, Peer { host: broker.host.as_str().to_owned(), port: u16::try_from(broker.port).ok()? }))
        };
        self.brokers = answer.brokers.iter().filter_map(peer).collect();
        let known = &self.brokers;
        self.connections.retain(|id, _| known.contains_key(id));
        for topic in &answer.topics {
            let Some(name) = &topic.name else { continue };
            let mut leaders: Vec<(i32, Option<i32>)> = topic
                .partitions
                .iter()
                .map(|partition| (partition.partition_index, Some(partition.leader_id.0).filter(|id| known.contains_key(id))))
                .collect();
            leaders.sort_unstable();
            let leaders = leaders.into_iter().map(|(_, leader)| leader).collect();
            self.topics.insert(name.0.as_str().to_owned(), Topic { error: topic.error_code, leaders });
        }
    }

    /// Returns what is known about a topic.
    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// Returns the connection to a broker. The function opens it if there is none, or if the broker closed it while it was idle.
    pub(super) async fn broker(&mut self, id: i32) -> Result<&mut Broker, Error> {
        let closed = match self.connections.get_mut(&id) {
            Some(broker) => broker.is_closed().await,
            None => true,
        };
        if closed {
            self.connections.remove(&id);
            let peer = self.brokers.get(&id).ok_or_else(|| Error::Unreachable("the broker is not known".into()))?;
            let broker = Broker::open(peer, &self.shared).await?;
            self.connections.insert(id, broker);
        }
        self.connections.get_mut(&id).ok_or_else(|| Error::Unreachable("not connected".into()))
    }

    /// The open connection to a broker.
    pub(super) fn connected(&mut self, id: i32) -> Option<&mut Broker> {
        self.connections.get_mut(&id)
    }

    /// Closes the connection to a broker after a failure.
    pub(super) fn disconnect(&mut self, id: i32) {
        self.connections.remove(&id);
        self.outdated = true;
    }
}

fn metadata<'a>(topics: impl IntoIterator<Item = &'a str>) -> MetadataRequest {
    let topic = |name: &str| MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))));
    let topics = topics.into_iter().map(topic).collect();
    MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(true)
}

/// Whether the error means that the topic may be usable soon: it is being created, or its leaders are being elected.
fn is_temporary(code: i16) -> bool {
    kafka_protocol::ResponseError::try_from_code(code).is_none_or(|error| error.is_retriable())
}
