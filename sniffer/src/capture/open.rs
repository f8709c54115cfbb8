//! From the settings of an interface to its sources, one for each worker: a type that the user names is honoured or fails; `auto` walks down
//! the ladder eBPF → `AF_PACKET` → libpcap, and says at each step why.

use super::{
    Error, Link, Source, afpacket,
    control::{Control, DeviceStats},
    devices::{self, Device},
    dump::{Dump, Dumped},
    file::FileSource,
    filter::Filters,
    filtered::{self, Filtered},
    libpcap::{self, Libpcap},
    live::Live,
    options::{Interface, Kind, Replay},
    replay::{Looped, Paced, Stepped},
};
use crate::{
    net::{FlowKey, FlowRecord, Verdict},
    time::Timestamp,
};
use std::{
    io::{BufReader, stdin, stdout},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// Where an interface's packets come from in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Our own programs in the kernel.
    Ebpf,
    /// A mapped ring of the kernel's.
    AfPacket,
    /// libpcap.
    Pcap,
    /// A capture file.
    File,
}

impl Backend {
    /// As `type` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::AfPacket => "af_packet",
            Self::Pcap => "pcap",
            Self::File => "file",
        }
    }
}

/// One for each worker.
pub type Sources = Vec<Box<dyn Source>>;

/// What an interface is opened as: sources, of which each is handed to one worker, and the control that they all share.
pub struct Capture {
    /// One for each worker.
    pub sources: Sources,
    /// The way back: filter, verdicts, flow records, statistics.
    pub control: Arc<dyn Control>,
    /// What they are.
    pub backend: Backend,
    /// The device behind them; `None` for a file.
    pub device: Option<Device>,
    /// Where our own programs are, in words.
    pub hooks: Option<String>,
}

impl Capture {
    /// How packets are got, for people: `ebpf (eth0: tc)`.
    pub fn how(&self) -> String {
        let name = self.backend.name();
        self.hooks.as_ref().map_or_else(|| name.to_owned(), |hooks| format!("{name} ({hooks})"))
    }
}

/// What a backend is asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the user wrote.
    pub interface: Interface,
    /// The device it names.
    pub device: Device,
    /// What is wanted: the user's filter or the generated one, compiled.
    pub filters: Filters,
    /// See packets for other hosts.
    pub promiscuous: bool,
}

impl Plan {
    /// Finds the device that `interface` names.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(interface: &Interface, filters: &Filters) -> Result<Self, Error> {
        let device = devices::resolve(&interface.device)?;
        let promiscuous = interface.kind != Kind::AfPacket || interface.auto_promisc_mode;
        Ok(Self { interface: interface.clone(), device, filters: filters.clone(), promiscuous })
    }
}

/// Sources of our own programs, their control, and where they are, in words.
pub type OwnPrograms = (Sources, Arc<dyn Control>, String);

/// What the kernel half does for capture.
#[derive(Clone, Copy)]
pub struct Kernel {
    /// The first step of the ladder: sources of our own programs, one for each of `plan.interface.workers()`, and where those are, in
    /// words. They survive the loss of their device by themselves, or are wrapped in [`Live`].
    pub ebpf: fn(&Plan) -> Result<OwnPrograms, Error>,
    /// The filter of an `AF_PACKET` socket.
    pub socket_filter: fn(&Plan) -> Result<afpacket::Filter, Error>,
}

impl Default for Kernel {
    /// Without a kernel half: no eBPF, and libpcap's programs for sockets.
    fn default() -> Self {
        Self { ebpf: |_| Err(Error::Setting("eBPF is not part of this build".to_owned())), socket_filter: classic_filter }
    }
}

/// The filter of an `AF_PACKET` socket as libpcap would make it: classic BPF, which every kernel takes.
///
/// # Errors
/// When the expression is none.
pub fn classic_filter(plan: &Plan) -> Result<afpacket::Filter, Error> {
    if plan.filters.is_everything() {
        return Ok(afpacket::Filter::None);
    }
    let expression = plan.filters.text.as_str();
    let ethernet = |device: &str| libpcap::live_program(device, plan.interface.snaplen, expression);
    let raw_ip = || -> Result<libpcap::Instructions, Error> {
        let program = match &plan.filters.raw_ip {
            Some(program) => program.clone(),
            None => filtered::compile_raw_ip(expression)?,
        };
        Ok(program.instructions().iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect())
    };
    match plan.device.link {
        Some(Link::Ethernet) => ethernet(&plan.device.name).map(afpacket::Filter::Classic),
        Some(_) => raw_ip().map(afpacket::Filter::Classic),
        None => {
            // An expression about Ethernet headers matches nothing where there is none.
            let raw_ip = raw_ip().unwrap_or_else(|_| vec![(0x06, 0, 0, 0)]);
            Ok(afpacket::Filter::by_link(&ethernet("lo")?, &raw_ip))
        }
    }
}

/// Checks what can be checked without opening anything: the expression, and that the device is there when it is named by number or route.
///
/// # Errors
/// What is wrong, for `sniffer test config`.
pub fn check(interface: &Interface, expression: &str) -> Result<(), Error> {
    if !expression.trim().is_empty() {
        filtered::compile(expression, Link::Ethernet)?;
    }
    let by_name = interface.device.parse::<usize>().is_err() && !interface.device.starts_with("default_route");
    if interface.file.is_none() && !by_name {
        devices::resolve(&interface.device)?;
    }
    Ok(())
}

/// Opens an interface. `filters` is what is in force, the user's or the generated one; on files only the user's is applied.
///
/// # Errors
/// When nothing works; with the reason for each thing that was tried.
pub fn open(interface: &Interface, replay: &Replay, filters: &Filters, kernel: Kernel) -> Result<Capture, Error> {
    let dump = replay.dump.as_deref().map(Dump::create).transpose()?;
    let mut opened = match &interface.file {
        Some(path) => {
            let source = open_file(path, interface.bpf_filter.as_deref(), replay)?;
            Capture { sources: vec![source], control: unchanging(), backend: Backend::File, device: None, hooks: None }
        }
        None => open_device(interface, filters, kernel)?,
    };
    opened.sources = opened.sources.into_iter().map(|source| wrapped(source, replay, dump.as_ref())).collect();
    Ok(opened)
}

/// The control of a backend whose filter cannot be replaced yet.
#[derive(Default)]
struct Unchanging {
    not_entered: AtomicU64,
}

fn unchanging() -> Arc<dyn Control> {
    Arc::new(Unchanging::default())
}

impl Control for Unchanging {
    fn set_filter(&self, _: &Filters) -> Result<(), Error> {
        Err(Error::Setting("the filter of this interface cannot be replaced while it runs".to_owned()))
    }

    fn apply(&self, verdicts: &[(FlowKey, Verdict)]) {
        self.not_entered.fetch_add(verdicts.len() as u64, Ordering::Relaxed);
    }

    fn drain_flows(&self, _: Timestamp, _: &mut dyn FnMut(&FlowRecord)) -> Result<(), Error> {
        Ok(())
    }

    fn stats(&self) -> Result<DeviceStats, Error> {
        Ok(DeviceStats { not_entered: self.not_entered.load(Ordering::Relaxed), ..DeviceStats::default() })
    }
}

fn wrapped(source: Box<dyn Source>, replay: &Replay, dump: Option<&Arc<Mutex<Dump>>>) -> Box<dyn Source> {
    let mut source = source;
    if replay.one_at_a_time {
        source = Box::new(Stepped::new(source, BufReader::new(stdin()), stdout()));
    }
    if let Some(dump) = dump {
        source = Box::new(Dumped::new(source, Arc::clone(dump)));
    }
    source
}

fn open_file(path: &Path, filter: Option<&str>, replay: &Replay) -> Result<Box<dyn Source>, Error> {
    let (owned, filter) = (path.to_owned(), filter.map(str::to_owned));
    let open = move || -> Result<Box<dyn Source>, Error> {
        let file: Box<dyn Source> = Box::new(FileSource::open(&owned)?);
        match &filter {
            Some(filter) => Ok(Box::new(Filtered::new(file, filter)?)),
            None => Ok(file),
        }
    };
    let mut source = if replay.loops == 1 { open()? } else { Box::new(Looped::new(Box::new(open), replay.loops)?) };
    if !replay.top_speed {
        source = Box::new(Paced::new(source));
    }
    Ok(source)
}

fn open_device(interface: &Interface, filters: &Filters, kernel: Kernel) -> Result<Capture, Error> {
    let plan = Plan::new(interface, filters)?;
    let steps: &[Backend] = match interface.kind {
        Kind::Ebpf => &[Backend::Ebpf],
        Kind::AfPacket => &[Backend::AfPacket],
        Kind::Pcap => &[Backend::Pcap],
        Kind::Auto | Kind::PfRing | Kind::Dpdk => &[Backend::Ebpf, Backend::AfPacket, Backend::Pcap],
    };
    let mut reasons = Vec::new();
    for (index, backend) in steps.iter().enumerate() {
        let sources = match backend {
            Backend::Ebpf => (kernel.ebpf)(&plan).map(|(sources, control, hooks)| (sources, control, Some(hooks))),
            Backend::AfPacket => open_afpacket(&plan, kernel).map(|sources| (sources, unchanging(), None)),
            Backend::Pcap | Backend::File => open_libpcap(&plan).map(|sources| (sources, unchanging(), None)),
        };
        match sources {
            Ok((sources, control, hooks)) => return Ok(Capture { sources, control, backend: *backend, device: Some(plan.device), hooks }),
            Err(error) => {
                let reason = match error {
                    Error::Device { reason, .. } => reason,
                    error => error.to_string(),
                };
                if let Some(next) = steps.get(index + 1) {
                    let (from, to) = (backend.name(), next.name());
                    log::warn!("{}: {from} does not work here, {to} takes its place: {reason}", plan.device.name);
                }
                reasons.push(format!("{}: {reason}", backend.name()));
            }
        }
    }
    Err(Error::device(&plan.device.name, reasons.join("; ")))
}

/// Wraps a source so that it outlives its device, and follows the default route if the user wants that.
fn live(
    plan: &Plan,
    source: Box<dyn Source>,
    open: impl FnMut(&Plan) -> Result<Box<dyn Source>, Error> + Send + 'static,
) -> Box<dyn Source> {
    let (interface, filters, mut open) = (plan.interface.clone(), plan.filters.clone(), open);
    let again = move || open(&Plan::new(&interface, &filters)?);
    let live = Live::new(&plan.interface.device, source, Box::new(again));
    match plan.interface.poll_default_route {
        Some(every) if plan.interface.device.starts_with("default_route") => {
            Box::new(live.following(&plan.interface.device, &plan.device.name, every))
        }
        _ => Box::new(live),
    }
}

fn open_afpacket(plan: &Plan, kernel: Kernel) -> Result<Sources, Error> {
    let open = move |plan: &Plan, workers: usize, group: Option<u16>| {
        let config = afpacket::Config {
            device: plan.device.name.clone(),
            ifindex: plan.device.ifindex,
            loopback: plan.device.loopback,
            snaplen: plan.interface.snaplen,
            ring_bytes: plan.interface.ring_bytes(),
            promiscuous: plan.promiscuous,
        };
        let filter = (kernel.socket_filter)(plan)?;
        afpacket::open(&config, workers, group, &filter).map_err(|e| Error::device(&plan.device.name, e))
    };
    let (sources, group) = open(plan, plan.interface.workers(), plan.interface.fanout_group)?;
    let wrapped = sources.into_iter().map(|source| {
        let again = move |plan: &Plan| {
            let (mut sources, _) = open(plan, 1, group)?;
            let source = sources.pop().ok_or_else(|| Error::device(&plan.device.name, "no socket"))?;
            Ok(Box::new(source) as Box<dyn Source>)
        };
        live(plan, Box::new(source), again)
    });
    Ok(wrapped.collect())
}

fn open_libpcap(plan: &Plan) -> Result<Sources, Error> {
    let open = |plan: &Plan| {
        let config = libpcap::Config {
            device: plan.device.name.clone(),
            ifindex: plan.device.ifindex,
            snaplen: plan.interface.snaplen,
            buffer_bytes: (plan.interface.buffer_size_mb << 20).next_power_of_two(),
        };
        Libpcap::open(&config, &plan.filters.text).map(|source| Box::new(source) as Box<dyn Source>)
    };
    let source = open(plan)?;
    Ok(vec![live(plan, source, open)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_type_is_honoured_or_fails() {
        let interface = Interface { device: "lo".to_owned(), kind: Kind::Ebpf, ..Interface::default() };
        let error = open(&interface, &Replay::default(), &Filters::default(), Kernel::default()).map(|_| ()).unwrap_err().to_string();
        assert_eq!(error, "device lo: ebpf: eBPF is not part of this build");
        let interface = Interface { device: "nosuchdev0".to_owned(), ..Interface::default() };
        let error = open(&interface, &Replay::default(), &Filters::default(), Kernel::default()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("no such device"), "{error}");
    }

    #[test]
    fn checks_without_opening() {
        let interface = Interface { device: "nosuchdev0".to_owned(), ..Interface::default() };
        assert!(check(&interface, "tcp port 80 or vlan and tcp port 80").is_ok(), "a name may appear later");
        let error = check(&interface, "tcp prot 80").unwrap_err().to_string();
        assert!(error.contains("tcp prot 80"), "{error}");
        let interface = Interface { device: "4711".to_owned(), ..Interface::default() };
        assert!(check(&interface, "").is_err());
    }
}
