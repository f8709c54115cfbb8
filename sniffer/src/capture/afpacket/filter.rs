//! The filter of an `AF_PACKET` socket: an eBPF program where `bpf(2)` is allowed and all frames begin with the same
//! header, otherwise libpcap's classic program.

use crate::capture::{
    Error, Link, compile,
    devices::Device,
    ebpf,
    filter::{Filters, cbpf::Program},
    libpcap,
};
use std::os::fd::OwnedFd;

/// A filter in the form in which it is attached to a socket.
#[derive(Debug)]
pub enum SocketFilter {
    /// No filter is attached: every packet passes.
    None,
    /// A classic BPF program: code, jump if true, jump if false, operand of each instruction. Its return values are
    /// limited to the snap length when it is attached.
    Classic(libpcap::Instructions),
    /// A loaded eBPF program of type socket filter. On a match it must return the snap length, because the kernel
    /// copies as many bytes as it returns.
    Ebpf(OwnedFd),
}

impl SocketFilter {
    /// Makes the program of `filters` for `device`.
    ///
    /// # Errors
    /// When neither an eBPF nor a classic program can be made.
    pub fn new(filters: &Filters, device: &Device, snaplen: u32) -> Result<Self, Error> {
        if filters.is_everything() {
            return Ok(Self::None);
        }
        if let Some(reason) = filters.ethernet.as_ref().and_then(Program::only_in_user_space) {
            return Err(Error::device(&device.name, reason));
        }
        if device.is_any() {
            return Self::classic(filters, device, snaplen);
        }
        match ebpf::socket_filter(filters, device.is_raw_ip(), snaplen) {
            Ok(Some(program)) => Ok(Self::Ebpf(program)),
            Ok(None) => Ok(Self::None),
            Err(error) => {
                log::info!("{}: the eBPF filter cannot be used, so the socket gets a classic BPF filter: {error}", device.name);
                Self::classic(filters, device, snaplen)
            }
        }
    }

    /// Makes a classic program, which every kernel accepts.
    fn classic(filters: &Filters, device: &Device, snaplen: u32) -> Result<Self, Error> {
        let expression = filters.text.as_str();
        let ethernet = |device: &str| libpcap::live_program(device, snaplen, expression);
        let raw_ip = || -> Result<libpcap::Instructions, Error> {
            let expression = if filters.raw_ip.is_some() { filters.text_raw_ip.as_str() } else { expression };
            let program = compile::classic_without_tags(expression, Link::RawIp)?;
            Ok(program.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect())
        };
        match device.link {
            Some(Link::Ethernet) => ethernet(&device.name).map(Self::Classic),
            Some(_) => raw_ip().map(Self::Classic),
            None => {
                // An expression about Ethernet headers does not match frames without one: the program returns 0.
                let raw_ip = raw_ip().unwrap_or_else(|_| vec![(0x06, 0, 0, 0)]);
                Ok(Self::by_link(&ethernet("lo")?, &raw_ip))
            }
        }
    }

    /// Joins two programs into one for a socket on all interfaces. The joined program reads the hardware type of the device from the
    /// kernel. It runs `ethernet` if packets of this device begin with an Ethernet header, otherwise (tun, WireGuard) `raw_ip`.
    fn by_link(ethernet: &[(u16, u8, u8, u32)], raw_ip: &[(u16, u8, u8, u32)]) -> Self {
        // `ldh` at SKF_AD_OFF + SKF_AD_HATYPE: an ancillary load of Linux. Jumps are relative, so both programs can be
        // appended unchanged.
        let hardware = (libc::SKF_AD_OFF + libc::SKF_AD_HATYPE).cast_unsigned();
        let (card, loopback) = (u32::from(libc::ARPHRD_ETHER), u32::from(libc::ARPHRD_LOOPBACK));
        let mut program = vec![(0x28, 0, 0, hardware), (0x15, 2, 0, card), (0x15, 1, 0, loopback)];
        program.push((0x05, 0, 0, u32::try_from(ethernet.len()).unwrap_or(u32::MAX)));
        program.extend_from_slice(ethernet);
        program.extend_from_slice(raw_ip);
        Self::Classic(program)
    }
}
