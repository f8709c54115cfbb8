//! The loaded eBPF object: its programs, the jump tables through which they call each other, and its maps. Does not
//! attach programs.

use super::{
    error::Error,
    flows::KernelFlows,
    program::load_filter,
    raw_ip::RawIp,
    shunts::Shunts,
    sys,
    waker::{Ring, Waker},
};
use crate::capture::{
    devices::Device,
    filter::{
        Counting, Filters, cbpf,
        ebpf::{self, OnMatch, Target},
    },
    options::Interface,
    sys::interface_index,
};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData, PerCpuArray, RingBuf},
    programs::{Program, ProgramFd},
};
use sniffer_common::{Counters, MAX_SNAPLEN, MAX_WORKERS, contents, copies, flow::counting, link, ports, setting, shunting, slot};
use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// The eBPF object that `cargo xtask build-ebpf` built. A test in xtask fails when the object is older than its sources.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../sniffer-ebpf/object/sniffer.bpf.o"));

/// Bytes pending in a ring at which the kernel ends a short sleep of its reader. A wake-up for every record would cost a
/// third of the packet rate and several times the CPU.
pub(super) const WAKE_AT: usize = 256 << 10;
/// Smallest ring in bytes. It holds several records of the largest size.
const MIN_RING: usize = 256 << 10;
/// Number of fragmented datagrams whose ports the programs remember.
const FRAGMENTS: u32 = 4096;
/// Number of directions of flows whose owner the programs remember on `any`.
const OWNERS: u32 = 1 << 16;
/// Longest time for which an idle flow stays in the kernel's table. The table of user space keeps it longer.
const MAX_IDLE: Duration = Duration::from_secs(10);
/// Largest ring in bytes. The kernel counts positions in a ring with 32 bits.
const MAX_RING: usize = 1 << 30;

/// [`Counters`] in the form of an array, because aya can read arrays of integers from a map.
type CounterWords = [u64; size_of::<Counters>() / size_of::<u64>()];

/// A place where programs can be attached. Each has its own entry, filter and capture program and its own jump table,
/// because the kernel requires that all programs of a table have the same type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttachPoint {
    Xdp,
    TcIn,
    TcOut,
    Socket,
}

/// The names that an attach point has in the object, and the parameters of its filters.
struct AttachParts {
    entry: &'static str,
    capture: &'static str,
    table: &'static str,
    kind: sys::ProgramKind,
    context: ebpf::ContextKind,
    no_match: i32,
    outgoing: bool,
}

impl AttachPoint {
    fn parts(self) -> AttachParts {
        let (entry, capture, table) = match self {
            Self::Xdp => ("xdp_entry", "xdp_capture", "JUMP_XDP"),
            Self::TcIn => ("tc_entry_in", "tc_capture_in", "JUMP_INGRESS"),
            Self::TcOut => ("tc_entry_out", "tc_capture_out", "JUMP_EGRESS"),
            Self::Socket => ("socket_entry", "socket_capture", "JUMP_SOCKET"),
        };
        let (kind, context, no_match) = match self {
            Self::Xdp => (sys::XDP, ebpf::ContextKind::Xdp, 2),                 // XDP_PASS
            Self::TcIn | Self::TcOut => (sys::TC, ebpf::ContextKind::Tc, -1),   // TCX_NEXT, TC_ACT_UNSPEC
            Self::Socket => (sys::SOCKET_FILTER, ebpf::ContextKind::Socket, 0), // the kernel does not queue the packet on the socket
        };
        AttachParts { entry, capture, table, kind, context, no_match, outgoing: self == Self::TcOut }
    }
}

/// The eBPF object, loaded into the kernel.
pub(super) struct Loaded {
    ebpf: Ebpf,
    filter: Filters,
    /// Attach points whose programs are loaded.
    ready: Vec<AttachPoint>,
    /// Interfaces without a link header that are in the map `RAW_IP`; used on `any`.
    raw_ip: RawIp,
    /// The reader of the programs' log messages. Only objects built with logging have one.
    logger: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
}

/// The result of [`Loaded::new`]: the object, the rings (one per worker), the flow table and the map of shunts.
pub(super) type Parts = (Loaded, Vec<Ring>, Option<KernelFlows>, Option<Shunts>);

impl Loaded {
    /// Loads the maps and sets the globals; [`Self::load_programs`] loads programs. With `counts` the programs count flows, if `filters`
    /// has the settings for counting. The function also returns the rings (one per worker), the flow table and the map of shunts.
    pub fn new(interface: &Interface, device: &Device, filters: &Filters, counts: bool) -> Result<Parts, Error> {
        sys::raise_memlock();
        let workers = interface.workers().clamp(1, MAX_WORKERS as usize);
        let buffer_bytes = usize::try_from(interface.buffer_size_mb << 20).unwrap_or(usize::MAX);
        let ring_bytes = (buffer_bytes / workers).clamp(MIN_RING, MAX_RING).next_power_of_two();
        let link = match device {
            device if device.is_any() => link::BY_INTERFACE,
            device if device.is_raw_ip() => link::RAW_IP,
            _ => link::ETHERNET,
        };
        let loopback = match device {
            device if device.is_any() => interface_index("lo").unwrap_or(0),
            device if device.loopback => device.ifindex,
            _ => 0,
        };
        let (snaplen, wake_at) = (interface.snaplen.clamp(1, MAX_SNAPLEN), WAKE_AT.min(ring_bytes / 4) as u32);
        let (workers_setting, link) = (workers as u32, u32::from(link));
        let counting = filters.counting.as_deref().filter(|_| counts);
        let when =
            counting.map_or(
                counting::OFF,
                |counting| {
                    if counting.filters.user.is_some() { counting::AFTER_FILTER } else { counting::BEFORE_FILTER }
                },
            );
        let idle_ms = counting.map_or(0, |counting| idle(counting).as_millis() as u32);
        let ethernet = u32::from(counting.is_none_or(|counting| counting.ethernet));
        let outputs = u32::from(counting.is_some_and(|counting| !counting.output_ports.is_empty()));
        let several = match device.is_any() {
            false => copies::OFF,
            true if filters.user.is_some() => copies::AFTER_FILTER,
            true => copies::BEFORE_FILTER,
        };
        // If flows are counted in user space, every packet is copied.
        let shunts = interface.shunt && (counting.is_some() || !filters.flows);
        // Shunts are applied before the filter only if packets are examined there anyway.
        let shunting = match shunts {
            false => shunting::OFF,
            true if when == counting::BEFORE_FILTER || several == copies::BEFORE_FILTER => shunting::BEFORE_FILTER,
            true => shunting::AFTER_FILTER,
        };
        let (track_vlans, drops) = (u32::from(interface.track_vlans), u32::from(interface.drops_matches()));
        let mut loader = EbpfLoader::new();
        loader
            .override_global(setting::SNAPLEN, &snaplen, true)
            .override_global(setting::WORKERS, &workers_setting, true)
            .override_global(setting::LINK, &link, true)
            .override_global(setting::LOOPBACK, &loopback, true)
            .override_global(setting::COUNTING, &when, true)
            .override_global(setting::FLOW_IDLE_MS, &idle_ms, true)
            .override_global(setting::SHUNTING, &shunting, true)
            .override_global(setting::TRACK_VLANS, &track_vlans, true)
            .override_global(setting::DROP_MATCHES, &drops, true)
            .override_global(setting::ETHERNET_FLOWS, &ethernet, true)
            .override_global(setting::OUTPUTS, &outputs, true)
            .override_global(setting::SEVERAL_INTERFACES, &several, true)
            .map_max_entries("RINGS", workers as u32)
            .map_max_entries("WAKE_AT", workers as u32);
        if let Some(counting) = counting {
            loader
                .map_max_entries("FLOWS", counting.entries.max(1))
                .map_max_entries("CONNECTIONS", (counting.entries / 4).max(1024))
                .map_max_entries("FRAGMENTS", FRAGMENTS);
        }
        if device.is_any() {
            loader.map_max_entries("OWNERS", OWNERS).map_max_entries("CONTENTS", contents::SLOTS);
        }
        let mut ebpf = loader.load(&object()).map_err(|e| Error::aya("loading the eBPF object", &e))?;
        let logger = logger(&mut ebpf);
        let rings = (0..workers as u32).map(|worker| ring(&ebpf, worker, ring_bytes as u32, wake_at)).collect::<Result<_, _>>()?;
        let filter = counting.map_or(filters, |counting| &counting.filters).clone();
        let mut loaded = Self { ebpf, filter, ready: Vec::new(), raw_ip: RawIp::default(), logger };
        if device.is_any() {
            loaded.follow_raw_ip();
        }
        let mut flows = None;
        if let Some(counting) = counting {
            loaded.set_ports(counting)?;
            let map = loaded.fd("FLOWS")?.try_clone_to_owned().map_err(|e| Error::io("map FLOWS", e))?;
            flows = Some(KernelFlows::new(map, idle(counting), workers));
        }
        let shunts = shunts.then(|| loaded.shunts()).transpose()?;
        Ok((loaded, rings, flows, shunts))
    }

    /// The maps of shunts.
    fn shunts(&self) -> Result<Shunts, Error> {
        let copy = |name: &str| self.fd(name)?.try_clone_to_owned().map_err(|e| Error::io(format!("map {name}"), e));
        Ok(Shunts::new(copy("SHUNTS")?, copy("SHUNTED")?))
    }

    /// Replaces the sets of ports that the programs read while they count flows.
    pub fn set_ports(&self, counting: &Counting) -> Result<(), Error> {
        self.enter_ports(ports::CLAIMED, &counting.tcp_ports)?;
        self.enter_ports(ports::OUTPUTS, &counting.output_ports)
    }

    /// Sets the bits of TCP ports in an entry of the map `PORTS`.
    fn enter_ports(&self, entry: u32, ranges: &[(u16, u16)]) -> Result<(), Error> {
        let mut bits = [0_u64; 1024];
        for port in ranges.iter().flat_map(|&(first, last)| first..=last) {
            if let Some(word) = bits.get_mut(usize::from(port / 64)) {
                *word |= 1 << (port % 64);
            }
        }
        sys::set(self.fd("PORTS")?, &entry, &bits).map_err(|e| Error::io("map PORTS", e))
    }

    /// The descriptor of a map.
    fn fd(&self, name: &str) -> Result<BorrowedFd<'_>, Error> {
        match self.ebpf.map(name) {
            Some(Map::HashMap(map) | Map::Array(map)) => Ok(map.fd().as_fd()),
            _ => Err(missing_part(name)),
        }
    }

    /// Enters the interfaces that have no link header now in the map that the programs read on `any`.
    pub fn follow_raw_ip(&mut self) {
        if let Some(map) = self.ebpf.map_mut("RAW_IP") {
            self.raw_ip.follow(map);
        }
    }

    /// Loads the entry, filter and capture programs of an attach point, unless they are loaded, and returns the entry
    /// program, which is the one to attach.
    pub fn load_programs(&mut self, point: AttachPoint) -> Result<&mut Program, Error> {
        let parts = point.parts();
        if !self.ready.contains(&point) {
            load(self.program(parts.capture)?).map_err(|e| Error::aya(parts.capture, &e))?;
            load(self.program(parts.entry)?).map_err(|e| Error::aya(parts.entry, &e))?;
            let capture = self.ebpf.program(parts.capture).ok_or_else(|| missing_part(parts.capture))?;
            let capture = fd(capture).map_err(|e| Error::aya(parts.capture, &e))?;
            sys::set_slot(self.table(&parts)?, slot::CAPTURE, capture.as_fd()).map_err(|e| Error::io(parts.table, e))?;
            self.install(&parts, &self.filter)?;
            self.ready.push(point);
        }
        self.program(parts.entry)
    }

    /// The entry program of `point`, which is the one to attach.
    pub fn entry(&mut self, point: AttachPoint) -> Option<&mut Program> {
        self.ebpf.program_mut(point.parts().entry)
    }

    /// Replaces the filter at every attach point. Each slot of a jump table changes atomically.
    pub fn set_filter(&mut self, filter: &Filters) -> Result<(), Error> {
        // Make all programs before replacing the first, so that a refusal by the kernel changes nothing.
        let make =
            |filter: &Filters| self.ready.iter().map(|point| self.make_filters(&point.parts(), filter)).collect::<Result<Vec<_>, _>>();
        let put = |made: Vec<_>| self.ready.iter().zip(made).try_for_each(|(point, programs)| self.put_filters(&point.parts(), programs));
        if let Err(error) = put(make(filter)?) {
            if let Err(error) = make(&self.filter).and_then(put) {
                log::warn!("after a failed filter change, the old filter could not be restored in one of the jump tables: {error}");
            }
            return Err(error);
        }
        self.filter = filter.clone();
        Ok(())
    }

    /// The counters, summed over all CPUs.
    pub fn counters(&self) -> Result<Counters, Error> {
        let map = self.ebpf.map("COUNTERS").ok_or_else(|| missing_part("COUNTERS"))?;
        let map = PerCpuArray::<_, CounterWords>::try_from(map).map_err(|e| Error::aya("map COUNTERS", &e))?;
        let mut sum = CounterWords::default();
        for of_cpu in map.get(&0, 0).map_err(|e| Error::aya("map COUNTERS", &e))?.iter() {
            for (sum, count) in sum.iter_mut().zip(of_cpu) {
                *sum = sum.wrapping_add(*count);
            }
        }
        let sum: Counters = zerocopy::transmute!(sum);
        Ok(sum)
    }

    /// Forwards the log messages of the programs.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    fn install(&self, parts: &AttachParts, filter: &Filters) -> Result<(), Error> {
        self.put_filters(parts, self.make_filters(parts, filter)?)
    }

    /// Loads the filter programs for Ethernet and for raw IP. `None` leaves the slot empty, and then every packet is
    /// captured.
    fn make_filters(&self, parts: &AttachParts, filter: &Filters) -> Result<[Option<OwnedFd>; 2], Error> {
        if filter.is_everything() {
            return Ok([None, None]);
        }
        let on_match = OnMatch::TailCall { table: self.table(parts)?.as_raw_fd(), slot: slot::CAPTURE };
        let make = |program: &Option<cbpf::Program>, tags: bool| {
            let nothing = cbpf::Program::nothing();
            let target = Target { context: parts.context, tags, on_match, no_match: parts.no_match, outgoing: parts.outgoing };
            load_filter(program.as_ref().unwrap_or(&nothing), &target, parts.kind, &filter.text).map(Some)
        };
        Ok([make(&filter.ethernet, true)?, make(&filter.raw_ip, false)?])
    }

    fn put_filters(&self, parts: &AttachParts, programs: [Option<OwnedFd>; 2]) -> Result<(), Error> {
        let table = self.table(parts)?;
        for (slot, program) in [slot::FILTER, slot::FILTER_RAW_IP].into_iter().zip(programs) {
            let done = match program {
                Some(program) => sys::set_slot(table, slot, program.as_fd()),
                None => sys::clear_slot(table, slot),
            };
            done.map_err(|e| Error::io(parts.table, e))?;
        }
        Ok(())
    }

    fn table(&self, parts: &AttachParts) -> Result<BorrowedFd<'_>, Error> {
        match self.ebpf.map(parts.table) {
            Some(Map::ProgramArray(map)) => Ok(map.fd().as_fd()),
            _ => Err(missing_part(parts.table)),
        }
    }

    fn program(&mut self, name: &str) -> Result<&mut Program, Error> {
        self.ebpf.program_mut(name).ok_or_else(|| missing_part(name))
    }
}

/// How long an idle flow stays in the kernel's table. This is shorter than the flow time-out, so that the kernel never
/// counts the packets of two successive flows in one entry.
fn idle(counting: &Counting) -> Duration {
    MAX_IDLE.min(counting.timeout / 2)
}

fn load(program: &mut Program) -> Result<(), aya::programs::ProgramError> {
    match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::SocketFilter(program) => program.load(),
        _ => Err(aya::programs::ProgramError::UnexpectedProgramType),
    }
}

fn fd(program: &Program) -> Result<&ProgramFd, aya::programs::ProgramError> {
    match program {
        Program::Xdp(program) => program.fd(),
        Program::SchedClassifier(program) => program.fd(),
        Program::SocketFilter(program) => program.fd(),
        _ => Err(aya::programs::ProgramError::UnexpectedProgramType),
    }
}

/// Makes the ring of a worker (`bytes` long) and enters it in the map `RINGS`.
fn ring(ebpf: &Ebpf, worker: u32, bytes: u32, wake_at: u32) -> Result<Ring, Error> {
    let Some(Map::ArrayOfMaps(rings)) = ebpf.map("RINGS") else { return Err(missing_part("RINGS")) };
    let fd = sys::ring_buffer(bytes).map_err(|e| Error::io(format!("a ring buffer of {bytes} bytes"), e))?;
    sys::set_slot(rings.fd().as_fd(), worker, fd.as_fd()).map_err(|e| Error::io("map RINGS", e))?;
    let map = MapData::from_fd(fd).map_err(|e| Error::aya("a ring buffer", &e))?;
    let ring = RingBuf::try_from(Map::RingBuf(map)).map_err(|e| Error::aya("mapping a ring buffer", &e))?;
    let Some(Map::Array(map)) = ebpf.map("WAKE_AT") else { return Err(missing_part("WAKE_AT")) };
    let map = map.fd().as_fd().try_clone_to_owned().map_err(|e| Error::io("map WAKE_AT", e))?;
    let map = MapData::from_fd(map).map_err(|e| Error::aya("map WAKE_AT", &e))?;
    let map = Array::try_from(Map::Array(map)).map_err(|e| Error::aya("map WAKE_AT", &e))?;
    Ok(Ring { ring, waker: Waker::new(map, worker, wake_at) })
}

/// The built-in object. A debug build instead reads the file that SNIFFER_BPF_OBJECT names, such as one built by `cargo
/// xtask build-ebpf --debug`.
fn object() -> std::borrow::Cow<'static, [u8]> {
    #[cfg(debug_assertions)]
    if let Some(path) = std::env::var_os("SNIFFER_BPF_OBJECT") {
        match std::fs::read(&path) {
            Ok(object) => return object.into(),
            Err(error) => log::warn!("SNIFFER_BPF_OBJECT {}: {error}; the built-in object is used", path.display()),
        }
    }
    OBJECT.into()
}

/// Opens the log of the programs. Only objects built with logging have one, and only debug builds of this program read
/// it.
fn logger(ebpf: &mut Ebpf) -> Option<aya_log::EbpfLogger<&'static dyn log::Log>> {
    if !cfg!(debug_assertions) || ebpf.map("AYA_LOGS").is_none() {
        return None;
    }
    aya_log::EbpfLogger::init(ebpf).inspect_err(|error| log::warn!("the log of the eBPF programs cannot be opened: {error}")).ok()
}

fn missing_part(name: &str) -> Error {
    Error::Kernel { what: "the eBPF object".into(), reason: format!("it has no program or map {name}; run `cargo xtask build-ebpf`") }
}
