//! From a pcap-filter(7) expression to a classic program for frames of one link, in the form for files: tags stand in the frame. The form
//! for live devices is [`super::libpcap`]'s.

use super::{Error, Link, expression::without_vlans, filter::cbpf::Program};

/// The program of `expression` for `link`.
///
/// # Errors
/// In libpcap's words.
pub fn for_link(expression: &str, link: Link) -> Result<Program, Error> {
    Program::compile(expression, link).map_err(|error| Error::Setting(error.to_string()))
}

/// The program of `expression` for `link`; where libpcap refuses `vlan`, of its alternatives without the word.
///
/// # Errors
/// In libpcap's words.
pub fn for_link_without_tags(expression: &str, link: Link) -> Result<Program, Error> {
    for_link(expression, link).or_else(|error| for_link(&without_vlans(expression).ok_or(error)?, link))
}
