//! The configuration. It merges YAML files, `-E` and variables into one tree whose values know their file and line. This module does not
//! know what the settings mean: each module reads its own part.
//!
//! `yaml` parses text; `tree` turns dotted keys into nested maps and merges sources; `overrides` parses `-E`; `legacy` converts old forms
//! to the current one; `expand` replaces `${…}`; [`Node`] is a value as modules see it; `de` deserialises a node.
//!
//! Modules read their part with [`Node::read`] into a plain serde struct. Do not use `#[serde(flatten)]`: it loses line numbers and lenient
//! conversions. Read the same node into two structs instead.

mod accepted;
mod de;
mod difference;
mod error;
mod expand;
mod general;
mod legacy;
mod load;
mod nearest;
mod node;
mod overrides;
mod paths;
mod permissions;
mod protocols;
mod secrets;
mod template;
mod tree;
mod units;
mod write;
mod yaml;

pub use accepted::leftover;
pub use difference::{Difference, differences, is_within};
pub use error::{Error, Errors};
pub use general::{Compatibility, General, Precision};
pub use load::{LoadOptions, Loaded, listed, load};
pub use node::{Node, Unknown};
pub use paths::{DataDir, Paths};
pub use protocols::{KnownProtocol, PortRange, Ports, ProtocolConfig, read_protocols};
pub use units::{bytes, duration, duration_option, duration_signed, nanoseconds};
