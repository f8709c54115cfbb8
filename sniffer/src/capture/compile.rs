//! Compiles a pcap-filter(7) expression to a classic BPF program for frames of one link type. These programs expect
//! VLAN tags inside the frame, as in files. Programs for live devices, where tags are metadata, are made by
//! [`super::libpcap`].

use super::{Error, Link, expression::without_vlans, filter::cbpf::Program};

/// Longest expression, in bytes, that libpcap optimises for the interpreter. The time of its optimiser grows with the square
/// of the length: seconds for some hundred hosts.
const MOST_OPTIMIZED: usize = 4096;

/// Compiles `expression` for frames of `link`.
///
/// # Errors
/// libpcap's message, when the expression is invalid for this link.
pub fn for_link(expression: &str, link: Link) -> Result<Program, Error> {
    Program::compile_with(expression, link, expression.len() <= MOST_OPTIMIZED).map_err(|error| Error::Setting(error.to_string()))
}

/// Compiles `expression` for frames of `link`. If libpcap refuses it, compiles it again without its `or (vlan …)`
/// alternatives.
///
/// # Errors
/// libpcap's message, when the expression is invalid even without them.
pub fn for_link_without_tags(expression: &str, link: Link) -> Result<Program, Error> {
    for_link(expression, link).or_else(|error| for_link(&without_vlans(expression).ok_or(error)?, link))
}
