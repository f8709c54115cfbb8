//! [`Plan`]: the settings of interfaces, protocols and flows, read and checked. `app` derives from them the filter of each interface and
//! the settings of its workers. This module opens no device, file or connection.

use super::{Error, ids::Ids};
use crate::{
    capture::{
        filter::{Counting, FilterSpec, Filters, Ports, Transports, Vlans},
        options::{self, Interface},
    },
    config::{self, Compatibility, General, KnownProtocol, Node, ProtocolConfig},
    engine::{ClaimedPorts, Configured, Own, Settings},
    enrich::HostData,
    event::{Field, PROCESS, Summary, TRANSACTION},
    flow, memory,
    net::Transport,
    opening::{Opening, SharedObjects},
    process,
    protocols::{PROTOCOLS, Protocol},
    publish::{Identity, Publisher, PublisherId, Publishers, Publishing},
    view::units::counted,
};
use std::{
    fmt,
    path::Path,
    sync::{Arc, LazyLock},
};

/// The names and ids of this process and its host in documents.
pub struct AgentAndHost {
    /// The value of the field `agent.id`.
    pub id: String,
    /// The value of the field `agent.ephemeral_id`.
    pub ephemeral_id: String,
    /// Addresses, networks and names of this host.
    pub host_data: HostData,
    /// State that processors share by name. It is kept when the configuration is read again.
    pub shared: Arc<SharedObjects>,
}

impl AgentAndHost {
    /// Makes an empty identity, for commands that check a configuration and publish nothing.
    pub fn empty() -> Self {
        Self { id: String::new(), ephemeral_id: String::new(), host_data: HostData::default(), shared: Arc::default() }
    }
}

/// A configured protocol that is enabled.
struct Planned {
    id: PublisherId,
    protocol: &'static Protocol,
    config: ProtocolConfig,
}

impl Planned {
    /// `processes`: the fields that name processes, if documents have them.
    fn publisher(&self, processes: &'static [Field]) -> Publisher {
        let Protocol { name, fields, summary, .. } = *self.protocol;
        Publisher { id: self.id, dataset: name, fields: [TRANSACTION, fields, processes], summary, settings: self.config.node.clone() }
    }
}

/// The configuration as `app` uses it.
pub struct Plan {
    /// Settings of the whole program.
    pub general: General,
    /// The settings `memory`.
    pub memory: memory::Options,
    /// The settings `packetbeat.procs`.
    pub procs: process::Options,
    /// The interfaces to capture on, at least one.
    pub interfaces: Vec<Interface>,
    /// Warnings about the configuration, to be written to the log.
    pub warnings: Vec<String>,
    protocols: Vec<Planned>,
    ids: Ids,
    flows: Option<flow::options::Options>,
    root: Node,
}

impl Plan {
    /// Reads the configuration. `file`: the capture file of `-I`, which replaces the configured interfaces. `before`: the plan in force
    /// when the configuration is read again; protocols keep the ids that they have in this plan.
    ///
    /// # Errors
    /// When a value is invalid. The error names file, line, key and the allowed values.
    pub fn read(root: &Node, file: Option<&Path>, before: Option<&Self>) -> Result<Self, config::Error> {
        let general = General::read(root)?;
        let memory = memory::Options::read(root)?;
        let procs = process::Options::read(root)?;
        let names: Vec<_> = PROTOCOLS.iter().map(|p| KnownProtocol { name: p.name, once: p.ports.is_empty() }).collect();
        let (protocols, warnings) = config::read_protocols(root, &names)?;
        let known = |config: ProtocolConfig| PROTOCOLS.iter().find(|p| p.name == config.name).map(|p| (*p, config));
        let protocols: Vec<_> = protocols.into_iter().filter(|config| config.enabled).filter_map(known).collect();
        let mut ids = before.map(|plan| plan.ids.clone()).unwrap_or_default();
        let given = ids.assign(&protocols.iter().map(|(protocol, config)| (protocol.name, config.node.clone())).collect::<Vec<_>>());
        let protocols = given.into_iter().zip(protocols).map(|(id, (protocol, config))| Planned { id, protocol, config }).collect();
        let mut interfaces = options::read(&root.get("packetbeat.interfaces"))?;
        if general.max_procs > 0 {
            interfaces.iter_mut().for_each(|interface| interface.limit_workers(general.max_procs));
        }
        if let Some(file) = file {
            interfaces.truncate(1);
            interfaces.iter_mut().for_each(|interface| interface.file = Some(file.to_owned()));
        }
        let flows = root.get("packetbeat.flows");
        // Flows are reported when the section `packetbeat.flows` exists, even if it has no settings.
        let there = root.get("packetbeat").contains("flows");
        let flows = if there { Some(flow::options::Options::read(&flows)?).filter(|flows| flows.enabled) } else { None };
        Ok(Self { general, memory, procs, interfaces, warnings, protocols, ids, flows, root: root.clone() })
    }

    /// The whole configuration.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Whether a device is captured.
    pub fn is_live(&self) -> bool {
        self.interfaces.iter().any(|interface| interface.file.is_none())
    }

    /// Whether `packetbeat.compatibility: strict` applies to this interface: it reads a file, and the setting is on.
    pub fn is_strict(&self, interface: &Interface) -> bool {
        interface.file.is_some() && self.general.compatibility == Compatibility::Strict
    }

    /// Returns the settings of the workers of an interface. `own`: how packets of the program's own connections are recognised. It is
    /// not used for files.
    pub fn settings(&self, interface: &Interface, publishing: Arc<Publishing>, own: Option<&Own>) -> Settings {
        let configured = self.on(interface).map(|Planned { id, protocol, config }| {
            let ports = ports_of(protocol, config);
            let claimed = ClaimedPorts { ports: ports.ranges.iter().map(|r| (r.first, r.last)).collect(), any: ports.any };
            Configured { id: *id, protocol, options: config.node.clone(), claimed }
        });
        let mut settings = Settings::new(configured.collect(), publishing);
        settings.flows.clone_from(&self.flows);
        settings.strict = self.is_strict(interface);
        settings.publish_timeout = self.general.publish_timeout;
        settings.track_vlans = interface.track_vlans;
        settings.own = own.filter(|_| interface.file.is_none()).cloned();
        settings
    }

    /// Opens the publishers of all interfaces: one for each protocol in the order of the configuration, then one for flows. `metadata`: the
    /// value of `@metadata.beat` in the documents of the output, if they contain `@metadata`.
    ///
    /// # Errors
    /// When a processor or a condition is wrong. The error names file, line and key.
    pub fn publishers(
        &self,
        opening: &Opening<'_>,
        agent: &AgentAndHost,
        metadata: Option<&str>,
    ) -> Result<Arc<Publishers>, config::Error> {
        let processes = if self.procs.enabled && self.is_live() { PROCESS } else { &[] };
        let mut publishers: Vec<Publisher> = self.protocols.iter().map(|planned| planned.publisher(processes)).collect();
        if self.flows.is_some() {
            let settings = self.root.get("packetbeat.flows");
            publishers.push(Publisher {
                id: PublisherId::FLOWS,
                dataset: "flow",
                fields: [flow::FIELDS, &[], processes],
                summary: Summary::HEAD,
                settings,
            });
        }
        let (id, ephemeral_id, metadata) = (agent.id.clone(), agent.ephemeral_id.clone(), metadata.map(str::to_owned));
        let identity = Identity { name: self.name(), id, ephemeral_id, metadata };
        Publishers::open(identity, &Opening { live: self.is_live(), shared: Some(&agent.shared), ..*opening }, &publishers)
    }

    /// Returns the publishers of one interface: first the publishers of its protocols, then the publisher of flows.
    ///
    /// # Errors
    /// When an entry of `internal_networks` is not a network.
    pub fn publishing(
        &self,
        interface: &Interface,
        publishers: &Arc<Publishers>,
        agent: &AgentAndHost,
    ) -> Result<Arc<Publishing>, config::Error> {
        let flows = self.flows.as_ref().map(|_| PublisherId::FLOWS);
        let active: Vec<PublisherId> = self.on(interface).map(|planned| planned.id).chain(flows).collect();
        // Packetbeat uses the internal networks of the first interface for all interfaces.
        let networks = self.interfaces.first().map(|first| first.internal_networks.as_slice()).unwrap_or_default();
        Publishing::new(publishers.clone(), &active, &self.root, networks, agent.host_data.clone())
    }

    /// Returns the filter of an interface: the user's expression if there is one, otherwise the filter that the configured protocols need.
    ///
    /// # Errors
    /// When libpcap does not understand the user's expression.
    pub fn filters(&self, interface: &Interface, outputs: &[u16]) -> Result<Filters, Error> {
        let ports = self.on(interface).flat_map(|Planned { protocol, config, .. }| {
            let carried = |transport| protocol.transports.contains(&transport);
            let transports = match (carried(Transport::Tcp), carried(Transport::Udp)) {
                (true, true) => Some(Transports::Both),
                (true, false) => Some(Transports::Tcp),
                (false, true) => Some(Transports::Udp),
                (false, false) => None,
            };
            let wanted = ports_of(protocol, config);
            let all = wanted.any.then_some((0, u16::MAX));
            let ranges: Vec<(u16, u16)> = all.into_iter().chain(wanted.ranges.iter().map(|r| (r.first, r.last))).collect();
            ranges.into_iter().filter_map(move |(first, last)| Some(Ports { first, last, transports: transports? }))
        });
        let spec = FilterSpec {
            ports: ports.collect(),
            icmp: self.on(interface).any(|p| p.protocol.transports.contains(&Transport::Icmp)),
            vlans: if interface.with_vlans { Vlans::Match } else { Vlans::Reject },
            user_expression: interface.bpf_filter.clone(),
            everything: self.flows.is_some(),
        };
        let narrow = FilterSpec { everything: false, ..spec.clone() };
        let wrong = |reason: &dyn fmt::Display| match interface.bpf_filter {
            Some(_) => interface.filter_error(reason),
            None => interface.node.error(reason.to_string()),
        };
        let compile = |spec: &FilterSpec| Filters::new(spec).map_err(|error| wrong(&error));
        let counting = match &self.flows {
            Some(flows) if flows.kernel_flows > 0 && interface.file.is_none() => Some(Arc::new(Counting {
                filters: compile(&narrow)?,
                tcp_ports: narrow.ports.iter().filter(|p| p.transports != Transports::Udp).map(|p| (p.first, p.last)).collect(),
                output_ports: outputs.iter().map(|&port| (port, port)).collect(),
                entries: flows.kernel_flows,
                timeout: flows.timeout,
                ethernet: !flows.allow_mismatched_eth,
            })),
            _ => None,
        };
        Ok(Filters { counting, flows: self.flows.is_some(), ..compile(&spec)? })
    }

    /// The protocols and the number of ports, for a person; with `details` also one line for each protocol.
    pub fn watched(&self, details: bool) -> String {
        let shown = |ports: &config::Ports| match ports.any {
            true => "any port".to_owned(),
            false => ports.ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        };
        let of = |planned: &Planned| ports_of(planned.protocol, &planned.config);
        let number: usize =
            self.protocols.iter().flat_map(|planned| of(planned).ranges).map(|range| usize::from(range.last - range.first) + 1).sum();
        let protocols = counted(self.protocols.len() as u64, "protocol");
        let ports = match self.protocols.iter().any(|planned| of(planned).any) {
            true => "any port".to_owned(),
            false => counted(number as u64, "port"),
        };
        let mut text = format!("{protocols} on {ports}");
        if !details {
            text.push_str(" (-v lists them)");
            return text;
        }
        for planned in &self.protocols {
            text.push_str(&format!("\n  {:<10} {}", planned.protocol.name, shown(&of(planned))));
        }
        text
    }

    /// Whether a protocol has the port.
    pub fn is_watched(&self, port: u16) -> bool {
        self.protocols.iter().any(|planned| ports_of(planned.protocol, &planned.config).contains(port))
    }

    /// `name`, or the host name when it is not set.
    pub fn name(&self) -> String {
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
        self.general.name.clone().or_else(|| host().ok()).unwrap_or_default()
    }

    fn on<'a>(&'a self, interface: &'a Interface) -> impl Iterator<Item = &'a Planned> {
        self.protocols.iter().filter(|p| p.config.device.as_ref().is_none_or(|device| *device == interface.device))
    }
}

/// Every field that documents can have or that a protocol reserves, each once, for the index template.
pub fn declared_fields() -> &'static [Field] {
    static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
        let lists = [TRANSACTION, flow::FIELDS, PROCESS].into_iter().chain(PROTOCOLS.iter().map(|protocol| protocol.fields));
        let mut fields: Vec<Field> = lists.flatten().copied().collect();
        fields.sort_by_key(|field| field.name);
        fields.dedup_by_key(|field| field.name);
        fields
    });
    &FIELDS
}

/// Returns the configured ports. If none are configured, returns the protocol's default ports if it has any, otherwise no ports.
fn ports_of(protocol: &Protocol, config: &ProtocolConfig) -> config::Ports {
    match &config.ports {
        Some(ports) => ports.clone(),
        None if protocol.default_ports => {
            config::Ports { any: false, ranges: protocol.ports.iter().map(|&port| config::PortRange { first: port, last: port }).collect() }
        }
        None => config::Ports::default(),
    }
}
