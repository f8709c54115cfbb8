//! What the user wrote: YAML with places for errors that point. Not what the program makes of it: each module reads its own part.
//!
//! `yaml` reads text with places; `tree` makes dotted keys and nested maps one tree and merges several; `overrides` is `-E`;
//! `legacy` turns old forms into the one form; `expand` replaces `${…}`; [`Node`] is what the modules see; `de` is how they read it.
//!
//! Modules read their part with [`Node::read`] into a plain serde struct. `#[serde(flatten)]` loses places and leniency: read the
//! same node twice, into two structs, instead.

mod accepted;
mod de;
mod error;
mod expand;
mod general;
mod legacy;
mod load;
mod node;
mod overrides;
mod paths;
mod permissions;
mod protocols;
mod tree;
mod units;
mod write;
mod yaml;

pub use accepted::leftover;
pub use error::Error;
pub use general::{Compatibility, General, Precision};
pub use load::{LoadOptions, Loaded, load};
pub use node::{Node, Unknown};
pub use paths::{DataDir, Paths};
pub use protocols::{PortRange, Ports, ProtocolConfig, read_protocols};
pub use units::{bytes, duration, duration_option, duration_signed};
