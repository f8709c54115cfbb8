//! Packets through libpcap: the last step of the ladder, and what `type: pcap` asks for. Always promiscuous, as Packetbeat's.

use super::{Error, Frame, Link, Polled, Segments, Source, Stats, filtered, linktype, sys};
use crate::time::Timestamp;
use pcap::{Active, Capture, Linktype, Packet, Precision};
use std::{io, os::fd::AsFd, time::Duration};

/// A block that is not full is handed over after so long.
const TIMEOUT_MILLIS: i32 = 20;
/// Frames per call, so that timers get their turn.
const BATCH: usize = 4096;

/// A live capture of libpcap's.
pub struct Libpcap {
    capture: Capture<Active>,
    device: String,
    link: Link,
    nanos_per_unit: u64,
    ifindex: u32,
    total: Stats,
    /// libpcap's own counters when they were read last: they are 32 bits wide and wrap.
    last: [u32; 3],
}

/// What to open.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the device, or `any`.
    pub device: String,
    /// Its index; 0 for all devices.
    pub ifindex: u32,
    /// Bytes kept of a packet.
    pub snaplen: u32,
    /// Size of the buffer.
    pub buffer_bytes: u64,
}

/// The instructions of a classic program: code, jump if true, jump if false, operand.
pub type Instructions = Vec<(u16, u8, u8, u32)>;

/// The program that libpcap would attach to a socket on `device`, whose frames begin with an Ethernet header: tags that the kernel took
/// out are looked for where it put them.
///
/// # Errors
/// When it is no expression, or the device cannot be opened.
pub fn live_program(device: &str, snaplen: u32, expression: &str) -> Result<Instructions, Error> {
    let failed = |error: pcap::Error| Error::device(device, format!("libpcap: {error}"));
    let snaplen = i32::try_from(snaplen).unwrap_or(i32::MAX);
    // Only an open device makes libpcap choose that form; the buffer is the smallest there is.
    let capture = Capture::from_device(device).and_then(|c| c.snaplen(snaplen).buffer_size(1 << 17).open()).map_err(failed)?;
    let program = capture.compile(expression, true).map_err(failed)?;
    instructions(&program).ok_or_else(|| Error::device(device, "libpcap gave a program that cannot be read"))
}

/// The crate shows an instruction as text only: its four numbers in decimal.
pub(super) fn instructions(program: &pcap::BpfProgram) -> Option<Instructions> {
    let one = |instruction: &pcap::BpfInstruction| {
        let text = instruction.to_string();
        let mut words = text.split_whitespace();
        let mut next = || words.next();
        Some((next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?))
    };
    program.get_instructions().iter().map(one).collect()
}

impl Libpcap {
    /// Opens a device with a filter in libpcap's language; empty is everything.
    ///
    /// # Errors
    /// libpcap's own words, with the device's name.
    pub fn open(config: &Config, expression: &str) -> Result<Self, Error> {
        let failed = |error: pcap::Error| Error::device(&config.device, format!("libpcap: {error}"));
        let any = config.device == "any";
        // To microseconds where nanoseconds are refused: then activation fails with an error of its own.
        let activate = |precision| {
            Capture::from_device(config.device.as_str())?
                // libpcap warns about promiscuous mode on `any`, which the binding takes for an error.
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
            // The second form of the cooked header says which interface it was; the first stays where it is not known.
            let _ = capture.set_datalink(Linktype(276));
        }
        if let Err(error) = capture.filter(expression, true) {
            // Without an Ethernet header there is no place for a tag, so libpcap refuses the word there. On `any` the first tag is out
            // of band and the plain part of the filter sees through it.
            let ethernet = capture.get_datalink() == Linktype::ETHERNET;
            let plain = filtered::without_vlans(expression).filter(|_| !ethernet).ok_or_else(|| failed(error))?;
            capture.filter(&plain, true).map_err(failed)?;
            if any {
                log::warn!("any: libpcap cannot look for VLANs on all devices at once; packets with more than one tag are not seen");
            }
        }
        // Its mapped ring never times out on an idle line, so the waiting is done here.
        let capture = capture.setnonblock().map_err(failed)?;
        let number = capture.get_datalink().0;
        let link = u32::try_from(number).ok().and_then(linktype::from_number);
        let link = link.ok_or_else(|| Error::device(&config.device, linktype::unsupported(number.unsigned_abs())))?;
        let (device, ifindex) = (config.device.clone(), config.ifindex);
        Ok(Self { capture, device, link, nanos_per_unit, ifindex, total: Stats::default(), last: [0; 3] })
    }

    fn failed(&self, error: impl std::fmt::Display) -> io::Error {
        io::Error::other(format!("device {}: libpcap: {error}", self.device))
    }

    fn dispatch(&mut self, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<usize> {
        let (link, nanos_per_unit, ifindex) = (self.link, self.nanos_per_unit, self.ifindex);
        let count = self.capture.dispatch(Some(BATCH), |packet: Packet<'_>| {
            let time = packet.header.ts;
            let nanos = time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_usec.unsigned_abs() * nanos_per_unit;
            // A cooked header of the second form has the interface at 4.
            let cooked = if link == Link::LinuxSll2 { packet.data.get(4..).and_then(|d| d.first_chunk()) } else { None };
            each(Frame {
                time: Timestamp(nanos),
                link,
                data: packet.data,
                wire_len: packet.header.len.max(packet.header.caplen),
                tag: None,
                ifindex: cooked.map_or(ifindex, |index| u32::from_be_bytes(*index)),
                // libpcap does not say.
                segments: Segments::default(),
            });
        });
        count.map_err(|e| self.failed(e))
    }
}

impl Source for Libpcap {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        let count = self.dispatch(each)?;
        if count > 0 {
            return Ok(Polled::Frames(count));
        }
        if sys::wait_readable(self.capture.as_fd(), wait)? == sys::Ready::Nothing {
            return Ok(Polled::Idle);
        }
        // An error of the device's is found by libpcap, in its own words.
        Ok(match self.dispatch(each)? {
            0 => Polled::Idle,
            count => Polled::Frames(count),
        })
    }

    fn stats(&mut self) -> io::Result<Stats> {
        let stat = self.capture.stats().map_err(|e| self.failed(e))?;
        let now = [stat.received, stat.dropped, stat.if_dropped];
        let [received, dropped, by_interface] = [0, 1, 2].map(|i: usize| {
            let at = |counters: &[u32; 3]| counters.get(i).copied().unwrap_or_default();
            u64::from(at(&now).wrapping_sub(at(&self.last)))
        });
        self.last = now;
        self.total.matched += received;
        self.total.seen = self.total.matched;
        self.total.lost += dropped;
        self.total.lost_by_interface += by_interface;
        Ok(self.total)
    }
}
