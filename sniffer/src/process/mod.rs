//! Processes at the ends of connections: who owns a socket ([`owner`]), and what documents say about the owner ([`Process`]).
//!
//! [`Processes`] asks [`Owners`] for the process of a socket when an event is emitted, and reads the details of the process once. How a
//! document is written is not part of this module.

mod cgroup;
mod details;
mod diag;
mod ebpf;
#[cfg(test)]
pub mod fake;
mod kernfs;
mod local;
mod lookup;
mod netns;
mod open;
mod options;
pub mod owner;
mod recent;
mod redact;
#[cfg(test)]
mod testing;
mod users;

pub use details::Process;
pub use lookup::{Conversation, Ends, Lookup, Processes};
pub use open::open;
pub use options::Options;
pub use owner::{Command, Owner, Owners, Socket};
