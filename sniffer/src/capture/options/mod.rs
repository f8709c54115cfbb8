//! The settings of `packetbeat.interfaces`, and the checks of their values.

use super::{Error, devices};
use crate::config::{self, duration, duration_option};
use serde::Deserialize;
use std::{fmt, path::PathBuf, time::Duration};

/// Largest snap length in bytes, which is libpcap's own limit. Larger settings are reduced to it.
const MAX_SNAPLEN: u32 = 262_144;
/// Largest value of `workers`, which is more than any machine can use. Each worker has its own ring.
const MAX_WORKERS: usize = 1024;
/// Largest `buffer_size_mb`, for all rings of an interface together. The kernel could not map so much memory in one call anyway.
const MAX_BUFFER_MB: u64 = 65_536;

/// How packets are captured (`type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// eBPF, `AF_PACKET` and libpcap are tried in this order, and the first one that works is used.
    #[default]
    #[serde(alias = "autodetect")]
    Auto,
    /// This program's own eBPF programs.
    Ebpf,
    /// An `AF_PACKET` socket with a memory-mapped ring.
    AfPacket,
    /// libpcap.
    Pcap,
    /// PF_RING, which is not supported and is treated as `auto` with a warning.
    PfRing,
    /// DPDK, which is not supported and is treated as `auto` with a warning.
    Dpdk,
}

/// Where the eBPF programs are attached (`packetbeat.interfaces.hook`, an option that Packetbeat does not have).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookSetting {
    /// On a device TC is used, because XDP resets the link on many drivers, limits the MTU and undoes GRO. On `any` and on the loopback
    /// device a packet socket is used.
    #[default]
    Auto,
    /// XDP for incoming packets, TC for outgoing ones.
    Xdp,
    /// TC in both directions.
    Tc,
    /// A packet socket with a socket filter.
    Socket,
}

/// What becomes of incoming packets that the filter matches (`packetbeat.interfaces.on_match`, an option that Packetbeat does
/// not have).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMatch {
    /// The host gets them, as without this program.
    #[default]
    Pass,
    /// They are dropped after they were captured. For an interface that only receives mirrored packets.
    Drop,
}

/// One entry of `packetbeat.interfaces`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Name, number, `any`, or `default_route` with an optional suffix `_ipv4` or `_ipv6`.
    pub device: String,
    /// How packets are captured.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Maximum number of captured bytes per packet.
    pub snaplen: u32,
    /// Megabytes of all rings of this interface together.
    pub buffer_size_mb: u64,
    /// Whether `af_packet` captures packets addressed to other hosts. The other capture types always do so.
    pub auto_promisc_mode: bool,
    /// Whether packets with VLAN tags are captured like those without. On by default, unlike in Packetbeat, whose filter misses them on
    /// some devices and sees them on others.
    pub with_vlans: bool,
    /// Whether connections with the same addresses and ports in different VLANs are different connections (not in
    /// Packetbeat). Off by default, as Packetbeat behaves: on a mirror port the two directions of one connection may
    /// carry different tags.
    pub track_vlans: bool,
    /// A pcap-filter(7) expression that replaces the generated filter.
    pub bpf_filter: Option<String>,
    /// Fanout group of `af_packet` (packet(7)): processes that name the same group share the traffic.
    pub fanout_group: Option<u16>,
    /// How often the counters of the socket are read.
    #[serde(with = "duration")]
    pub metrics_interval: Duration,
    /// How often the default route is looked up again; `None` means never.
    #[serde(with = "duration_option")]
    pub poll_default_route: Option<Duration>,
    /// Internal networks, by name (`private`) or in CIDR notation.
    pub internal_networks: Vec<String>,
    /// A capture file to read instead of a device.
    pub file: Option<PathBuf>,
    /// Where the eBPF programs are attached (not in Packetbeat).
    pub hook: HookSetting,
    /// Whether segments of TCP connections that no parser needs stay in the kernel, where they are only counted (not in
    /// Packetbeat). Only eBPF can do that.
    pub shunt: bool,
    /// What becomes of incoming packets that the filter matches (not in Packetbeat).
    pub on_match: OnMatch,
    /// Allows [`OnMatch::Drop`] on an interface that has an address (not in Packetbeat).
    pub on_match_force: bool,
    /// Number of worker threads for this interface (not in Packetbeat); one per core when not set.
    pub workers: Option<usize>,
    /// The configuration node that this entry was read from. Errors take file and line from it.
    #[serde(skip)]
    pub node: config::Node,
    /// What the command line sets of this interface.
    #[serde(skip)]
    pub typed: Typed,
}

/// The settings of an interface that the command line of `watch` and `top` replaces. Errors name what the user typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// [`Interface::device`] is that of `-i` or of a word.
    pub device: bool,
    /// [`Interface::bpf_filter`] is the filter after `--`.
    pub filter: bool,
}

impl Default for Interface {
    fn default() -> Self {
        Self {
            device: "any".to_owned(),
            kind: Kind::Auto,
            snaplen: 65_535,
            buffer_size_mb: 24,
            auto_promisc_mode: false,
            with_vlans: true,
            track_vlans: false,
            bpf_filter: None,
            fanout_group: None,
            metrics_interval: Duration::from_secs(5),
            poll_default_route: None,
            internal_networks: Vec::new(),
            file: None,
            hook: HookSetting::Auto,
            shunt: true,
            on_match: OnMatch::Pass,
            on_match_force: false,
            workers: None,
            node: config::Node::default(),
            typed: Typed::default(),
        }
    }
}

impl Interface {
    /// An error of [`Interface::bpf_filter`], with the place where the filter was written.
    pub fn filter_error(&self, reason: &dyn fmt::Display) -> config::Error {
        match self.typed.filter {
            true => config::Error(format!("after --: {reason}")),
            false => self.node.get("bpf_filter").error(reason.to_string()),
        }
    }

    /// Uses at most `cores` workers, unless the setting `workers` says how many.
    pub fn limit_workers(&mut self, cores: usize) {
        let limited = self.workers().min(cores.max(1));
        self.workers.get_or_insert(limited);
    }

    /// Number of workers of this interface. A file and a libpcap capture have one; otherwise the setting, or one per
    /// core.
    pub fn workers(&self) -> usize {
        if self.file.is_some() || self.kind == Kind::Pcap {
            return 1;
        }
        self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Bytes of each worker's ring: `buffer_size_mb` divided by the workers, rounded up to a power of two.
    pub fn ring_bytes(&self) -> u64 {
        ((self.buffer_size_mb << 20) / self.workers() as u64).next_power_of_two()
    }

    /// Whether packets addressed to other hosts are captured.
    pub fn promiscuous(&self) -> bool {
        self.kind != Kind::AfPacket || self.auto_promisc_mode
    }

    /// Whether several backends are tried in order.
    pub fn is_auto(&self) -> bool {
        matches!(self.kind, Kind::Auto | Kind::PfRing | Kind::Dpdk)
    }

    /// Whether incoming packets that the filter matches are dropped.
    pub fn drops_matches(&self) -> bool {
        self.on_match == OnMatch::Drop
    }

    /// Refuses settings with which packets cannot be dropped, or with which the host would lose its own packets.
    fn check_drop(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("on_match: drop needs {what}"));
        if self.file.is_some() || self.device == "any" || devices::is_route(&self.device) {
            return wrong("a device that only receives mirrored packets; name one");
        }
        if matches!(self.kind, Kind::AfPacket | Kind::Pcap) {
            return wrong("type ebpf, because other types get copies of packets");
        }
        if self.hook == HookSetting::Socket {
            return wrong("hook xdp or tc, because a packet socket gets copies of packets");
        }
        Ok(())
    }

    /// Limits numbers to their range and refuses settings that contradict each other.
    fn checked(mut self) -> Result<Self, String> {
        if self.snaplen == 0 {
            self.snaplen = Self::default().snaplen;
        }
        self.snaplen = self.snaplen.min(MAX_SNAPLEN);
        if self.buffer_size_mb == 0 || self.buffer_size_mb > MAX_BUFFER_MB {
            return Err(format!("buffer_size_mb is {}; it must be between 1 and {MAX_BUFFER_MB}", self.buffer_size_mb));
        }
        if self.workers.is_some_and(|n| n == 0 || n > MAX_WORKERS) {
            return Err(format!("workers must be between 1 and {MAX_WORKERS}"));
        }
        if self.fanout_group.is_some() && matches!(self.kind, Kind::Pcap | Kind::Ebpf) {
            return Err("fanout_group needs type af_packet".to_owned());
        }
        if self.drops_matches() {
            self.check_drop()?;
        }
        if self.poll_default_route.is_some_and(|every| every < Duration::from_secs(1)) {
            self.poll_default_route = Some(Duration::from_secs(1));
        }
        self.bpf_filter = self.bpf_filter.filter(|text| !text.trim().is_empty());
        match self.kind {
            Kind::PfRing => log::warn!("packetbeat.interfaces.type: pf_ring is not supported; using auto"),
            Kind::Dpdk => log::warn!("packetbeat.interfaces.type: dpdk is not supported; using auto"),
            _ => {}
        }
        Ok(self)
    }
}

/// Reads `packetbeat.interfaces`. The result has at least one interface.
///
/// # Errors
/// When a value is not allowed or a device is listed twice. The error names file and line.
pub fn read(node: &config::Node) -> Result<Vec<Interface>, config::Error> {
    let mut checked: Vec<Interface> = Vec::new();
    for node in node.items().iter().filter(|node| !node.is_unset()) {
        let mut interface: Interface = node.read()?;
        if interface.device.is_empty() {
            interface.device = Interface::default().device;
        }
        interface.node = node.clone();
        let interface = interface.checked().map_err(|reason| node.error(reason))?;
        if interface.file.is_none() && checked.iter().any(|other| other.file.is_none() && other.device == interface.device) {
            return Err(node.get("device").error(format!("device {} is listed twice; list each device once", interface.device)));
        }
        checked.push(interface);
    }
    if checked.is_empty() {
        checked.push(Interface::default());
    }
    Ok(checked)
}

/// Command-line flags about reading files (`-t`, `-l`, `-O`) and dumping frames (`--dump`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Read as fast as possible with the timestamps of the file. Otherwise deliver frames with their original gaps and
    /// the current time.
    pub top_speed: bool,
    /// How often the file is read; 0 means forever.
    pub loops: u64,
    /// Deliver one packet each time the user presses Enter.
    pub one_at_a_time: bool,
    /// Prefix of the dump file: captured frames are written to `PREFIX-YYYYmmddHHMMSS.pcap`.
    pub dump: Option<String>,
}

impl Default for Replay {
    fn default() -> Self {
        Self { top_speed: false, loops: 1, one_at_a_time: false, dump: None }
    }
}

impl Error {
    /// Returns the same error as an error of the configuration, with the place of the setting of `interface` that is wrong.
    pub fn at(self, interface: &Interface) -> config::Error {
        let setting = match &self {
            // The message names the device.
            Self::Device { .. } | Self::Missing { .. } if interface.typed.device => return config::Error(self.to_string()),
            Self::Setting(_) if interface.bpf_filter.is_some() && interface.typed.filter => return interface.filter_error(&self),
            Self::Device { .. } | Self::Missing { .. } => "device",
            Self::Setting(_) if interface.bpf_filter.is_some() => "bpf_filter",
            Self::Setting(_) => return interface.node.error(self.to_string()),
            // The command line may have named the file.
            Self::File { .. } => return config::Error(self.to_string()),
        };
        let node = interface.node.get(setting);
        if node.is_null() { config::Error(self.to_string()) } else { node.error(self.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Node;

    fn parsed(text: &str) -> Result<Vec<Interface>, String> {
        read(&Node::parse(text).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn no_settings_means_auto_on_any() {
        let interfaces = parsed("").unwrap();
        let [only] = interfaces.as_slice() else { panic!("{interfaces:?}") };
        assert_eq!((only.device.as_str(), only.kind, only.hook, only.snaplen), ("any", Kind::Auto, HookSetting::Auto, 65_535));
        let empty = "{device: '', type: '', snaplen: '', bpf_filter: '', internal_networks: '', fanout_group: ''}";
        for text in ["''", "[]", "[~]", empty] {
            let interfaces = parsed(text).unwrap();
            assert_eq!(interfaces.iter().map(|i| (i.device.as_str(), i.kind)).collect::<Vec<_>>(), [("any", Kind::Auto)], "{text}");
        }
        assert!(only.workers() >= 1);
    }

    #[test]
    fn a_map_and_a_list() {
        let one =
            parsed("{device: 0, type: autodetect, poll_default_route: 60s, internal_networks: private, hook: tc, workers: 3}").unwrap();
        assert_eq!((one[0].device.as_str(), one[0].kind, one[0].hook, one[0].workers()), ("0", Kind::Auto, HookSetting::Tc, 3));
        assert_eq!((one[0].poll_default_route, &one[0].internal_networks), (Some(Duration::from_secs(60)), &vec!["private".to_owned()]));
        // 24 MB shared by three workers: 8 MB each, which is a power of two already.
        assert_eq!(one[0].ring_bytes(), 8 << 20);
        assert!(!one[0].track_vlans && parsed("{track_vlans: true}").unwrap()[0].track_vlans);
        assert!(one[0].shunt && !parsed("{shunt: false}").unwrap()[0].shunt);
        assert!(!one[0].drops_matches());
        let two = parsed(
            "[{device: eth0, type: af_packet, fanout_group: 7, buffer_size_mb: 100, workers: 1}, {device: eth1, type: pcap, workers: 4}]",
        );
        let two = two.unwrap();
        assert_eq!((two[0].fanout_group, two[0].ring_bytes()), (Some(7), 128 << 20));
        let mut limited = two.clone();
        limited[1].kind = Kind::Ebpf;
        limited[1].workers = None;
        limited.iter_mut().for_each(|interface| interface.limit_workers(1));
        assert_eq!((limited[0].workers(), limited[1].workers()), (1, 1));
        let mut configured = one.clone();
        configured[0].limit_workers(2);
        assert_eq!(configured[0].workers(), 3, "the setting of the interface applies");
        assert_eq!((two[1].kind, two[1].workers()), (Kind::Pcap, 1), "libpcap cannot share a device");
        for kind in ["pf_ring", "dpdk"] {
            assert!(parsed(&format!("{{type: {kind}}}")).unwrap()[0].is_auto());
        }
    }

    #[test]
    fn contradicting_settings_are_refused() {
        let cases = [
            ("{type: netmap}", "af_packet"),
            ("{hook: kprobe}", "socket"),
            ("{type: pcap, fanout_group: 1}", "fanout_group needs type af_packet"),
            ("{fanout_group: 65536}", "65536"),
            ("{buffer_size_mb: 0}", "between 1 and 65536"),
            ("{workers: 0}", "between 1 and 1024"),
            ("{device: [a, b]}", "device: expected a text, got a list"),
            ("{device: {a: 1}}", "device: expected a text, got a map"),
            ("[{device: eth0}, {device: eth0}]", "listed twice"),
        ];
        for (text, expected) in cases {
            let error = parsed(text).map(|_| ()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error:?} lacks {expected:?}");
        }
    }

    #[test]
    fn packets_can_be_dropped_only_by_programs_at_a_device() {
        for good in ["device: eth0", "{device: eth0, type: ebpf, hook: xdp}", "{device: eth0, hook: tc, on_match_force: true}"] {
            let text = format!("{{on_match: drop, {}}}", good.trim_matches(['{', '}']));
            assert!(parsed(&text).unwrap()[0].drops_matches(), "{text}");
        }
        for (bad, why) in [
            ("device: any", "only receives mirrored packets"),
            ("snaplen: 100", "only receives mirrored packets"),
            ("device: default_route_ipv4", "only receives mirrored packets"),
            ("device: eth0, file: a.pcap", "only receives mirrored packets"),
            ("device: eth0, type: af_packet", "type ebpf"),
            ("device: eth0, type: pcap", "type ebpf"),
            ("device: eth0, hook: socket", "hook xdp or tc"),
        ] {
            let error = parsed(&format!("{{on_match: drop, {bad}}}")).unwrap_err();
            assert!(error.contains("on_match: drop needs") && error.contains(why), "{bad}: {error}");
        }
        assert!(parsed("{device: eth0, on_match: reject}").unwrap_err().contains("on_match"));
    }
}
