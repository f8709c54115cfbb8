//! The settings `http`.

use crate::config::{self, Node};
use serde::Deserialize;
use std::{net::Ipv6Addr, path::PathBuf};

/// The settings `http` of an endpoint that is enabled.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the endpoint listens.
    pub(super) at: At,
    /// Maximum number of series of transactions on `/metrics`; `None` if transactions are not counted there.
    pub max_series: Option<usize>,
    /// The section, for errors.
    pub(super) node: Node,
}

/// Where the endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A host name or address, and a port. An empty host means all addresses.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

#[derive(Deserialize)]
#[serde(default)]
struct Given {
    host: String,
    port: u16,
    named_pipe: NamedPipe,
    metrics: Metrics,
}

impl Default for Given {
    fn default() -> Self {
        Self { host: "localhost".into(), port: 5066, named_pipe: NamedPipe::default(), metrics: Metrics::default() }
    }
}

/// `http.metrics`
#[derive(Default, Deserialize)]
#[serde(default)]
struct Metrics {
    transactions: Transactions,
}

/// `http.metrics.transactions`
#[derive(Deserialize)]
#[serde(default)]
struct Transactions {
    enabled: bool,
    max_series: usize,
}

impl Default for Transactions {
    fn default() -> Self {
        Self { enabled: false, max_series: 500 }
    }
}

/// Largest value of `http.metrics.transactions.max_series`: each series has 17 lines on `/metrics`.
const MOST_SERIES: usize = 10_000;

/// Settings for Windows.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedPipe {
    user: Option<String>,
    security_descriptor: Option<String>,
}

impl Options {
    /// Reads the section `http`. Returns `None` when the endpoint is not enabled; its other settings are then not read.
    ///
    /// # Errors
    /// When a setting is wrong. The error names file, line and key.
    pub fn read(root: &Node) -> Result<Option<Self>, config::Error> {
        let node = root.get("http");
        if node.get("enabled").read::<Option<bool>>()? != Some(true) {
            node.accept();
            return Ok(None);
        }
        let Given { host, port, named_pipe, metrics: Metrics { transactions } } = node.read()?;
        let pipes = [("named_pipe.user", named_pipe.user), ("named_pipe.security_descriptor", named_pipe.security_descriptor)];
        if let Some((key, _)) = pipes.iter().find(|(_, value)| value.as_deref().is_some_and(|text| !text.is_empty())) {
            let advice =
                "named pipes exist only on Windows; remove this setting, or let `http.host` name a Unix socket (unix:///run/sniffer.sock)";
            return Err(node.get(key).error(advice));
        }
        let at = read_host(&host, port).map_err(|why| node.get("host").error(why))?;
        if !(1..=MOST_SERIES).contains(&transactions.max_series) {
            let given = transactions.max_series;
            return Err(node.get("metrics.transactions.max_series").error(format!("{given} is not between 1 and {MOST_SERIES}")));
        }
        let max_series = transactions.enabled.then_some(transactions.max_series);
        Ok(Some(Self { at, max_series, node }))
    }
}

impl At {
    /// Reads a host: a name or an address, `http://HOST[:PORT]`, or `unix:///PATH`. `port`: the port if the host names none.
    ///
    /// # Errors
    /// When the text is something else.
    pub fn read(host: &str, port: u16) -> Result<Self, String> {
        read_host(host, port)
    }
}

fn read_host(host: &str, port: u16) -> Result<At, String> {
    let host = host.trim();
    if let Some(path) = host.strip_prefix("unix://") {
        if !path.starts_with('/') {
            return Err(format!("`{host}` has no absolute path; write unix:///run/sniffer.sock"));
        }
        return Ok(At::Unix(path.into()));
    }
    if host.starts_with("npipe:") || host.starts_with(r"\\.\pipe") {
        return Err("named pipes exist only on Windows; write a host name, an address, or a Unix socket (unix:///run/sniffer.sock)".into());
    }
    let Some(address) = host.strip_prefix("http://") else {
        if let Some((scheme, _)) = host.split_once("://") {
            return Err(format!("`{scheme}` is not a known scheme; write a host name, an address, http://HOST:PORT, or unix:///PATH"));
        }
        let name = unbracketed(host);
        return match name.contains(':') && name.parse::<Ipv6Addr>().is_err() {
            true => Err(format!("`{host}` is neither a host name nor an address; the port is a setting of its own, `http.port`")),
            false => Ok(At::Tcp(name.to_owned(), port)),
        };
    };
    let address = address.strip_suffix('/').unwrap_or(address);
    if address.contains(['/', '?', '#', '@']) {
        return Err(format!("`{host}` has more than a host and a port; write http://HOST:PORT"));
    }
    let (name, port) = match address.rsplit_once(':') {
        Some((name, text)) if !text.contains(']') => {
            (name, text.parse().map_err(|_| format!("`{text}` is not a port; write a number from 0 to 65535"))?)
        }
        _ => (address, port),
    };
    Ok(At::Tcp(unbracketed(name).to_owned(), port))
}

/// Returns the address between brackets. A text without brackets is returned unchanged.
fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Option<At>, String> {
        Options::read(&Node::parse(yaml).unwrap()).map(|options| options.map(|options| options.at)).map_err(|e| e.to_string())
    }

    #[test]
    fn hosts_and_ports() {
        let tcp = |host: &str, port| Ok(Some(At::Tcp(host.to_owned(), port)));
        for (yaml, expected) in [
            ("{}", Ok(None)),
            ("http.port: 1", Ok(None)),
            ("http: {enabled: false, port: abc}", Ok(None)),
            ("http.enabled: true", tcp("localhost", 5066)),
            ("http: {enabled: true, user: root}", tcp("localhost", 5066)),
            ("http: {enabled: true, host: '', port: 0}", tcp("", 0)),
            ("http: {enabled: true, host: 0.0.0.0, port: '6000'}", tcp("0.0.0.0", 6000)),
            ("http: {enabled: true, host: '::1'}", tcp("::1", 5066)),
            ("http: {enabled: true, host: '[::1]'}", tcp("::1", 5066)),
            ("http: {enabled: true, host: 'http://localhost:6000', port: 7}", tcp("localhost", 6000)),
            ("http: {enabled: true, host: 'http://[fe80::1]:6000/'}", tcp("fe80::1", 6000)),
            ("http: {enabled: true, host: 'http://[::1]'}", tcp("::1", 5066)),
            ("http: {enabled: true, host: 'unix:///run/a b.sock'}", Ok(Some(At::Unix("/run/a b.sock".into())))),
            ("http: {enabled: true, named_pipe.user: ''}", tcp("localhost", 5066)),
        ] {
            assert_eq!(read(yaml), expected, "{yaml}");
        }
    }

    #[test]
    fn errors_name_the_setting() {
        for (yaml, expected) in [
            ("http: {enabled: maybe}", "line 1: http.enabled: "),
            ("http:\n  enabled: true\n  port: 70000", "line 3: http.port: "),
            ("http:\n  enabled: true\n  port: -1", "line 3: http.port: "),
            ("http:\n  enabled: true\n  port: abc", "line 3: http.port: "),
            ("http:\n  enabled: true\n  host: localhost:6000", "line 3: http.host: `localhost:6000` is neither a host name nor an address"),
            ("http: {enabled: true, host: 'http://localhost:x'}", "line 1: http.host: `x` is not a port"),
            ("http: {enabled: true, host: 'http://localhost/stats'}", "line 1: http.host: `http://localhost/stats` has more than"),
            ("http: {enabled: true, host: 'https://localhost'}", "line 1: http.host: `https` is not a known scheme"),
            ("http: {enabled: true, host: 'unix://x.sock'}", "line 1: http.host: `unix://x.sock` has no absolute path"),
            ("http: {enabled: true, host: 'npipe:///x'}", "line 1: http.host: named pipes exist only on Windows"),
            (
                "http: {enabled: true,\n  metrics.transactions.max_series: 0}",
                "line 2: http.metrics.transactions.max_series: 0 is not between",
            ),
            ("http: {enabled: true,\n  named_pipe.user: root}", "line 2: http.named_pipe.user: named pipes exist only on Windows"),
            ("http: {enabled: true,\n  named_pipe.security_descriptor: D}", "line 2: http.named_pipe.security_descriptor: named pipes"),
        ] {
            let error = read(yaml).unwrap_err();
            assert!(error.starts_with(expected), "{yaml}\n got: {error}\nwant: {expected}");
        }
    }
}
