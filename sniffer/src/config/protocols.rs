//! The list `packetbeat.protocols`: the options that all protocols have. Each protocol reads its own options from [`ProtocolConfig::node`].

use super::{Error, Node};
use crate::nearest::nearest;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};
use std::fmt;

/// A protocol that can be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownProtocol {
    /// The value of `type` that selects the protocol.
    pub name: &'static str,
    /// Whether two enabled entries are an error, because the protocol has no ports that distinguish them.
    pub once: bool,
}

/// A configured protocol.
#[derive(Clone, Debug)]
pub struct ProtocolConfig {
    /// The option `type`: the name of the protocol.
    pub name: String,
    /// The option `enabled`: whether the protocol is parsed.
    pub enabled: bool,
    /// The option `ports`; `None` if it is not set.
    pub ports: Option<Ports>,
    /// The option `interface.device`: the only interface that the protocol is captured on.
    pub device: Option<String>,
    /// The option `index`: the index of the protocol's events.
    pub index: Option<String>,
    /// The option `tags`: the tags of the protocol's events.
    pub tags: Vec<String>,
    /// The option `fields`: fields that are added to the protocol's events.
    pub fields: serde_json::Map<String, serde_json::Value>,
    /// Put `fields` at the top of the document.
    pub fields_under_root: bool,
    /// Keep fields that are null.
    pub keep_null: bool,
    /// The processors of this protocol, a list or null.
    pub processors: Node,
    /// The entry with all options.
    pub node: Node,
}

/// The ports of a protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// `any`: all ports; connections are recognised by their content.
    pub any: bool,
    /// The ranges, in the order of the configuration.
    pub ranges: Vec<PortRange>,
}

impl Ports {
    /// Whether `port` is one of the ports.
    pub fn contains(&self, port: u16) -> bool {
        self.any || self.ranges.iter().any(|r| r.first <= port && port <= r.last)
    }
}

/// A range of ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

enum Port {
    Any,
    Range(PortRange),
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Port;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port (1 to 65535), a range (`8000-8100`) or `any`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Port, E> {
                let wrong = || E::custom(format_args!("expected a port (1 to 65535), a range (`8000-8100`) or `any`, got `{text}`"));
                if text.trim() == "any" {
                    return Ok(Port::Any);
                }
                let port = |text: &str| text.trim().parse::<u16>().ok().filter(|&p| p > 0).ok_or_else(wrong);
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                let range = PortRange { first: port(first)?, last: port(last)? };
                if range.first > range.last { Err(wrong()) } else { Ok(Port::Range(range)) }
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut ports = Self::default();
        for port in Vec::<Port>::deserialize(deserializer)? {
            match port {
                Port::Any => ports.any = true,
                Port::Range(range) => ports.ranges.push(range),
            }
        }
        Ok(ports)
    }
}

/// The protocol of an entry. It is read before the other options, because the options of an unknown protocol are not read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Kind {
    r#type: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    enabled: Option<bool>,
    ports: Option<Ports>,
    interface: Interface,
    index: Option<String>,
    tags: Vec<String>,
    fields: serde_json::Map<String, serde_json::Value>,
    fields_under_root: bool,
    keep_null: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Interface {
    device: Option<String>,
}

/// Reads the list. `known`: the protocols of the program. The result has also the entries that are not enabled. The function also returns
/// warnings.
///
/// # Errors
/// When a value is invalid. The error names file, line, key and the allowed values.
pub fn read_protocols(root: &Node, known: &[KnownProtocol]) -> Result<(Vec<ProtocolConfig>, Vec<String>), Error> {
    let list = root.get("packetbeat.protocols");
    let (mut protocols, mut warnings) = (Vec::<ProtocolConfig>::new(), Vec::new());
    for node in list.items() {
        if node.is_null() {
            continue;
        }
        let Kind { r#type: Some(name) } = node.read()? else {
            return Err(node.error("`type` is missing; write the name of a protocol"));
        };
        let Some(kind) = known.iter().find(|known| known.name == name) else {
            node.accept();
            let names: Vec<&str> = known.iter().map(|known| known.name).collect();
            let meant = nearest(&name, names.iter().copied()).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            let message = format!("no protocol is called `{name}`, ignored; there are {}{meant}", names.join(", "));
            warnings.push(node.get("type").error(message).0);
            continue;
        };
        let options: Options = node.read()?;
        let enabled = options.enabled.unwrap_or(true);
        if !enabled {
            // The options of a protocol that is not enabled are not read.
            node.accept();
        }
        let config = ProtocolConfig {
            enabled,
            ports: options.ports,
            device: options.interface.device,
            index: options.index,
            tags: options.tags,
            fields: options.fields,
            fields_under_root: options.fields_under_root,
            keep_null: options.keep_null,
            processors: node.get("processors"),
            node,
            name,
        };
        match protocols.iter_mut().find(|p| p.name == config.name && p.device == config.device) {
            Some(earlier) if kind.once && earlier.enabled && config.enabled => {
                let earlier = earlier.node.place();
                return Err(config
                    .node
                    .error(format!("{} is configured twice, first in {earlier}; keep one of the two entries", config.name)));
            }
            Some(earlier) => {
                warnings.push(
                    config
                        .node
                        .error(format!(
                            "{} is configured twice; this entry is used, the one in {} is ignored",
                            config.name,
                            earlier.node.place()
                        ))
                        .0,
                );
                earlier.node.accept();
                *earlier = config;
            }
            None => protocols.push(config),
        }
    }
    Ok((protocols, warnings))
}

#[cfg(test)]
mod tests {
    use super::{KnownProtocol, Node, PortRange, Ports, read_protocols};

    const KNOWN: &[KnownProtocol] = &[
        KnownProtocol { name: "icmp", once: true },
        KnownProtocol { name: "dns", once: false },
        KnownProtocol { name: "http", once: false },
    ];

    #[test]
    fn a_list() {
        let root = Node::parse(
            "packetbeat.protocols:\n- {type: icmp, enabled: true}\n- type: http\n  ports: [80, 8000-8100, '81']\n  interface.device: eth0\n  \
             tags: [a]\n  own: 1\n- {type: dns, ports: any, enabled: false, nonsense: 1}\n- {type: gopher, ports: [x], enabled: maybe, processors: 5, max: {x: 1}}\n",
        )
        .unwrap();
        let (list, warnings) = read_protocols(&root, KNOWN).unwrap();
        assert_eq!(list.iter().map(|p| (p.name.as_str(), p.enabled)).collect::<Vec<_>>(), [("icmp", true), ("http", true), ("dns", false)]);
        let range = |first, last| PortRange { first, last };
        assert_eq!(list[1].ports, Some(Ports { any: false, ranges: vec![range(80, 80), range(8000, 8100), range(81, 81)] }));
        assert_eq!(list[1].device.as_deref(), Some("eth0"));
        assert_eq!(list[2].ports, Some(Ports { any: true, ranges: vec![] }));
        assert_eq!(list[0].ports, None);
        assert_eq!(warnings, ["line 9: packetbeat.protocols.3.type: no protocol is called `gopher`, ignored; there are icmp, dns, http"]);
        assert_eq!(root.unknown().iter().map(|u| u.key.clone()).collect::<Vec<_>>(), ["packetbeat.protocols.1.own"]);
    }

    #[test]
    fn a_later_entry_replaces_an_earlier_one_of_the_same_protocol() {
        let root =
            Node::parse("packetbeat.protocols:\n- {type: dns, ports: 53}\n- {type: dns, ports: 54}\n- {type: dns, interface.device: lo}")
                .unwrap();
        let (list, warnings) = read_protocols(&root, KNOWN).unwrap();
        assert_eq!(list.len(), 2);
        assert!(list[0].ports.as_ref().unwrap().contains(54));
        assert_eq!(warnings, ["line 3: packetbeat.protocols.1: dns is configured twice; this entry is used, the one in line 2 is ignored"]);
    }

    #[test]
    fn wrong_values_are_refused() {
        let port = "expected a port (1 to 65535), a range (`8000-8100`) or `any`";
        for (yaml, want) in [
            ("[{type: dns, ports: [53, x]}]", format!("line 1: packetbeat.protocols.0.ports.1: {port}, got `x`")),
            ("[{type: dns, ports: 70000}]", format!("line 1: packetbeat.protocols.0.ports: {port}, got `70000`")),
            ("[{type: dns, ports: [9-8]}]", format!("line 1: packetbeat.protocols.0.ports.0: {port}, got `9-8`")),
            ("[{type: dns, ports: [0]}]", format!("line 1: packetbeat.protocols.0.ports.0: {port}, got `0`")),
            ("[{ports: [1]}]", "line 1: packetbeat.protocols.0: `type` is missing; write the name of a protocol".into()),
            ("[dns]", "line 1: packetbeat.protocols.0: expected a map (`key: value`), got `dns`".into()),
            ("[{type: dns, enabled: maybe}]", "line 1: packetbeat.protocols.0.enabled: expected `true` or `false`, got `maybe`".into()),
            (
                "\n- type: icmp\n- type: icmp",
                "line 3: packetbeat.protocols.1: icmp is configured twice, first in line 2; keep one of the two entries".into(),
            ),
        ] {
            let root = Node::parse(&format!("packetbeat.protocols: {yaml}")).unwrap();
            assert_eq!(read_protocols(&root, KNOWN).unwrap_err().0, want, "{yaml}");
        }
    }
}
