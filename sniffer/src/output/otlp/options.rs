//! The settings of `output.otlp`.

use crate::{
    config::{self, Node},
    output::{
        drive, http,
        shapes::{Scalar, Texts},
    },
};
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// The time limit of a request unless the user sets another.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// The settings of `output.otlp`.
#[derive(Debug)]
pub(super) struct Options {
    pub hosts: Texts,
    pub connection: Connection,
    pub service_name: String,
    pub loadbalance: bool,
    pub workers: usize,
    pub drive: drive::Options,
}

/// The settings of requests to a collector.
#[derive(Debug)]
pub(super) struct Connection {
    pub protocol: Protocol,
    pub headers: BTreeMap<String, Scalar>,
    pub compression: Compression,
    pub http: http::Options,
}

/// How requests are transported.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Protobuf messages in HTTP/1.1 requests.
    #[default]
    #[serde(rename = "http/protobuf", alias = "http")]
    Http,
    /// gRPC, which is based on HTTP/2.
    #[serde(rename = "grpc")]
    Grpc,
}

impl Protocol {
    /// The port of a host for which the user gives neither port nor scheme.
    pub(super) fn default_port(self) -> u16 {
        match self {
            Self::Http => 4318,
            Self::Grpc => 4317,
        }
    }
}

/// How the body of a request is compressed.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Compression {
    #[default]
    Gzip,
    None,
}

#[derive(Deserialize)]
#[serde(default)]
struct Given {
    hosts: Texts,
    protocol: Protocol,
    headers: BTreeMap<String, Scalar>,
    compression: Compression,
    service_name: String,
    loadbalance: bool,
    #[serde(alias = "worker")]
    workers: usize,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            hosts: Texts::default(),
            protocol: Protocol::default(),
            headers: BTreeMap::new(),
            compression: Compression::default(),
            service_name: "packetbeat".into(),
            loadbalance: true,
            workers: 1,
        }
    }
}

impl Options {
    /// Reads the settings.
    ///
    /// # Errors
    /// When a value is wrong. The error names file, line and key.
    pub(super) fn read(node: &Node) -> Result<Self, config::Error> {
        let Given { mut hosts, protocol, headers, compression, service_name, loadbalance, workers } = node.read()?;
        if hosts.0.is_empty() {
            if !node.get("hosts").is_unset() {
                return Err(node.get("hosts").error("is an empty list; write the collectors, or remove it for localhost"));
            }
            hosts.0.push("localhost".into());
        }
        if workers == 0 {
            return Err(node.get("workers").error("must be at least 1"));
        }
        if service_name.is_empty() {
            return Err(node.get("service_name").error("is empty; write a name, or remove it for `packetbeat`"));
        }
        let mut http: http::Options = node.read()?;
        if node.get("timeout").is_unset() {
            http.timeout = TIMEOUT;
        }
        http.is_http2 = protocol == Protocol::Grpc;
        let connection = Connection { protocol, headers, compression, http };
        Ok(Self { hosts, connection, service_name, loadbalance, workers, drive: node.read()? })
    }
}
