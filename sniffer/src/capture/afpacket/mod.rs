//! Capture from an `AF_PACKET` socket with a memory-mapped ring (`TPACKET_V3`): no system call and no copy per packet.

mod control;
mod filter;
mod ring;
mod socket;

pub use control::AfPacketControl;
pub use filter::SocketFilter;

use super::{
    Frame, Link, Polled, Segments, Source, StrippedTag, control::DeviceStats, devices::Device, options::Interface, sys, tally::Tally,
};
use crate::time::Timestamp;
use ring::{Packet, Ring};
use sniffer_common::ethertype;
use socket::Socket;
use std::{io, os::fd::AsFd, sync::Arc, time::Duration};

/// Smallest size of a ring block in bytes. With smaller blocks a burst of large packets wakes the reader once per few
/// packets.
const BLOCK: u32 = 256 << 10;

/// Parameters of a socket.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the device, for messages.
    pub device: String,
    /// Index of the device; 0 for all devices.
    pub ifindex: u32,
    /// Whether the device is a loopback device, on which every packet is seen twice.
    pub loopback: bool,
    /// Maximum number of captured bytes per packet.
    pub snaplen: u32,
    /// Size of the ring in bytes.
    pub ring_bytes: u64,
    /// Whether to capture packets addressed to other hosts. The value is ignored when `ifindex` is 0.
    pub promiscuous: bool,
}

impl Config {
    /// The parameters for `device` with the settings of `interface`.
    pub fn new(interface: &Interface, device: &Device) -> Self {
        Self {
            device: device.name.clone(),
            ifindex: device.ifindex,
            loopback: device.loopback,
            snaplen: interface.snaplen,
            ring_bytes: interface.ring_bytes(),
            promiscuous: interface.promiscuous(),
        }
    }
}

/// A source: one socket with its ring.
pub struct AfPacket {
    /// The socket. It is shared with the control, which replaces the socket's filter.
    socket: Arc<Socket>,
    ring: Ring,
    config: Config,
    /// Frames handed over since the last [`Source::update_stats`], and their captured bytes.
    copied: u64,
    copied_bytes: u64,
    tally: Arc<Tally>,
    /// Whether the device was down when last reported.
    down: bool,
}

/// Opens `workers` sockets that share the traffic of one device. They join a fanout group (packet(7)) if there are
/// several or if `group` is given; without `group` the kernel chooses the number. Returns the sources and the group.
/// The filter is attached after all sockets have joined, and until then every packet is rejected, so no packet passes
/// unfiltered or twice.
///
/// # Errors
/// Without CAP_NET_RAW, when the device does not exist, or when there is no memory for the ring. The message says which
/// step failed.
pub fn open(
    config: &Config,
    workers: usize,
    group: Option<u16>,
    filter: &SocketFilter,
    tally: &Arc<Tally>,
) -> io::Result<(Vec<AfPacket>, Option<u16>)> {
    let mut sources: Vec<AfPacket> = Vec::new();
    let mut group = group;
    for _ in 0..workers.max(1) {
        let source = AfPacket::new(config, Arc::clone(tally))?;
        if workers > 1 || group.is_some() {
            group = Some(source.socket.join(group).map_err(|e| source.join_error(e))?);
        }
        sources.push(source);
    }
    for source in &sources {
        source.socket.filter(filter, config.snaplen).map_err(|e| with_context("attaching the filter", e))?;
    }
    Ok((sources, group))
}

/// Adds to an error the step that failed, and a remedy.
fn with_context(step: &str, error: io::Error) -> io::Error {
    let help = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => " (this needs root, or the capability CAP_NET_RAW)",
        Some(libc::ENOMEM | libc::ENOBUFS) => " (a smaller buffer_size_mb may help)",
        _ => "",
    };
    io::Error::new(error.kind(), format!("{step}: {error}{help}"))
}

impl AfPacket {
    fn new(config: &Config, tally: Arc<Tally>) -> io::Result<Self> {
        let socket = Socket::new().map_err(|e| with_context("opening an AF_PACKET socket", e))?;
        // Reject all packets before the socket is bound, so that no packet is received without a filter.
        socket.reject_all().map_err(|e| with_context("attaching a filter", e))?;
        let block_size = BLOCK.max(config.snaplen.saturating_add(4096).checked_next_power_of_two().unwrap_or(BLOCK));
        let blocks = u32::try_from(config.ring_bytes / u64::from(block_size)).unwrap_or(u32::MAX).max(2);
        socket.ring(block_size, blocks).map_err(|e| with_context("allocating the ring", e))?;
        let ring = Ring::map(socket.as_fd(), block_size as usize, blocks as usize).map_err(|e| with_context("mapping the ring", e))?;
        if config.loopback && socket.ignore_outgoing().is_err() {
            log::debug!("{}: this kernel cannot ignore outgoing packets; they are ignored in user space", config.device);
        }
        socket.bind(config.ifindex).map_err(|e| with_context("binding to the device", e))?;
        if config.promiscuous && config.ifindex != 0 {
            socket.promiscuous(config.ifindex).map_err(|e| with_context("setting promiscuous mode", e))?;
        }
        Ok(Self { socket: Arc::new(socket), ring, config: config.clone(), copied: 0, copied_bytes: 0, tally, down: false })
    }

    fn join_error(&self, error: io::Error) -> io::Error {
        match self.socket.error() {
            Ok(Some(reason)) => with_context("joining the fanout group", reason),
            _ => with_context("joining the fanout group (its other members must use the same device and the same kind of fanout)", error),
        }
    }

    /// Hands over the packets of the next block. Returns the number of packets, or `None` if no block is ready.
    fn block(&mut self, each: &mut dyn FnMut(Frame<'_>)) -> Option<usize> {
        let block = self.ring.next()?;
        let (mut count, mut bytes) = (0, 0);
        for packet in block.packets() {
            if let Some(frame) = frame(&packet, self.config.snaplen) {
                bytes += frame.data.len() as u64;
                each(frame);
                count += 1;
            }
        }
        drop(block);
        self.copied += count as u64;
        self.copied_bytes += bytes;
        if std::mem::take(&mut self.down) {
            log::info!("{}: the device is up again", self.config.device);
        }
        Some(count)
    }

    /// Handles the pending error of the socket: waits if the device is down, fails if the device no longer exists.
    fn failed(&mut self) -> io::Result<()> {
        let Some(error) = self.socket.error()? else { return self.check_device() };
        if !matches!(error.raw_os_error(), Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO)) {
            return Err(io::Error::new(error.kind(), format!("device {}: {error}", self.config.device)));
        }
        let was_down = std::mem::replace(&mut self.down, true);
        if !was_down && !self.socket.is_orphaned()? {
            log::warn!("{}: the device is down; waiting for it to come up", self.config.device);
        }
        self.check_device()
    }

    fn check_device(&self) -> io::Result<()> {
        if self.down && self.socket.is_orphaned()? {
            let text = format!("device {} has disappeared", self.config.device);
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(())
    }
}

/// Converts a packet to a frame. Returns `None` for the outgoing copy of a packet on loopback, where every packet is seen twice, and for
/// packets with neither an Ethernet nor an IP header.
#[inline]
fn frame<'a>(packet: &Packet<'a>, snaplen: u32) -> Option<Frame<'a>> {
    let (link, skip) = match packet.hardware {
        libc::ARPHRD_LOOPBACK if packet.direction == libc::PACKET_OUTGOING => return None,
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => (Link::Ethernet, 0),
        // The kernel gives the offset of the IP header: 0 on tun and WireGuard devices, after the PPP header on ppp devices.
        _ if matches!(packet.protocol, ethertype::IPV4 | ethertype::IPV6) => (Link::RawIp, packet.network),
        _ => return None,
    };
    let data = packet.data.get(skip..)?;
    let data = data.get(..snaplen as usize).unwrap_or(data);
    let tpid = if packet.status & libc::TP_STATUS_VLAN_TPID_VALID != 0 { packet.vlan_tpid } else { ethertype::VLAN };
    let tag = (packet.status & libc::TP_STATUS_VLAN_VALID != 0).then_some(StrippedTag { tpid, tci: packet.vlan_tci });
    Some(Frame {
        time: Timestamp(u64::from(packet.seconds) * 1_000_000_000 + u64::from(packet.nanos)),
        link,
        data,
        wire_len: packet.wire_len.saturating_sub(skip as u32).max(data.len() as u32),
        tag,
        ifindex: packet.ifindex,
        segments: Segments::default(),
        task: Default::default(),
    })
}

impl Source for AfPacket {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<Polled> {
        if let Some(count) = self.block(each) {
            return Ok(Polled::Frames(count));
        }
        match sys::wait_readable(self.socket.as_fd(), wait)? {
            sys::Ready::Readable => {}
            sys::Ready::TimedOut => self.check_device()?,
            sys::Ready::Failed => self.failed()?,
        }
        Ok(self.block(each).map_or(Polled::Idle, Polled::Frames))
    }

    fn update_stats(&mut self) -> io::Result<()> {
        let counted = self.socket.counted()?;
        let (copied, copied_bytes) = (std::mem::take(&mut self.copied), std::mem::take(&mut self.copied_bytes));
        let (seen, lost) = (u64::from(counted.packets), u64::from(counted.lost));
        self.tally.add(DeviceStats { seen, copied, copied_bytes, lost, ..DeviceStats::default() });
        Ok(())
    }
}
