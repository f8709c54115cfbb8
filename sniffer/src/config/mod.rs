//! The configuration. It merges YAML files, `-E` and variables into one tree whose values know their file and line. This module does not
//! know what the settings mean: each module reads its own part.
//!
//! `yaml` parses text; `tree` turns dotted keys into nested maps and merges sources; `overrides` parses `-E`; `legacy` converts old forms
//! to the current one; `expand` replaces `${…}` by settings, secrets of the [`keystore`] or environment
//! variables; [`Node`] is a value as modules see it; `de` deserialises a node; `prune` makes trees without some of their values.
//!
//! Modules read their part with [`Node::read`] into a plain serde struct. Do not use `#[serde(flatten)]`: it loses line numbers and lenient
//! conversions. Read the same node into two structs instead.

mod accepted;
mod de;
mod difference;
mod error;
mod expand;
mod general;
pub mod keystore;
mod legacy;
mod load;
mod node;
mod overrides;
mod paths;
mod permissions;
mod protocols;
mod prune;
mod secrets;
mod template;
mod texts;
mod tree;
mod units;
mod write;
mod yaml;

#[cfg(test)]
pub use accepted::asked;
pub use accepted::leftover;
pub use difference::{Difference, differences, is_within};
pub use error::{Error, Errors};
pub use general::{Compatibility, General, Precision};
pub use load::{LoadOptions, Loaded, default_file_is_missing, keystore_location, listed, load};
pub use node::{Node, Unknown};
pub use paths::{DataDir, Paths};
pub use protocols::{KnownProtocol, PortRange, Ports, ProtocolConfig, read_protocols};
pub use texts::{Scalar, Texts};
pub use units::{bytes, duration, duration_option, duration_signed, nanoseconds};
