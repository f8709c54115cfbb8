//! Opens an interface by its settings. If the user names a capture type, this type is used or opening fails. `auto` tries eBPF, then
//! `AF_PACKET`, then libpcap, and logs why a type does not work.

use super::{
    Error, Link, Source,
    afpacket::AfPacketControl,
    compile,
    control::Control,
    devices::{self, Device},
    dump::{Dump, Dumped},
    ebpf,
    file::{FileControl, FileSource},
    filter::Filters,
    filtered::Filtered,
    libpcap::LibpcapControl,
    live::Live,
    options::{Interface, Kind, Replay},
    replay::{Looped, Paced, Stepped},
    unfiltered, waiting,
};
use std::{
    io::{BufReader, stdin, stdout},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// The way in which the packets of an interface are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// This program's own eBPF programs.
    Ebpf,
    /// An `AF_PACKET` socket with a memory-mapped ring.
    AfPacket,
    /// libpcap.
    Pcap,
    /// A capture file.
    File,
}

impl Backend {
    /// The name as the setting `type` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::AfPacket => "af_packet",
            Self::Pcap => "pcap",
            Self::File => "file",
        }
    }
}

/// An open interface: the sources, one for each worker, and the control that the workers share.
pub struct Capture {
    /// The sources, one for each worker.
    pub sources: Vec<Box<dyn Source>>,
    /// The control: it replaces the filter, accepts verdicts, and returns flow records and statistics.
    pub control: Arc<dyn Control>,
    /// The backend that delivers the packets.
    pub backend: Backend,
    /// The captured device; `None` for a file.
    pub device: Option<Device>,
    /// Where the eBPF programs are attached, for messages; `None` for other backends.
    pub hooks: Option<String>,
    /// Whether flows are counted in the kernel, and read with [`Control::drain_flows`].
    pub counts_flows: bool,
    /// Whether the backend acts on verdicts ([`Control::apply`]).
    pub shunts: bool,
}

impl Capture {
    /// Whether the eBPF programs count packets or recognise copies. They do so before a generated filter and after a
    /// user's filter, so neither of these filters can replace the other.
    pub fn examines_before_filter(&self) -> bool {
        self.counts_flows || self.backend == Backend::Ebpf && self.device.as_ref().is_some_and(Device::is_any)
    }

    /// The name of the captured device. If the device does not exist yet, this is its name in the settings.
    pub fn name<'a>(&'a self, interface: &'a Interface) -> &'a str {
        self.device.as_ref().map_or(interface.device.as_str(), |device| device.name.as_str())
    }

    /// The captured device and the capture method, for a person: `any (eBPF: eth0, lo)`, `eth0 (af_packet)`; the path of a file.
    pub fn shown(&self, interface: &Interface) -> String {
        if let Some(file) = &interface.file {
            return file.display().to_string();
        }
        let method = match (self.backend, &self.hooks) {
            (Backend::Ebpf, Some(hooks)) if self.device.as_ref().is_some_and(Device::is_any) => {
                let devices: Vec<&str> = hooks.split(", ").filter_map(|hook| hook.split_once(": ")).map(|(device, _)| device).collect();
                format!("eBPF: {}", devices.join(", "))
            }
            (Backend::Ebpf, _) => "eBPF".to_owned(),
            (Backend::Pcap, _) => "libpcap".to_owned(),
            (backend, _) => backend.name().to_owned(),
        };
        format!("{} ({method})", self.name(interface))
    }

    /// The capture method, for messages: `ebpf (eth0: tc)`.
    pub fn how(&self) -> String {
        let name = self.backend.name();
        self.hooks.as_ref().map_or_else(|| name.to_owned(), |hooks| format!("{name} ({hooks})"))
    }
}

/// Checks an interface without opening it: the filter expression, and that a device named by number or route exists.
///
/// # Errors
///
/// The mistake, for the output of `sniffer test config`.
pub fn check(interface: &Interface, expression: &str) -> Result<(), Error> {
    if !expression.trim().is_empty() {
        compile::for_link(expression, Link::Ethernet)?;
    }
    let by_name = interface.device.parse::<usize>().is_err() && !devices::is_route(&interface.device);
    if interface.file.is_none() && !by_name {
        devices::resolve(&interface.device)?;
    }
    Ok(())
}

/// Opens an interface with `filters`. A device gets the filter in force, generated or the user's; a file gets only the
/// user's.
///
/// # Errors
/// When no backend works; the message has the reason for each one that was tried.
pub fn open(interface: &Interface, replay: &Replay, filters: &Filters) -> Result<Capture, Error> {
    let dump = replay.dump.as_deref().map(Dump::create).transpose()?;
    let mut capture = match &interface.file {
        Some(path) => open_file(path, filters, replay)?,
        None => open_device(interface, filters)?,
    };
    capture.sources = capture.sources.into_iter().map(|source| wrapped(source, replay, dump.as_ref())).collect();
    Ok(capture)
}

/// Makes the capture of an interface whose device does not exist yet. Its sources wait for the device.
///
/// # Errors
/// When the dump file cannot be made.
pub fn wait_for(interface: &Interface, replay: &Replay, filters: &Filters) -> Result<Capture, Error> {
    let dump = replay.dump.as_deref().map(Dump::create).transpose()?;
    // The workers must know when they start whether a backend acts on verdicts.
    let opened = Interface { shunt: false, ..interface.clone() };
    let open = move |filters: &Filters| {
        // The workers must know when they start whether the backend counts flows. As no backend is open yet, the workers count them.
        let capture = open_device(&opened, &Filters { counting: None, ..filters.clone() })?;
        Ok(waiting::Opened { how: capture.how(), sources: capture.sources, control: capture.control })
    };
    let (sources, control) = waiting::waiting(&interface.device, interface.workers(), filters, Box::new(open));
    let sources = sources.into_iter().map(|source| wrapped(source, replay, dump.as_ref())).collect();
    let backend = match interface.kind {
        Kind::AfPacket => Backend::AfPacket,
        Kind::Pcap => Backend::Pcap,
        _ => Backend::Ebpf,
    };
    Ok(Capture { sources, control, backend, device: None, hooks: None, counts_flows: false, shunts: false })
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

fn open_file(path: &Path, filters: &Filters, replay: &Replay) -> Result<Capture, Error> {
    let control = FileControl::new(filters)?;
    let (path, tally): (PathBuf, _) = (path.to_owned(), Arc::clone(&control.tally));
    let open = move || -> Result<Box<dyn Source>, Error> { Ok(Box::new(FileSource::open(&path, Arc::clone(&tally))?)) };
    let mut source = if replay.loops == 1 { open()? } else { Box::new(Looped::new(Box::new(open), replay.loops)?) };
    source = Box::new(Filtered::new(source, &control.filter, Arc::clone(&control.tally)));
    if !replay.top_speed {
        source = Box::new(Paced::new(source));
    }
    Ok(Capture {
        sources: vec![source],
        control: Arc::new(control),
        backend: Backend::File,
        device: None,
        hooks: None,
        counts_flows: false,
        shunts: false,
    })
}

/// A backend to try, and the function that opens it.
type Attempt<'a> = (Backend, &'a dyn Fn() -> Result<Capture, Error>);

fn open_device(interface: &Interface, filters: &Filters) -> Result<Capture, Error> {
    let device = devices::resolve(&interface.device)?;
    let ebpf: Attempt<'_> = (Backend::Ebpf, &|| {
        let open = |filters: &Filters| open_ebpf(interface, &device, filters);
        // Without the filter in the kernel every packet would be dropped.
        if interface.drops_matches() { open(filters) } else { with_any_filter(&device, filters, open) }
    });
    let afpacket: Attempt<'_> =
        (Backend::AfPacket, &|| with_any_filter(&device, filters, |filters| open_afpacket(interface, &device, filters)));
    let libpcap: Attempt<'_> = (Backend::Pcap, &|| open_libpcap(interface, &device, filters));
    let attempts: &[Attempt<'_>] = match interface.kind {
        Kind::Ebpf => &[ebpf],
        Kind::AfPacket => &[afpacket],
        Kind::Pcap => &[libpcap],
        // Only eBPF programs can drop packets.
        Kind::Auto | Kind::PfRing | Kind::Dpdk if interface.drops_matches() => &[ebpf],
        Kind::Auto | Kind::PfRing | Kind::Dpdk => &[ebpf, afpacket, libpcap],
    };
    first_that_works(&device.name, attempts)
}

/// Opens a backend with `filters`. If it can be opened only without a filter, the filter is applied in user space. libpcap
/// does the same by itself.
fn with_any_filter(device: &Device, filters: &Filters, open: impl Fn(&Filters) -> Result<Capture, Error>) -> Result<Capture, Error> {
    let (capture, here) = match open(filters) {
        Ok(capture) => (capture, None),
        Err(error) if filters.is_everything() => return Err(error),
        Err(error) => match open(&Filters { flows: filters.flows, ..Filters::default() }) {
            Ok(capture) => (capture, Some(error)),
            Err(_) => return Err(error),
        },
    };
    let opened = (capture.sources, capture.control);
    let (sources, control) = unfiltered::with_fallback(&device.name, opened, here.as_ref().map(|_| filters))?;
    if let Some(error) = here {
        unfiltered::log_fallback(&device.name, filters, &error);
    }
    Ok(Capture { sources, control, ..capture })
}

fn first_that_works(device: &str, attempts: &[Attempt<'_>]) -> Result<Capture, Error> {
    let mut reasons = Vec::new();
    for (index, (backend, open)) in attempts.iter().enumerate() {
        match open() {
            Ok(capture) => return Ok(capture),
            Err(error) => {
                let reason = match error {
                    Error::Device { reason, .. } => reason,
                    error => error.to_string(),
                };
                if let Some((next, _)) = attempts.get(index + 1) {
                    log::warn!("{device}: capture type {} does not work; trying {}: {reason}", backend.name(), next.name());
                }
                reasons.push(format!("{}: {reason}", backend.name()));
            }
        }
    }
    Err(Error::device(device, reasons.join("; ")))
}

fn open_ebpf(interface: &Interface, device: &Device, filters: &Filters) -> Result<Capture, Error> {
    // The eBPF sources keep their rings when the device goes away, so they are not wrapped in a `Live`.
    let opened = ebpf::open(interface, device, filters, true).or_else(|reason| {
        let opened = ebpf::open(interface, device, filters, false)?;
        if filters.counting.is_some() {
            log::warn!("{}: the kernel cannot count flows, so every packet is copied to count it: {reason}", device.name);
        }
        Ok::<_, ebpf::Error>(opened)
    });
    let (sources, control) = opened.map_err(|error| Error::device(&device.name, error))?;
    let (hooks, counts_flows, shunts) = (Some(control.hooks().join(", ")), control.counts_flows(), control.shunts());
    Ok(Capture { sources, control, backend: Backend::Ebpf, device: Some(device.clone()), hooks, counts_flows, shunts })
}

fn open_afpacket(interface: &Interface, device: &Device, filters: &Filters) -> Result<Capture, Error> {
    let control = Arc::new(AfPacketControl::new(interface, filters));
    let (sources, group) = control.open(device, interface.workers(), interface.fanout_group)?;
    let sources = sources.into_iter().map(|source| {
        let control = Arc::clone(&control);
        let again = move |device: &Device| {
            let (mut sources, _) = control.open(device, 1, group)?;
            let source = sources.pop().ok_or_else(|| Error::device(&device.name, "no socket"))?;
            Ok(Box::new(source) as Box<dyn Source>)
        };
        live(interface, device, Box::new(source), again)
    });
    let sources = sources.collect();
    Ok(Capture {
        sources,
        control,
        backend: Backend::AfPacket,
        device: Some(device.clone()),
        hooks: None,
        counts_flows: false,
        shunts: false,
    })
}

fn open_libpcap(interface: &Interface, device: &Device, filters: &Filters) -> Result<Capture, Error> {
    let control = Arc::new(LibpcapControl::new(interface, filters));
    let source = Box::new(control.open(device)?);
    let opener = Arc::clone(&control);
    let again = move |device: &Device| opener.open(device).map(|source| Box::new(source) as Box<dyn Source>);
    let sources = vec![live(interface, device, source, again)];
    Ok(Capture { sources, control, backend: Backend::Pcap, device: Some(device.clone()), hooks: None, counts_flows: false, shunts: false })
}

/// Wraps a source so that it survives the loss of its device. If the setting names the default route, the source also follows the route
/// to another device.
fn live(
    interface: &Interface,
    device: &Device,
    source: Box<dyn Source>,
    open: impl FnMut(&Device) -> Result<Box<dyn Source>, Error> + Send + 'static,
) -> Box<dyn Source> {
    let (named, mut device, mut open) = (interface.device.clone(), device.clone(), open);
    let first = device.name.clone();
    let again = move || {
        device = devices::find_again(&device, &named)?;
        open(&device)
    };
    let live = Live::new(&interface.device, source, Box::new(again));
    match interface.poll_default_route {
        Some(every) if devices::is_route(&interface.device) => Box::new(live.following(&interface.device, &first, every)),
        _ => Box::new(live),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::control::recording::Recording;

    #[test]
    fn auto_stops_at_the_first_backend_that_works() {
        let fails: &dyn Fn() -> Result<Capture, Error> = &|| Err(Error::device("lo", "no"));
        let works: &dyn Fn() -> Result<Capture, Error> = &|| {
            let control = Arc::new(Recording::default());
            Ok(Capture {
                sources: Vec::new(),
                control,
                backend: Backend::AfPacket,
                device: None,
                hooks: None,
                counts_flows: false,
                shunts: false,
            })
        };
        let ladder = |attempts: [&dyn Fn() -> Result<Capture, Error>; 3]| {
            let [first, second, third] = attempts;
            let attempts = [(Backend::Ebpf, first), (Backend::AfPacket, second), (Backend::Pcap, third)];
            first_that_works("lo", &attempts).map(|capture| capture.how()).map_err(|error| error.to_string())
        };
        let never: &dyn Fn() -> Result<Capture, Error> = &|| panic!("a step behind one that works");
        assert_eq!(ladder([fails, works, never]), Ok("af_packet".to_owned()));
        assert_eq!(ladder([fails, fails, fails]), Err("device lo: ebpf: no; af_packet: no; pcap: no".to_owned()));
    }

    #[test]
    fn a_device_that_does_not_exist_is_an_error() {
        let interface = Interface { device: "nosuchdev0".to_owned(), ..Interface::default() };
        let error = open(&interface, &Replay::default(), &Filters::default()).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("device nosuchdev0: there is no such device"), "{error}");
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
