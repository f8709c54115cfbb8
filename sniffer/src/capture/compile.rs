//! Compiles a pcap-filter(7) expression to a classic BPF program for frames of one link type. These programs expect
//! VLAN tags inside the frame, as in files. Programs for live devices, where tags are metadata, are made by
//! [`super::libpcap`].

use super::{
    Error, Link,
    expression::without_vlans,
    filter::{
        self,
        cbpf::{self, Instruction, Program, instructions},
        is_optimized,
    },
};

/// Compiles `expression` for frames of `link`.
///
/// # Errors
/// libpcap's message, when the expression is invalid for this link.
pub fn for_link(expression: &str, link: Link) -> Result<Program, Error> {
    filter::compile(expression, link).map_err(|error| Error::Setting(error.to_string()))
}

/// Compiles `expression` for frames of `link`. If libpcap refuses the expression, the function compiles it again without its `or (vlan …)`
/// alternatives.
///
/// # Errors
/// libpcap's message, when the expression is invalid even without these alternatives.
pub fn for_link_without_tags(expression: &str, link: Link) -> Result<Program, Error> {
    without_tags(expression, |text| filter::compile(text, link))
}

/// Like [`for_link_without_tags`], but returns the classic instructions that libpcap made, which every kernel runs.
///
/// # Errors
/// libpcap's message, when the expression is invalid even without the alternatives.
pub fn classic_without_tags(expression: &str, link: Link) -> Result<Vec<Instruction>, Error> {
    without_tags(expression, |text| instructions(text, link, is_optimized(text)))
}

fn without_tags<T>(expression: &str, compile: impl Fn(&str) -> Result<T, cbpf::Error>) -> Result<T, Error> {
    let compiled = compile(expression).or_else(|error| compile(&without_vlans(expression).ok_or(error)?));
    compiled.map_err(|error| Error::Setting(error.to_string()))
}
