//! Apache Thrift: calls and replies in the binary protocol (strict and old) and the compact protocol, unframed, framed
//! or with headers. The form is recognised for each message. JSON is not supported; transformed (compressed) messages
//! are only counted.
//!
//! <https://github.com/apache/thrift/tree/master/doc/specs>

mod connection;
mod event;
mod fields;
mod idl;
mod text;
mod types;
mod values;
mod wire;

use super::{CommonOptions, Plugin, Probe, Protocol, kit::shared::Shared};
use crate::{config, net::Direction};
use connection::Connection;
use event::Shown;
use idl::Idl;
use serde::Deserialize;
use std::fs;
use text::Limits;
use wire::Begin;

/// The protocol `thrift`.
pub const PROTOCOL: Protocol = Protocol::over_tcp("thrift", &[9090], open, probe, fields::FIELDS);

/// The transport. Accepted without effect, because it is recognised for each message.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Carrier {
    #[default]
    Socket,
    Framed,
    /// Headers (THeader). Packetbeat does not have this value.
    Header,
}

/// The encoding. Accepted without effect, because it is recognised for each message.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Writing {
    #[default]
    Binary,
    /// The compact protocol. Packetbeat does not have this value.
    Compact,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    #[serde(rename = "transport_type")]
    _transport_type: Carrier,
    #[serde(rename = "protocol_type")]
    _protocol_type: Writing,
    idl_files: Vec<String>,
    #[serde(with = "config::bytes")]
    string_max_size: u64,
    collection_max_size: usize,
    capture_reply: bool,
    obfuscate_strings: bool,
    drop_after_n_struct_fields: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            _transport_type: Carrier::Socket,
            _protocol_type: Writing::Binary,
            idl_files: Vec::new(),
            string_max_size: 200,
            collection_max_size: 15,
            capture_reply: true,
            obfuscate_strings: false,
            drop_after_n_struct_fields: 500,
        }
    }
}

/// The plugin of Thrift.
struct Thrift {
    common: CommonOptions,
    options: Options,
    idl: Idl,
}

impl Thrift {
    fn limits(&self) -> Limits {
        Limits {
            string: usize::try_from(self.options.string_max_size).unwrap_or(usize::MAX),
            collection: self.options.collection_max_size,
            fields: self.options.drop_after_n_struct_fields,
            obfuscate: self.options.obfuscate_strings,
        }
    }

    fn shown(&self) -> Shown<'_> {
        Shown { common: &self.common, string_max_size: self.limits().string, reply: self.options.capture_reply }
    }
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    let (common, options): (CommonOptions, Options) = (node.read()?, node.read()?);
    let mut idl = Idl::default();
    for path in &options.idl_files {
        let wrong = |why: String| node.get("idl_files").error(format!("{path}: {why}"));
        let length = fs::metadata(path).map_err(|e| wrong(e.to_string()))?.len();
        if length > idl::LONGEST_FILE {
            return Err(wrong(format!("too large, at most {} bytes are read", idl::LONGEST_FILE)));
        }
        let text = fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        idl.add(&text).map_err(wrong)?;
    }
    let time_out = common.transaction_timeout;
    Ok(Box::new(Shared::new(Thrift { common, options, idl }, Connection::new).with_time_out(time_out)))
}

fn probe(_: Direction, data: &[u8]) -> Probe {
    match wire::begin(data) {
        Begin::Message(..) | Begin::Transformed(_) => Probe::Yes,
        Begin::More(n) => Probe::More(n),
        Begin::No => Probe::No,
    }
}

#[cfg(test)]
mod tests;
