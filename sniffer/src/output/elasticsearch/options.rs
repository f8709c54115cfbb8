//! The settings of `output.elasticsearch`, its presets, and the forms of `hosts`.

use crate::{
    config::{self, Node},
    output::{
        backoff, drive, hosts, http,
        shapes::{self, Scalar, Texts},
    },
    queue,
};
use reqwest::Url;
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// The settings of `output.elasticsearch`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    pub hosts: Texts,
    pub protocol: String,
    pub path: String,
    pub parameters: BTreeMap<String, Scalar>,
    pub headers: BTreeMap<String, Scalar>,
    pub username: Option<Scalar>,
    pub password: Option<Scalar>,
    pub api_key: Option<Scalar>,
    pub index: Option<Scalar>,
    pub pipeline: Option<Scalar>,
    #[serde(deserialize_with = "shapes::zero_or_more")]
    pub bulk_max_size: usize,
    #[serde(alias = "worker")]
    pub workers: usize,
    pub loadbalance: bool,
    pub compression_level: u32,
    pub escape_html: bool,
    pub max_retries: i64,
    pub backoff: backoff::Options,
    pub allow_older_versions: bool,
    pub non_indexable_policy: Option<Policy>,
    pub preset: Preset,
    /// Connection settings, read from the same node.
    #[serde(skip)]
    pub http: http::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hosts: Texts::default(),
            protocol: String::new(),
            path: String::new(),
            parameters: BTreeMap::new(),
            headers: BTreeMap::new(),
            username: None,
            password: None,
            api_key: None,
            index: None,
            pipeline: None,
            bulk_max_size: 1600,
            workers: 1,
            loadbalance: true,
            compression_level: 1,
            escape_html: false,
            max_retries: 3,
            backoff: backoff::Options::default(),
            allow_older_versions: true,
            non_indexable_policy: None,
            preset: Preset::Custom,
            http: http::Options::default(),
        }
    }
}

/// `preset`: a named set of values for batches, workers, queue and backoff. `custom` keeps the user's values.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Preset {
    Balanced,
    Throughput,
    Scale,
    Latency,
    Custom,
}

/// `non_indexable_policy`: what happens to an event that the server refuses permanently.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Policy {
    Drop(serde::de::IgnoredAny),
    DeadLetterIndex(DeadLetter),
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct DeadLetter {
    pub index: String,
}

impl Options {
    /// Reads the settings and applies the preset. The function also returns the queue's defaults, which the preset determines.
    pub(super) fn read(node: &Node) -> Result<(Self, queue::Options), config::Error> {
        let mut options: Self = node.read()?;
        options.http = node.read()?;
        let mut queue = queue::Options::default();
        let mut set = |bulk, workers, events, min_events, timeout, idle| {
            (options.bulk_max_size, options.workers, options.compression_level) = (bulk, workers, 1);
            options.http.idle_connection_timeout = Duration::from_secs(idle);
            queue.events = events;
            queue.flush = queue::Flush { min_events, timeout: Duration::from_secs(timeout) };
        };
        match options.preset {
            Preset::Custom => {}
            Preset::Balanced => set(1600, 1, 3200, 1600, 10, 3),
            Preset::Throughput => set(1600, 4, 12_800, 1600, 5, 15),
            Preset::Latency => set(50, 1, 4100, 2050, 1, 60),
            Preset::Scale => {
                set(1600, 1, 3200, 1600, 20, 1);
                options.backoff = backoff::Options { init: Duration::from_secs(5), max: Duration::from_secs(300) };
            }
        }
        let texts = [&mut options.username, &mut options.password, &mut options.api_key, &mut options.index, &mut options.pipeline];
        // An empty text counts as not set: `api_key: "${API_KEY:}"`.
        texts.into_iter().for_each(|text| *text = text.take().filter(|text| !text.0.is_empty()));
        if options.api_key.is_some() && options.username.is_some() {
            return Err(node.get("api_key").error("cannot set both api_key and username/password"));
        }
        if options.compression_level > 9 {
            return Err(node.get("compression_level").error(format!("{} is not between 0 and 9", options.compression_level)));
        }
        if options.workers == 0 {
            return Err(node.get("workers").error("must be at least 1"));
        }
        Ok((options, queue))
    }

    /// The size of batches, and when a batch is sent again.
    pub(super) fn drive(&self) -> drive::Options {
        let Self { bulk_max_size, max_retries, backoff, .. } = *self;
        drive::Options { bulk_max_size, max_retries, backoff, ..drive::Options::default() }
    }
}

/// The base URL of an entry of `hosts`. Missing scheme, port (9200) and path are filled in.
pub(super) fn base(host: &str, options: &Options) -> Result<Url, String> {
    let scheme = match options.protocol.as_str() {
        "" if options.http.ssl.is_used() => "https",
        "" => "http",
        other => other,
    };
    let mut url = hosts::address(host, scheme, &["http", "https"], 9200)?;
    if url.path() == "/" && !options.path.is_empty() {
        url.set_path(&options.path);
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(yaml: &str) -> Result<Options, String> {
        Options::read(&Node::parse(yaml).unwrap()).map(|o| o.0).map_err(|e| e.to_string())
    }

    #[test]
    fn base_addresses() {
        for (settings, host, expected) in [
            ("{}", "localhost", "http://localhost:9200/"),
            ("{}", "https://u:p@es.example/x", "https://u:p@es.example:9200/x/"),
            ("{path: /es}", "a/x", "http://a:9200/x/"),
            ("{protocol: https, path: /es}", "a:443", "https://a/es/"),
            ("{ssl: {enabled: true}}", "a", "https://a:9200/"),
        ] {
            assert_eq!(base(host, &options(settings).unwrap()).unwrap().as_str(), expected, "{host} {settings}");
        }
        assert!(base("ftp://x", &Options::default()).is_err());
    }

    #[test]
    fn presets_and_contradictions() {
        let o = options("{preset: throughput, bulk_max_size: 5}").unwrap();
        assert_eq!((o.bulk_max_size, o.workers, o.http.idle_connection_timeout.as_secs()), (1600, 4, 15));
        assert_eq!(options("{worker: 3}").unwrap().workers, 3);
        assert!(options("{api_key: 'a:b', username: c}").unwrap_err().contains("cannot set both"));
        for yaml in ["{api_key: 'a:b', username: '', password: ''}", "{api_key: '', username: c, index: '', pipeline: ''}"] {
            let o = options(yaml).unwrap();
            let is_set = |text: &Option<Scalar>| text.as_ref().is_some_and(|text| !text.0.is_empty());
            assert_eq!((is_set(&o.api_key), o.index.is_some(), o.pipeline.is_some()), (o.username.is_none(), false, false), "{yaml}");
        }
        assert!(options("{preset: fast}").unwrap_err().contains("throughput"));
        let o = options("{non_indexable_policy: {dead_letter_index: {index: dead}}}").unwrap();
        assert!(matches!(o.non_indexable_policy, Some(Policy::DeadLetterIndex(d)) if d.index == "dead"));
    }
}
