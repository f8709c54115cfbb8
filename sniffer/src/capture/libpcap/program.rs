//! Classic programs that libpcap compiles for live devices, and their conversion to the form that the kernel's sockets
//! need.

use crate::capture::{Error, Link, filter::is_optimized};
use pcap::Capture;

/// Instructions of a classic program: code, jump if true, jump if false, operand.
pub type Instructions = Vec<(u16, u8, u8, u32)>;

/// The program that libpcap would attach to a socket on `device`, whose frames begin with an Ethernet header. It reads
/// VLAN tags that the kernel stripped from the metadata.
///
/// # Errors
/// When the expression is invalid, or the device cannot be opened.
pub fn live_program(device: &str, snaplen: u32, expression: &str) -> Result<Instructions, Error> {
    let failed = |error: pcap::Error| Error::device(device, format!("libpcap: {error}"));
    let snaplen = i32::try_from(snaplen).unwrap_or(i32::MAX);
    // libpcap generates loads of the tag in the metadata only for an open device. The buffer is the smallest possible.
    let capture = Capture::from_device(device).and_then(|c| c.snaplen(snaplen).buffer_size(1 << 17).open()).map_err(failed)?;
    let program = capture.compile(expression, is_optimized(expression)).map_err(failed)?;
    instructions(&program).ok_or_else(|| Error::device(device, "libpcap returned a filter program that cannot be read"))
}

/// Reads the instructions of a program. The `pcap` crate gives an instruction only as text: its four numbers in
/// decimal.
pub(super) fn instructions(program: &pcap::BpfProgram) -> Option<Instructions> {
    let one = |instruction: &pcap::BpfInstruction| {
        let text = instruction.to_string();
        let mut words = text.split_whitespace();
        let mut next = || words.next();
        Some((next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?))
    };
    program.get_instructions().iter().map(one).collect()
}

/// Whether a program loads metadata that only the kernel has, such as the packet's direction. libpcap cannot run such a
/// program on packets that are in its buffer.
pub(super) fn reads_metadata(program: &[(u16, u8, u8, u32)]) -> bool {
    /// `BPF_LD` with `BPF_ABS`, of any size.
    const LOAD: u16 = 0x20;
    program.iter().any(|&(code, _, _, k)| code & 0xe7 == LOAD && k >= libc::SKF_AD_OFF.cast_unsigned())
}

/// Converts a program to the form that libpcap's socket needs. Where libpcap synthesizes a cooked header, the frames in
/// the kernel do not have it: offsets decrease by its length, and loads of its fields become ancillary loads of the
/// kernel's metadata, as in libpcap's `fix_offset`. `None` if a field has no ancillary load.
pub(super) fn for_socket(program: &[(u16, u8, u8, u32)], link: Link) -> Option<Vec<libc::sock_filter>> {
    /// Modes of an instruction code (`linux/bpf_common.h`). A `BPF_LD` or `BPF_LDX` instruction with one of these modes reads the frame.
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
