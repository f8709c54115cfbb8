//! Tries which ways of capturing work on this kernel with the rights of this process. Existing devices are not touched: programs are
//! loaded, and everything is attached to a pair of devices in a network namespace of its own, which ends with the trial.

mod sys;

pub use sys::clock_is_synchronised;

use super::{
    Error, devices,
    ebpf::{self, links},
    filter::Filters,
    open,
    options::{HookSetting, Interface, Kind, Replay},
};
use std::{io, thread};

/// The devices of a trial.
const PAIR: [&str; 2] = ["trial0", "trial1"];

/// A way of capturing: a capture type, and for eBPF the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// eBPF programs at XDP for incoming packets, and at TC for outgoing packets.
    Xdp,
    /// eBPF programs at TC in both directions.
    Tc,
    /// eBPF programs at a packet socket.
    Socket,
    /// An `AF_PACKET` socket with a memory-mapped ring.
    AfPacket,
    /// libpcap.
    Pcap,
}

impl Way {
    /// All ways, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Xdp, Self::Tc, Self::Socket, Self::AfPacket, Self::Pcap];

    /// The values of the settings `type` and `hook` that select this way.
    pub fn settings(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Xdp => ("ebpf", Some("xdp")),
            Self::Tc => ("ebpf", Some("tc")),
            Self::Socket => ("ebpf", Some("socket")),
            Self::AfPacket => ("af_packet", None),
            Self::Pcap => ("pcap", None),
        }
    }

    /// Whether the settings of an interface permit this way.
    pub fn is_permitted(self, interface: &Interface) -> bool {
        let by_hook = match interface.hook {
            HookSetting::Auto => !interface.drops_matches() || self != Self::Socket,
            HookSetting::Xdp => self == Self::Xdp,
            // If the qdisc of a device does not take the programs, a packet socket is used.
            HookSetting::Tc => matches!(self, Self::Tc | Self::Socket),
            HookSetting::Socket => self == Self::Socket,
        };
        let is_ebpf = !matches!(self, Self::AfPacket | Self::Pcap);
        match interface.kind {
            Kind::Ebpf => is_ebpf && by_hook,
            Kind::AfPacket => self == Self::AfPacket,
            Kind::Pcap => self == Self::Pcap,
            Kind::Auto | Kind::PfRing | Kind::Dpdk => (is_ebpf && by_hook) || (!is_ebpf && !interface.drops_matches()),
        }
    }

    /// The settings of an interface that is captured in this way.
    fn on(self, device: &str) -> Interface {
        let (kind, hook) = match self {
            Self::Xdp => (Kind::Ebpf, HookSetting::Xdp),
            Self::Tc => (Kind::Ebpf, HookSetting::Tc),
            Self::Socket => (Kind::Ebpf, HookSetting::Socket),
            Self::AfPacket => (Kind::AfPacket, HookSetting::Auto),
            Self::Pcap => (Kind::Pcap, HookSetting::Auto),
        };
        // A trial needs no large buffers.
        Interface { device: device.to_owned(), kind, hook, workers: Some(1), buffer_size_mb: 1, ..Interface::default() }
    }
}

/// The result of a trial.
#[derive(Debug)]
pub enum Outcome {
    /// Packets could be captured. The text says how: `ebpf (trial0: tcx)`.
    Works(String),
    /// Everything that could be tried without a device works.
    Untried,
    /// It does not work.
    Fails(Error),
}

/// The results of all ways, on a device with an Ethernet header and on `any`.
#[derive(Debug)]
pub struct Trials {
    /// Why the ways were tried without a device: a network namespace or its devices could not be made.
    pub no_network: Option<io::Error>,
    on_device: Vec<(Way, Outcome)>,
    on_any: Vec<(Way, Outcome)>,
}

impl Trials {
    /// The result of a way, on `any` or on a device. `None`: this way does not exist on `any`.
    pub fn of(&self, way: Way, any: bool) -> Option<&Outcome> {
        let all = if any { &self.on_any } else { &self.on_device };
        all.iter().find(|(this, _)| *this == way).map(|(_, outcome)| outcome)
    }
}

/// Tries all ways with `filters`.
pub fn run(filters: &Filters) -> Trials {
    let all = |network: bool| {
        let on = |device: &str, ways: &[Way]| ways.iter().map(|way| (*way, attempt(*way, device, network, filters))).collect();
        // Without a network of its own, nothing is attached to the loopback device: it only stands for a device with an Ethernet header.
        let device = if network { PAIR[0] } else { "lo" };
        (on(device, &Way::ALL), on("any", &[Way::Socket, Way::AfPacket, Way::Pcap]))
    };
    let inside = thread::scope(|scope| {
        let tried = scope.spawn(|| {
            sys::new_network()?;
            links::make_veth(PAIR)?;
            Ok(all(true))
        });
        tried.join().unwrap_or_else(|_| Err(io::Error::other("the thread of the trial ended unexpectedly")))
    });
    let ((on_device, on_any), no_network) = match inside {
        Ok(results) => (results, None),
        Err(error) => (all(false), Some(error)),
    };
    Trials { no_network, on_device, on_any }
}

/// Tries one way. `network`: the device is in a network namespace of its own, so that packets may be captured on it.
fn attempt(way: Way, device: &str, network: bool, filters: &Filters) -> Outcome {
    let interface = way.on(device);
    let result = if network {
        open::open(&interface, &Replay { top_speed: true, ..Replay::default() }, filters).map(|capture| Some(capture.how()))
    } else {
        without_device(way, &interface, filters).map(|()| None)
    };
    match result {
        Ok(Some(how)) if way == Way::Tc && !how.contains("tc") || way == Way::Xdp && !how.contains("XDP") => {
            Outcome::Fails(Error::device(device, format!("the kernel permits only {how}")))
        }
        Ok(Some(how)) => Outcome::Works(how),
        Ok(None) => Outcome::Untried,
        Err(error) => Outcome::Fails(error),
    }
}

/// Tries what needs no device: loading the programs, and making a packet socket. A packet socket that is not bound gets no packets.
fn without_device(way: Way, interface: &Interface, filters: &Filters) -> Result<(), Error> {
    let device = devices::resolve(&interface.device)?;
    let failed = |error: ebpf::Error| Error::device(&device.name, error);
    if !matches!(way, Way::AfPacket | Way::Pcap) {
        ebpf::try_to_load(interface, &device, filters).map_err(failed)?;
    }
    // With XDP and TC, a packet socket keeps the device promiscuous.
    ebpf::sys::packet_socket().map_err(|error| Error::device(&device.name, format!("a packet socket: {error}")))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::options::OnMatch;

    #[test]
    fn settings_permit_ways() {
        let permitted = |interface: &Interface| Way::ALL.into_iter().filter(|way| way.is_permitted(interface)).collect::<Vec<_>>();
        let auto = Interface::default();
        assert_eq!(permitted(&auto), Way::ALL);
        assert_eq!(permitted(&Interface { on_match: OnMatch::Drop, ..auto.clone() }), [Way::Xdp, Way::Tc]);
        assert_eq!(permitted(&Interface { kind: Kind::Pcap, ..auto.clone() }), [Way::Pcap]);
        assert_eq!(permitted(&Interface { kind: Kind::Ebpf, hook: HookSetting::Xdp, ..auto.clone() }), [Way::Xdp]);
        assert_eq!(permitted(&Interface { hook: HookSetting::Tc, ..auto }), [Way::Tc, Way::Socket, Way::AfPacket, Way::Pcap]);
    }

    #[test]
    fn a_trial_leaves_nothing_behind() {
        let trials = run(&Filters::from_text("tcp port 80").unwrap());
        let left: Vec<_> = devices::list().unwrap().into_iter().filter(|device| PAIR.contains(&device.name.as_str())).collect();
        assert_eq!(left, [], "in the network of the host");
        for (way, any) in Way::ALL.into_iter().flat_map(|way| [(way, false), (way, true)]) {
            let outcome = trials.of(way, any);
            assert_eq!(outcome.is_none(), any && matches!(way, Way::Xdp | Way::Tc), "{way:?} {any}: {outcome:?}");
        }
        // Everything works where this process may do everything.
        if trials.no_network.is_none() {
            assert!(matches!(trials.of(Way::AfPacket, false), Some(Outcome::Works(_))), "{trials:?}");
        }
    }
}
