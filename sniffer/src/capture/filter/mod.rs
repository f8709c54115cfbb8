//! The capture filter: makes one pcap-filter(7) expression of the configured protocols and ports, and compiles it to
//! classic BPF. Each backend runs that program in its own way.
//!
//! The generated expression is Packetbeat's: per protocol and port, in the order of registration, `tcp port N`, `udp port N`
//! or `port N`; `icmp or icmp6`; joined by `or`. In addition it matches fragments other than the first, IPv6 packets with
//! extension headers, in which the ports are not at a fixed offset, and frames with VLAN tags ([`Vlans`]).

mod assembler;
pub mod cbpf;
pub mod ebpf;
mod sets;

pub use sets::{compile, is_optimized};

use super::{
    Link,
    expression::{reads_link_header, through_tags, without_vlans},
};
use cbpf::{Error, Program};
use std::{sync::Arc, time::Duration};

/// The transports of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transports {
    /// TCP only: `tcp port N`.
    Tcp,
    /// UDP only: `udp port N`.
    Udp,
    /// TCP and UDP: `port N`.
    Both,
}

/// A range of ports of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The first port.
    pub first: u16,
    /// The last port; equal to `first` for a single port.
    pub last: u16,
    /// The transports on which the ports are captured.
    pub transports: Transports,
}

impl Ports {
    /// A range of one port.
    pub fn one(port: u16, transports: Transports) -> Self {
        Self { first: port, last: port, transports }
    }
}

/// How a filter treats frames that carry VLAN tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vlans {
    /// The expression decides, as pcap-filter(7) says: without the keyword `vlan` the expression does not match packets
    /// with a VLAN tag.
    #[default]
    AsWritten,
    /// A frame with one or two tags matches if it matches without them. A user's expression that reads the link header
    /// or names tags itself is not changed.
    Match,
    /// A frame with a tag does not match (`with_vlans: false`). A user's expression that names tags is not changed.
    Reject,
}

/// Longest expression, in bytes, that is repeated for tagged frames in the text for libpcap's compiler for live devices. Its optimiser
/// takes a second for an expression of this length, and minutes for one that is ten times as long. Without the repetition hardly any frame
/// is missed, because libpcap sees most frames without their tags.
const MOST_REPEATED: usize = 2000;

/// The packets that the filter has to match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterSpec {
    /// Ports of the protocols, in the order of registration.
    pub ports: Vec<Ports>,
    /// Match ICMP and ICMPv6.
    pub icmp: bool,
    /// Whether frames with VLAN tags match (`with_vlans`).
    pub vlans: Vlans,
    /// The user's `bpf_filter`, which replaces the generated expression.
    pub user_expression: Option<String>,
    /// Match everything: flows are on, and no filter is set that narrows them.
    pub everything: bool,
}

impl FilterSpec {
    /// The pcap-filter(7) expression for frames with an Ethernet header; empty if the filter matches everything.
    pub fn expression(&self) -> String {
        let plain = self.expression_raw_ip();
        match self.vlans {
            Vlans::AsWritten => plain,
            _ if self.is_as_written() || plain.is_empty() => plain,
            Vlans::Match if plain.len() > MOST_REPEATED => plain,
            Vlans::Match if self.user_expression.is_some() => through_tags(&plain),
            // A generated expression has no negation that a tagged frame could match, so it needs no test for tags.
            Vlans::Match => format!("{plain} or (vlan and ({plain} or (vlan and ({plain}))))"),
            Vlans::Reject => format!("({plain}) and not vlan"),
        }
    }

    /// Whether the expression decides about tagged frames itself, or matches everything.
    fn is_as_written(&self) -> bool {
        self.user_expression.as_deref().map_or(self.everything, reads_link_header)
    }

    /// The program for frames with an Ethernet header.
    fn ethernet(&self, text: &str) -> Result<Program, Error> {
        if self.vlans != Vlans::Match || self.is_as_written() {
            return compile(text, Link::Ethernet);
        }
        let program = compile(&self.expression_raw_ip(), Link::Ethernet)?;
        Ok(program.behind_tags().unwrap_or_else(|| {
            log::info!("the filter is so long that it is not applied behind VLAN tags that are in the frame");
            program
        }))
    }

    /// The expression for frames that begin with an IP header. Such frames have no VLAN tags.
    pub fn expression_raw_ip(&self) -> String {
        if let Some(user_expression) = &self.user_expression {
            return user_expression.clone();
        }
        if self.everything {
            return String::new();
        }
        self.ports_text()
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
            // The filter matches nothing. libpcap has no keyword for that, but no frame is shorter than one byte.
            return "less 1".into();
        }
        terms.extend(self.fragments());
        terms.join(" or ")
    }

    /// Matches packets whose ports cannot be read at a fixed offset: IPv4 fragments other than the first, all IPv6
    /// fragments, and IPv6 packets with extension headers. ICMP needs no such term: it is matched by its protocol
    /// number, which every fragment has.
    fn fragments(&self) -> Option<String> {
        let has = |not: Transports| self.ports.iter().any(|ports| ports.transports != not);
        let protocols: Vec<u8> = [(has(Transports::Udp), 6), (has(Transports::Tcp), 17)]
            .into_iter()
            .filter_map(|(carried, number)| carried.then_some(number))
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
}

/// One filter in the forms that the backends need. If both programs are `None`, the filter matches everything.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// The expression for frames with an Ethernet header, for messages and for libpcap's compiler for live devices.
    pub text: String,
    /// The expression for all other frames, which carry no VLAN tags.
    pub text_raw_ip: String,
    /// The program for frames with an Ethernet header.
    pub ethernet: Option<Program>,
    /// The program for frames that begin with an IP header. `None` while `ethernet` is set: the expression tests
    /// headers that such frames do not have (`ether`, `vlan`), so no such frame matches.
    pub raw_ip: Option<Program>,
    /// The user's `bpf_filter`, if there is one. Capture files are filtered with this part only: the port map decides
    /// the same as a generated filter, at a lower cost.
    pub user: Option<String>,
    /// The settings for counting flows in the kernel, for a backend that supports it. In such a backend
    /// [`Counting::filters`] replaces this filter, which also matches packets that only flows need.
    pub counting: Option<Arc<Counting>>,
    /// Whether flows are on. If the backend does not count them, it has to copy every packet that matches, so that user space
    /// can count it.
    pub flows: bool,
}

/// The settings for counting flows in the kernel. A backend that cannot count captures everything that flows need
/// instead.
#[derive(Clone, Debug)]
pub struct Counting {
    /// The filter that decides which packets are copied for parsers. If it is the user's, it also decides which packets
    /// are counted.
    pub filters: Filters,
    /// The ranges of TCP ports that protocols claim, including both ends. Each connection on them is a flow.
    pub tcp_ports: Vec<(u16, u16)>,
    /// The ranges of server ports of this program's outputs. TCP packets on them are counted in user space, which knows the
    /// program's own connections.
    pub output_ports: Vec<(u16, u16)>,
    /// Maximum number of flows in the kernel's table; at least 1.
    pub entries: u32,
    /// A flow ends when it has been idle for this time.
    pub timeout: Duration,
    /// Whether Ethernet addresses identify flows.
    pub ethernet: bool,
}

impl Filters {
    /// Compiles the filter that `spec` describes.
    ///
    /// # Errors
    /// When libpcap refuses the expression.
    pub fn new(spec: &FilterSpec) -> Result<Self, Error> {
        let text = spec.expression();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let ethernet = Some(spec.ethernet(&text)?);
        let text_raw_ip = spec.expression_raw_ip();
        let raw_ip = compile(&text_raw_ip, Link::RawIp).ok().or_else(|| compile(&without_vlans(&text_raw_ip)?, Link::RawIp).ok());
        Ok(Self { text, text_raw_ip, ethernet, raw_ip, user: spec.user_expression.clone(), ..Self::default() })
    }

    /// Compiles an expression without changing it.
    ///
    /// # Errors
    /// When libpcap refuses the expression.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        Self::new(&FilterSpec { user_expression: Some(text.to_owned()), ..FilterSpec::default() })
    }

    /// Whether the filter matches everything.
    pub fn is_everything(&self) -> bool {
        self.ethernet.is_none() && self.raw_ip.is_none()
    }
}

#[cfg(test)]
pub(crate) mod differential;
#[cfg(test)]
mod tests;
