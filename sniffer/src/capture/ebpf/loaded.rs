//! The object in the kernel: its programs chained by jump tables, its maps, and the sockets that keep it attached.

use super::{
    Device, Error, Options,
    attach::{self, Attached},
    is_raw_ip, raw_ip_interfaces, sys,
};
use crate::capture::filter::{
    Filters, cbpf,
    ebpf::{self, OnMatch, Target},
};
use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, Map, MapData, PerCpuArray, RingBuf},
    programs::{Program, ProgramFd},
};
use sniffer_common::{Counters, MAX_SNAPLEN, MAX_WORKERS, link, setting, slot};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Built by `cargo xtask build-ebpf`; a test there tells when it is stale.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../sniffer-ebpf/object/sniffer.bpf.o"));

/// A reader is woken when so much is pending: waking it for every record costs a third of the rate and several times the CPU.
const WAKE_AT: usize = 256 << 10;
/// A ring holds some of the greatest records at least.
const MIN_RING: usize = 256 << 10;
/// The kernel counts positions in a ring with 32 bits.
const MAX_RING: usize = 1 << 30;

/// Programs that call each other: one table each, because the kernel wants all of a table to be of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    Xdp,
    TcIn,
    TcOut,
    Socket,
}

/// Names in the object, and how filters are made for it.
struct Parts {
    entry: &'static str,
    capture: &'static str,
    table: &'static str,
    kind: sys::ProgramKind,
    hook: ebpf::Hook,
    no_match: i32,
}

impl Chain {
    /// The name of the program that is attached.
    pub fn entry(self) -> &'static str {
        self.parts().entry
    }

    fn parts(self) -> Parts {
        let (entry, capture, table) = match self {
            Self::Xdp => ("xdp_entry", "xdp_capture", "JUMP_XDP"),
            Self::TcIn => ("tc_entry_in", "tc_capture_in", "JUMP_INGRESS"),
            Self::TcOut => ("tc_entry_out", "tc_capture_out", "JUMP_EGRESS"),
            Self::Socket => ("socket_entry", "socket_capture", "JUMP_SOCKET"),
        };
        let (kind, hook, no_match) = match self {
            Self::Xdp => (sys::XDP, ebpf::Hook::Xdp, 2),                 // XDP_PASS
            Self::TcIn | Self::TcOut => (sys::TC, ebpf::Hook::Tc, -1),   // TCX_NEXT, TC_ACT_UNSPEC
            Self::Socket => (sys::SOCKET_FILTER, ebpf::Hook::Socket, 0), // nothing for the socket itself
        };
        Parts { entry, capture, table, kind, hook, no_match }
    }
}

/// The object, and what is alive as long as it is.
pub(super) struct Loaded {
    ebpf: Ebpf,
    filter: Filters,
    workers: u32,
    ready: Vec<Chain>,
    /// What is attached where.
    pub attached: Vec<Attached>,
    /// Interfaces that got a clsact from us.
    pub clsact: Vec<u32>,
    /// Only of objects made for it.
    logger: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
}

impl Loaded {
    /// Loads maps and settings; programs follow with [`Self::chain`].
    pub fn new(options: &Options, devices: &[Device]) -> Result<(Self, Vec<RingBuf<MapData>>), Error> {
        sys::raise_memlock();
        let workers = options.workers.clamp(1, MAX_WORKERS as usize);
        let ring_bytes = (options.buffer_bytes / workers).clamp(MIN_RING, MAX_RING).next_power_of_two();
        let cpus = aya::util::nr_cpus().map_err(|(what, e)| Error::io(what, e))? as u32;
        let any = devices.iter().any(Device::is_any);
        let raw: Vec<u32> = if any { raw_ip_interfaces() } else { devices.iter().filter(|d| is_raw_ip(d)).map(|d| d.ifindex).collect() };
        let link = match raw.len() {
            0 => link::ETHERNET,
            n if n == devices.len() && !any => link::RAW_IP,
            _ => link::BY_INTERFACE,
        };
        let loopback = if any {
            super::super::sys::interface_index("lo").unwrap_or(0)
        } else {
            devices.iter().find(|d| d.loopback).map_or(0, |d| d.ifindex)
        };
        let (snaplen, wake_at) = (options.snaplen.clamp(1, MAX_SNAPLEN), WAKE_AT.min(ring_bytes / 4) as u32);
        let (workers_setting, link) = (workers as u32, u32::from(link));
        let mut loader = EbpfLoader::new();
        loader
            .override_global(setting::SNAPLEN, &snaplen, true)
            .override_global(setting::WORKERS, &workers_setting, true)
            .override_global(setting::WAKE_AT, &wake_at, true)
            .override_global(setting::LINK, &link, true)
            .override_global(setting::LOOPBACK, &loopback, true)
            .map_max_entries("RINGS", workers as u32)
            .map_max_entries("COUNTERS", workers as u32)
            .map_max_entries("SCRATCH", cpus);
        let mut ebpf = loader.load(&object()).map_err(|e| Error::aya("loading the eBPF object", &e))?;
        let logger = logger(&mut ebpf);
        let rings = (0..workers as u32).map(|worker| ring(&ebpf, worker, ring_bytes as u32)).collect::<Result<_, _>>()?;
        if link == u32::from(link::BY_INTERFACE) {
            let map = ebpf.map_mut("RAW_IP").ok_or_else(|| lacks("RAW_IP"))?;
            let mut map = HashMap::<_, u32, u32>::try_from(map).map_err(|e| Error::aya("map RAW_IP", &e))?;
            for ifindex in raw {
                map.insert(ifindex, 1, 0).map_err(|e| Error::aya("map RAW_IP", &e))?;
            }
        }
        let filter = options.filter.clone();
        let loaded = Self { ebpf, filter, workers: workers as u32, ready: Vec::new(), attached: Vec::new(), clsact: Vec::new(), logger };
        Ok((loaded, rings))
    }

    /// Loads a chain, so that its entry can be attached. Filters are in place before it is.
    pub fn chain(&mut self, chain: Chain) -> Result<&mut Program, Error> {
        let parts = chain.parts();
        if !self.ready.contains(&chain) {
            load(self.program(parts.capture)?).map_err(|e| Error::aya(parts.capture, &e))?;
            load(self.program(parts.entry)?).map_err(|e| Error::aya(parts.entry, &e))?;
            let capture = self.ebpf.program(parts.capture).ok_or_else(|| lacks(parts.capture))?;
            let capture = fd(capture).map_err(|e| Error::aya(parts.capture, &e))?;
            sys::set_slot(self.table(&parts)?, slot::CAPTURE, capture.as_fd()).map_err(|e| Error::io(parts.table, e))?;
            self.install(&parts, &self.filter)?;
            self.ready.push(chain);
        }
        self.program(parts.entry)
    }

    /// Replaces the filter of every chain; each slot changes in one step.
    pub fn set_filter(&mut self, filter: &Filters) -> Result<(), Error> {
        // All are made before the first is put in place, so that a refusal changes nothing.
        let made = self.ready.iter().map(|chain| self.make(&chain.parts(), filter)).collect::<Result<Vec<_>, _>>()?;
        for (chain, programs) in self.ready.iter().zip(made) {
            self.put(&chain.parts(), programs)?;
        }
        self.filter = filter.clone();
        Ok(())
    }

    /// The counters of a worker, all CPUs together.
    pub fn counters(&self, worker: u32) -> Result<Counters, Error> {
        let map = self.ebpf.map("COUNTERS").ok_or_else(|| lacks("COUNTERS"))?;
        let map = PerCpuArray::<_, [u64; 4]>::try_from(map).map_err(|e| Error::aya("map COUNTERS", &e))?;
        let values = map.get(&worker, 0).map_err(|e| Error::aya("map COUNTERS", &e))?;
        let add = |sum: Counters, [seen, matched, copied, lost]: &[u64; 4]| Counters {
            seen: sum.seen.wrapping_add(*seen),
            matched: sum.matched.wrapping_add(*matched),
            copied: sum.copied.wrapping_add(*copied),
            lost: sum.lost.wrapping_add(*lost),
        };
        Ok(values.iter().fold(Counters::default(), add))
    }

    /// The counters of all workers together.
    pub fn all_counters(&self) -> Result<Counters, Error> {
        (0..self.workers).try_fold(Counters::default(), |sum, worker| {
            let of = self.counters(worker)?;
            Ok(Counters {
                seen: sum.seen.wrapping_add(of.seen),
                matched: sum.matched.wrapping_add(of.matched),
                copied: sum.copied.wrapping_add(of.copied),
                lost: sum.lost.wrapping_add(of.lost),
            })
        })
    }

    /// All programs.
    pub fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Detaches what is attached to an interface.
    pub fn detach(&mut self, ifindex: u32) {
        if let Some(at) = self.attached.iter().position(|attached| attached.ifindex == ifindex) {
            attach::detach(&mut self.ebpf, self.attached.swap_remove(at));
        }
    }

    /// Hands on what the programs logged.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    fn install(&self, parts: &Parts, filter: &Filters) -> Result<(), Error> {
        self.put(parts, self.make(parts, filter)?)
    }

    /// The programs for Ethernet and raw IP; `None` leaves the slot empty, and everything is captured.
    fn make(&self, parts: &Parts, filter: &Filters) -> Result<[Option<OwnedFd>; 2], Error> {
        if filter.is_everything() {
            return Ok([None, None]);
        }
        let wrong = |reason: String| Error::Filter { text: filter.text.clone(), reason };
        let on_match = OnMatch::TailCall { table: self.table(parts)?.as_raw_fd(), slot: slot::CAPTURE };
        let make = |program: &Option<cbpf::Program>, tags: bool| {
            let nothing = cbpf::Program::nothing();
            let target = Target { hook: parts.hook, tags, on_match, no_match: parts.no_match };
            let insns = ebpf::compile(program.as_ref().unwrap_or(&nothing), &target).map_err(|e| wrong(e.to_string()))?;
            sys::load(parts.kind, &insns, "filter").map(Some).map_err(|e| Error::io(format!("loading the filter `{}`", filter.text), e))
        };
        Ok([make(&filter.ethernet, true)?, make(&filter.raw_ip, false)?])
    }

    fn put(&self, parts: &Parts, programs: [Option<OwnedFd>; 2]) -> Result<(), Error> {
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

    fn table(&self, parts: &Parts) -> Result<BorrowedFd<'_>, Error> {
        match self.ebpf.map(parts.table) {
            Some(Map::ProgramArray(map)) => Ok(map.fd().as_fd()),
            _ => Err(lacks(parts.table)),
        }
    }

    fn program(&mut self, name: &str) -> Result<&mut Program, Error> {
        self.ebpf.program_mut(name).ok_or_else(|| lacks(name))
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // A clsact that was ours goes with our programs, if nobody else uses it by now.
        for attached in std::mem::take(&mut self.attached) {
            attach::detach(&mut self.ebpf, attached);
        }
        for ifindex in std::mem::take(&mut self.clsact) {
            attach::remove_clsact(ifindex);
        }
    }
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

/// Makes the ring of a worker and puts it where the programs find it.
fn ring(ebpf: &Ebpf, worker: u32, bytes: u32) -> Result<RingBuf<MapData>, Error> {
    let Some(Map::ArrayOfMaps(rings)) = ebpf.map("RINGS") else { return Err(lacks("RINGS")) };
    let fd = sys::ring_buffer(bytes).map_err(|e| Error::io(format!("a ring buffer of {bytes} bytes"), e))?;
    sys::set_slot(rings.fd().as_fd(), worker, fd.as_fd()).map_err(|e| Error::io("map RINGS", e))?;
    let map = MapData::from_fd(fd).map_err(|e| Error::aya("a ring buffer", &e))?;
    RingBuf::try_from(Map::RingBuf(map)).map_err(|e| Error::aya("mapping a ring buffer", &e))
}

/// The committed object; a debug build takes another one that is named, as `cargo xtask build-ebpf --debug` makes it.
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

/// Only objects made for it log, and only debug builds of this program listen.
fn logger(ebpf: &mut Ebpf) -> Option<aya_log::EbpfLogger<&'static dyn log::Log>> {
    if !cfg!(debug_assertions) || ebpf.map("AYA_LOGS").is_none() {
        return None;
    }
    aya_log::EbpfLogger::init(ebpf).inspect_err(|error| log::warn!("the kernel half's log: {error}")).ok()
}

fn lacks(name: &str) -> Error {
    Error::Kernel { what: "the eBPF object".into(), reason: format!("has no {name}; run `cargo xtask build-ebpf`") }
}
