//! The settings of `output.kafka`.

use super::{records::Compression, sasl::Mechanism};
use crate::{
    config::{self, Node},
    output::{
        codec,
        shapes::{Scalar, Texts},
    },
};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::time::Duration;

/// The settings of `output.kafka` that no shared part reads.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Options {
    pub(super) hosts: Texts,
    pub(super) topic: Option<Scalar>,
    pub(super) key: Option<Scalar>,
    pub(super) index: Option<Scalar>,
    #[serde(alias = "worker")]
    pub(super) workers: usize,
    pub(super) headers: Vec<Header>,
    #[serde(deserialize_with = "acks")]
    pub(super) required_acks: i16,
    #[serde(deserialize_with = "compression")]
    pub(super) compression: Compression,
    pub(super) compression_level: u32,
    pub(super) max_message_bytes: usize,
    #[serde(deserialize_with = "config::duration::deserialize")]
    pub(super) timeout: Duration,
    #[serde(deserialize_with = "config::duration::deserialize")]
    pub(super) broker_timeout: Duration,
    pub(super) client_id: String,
    username: Option<Scalar>,
    password: Option<Scalar>,
    sasl: Sasl,
    pub(super) metadata: Metadata,
    pub(super) codec: codec::Options,
    version: Option<Scalar>,
    /// Settings of the internals of Sarama (the Kafka client of Beats), for which there is no equivalent here. They are accepted without
    /// effect.
    #[serde(rename = "bulk_flush_frequency")]
    _bulk_flush_frequency: Option<Scalar>,
    #[serde(rename = "channel_buffer_size")]
    _channel_buffer_size: Option<Scalar>,
    #[serde(rename = "keep_alive")]
    _keep_alive: Option<Scalar>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hosts: Texts::default(),
            topic: None,
            key: None,
            index: None,
            workers: 1,
            headers: Vec::new(),
            required_acks: 1,
            compression: Compression::Gzip,
            compression_level: 4,
            max_message_bytes: 1_000_000,
            timeout: Duration::from_secs(30),
            broker_timeout: Duration::from_secs(10),
            client_id: "beats".into(),
            username: None,
            password: None,
            sasl: Sasl::default(),
            metadata: Metadata::default(),
            codec: codec::Options::default(),
            version: None,
            _bulk_flush_frequency: None,
            _channel_buffer_size: None,
            _keep_alive: None,
        }
    }
}

/// An entry of the setting `headers`.
#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: Scalar,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Sasl {
    mechanism: String,
}

/// The settings `metadata`: how the leaders of partitions are found.
#[derive(Clone, Copy, Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    pub(super) retry: Retry,
    /// After this time the leaders are asked for again even without an error; 0: never.
    #[serde(deserialize_with = "config::duration::deserialize")]
    pub(super) refresh_frequency: Duration,
    /// Accepted without effect: only the topics in use are requested.
    #[serde(rename = "full")]
    _full: bool,
}

impl Default for Metadata {
    fn default() -> Self {
        Self { retry: Retry::default(), refresh_frequency: Duration::from_secs(600), _full: false }
    }
}

/// The settings `metadata.retry`: how often a topic that is being created is asked for again.
#[derive(Clone, Copy, Deserialize)]
#[serde(default)]
pub(super) struct Retry {
    pub(super) max: u32,
    #[serde(deserialize_with = "config::duration::deserialize")]
    pub(super) backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max: 3, backoff: Duration::from_millis(250) }
    }
}

fn acks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i16, D::Error> {
    let acks = i16::deserialize(deserializer)?;
    if (-1..=1).contains(&acks) { Ok(acks) } else { Err(D::Error::custom("must be -1 (all replicas), 0 (no answer) or 1 (the leader)")) }
}

fn compression<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Compression, D::Error> {
    let name = String::deserialize(deserializer)?;
    Ok(match name.as_str() {
        "none" => Compression::None,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        other => return Err(D::Error::custom(format!("compression mode '{other}' unknown; there are none, gzip, snappy, lz4, zstd"))),
    })
}

impl Options {
    /// Reads the settings.
    ///
    /// # Errors
    /// When a value is wrong. The error names file, line and key.
    pub(super) fn read(node: &Node) -> Result<Self, config::Error> {
        let options: Self = node.read()?;
        if options.hosts.0.is_empty() {
            return Err(node.error("hosts: missing; write some of the brokers, for example `hosts: [\"localhost:9092\"]`"));
        }
        if options.workers == 0 {
            return Err(node.get("workers").error("must be at least 1"));
        }
        if options.compression_level > 9 {
            return Err(node.get("compression_level").error(format!("{} is not between 0 and 9", options.compression_level)));
        }
        if let Some(Scalar(version)) = &options.version
            && !is_version(version)
        {
            return Err(node.get("version").error(format!("unknown/unsupported kafka version '{version}'; the newest known is 4.x")));
        }
        Ok(options)
    }

    /// Mechanism, user and password, if they are set.
    ///
    /// # Errors
    /// When the mechanism is unknown, or lacks a user.
    pub(super) fn credentials(&self, node: &Node) -> Result<Option<(Mechanism, String, String)>, config::Error> {
        let text = |text: &Option<Scalar>| text.as_ref().map(|text| text.0.clone()).filter(|text| !text.is_empty());
        let name = self.sasl.mechanism.to_uppercase();
        let mechanism = match name.as_str() {
            "" | "PLAIN" => Mechanism::Plain,
            "SCRAM-SHA-256" => Mechanism::ScramSha256,
            "SCRAM-SHA-512" => Mechanism::ScramSha512,
            other => {
                let node = node.get("sasl.mechanism");
                return Err(node.error(format!("'{other}' is not supported; there are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512")));
            }
        };
        match (text(&self.username), text(&self.password)) {
            (Some(user), password) => Ok(Some((mechanism, user, password.unwrap_or_default()))),
            (None, Some(_)) => Err(node.get("password").error("without `username`")),
            (None, None) if name.is_empty() => Ok(None),
            (None, None) => Err(node.get("sasl.mechanism").error("needs `username` and `password`")),
        }
    }
}

/// Whether a version of Kafka exists. Its value has no effect, because brokers report the versions that they support.
fn is_version(text: &str) -> bool {
    let parts: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([0, minor, ..]) => (8..=11).contains(minor),
        Some([1, minor, ..]) => *minor <= 1,
        Some([2, minor, ..]) => *minor <= 8,
        Some([3, minor, ..]) => *minor <= 9,
        Some([4, ..] | [1..=4]) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opening::testing::opening;

    fn opened(yaml: &str) -> Result<super::super::Kafka, String> {
        super::super::Kafka::read(&opening(&Node::parse(yaml).unwrap())).map_err(|e| e.to_string())
    }

    #[test]
    fn wrong_settings() {
        for (yaml, expected) in [
            ("{topic: x}", "hosts: missing"),
            ("{hosts: [a]}", "either 'topic' or 'topics' must be defined"),
            ("{hosts: [a], topic: x, compression: brotli}", "compression mode 'brotli' unknown"),
            ("{hosts: [a], topic: x, version: 99.9}", "unknown/unsupported kafka version '99.9'"),
            ("{hosts: [a], topic: x, required_acks: 2}", "must be -1"),
            ("{hosts: [a], topic: x, partition: {hash: {}, random: {}}}", "too many partitioners"),
            ("{hosts: [a], topic: x, sasl: {mechanism: GSSAPI}}", "'GSSAPI' is not supported"),
            ("{hosts: [a], topic: x, sasl: {mechanism: PLAIN}}", "needs `username`"),
            ("{hosts: [a], topic: x, password: secret}", "without `username`"),
            ("{hosts: [a], topic: x, kerberos: {enabled: true}}", "Kerberos is not supported"),
            ("{hosts: [a], topic: x, key: '%{'}", "format string"),
            ("{hosts: [a], topic: x, compression_level: 10}", "not between 0 and 9"),
            ("{hosts: ['http://a'], topic: x}", "the scheme is not one of kafka"),
        ] {
            let error = opened(yaml).map(drop).unwrap_err();
            assert!(error.contains(expected) && !error.contains("secret"), "{yaml}: {error}");
        }
    }

    #[test]
    fn settings_that_packetbeat_knows() {
        let node = Node::parse(
            "{hosts: [a, 'b:9093'], topics: [{topic: x}], username: u, password: 7, sasl.mechanism: scram-sha-512, version: '2.1', \
             headers: [{key: a, value: 1}], bulk_flush_frequency: 0s, channel_buffer_size: 256, keep_alive: 0s, broker_timeout: 10s, \
             metadata: {retry: {max: 1, backoff: 1s}, refresh_frequency: 0, full: true}, kerberos: {enabled: false}, partition: {random: {}}, \
             codec: {json: {pretty: false}}, ssl: {enabled: false}, bulk_max_size: 10, max_retries: 1, backoff: {init: 1s}, client_id: c, \
             compression: zstd, max_message_bytes: 5, required_acks: -1, worker: 2, key: k, index: i}",
        )
        .unwrap();
        let kafka = super::super::Kafka::read(&opening(&node)).unwrap();
        assert_eq!(node.unknown(), []);
        assert_eq!(kafka.shared.sasl, Some((Mechanism::ScramSha512, "u".into(), "7".into())));
        let ports: Vec<u16> = kafka.shared.hosts.iter().map(|peer| peer.port).collect();
        assert_eq!((ports, kafka.workers, kafka.shared.required_acks), (vec![9092, 9093], 2, -1));
        for version in ["0.8.2.0", "0.11", "1.0.0", "2.1.0", "2.8", "3.9.1", "4.3.1", "2"] {
            assert!(is_version(version), "{version}");
        }
        for version in ["", "x", "0.7", "2.9", "5.0", "1.2", "2.x", "99.9"] {
            assert!(!is_version(version), "{version}");
        }
    }
}
