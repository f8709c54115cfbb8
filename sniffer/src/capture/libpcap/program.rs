//! Classic programs as libpcap makes them for live devices, and as the kernel takes them for its sockets.

use crate::capture::{Error, Link};
use pcap::Capture;

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

/// The program as the kernel takes it for libpcap's socket. Where libpcap makes up a cooked header, the kernel's frames begin behind it: offsets
/// move, and fields of the header become loads of the kernel's metadata, as in libpcap's `fix_offset`. `None` for a field that the kernel has
/// no such load for.
pub(super) fn for_socket(program: &[(u16, u8, u8, u32)], link: Link) -> Option<Vec<libc::sock_filter>> {
    /// Class and mode of an instruction code (`linux/bpf_common.h`): loads of the frame are `BPF_LD` or `BPF_LDX` with these modes.
    const LOADS: [u16; 3] = [0x20, 0x40, 0xa0]; // BPF_ABS, BPF_IND, BPF_MSH
    let (header, fields): (u32, &[(u32, libc::c_int)]) = match link {
        Link::LinuxSll => (16, &[(0, libc::SKF_AD_PKTTYPE), (14, libc::SKF_AD_PROTOCOL)]),
        Link::LinuxSll2 => {
            (20, &[(0, libc::SKF_AD_PROTOCOL), (4, libc::SKF_AD_IFINDEX), (8, libc::SKF_AD_HATYPE), (10, libc::SKF_AD_PKTTYPE)])
        }
        Link::Ethernet | Link::RawIp | Link::Null => (0, &[]),
    };
    let place = |k: u32| match k {
        k if header == 0 || k.cast_signed() < 0 => Some(k),
        k if k >= header => Some(k - header),
        k => fields.iter().find(|(at, _)| *at == k).map(|(_, field)| (libc::SKF_AD_OFF + field).cast_unsigned()),
    };
    let one = |&(code, jt, jf, k): &(u16, u8, u8, u32)| {
        let loads = code & 0x06 == 0 && LOADS.contains(&(code & 0xe0));
        Some(libc::sock_filter { code, jt, jf, k: if loads { place(k)? } else { k } })
    };
    program.iter().map(one).collect()
}
