//! Capture through libpcap. It is the last backend that `auto` tries, and the backend of `type: pcap`. It always uses promiscuous mode, as
//! Packetbeat does.

mod control;
mod program;

pub use control::LibpcapControl;
pub use program::{Instructions, live_program};

use super::{
    Error, Frame, Link, Polled, Segments, Source,
    control::DeviceStats,
    devices::Device,
    expression::without_vlans,
    filter::{Filters, is_optimized},
    linktype,
    options::Interface,
    slot::{Reader, Slot},
    sys,
    tally::Tally,
};
use crate::time::Timestamp;
use pcap::{Active, BpfProgram, Capture, Linktype, Packet, Precision};
use std::{
    io,
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// After this time libpcap hands over a block that is not full.
const TIMEOUT_MILLIS: i32 = 20;
/// Maximum number of frames per call, so that the worker can also handle timers.
const BATCH: usize = 4096;

/// A live capture handle of libpcap.
pub struct Libpcap {
    capture: Capture<Active>,
    device: String,
    link: Link,
    nanos_per_unit: u64,
    ifindex: u32,
    filter: Reader<Expression>,
    /// Whether the kernel runs the filter. libpcap runs it in user space where the kernel refused it.
    in_kernel: bool,
    /// The time when the filter was attached. Packets with earlier times passed the previous filter and are left out.
    not_before: Timestamp,
    /// Frames handed over since the last [`Source::update_stats`], and their captured bytes.
    copied: u64,
    copied_bytes: u64,
    /// libpcap's counters when they were last read: received, dropped, dropped by the interface. The counters are 32 bits wide and wrap.
    last: [u32; 3],
    tally: Arc<Tally>,
}

/// A filter as pcap-filter(7) expressions. Which one applies depends on the header that libpcap gives the frames of a device.
#[derive(Clone, Debug)]
pub struct Expression {
    ethernet: String,
    /// The expression for all other headers. It has no `vlan` alternatives, because libpcap refuses that keyword there.
    other: String,
}

impl Expression {
    fn of(filters: &Filters) -> Self {
        Self { ethernet: filters.text.clone(), other: filters.text_raw_ip.clone() }
    }

    fn for_link(&self, link: Link) -> &str {
        if link == Link::Ethernet { &self.ethernet } else { &self.other }
    }
}

/// The same expression for every link type.
impl From<&str> for Expression {
    fn from(expression: &str) -> Self {
        Self { ethernet: expression.to_owned(), other: expression.to_owned() }
    }
}

/// Parameters of a capture.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the device, or `any`.
    pub device: String,
    /// Index of the device; 0 for all devices.
    pub ifindex: u32,
    /// Maximum number of captured bytes per packet.
    pub snaplen: u32,
    /// Size of the buffer in bytes.
    pub buffer_bytes: u64,
}

impl Config {
    /// The parameters for `device` with the settings of `interface`.
    pub fn new(interface: &Interface, device: &Device) -> Self {
        Self {
            device: device.name.clone(),
            ifindex: device.ifindex,
            snaplen: interface.snaplen,
            buffer_bytes: (interface.buffer_size_mb << 20).next_power_of_two(),
        }
    }
}

impl Libpcap {
    /// Opens a device with the pcap-filter(7) expression in `filter`, and installs every replacement that is set there
    /// later. An empty expression matches every packet.
    ///
    /// # Errors
    /// libpcap's message, with the device's name.
    pub fn open(config: &Config, filter: &Arc<Slot<Expression>>, tally: Arc<Tally>) -> Result<Self, Error> {
        let failed = |error: pcap::Error| Error::device(&config.device, format!("libpcap: {error}"));
        let any = config.device == "any";
        // A device may refuse nanosecond timestamps; activation then fails, and is tried again with microseconds.
        let activate = |precision| {
            Capture::from_device(config.device.as_str())?
                // On `any` libpcap warns about promiscuous mode, which the `pcap` crate reports as an error.
                .promisc(!any)
                .snaplen(i32::try_from(config.snaplen).unwrap_or(i32::MAX))
                .buffer_size(i32::try_from(config.buffer_bytes).unwrap_or(i32::MAX))
                .timeout(TIMEOUT_MILLIS)
                .precision(precision)
                .open()
        };
        let (mut capture, nanos_per_unit) = match activate(Precision::Nano) {
            Ok(capture) => (capture, 1),
            Err(first) => (activate(Precision::Micro).map_err(|_| failed(first))?, 1000),
        };
        if any {
            // Cooked header version 2 contains the interface index. If libpcap does not support it, version 1 stays.
            let _ = capture.set_datalink(Linktype::LINUX_SLL2);
        }
        let (filter, expression) = Reader::new(filter);
        let (expression, program) = compiled(&capture, &expression).map_err(failed)?;
        // On an idle line a blocking read of libpcap's mapped ring does not time out, so `poll` waits itself.
        let mut capture = capture.setnonblock().map_err(failed)?;
        let number = capture.get_datalink().0;
        let link = u32::try_from(number).ok().and_then(linktype::from_number);
        let link = link.ok_or_else(|| Error::device(&config.device, linktype::unsupported(number.unsigned_abs())))?;
        // libpcap applies a new filter also to the packets in its buffer. It cannot do this for a program that reads the kernel's metadata.
        // Such a program is attached to the socket directly, and packets from before that time are left out.
        let metadata = program::instructions(&program).filter(|program| program::reads_metadata(program));
        let metadata = metadata.and_then(|program| program::for_socket(&program, link));
        let not_before = match metadata {
            Some(program) => {
                sys::attach_filter(capture.as_fd(), &program).map_err(|e| Error::device(&config.device, e))?;
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                Timestamp(u64::try_from(now.as_nanos()).unwrap_or_default())
            }
            None => {
                capture.filter(&expression, true).map_err(failed)?;
                Timestamp(0)
            }
        };
        let in_kernel = is_filtered_in_kernel(&capture);
        let (device, ifindex) = (config.device.clone(), config.ifindex);
        let (copied, copied_bytes, last) = (0, 0, [0; 3]);
        Ok(Self { capture, device, link, nanos_per_unit, ifindex, filter, in_kernel, not_before, copied, copied_bytes, last, tally })
    }

    /// The header that frames begin with.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Replaces the filter of the open capture.
    fn replace_filter(&mut self, expression: &Expression) -> Result<(), pcap::Error> {
        let (expression, program) = compiled(&self.capture, expression)?;
        // `pcap_setfilter` first attaches a program that rejects everything and drains the socket's queue, so packets
        // that match both filters would be lost. Attaching the program to the socket directly replaces the old one
        // atomically.
        if self.in_kernel
            && let Some(program) = program::instructions(&program).and_then(|program| program::for_socket(&program, self.link))
            && sys::attach_filter(self.capture.as_fd(), &program).is_ok()
        {
            return Ok(());
        }
        self.capture.filter(&expression, true)?;
        self.in_kernel = is_filtered_in_kernel(&self.capture);
        Ok(())
    }

    fn failed(&self, error: impl std::fmt::Display) -> io::Error {
        io::Error::other(format!("device {}: libpcap: {error}", self.device))
    }

    fn dispatch(&mut self, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<usize> {
        let (link, nanos_per_unit, ifindex, not_before) = (self.link, self.nanos_per_unit, self.ifindex, self.not_before);
        let (mut bytes, mut early) = (0, 0);
        let count = self.capture.dispatch(Some(BATCH), |packet: Packet<'_>| {
            let time = packet.header.ts;
            let nanos = time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_usec.unsigned_abs() * nanos_per_unit;
            if nanos < not_before.0 {
                early += 1;
                return;
            }
            bytes += packet.data.len() as u64;
            // In cooked header version 2 the interface index is at offset 4.
            let cooked = if link == Link::LinuxSll2 { packet.data.get(4..).and_then(|d| d.first_chunk()) } else { None };
            each(Frame {
                time: Timestamp(nanos),
                link,
                data: packet.data,
                wire_len: packet.header.len.max(packet.header.caplen),
                tag: None,
                ifindex: cooked.map_or(ifindex, |index| u32::from_be_bytes(*index)),
                // libpcap does not report segments.
                segments: Segments::default(),
                task: Default::default(),
            });
        });
        let count = count.map_err(|e| self.failed(e))?.saturating_sub(early);
        self.copied += count as u64;
        self.copied_bytes += bytes;
        Ok(count)
    }
}

/// Compiles `expression` for the open device. Returns the program and the text that it was made of, which lacks
/// the `vlan` alternatives of a user's expression if libpcap refused them.
fn compiled(capture: &Capture<Active>, expression: &Expression) -> Result<(String, BpfProgram), pcap::Error> {
    let link = capture.get_datalink();
    let (text, tags) = if link == Linktype::ETHERNET { (&expression.ethernet, true) } else { (&expression.other, false) };
    if link == Linktype::LINUX_SLL2 && *text != expression.ethernet {
        log::info!(
            "device any: libpcap cannot filter for VLAN tags on all devices at once; packets with one tag pass as if they had none, \
             packets with more tags are not captured"
        );
    }
    match capture.compile(text, is_optimized(text)) {
        Ok(program) => Ok((text.clone(), program)),
        Err(error) => {
            // Frames without an Ethernet header cannot carry a tag, so libpcap refuses the keyword `vlan` for them. On
            // `any` the kernel strips the first tag, and the rest of the expression matches the frame without it.
            let plain = without_vlans(text).filter(|_| !tags).ok_or(error)?;
            let program = capture.compile(&plain, is_optimized(&plain))?;
            Ok((plain, program))
        }
    }
}

fn is_filtered_in_kernel(capture: &Capture<Active>) -> bool {
    sys::attached_filter(capture.as_fd()).is_ok_and(|program| !program.is_empty())
}

impl Source for Libpcap {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        if let Some(expression) = self.filter.newer()
            && let Err(error) = self.replace_filter(&expression)
        {
            log::warn!("{}: the filter cannot be replaced, the old one stays in force: libpcap: {error}", self.device);
        }
        let count = self.dispatch(each)?;
        if count > 0 {
            return Ok(Polled::Frames(count));
        }
        if sys::wait_readable(self.capture.as_fd(), wait)? == sys::Ready::TimedOut {
            return Ok(Polled::Idle);
        }
        // The descriptor is readable or in an error state; in that case dispatch returns libpcap's message.
        Ok(match self.dispatch(each)? {
            0 => Polled::Idle,
            count => Polled::Frames(count),
        })
    }

    fn update_stats(&mut self) -> io::Result<()> {
        let stat = self.capture.stats().map_err(|e| self.failed(e))?;
        let now = [stat.received, stat.dropped, stat.if_dropped];
        let [received, lost, lost_by_interface] = [0, 1, 2].map(|i: usize| {
            let at = |counters: &[u32; 3]| counters.get(i).copied().unwrap_or_default();
            u64::from(at(&now).wrapping_sub(at(&self.last)))
        });
        self.last = now;
        let (copied, copied_bytes) = (std::mem::take(&mut self.copied), std::mem::take(&mut self.copied_bytes));
        self.tally.add(DeviceStats { seen: received, copied, copied_bytes, lost, lost_by_interface, ..DeviceStats::default() });
        Ok(())
    }
}

/// Access for the live tests.
#[cfg(test)]
pub(super) mod for_tests {
    use super::*;

    type Instruction = (u16, u8, u8, u32);

    fn numbers(program: Vec<libc::sock_filter>) -> Vec<Instruction> {
        program.into_iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect()
    }

    /// The classic program attached to the socket.
    pub fn attached(source: &Libpcap) -> Vec<Instruction> {
        numbers(sys::attached_filter(source.capture.as_fd()).unwrap())
    }

    /// The program that [`Libpcap::replace_filter`] would attach to the socket for `expression`.
    pub fn expected(source: &Libpcap, expression: &Expression) -> Vec<Instruction> {
        let (_, program) = compiled(&source.capture, expression).unwrap();
        numbers(program::for_socket(&program::instructions(&program).unwrap(), source.link).unwrap())
    }
}
