//! The settings of the engines of an interface. They are immutable, shared by its workers, and replaced as a whole.

use super::Own;
use crate::{
    config::{self, Node},
    flow::options,
    net::Transport,
    protocols::Protocol,
    publish::{PublisherId, Publishing},
    stream::{
        Plugins, Warned,
        ports::{PortMap, Range},
    },
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// The ports that a configured protocol claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimedPorts {
    /// Single ports and ranges of ports. A range includes both ends.
    pub ports: Vec<Range>,
    /// Also claim the ports that no protocol claims.
    pub any: bool,
}

/// A configured protocol. Each worker opens its own plugin of it, because plugins have state.
#[derive(Clone)]
pub struct Configured {
    /// The publisher id, which stays the same when the configuration is read again.
    pub id: PublisherId,
    /// The declaration of the protocol.
    pub protocol: &'static Protocol,
    /// The options of the protocol.
    pub options: Node,
    /// The ports that the protocol claims.
    pub claimed: ClaimedPorts,
}

/// The settings of an engine. The public fields must be set before the settings are shared.
pub struct Settings {
    /// The publishers and their processing.
    pub publishing: Arc<Publishing>,
    /// `packetbeat.flows`; `None` if flows are off.
    pub flows: Option<options::Options>,
    /// Whether the configuration has `packetbeat.compatibility: strict` and the source is a file.
    pub strict: bool,
    /// A file is read at the speed of its timestamps. Then time-outs expire as in live capture, even if `strict` is set.
    pub real_time: bool,
    /// `packetbeat.publish_timeout`. When a file is read at top speed with `strict`, time-outs that are not longer than this
    /// expire at the end of the file.
    pub publish_timeout: Duration,
    /// The interface option `track_vlans`: VLAN ids are part of the key of connections.
    pub track_vlans: bool,
    /// The data by which the program's own connections to its outputs are recognised; `None` for files. Packets of
    /// these connections are counted but not reported.
    pub own: Option<Own>,
    /// Which warnings about ignored segments were logged.
    pub(super) warned: Warned,
    /// Whether a worker has logged that the wall clock was set.
    pub(super) has_logged_clock_step: AtomicBool,
    protocols: Vec<Configured>,
    tcp: PortMap,
    udp: PortMap,
    icmp: Option<PublisherId>,
}

impl Settings {
    /// Makes settings with these protocols, without flows, not strict, and without outputs.
    pub fn new(protocols: Vec<Configured>, publishing: Arc<Publishing>) -> Self {
        let map = |transport: Transport| {
            let carried = || protocols.iter().filter(move |p| p.protocol.transports.contains(&transport));
            let any: Vec<PublisherId> = carried().filter(|p| p.claimed.any).map(|p| p.id).collect();
            PortMap::new(carried().map(|p| (p.id, p.claimed.ports.as_slice())), &any)
        };
        let (tcp, udp) = (map(Transport::Tcp), map(Transport::Udp));
        let icmp = protocols.iter().find(|p| p.protocol.transports.contains(&Transport::Icmp)).map(|p| p.id);
        Self {
            publishing,
            flows: None,
            strict: false,
            real_time: false,
            publish_timeout: Duration::ZERO,
            track_vlans: false,
            own: None,
            warned: Warned::default(),
            has_logged_clock_step: AtomicBool::new(false),
            protocols,
            tcp,
            udp,
            icmp,
        }
    }

    /// Whether time-outs expire. Packetbeat's time-outs run on the wall clock, so none expires while Packetbeat reads a file at top speed.
    pub(super) fn has_timers(&self) -> bool {
        !self.strict || self.real_time
    }

    /// Opens a plugin for each protocol.
    ///
    /// # Errors
    /// An error in a protocol's options.
    pub fn open(&self) -> Result<Plugins, config::Error> {
        let mut plugins = Plugins::default();
        for p in &self.protocols {
            plugins.insert(p.id, p.protocol, (p.protocol.open)(&p.options)?);
        }
        Ok(plugins)
    }

    /// Opens a plugin for each protocol that is new or whose options differ from those in `before`.
    pub(super) fn open_changed(&self, before: &Self) -> Result<Plugins, config::Error> {
        let mut plugins = Plugins::default();
        for p in &self.protocols {
            if !before.protocols.iter().any(|old| old.id == p.id && old.options.has_same_content(&p.options)) {
                plugins.insert(p.id, p.protocol, (p.protocol.open)(&p.options)?);
            }
        }
        Ok(plugins)
    }

    /// Whether a protocol is configured.
    pub(super) fn has(&self, id: PublisherId) -> bool {
        self.protocols.iter().any(|p| p.id == id)
    }

    /// The ports of the protocols on a transport, sorted: each a number, a range (`8000..8010`), or `any`.
    pub fn ports(&self, transport: Transport) -> Vec<String> {
        let carried = || self.protocols.iter().filter(|p| p.protocol.transports.contains(&transport));
        let mut ranges: Vec<Range> = carried().flat_map(|p| p.claimed.ports.iter().copied()).collect();
        ranges.sort_unstable();
        ranges.dedup();
        let text = |(first, last): Range| if first == last { first.to_string() } else { format!("{first}..{last}") };
        let any = carried().any(|p| p.claimed.any).then(|| "any".to_owned());
        ranges.into_iter().map(text).chain(any).collect()
    }

    /// The protocols that claim each TCP port.
    #[inline]
    pub(super) fn tcp(&self) -> &PortMap {
        &self.tcp
    }

    /// The protocols that claim each UDP port.
    #[inline]
    pub(super) fn udp(&self) -> &PortMap {
        &self.udp
    }

    /// The protocol that gets ICMP messages.
    #[inline]
    pub(super) fn icmp(&self) -> Option<PublisherId> {
        self.icmp
    }
}

/// The settings in force on an interface. The main thread replaces them; workers check for new ones between two polls.
pub struct InForce {
    settings: Mutex<Arc<Settings>>,
    /// Number of replacements. A worker loads this one number to check for new settings.
    version: AtomicU64,
}

impl InForce {
    /// Puts the first settings in force.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings: Mutex::new(settings), version: AtomicU64::new(0) }
    }

    /// Replaces the settings, and returns the previous ones. Each worker takes over the new settings after its current poll, and holds the
    /// previous ones until then.
    pub fn replace(&self, settings: Arc<Settings>) -> Arc<Settings> {
        let previous = std::mem::replace(&mut *self.settings.lock().unwrap_or_else(PoisonError::into_inner), settings);
        self.version.fetch_add(1, Ordering::Release);
        previous
    }

    /// The settings, and the number of replacements. If they are replaced at the same time, the number may be the
    /// previous one; the next check then takes the settings again.
    pub fn get(&self) -> (Arc<Settings>, u64) {
        let version = self.version();
        (self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone(), version)
    }

    /// The number of replacements.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}
