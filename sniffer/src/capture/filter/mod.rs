//! What is wanted of the wire: from protocols and ports to one expression, and from that to one classic BPF program that every backend
//! executes in its own way. Not the executors.
//!
//! The expression is Packetbeat's (per protocol and port, in the order of registration, `tcp port N`, `udp port N` or `port N`; `icmp or
//! icmp6`; joined by `or`), and more: it matches QinQ, fragments behind the first, and IPv6 headers that ports hide behind.

mod assembler;
pub mod cbpf;
pub mod ebpf;

use super::{Link, expression::without_vlans};
use cbpf::{Error, Program};
use std::{fmt::Write, net::SocketAddr};

/// Which transports a port is wanted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transports {
    /// `tcp port`
    Tcp,
    /// `udp port`
    Udp,
    /// `port`
    Both,
}

/// Ports of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The first one.
    pub first: u16,
    /// The last one, the same as `first` for a single port.
    pub last: u16,
    /// On what.
    pub transports: Transports,
}

impl Ports {
    /// A single port.
    pub fn one(port: u16, transports: Transports) -> Self {
        Self { first: port, last: port, transports }
    }
}

/// Everything that the configured protocols want.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// In the order of registration.
    pub ports: Vec<Ports>,
    /// ICMP and ICMPv6.
    pub icmp: bool,
    /// Frames with one VLAN tag or two as well (`with_vlans`).
    pub vlans: bool,
    /// The user's `bpf_filter`, instead of all of the above.
    pub custom: Option<String>,
    /// Capture everything but `excluded` (flows are on, and nothing narrower is meant).
    pub everything: bool,
    /// Servers that this program talks to itself.
    pub excluded: Vec<SocketAddr>,
}

impl Wanted {
    /// The pcap-filter(7) expression for frames with a link header; empty: everything is wanted.
    pub fn expression(&self) -> String {
        self.text(self.vlans)
    }

    /// The same for frames that begin with an IP header: no tags there.
    pub fn expression_raw_ip(&self) -> String {
        self.text(false)
    }

    fn text(&self, vlans: bool) -> String {
        if let Some(custom) = &self.custom {
            // First, because `vlan` in the user's part moves every offset behind it.
            return both(&self.exclusion(), custom);
        }
        if self.everything {
            return self.exclusion();
        }
        let plain = both(&self.ports_text(), &self.exclusion());
        if !vlans || plain.is_empty() {
            return plain;
        }
        format!("{plain} or (vlan and ({plain} or (vlan and ({plain}))))")
    }

    fn ports_text(&self) -> String {
        let mut terms: Vec<String> = Vec::new();
        for Ports { first, last, transports } in &self.ports {
            let transport = match transports {
                Transports::Tcp => "tcp ",
                Transports::Udp => "udp ",
                Transports::Both => "",
            };
            terms.push(if first == last { format!("{transport}port {first}") } else { format!("{transport}portrange {first}-{last}") });
        }
        if self.icmp {
            terms.push("icmp or icmp6".into());
        }
        if terms.is_empty() {
            // Nothing is wanted, which libpcap has no word for: no frame is that short.
            return "less 1".into();
        }
        terms.extend(self.fragments());
        terms.join(" or ")
    }

    /// What a port cannot be seen in: IPv4 fragments behind the first, and for IPv6 all fragments and what has options in front. (ICMP is
    /// matched by its protocol number, which every fragment has.)
    fn fragments(&self) -> Option<String> {
        let has = |not: Transports| self.ports.iter().any(|ports| ports.transports != not);
        let protocols: Vec<u8> = [(has(Transports::Udp), 6), (has(Transports::Tcp), 17)]
            .into_iter()
            .filter_map(|(wanted, number)| wanted.then_some(number))
            .collect();
        if protocols.is_empty() {
            return None;
        }
        let any = |what: &str| protocols.iter().map(|number| format!("{what} = {number}")).collect::<Vec<_>>().join(" or ");
        Some(format!(
            "(ip[6:2] & 0x1fff != 0 and ({})) or (ip6[6] = 44 and ({})) or ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 60",
            any("ip[9]"),
            any("ip6[40]")
        ))
    }

    fn exclusion(&self) -> String {
        let mut text = String::new();
        for peer in &self.excluded {
            if !text.is_empty() {
                text.push_str(" or ");
            }
            // Writing to a string cannot fail.
            let _ = write!(text, "(host {} and tcp port {})", peer.ip().to_canonical(), peer.port());
        }
        if text.is_empty() { text } else { format!("not ({text})") }
    }
}

/// `a and b`, where either may be missing. The result can stand before `or`.
fn both(a: &str, b: &str) -> String {
    match (a.is_empty(), b.is_empty()) {
        (false, false) => format!("(({a}) and ({b}))"),
        (true, _) => b.to_owned(),
        (_, true) => a.to_owned(),
    }
}

/// One filter in the forms that executors need. `None` in both places: everything is wanted.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// The expression, for messages and for libpcap's own live compiler.
    pub text: String,
    /// For frames with an Ethernet header.
    pub ethernet: Option<Program>,
    /// For frames that begin with an IP header. With `ethernet` set and this not, the expression asks for what such frames have not
    /// (`ether`, `vlan`), and none of them matches.
    pub raw_ip: Option<Program>,
    /// The user's own expression, when the filter was made of one. Files apply this and nothing else: what a generated filter leaves out, the
    /// port map leaves out for less.
    pub user: Option<String>,
}

impl Filters {
    /// Compiles what is wanted.
    ///
    /// # Errors
    /// When libpcap does not take the expression.
    pub fn new(wanted: &Wanted) -> Result<Self, Error> {
        let text = wanted.expression();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let ethernet = Some(Program::compile(&text, Link::Ethernet)?);
        let raw_ip = wanted.expression_raw_ip();
        let raw_ip = Program::compile(&raw_ip, Link::RawIp).ok().or_else(|| Program::compile(&without_vlans(&raw_ip)?, Link::RawIp).ok());
        Ok(Self { text, ethernet, raw_ip, user: wanted.custom.clone() })
    }

    /// Compiles an expression as it stands.
    ///
    /// # Errors
    /// When libpcap does not take it.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        Self::new(&Wanted { custom: Some(text.to_owned()), ..Wanted::default() })
    }

    /// Whether everything is wanted.
    pub fn is_everything(&self) -> bool {
        self.ethernet.is_none() && self.raw_ip.is_none()
    }
}

#[cfg(test)]
pub(crate) mod differential;
#[cfg(test)]
mod tests;
