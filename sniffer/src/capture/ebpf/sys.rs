//! The door to `bpf(2)`, packet sockets and clocks, for what aya does not offer. Nothing here knows what a program does.
//!
//! Layouts are those of the kernel's `include/uapi/linux/bpf.h` and `if_packet.h`.
#![allow(unsafe_code)] // every call into the kernel that this backend makes by itself is in this file

use crate::capture::filter::{cbpf::Instruction, ebpf::Insn};
use std::{
    ffi::CStr,
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    time::Duration,
};

const BPF_MAP_CREATE: i32 = 0;
const BPF_MAP_UPDATE_ELEM: i32 = 2;
const BPF_MAP_DELETE_ELEM: i32 = 3;
const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_TEST_RUN: i32 = 10;
const BPF_MAP_TYPE_PROG_ARRAY: u32 = 3;

const BPF_MAP_TYPE_RINGBUF: u32 = 27;
/// `BPF_F_XDP_HAS_FRAGS`
const XDP_HAS_FRAGS: u32 = 1 << 5;

/// What the kernel checks a program as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramKind {
    /// `enum bpf_prog_type`
    pub kind: u32,
    /// `enum bpf_attach_type`; must be the same for all programs of a jump table.
    pub attach: u32,
    /// `BPF_F_*`
    pub flags: u32,
}

/// XDP, as aya loads it.
pub const XDP: ProgramKind = ProgramKind { kind: 6, attach: 37, flags: XDP_HAS_FRAGS };
/// TC.
pub const TC: ProgramKind = ProgramKind { kind: 3, attach: 0, flags: 0 };
/// For packet sockets.
pub const SOCKET_FILTER: ProgramKind = ProgramKind { kind: 1, attach: 0, flags: 0 };

#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach: u32,
}

#[repr(C)]
#[derive(Default)]
struct Create {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    returned: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// # Safety
/// Every pointer in `attributes` must be good for what `command` does with it.
unsafe fn bpf<T>(command: i32, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the kernel reads and writes at most the size that is passed; the rest is the caller's.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, attributes as *mut T, size_of::<T>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done as i32) }
}

/// Loads a program. When the verifier refuses it, the error holds the end of what it says.
pub fn load(kind: ProgramKind, insns: &[Insn], name: &str) -> io::Result<OwnedFd> {
    let attempt = |log: &mut [u8]| {
        let mut attributes = Load {
            kind: kind.kind,
            count: insns.len() as u32,
            insns: insns.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            log_level: u32::from(!log.is_empty()),
            log_size: log.len() as u32,
            log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
            flags: kind.flags,
            attach: kind.attach,
            ..Load::default()
        };
        for (place, byte) in attributes.name.iter_mut().take(15).zip(name.bytes()) {
            *place = byte;
        }
        // SAFETY: instructions, licence and log live until the call returns.
        unsafe { bpf(BPF_PROG_LOAD, &mut attributes) }
    };
    match attempt(&mut []) {
        // SAFETY: the kernel just gave it to us.
        Ok(fd) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => Err(error),
        Err(error) => {
            let mut log = vec![0; 1 << 20];
            let _ = attempt(&mut log);
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
            let text = String::from_utf8_lossy(log.get(..end).unwrap_or_default()).into_owned();
            let tail: Vec<&str> = text.trim_end().lines().rev().take(12).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            Err(io::Error::new(error.kind(), format!("{error}: {}", tail.join("\n"))))
        }
    }
}

/// A jump table.
pub fn prog_array(entries: u32) -> io::Result<OwnedFd> {
    let mut attributes = Create { kind: BPF_MAP_TYPE_PROG_ARRAY, key_size: 4, value_size: 4, max_entries: entries, flags: 0 };
    // SAFETY: no pointers.
    let fd = unsafe { bpf(BPF_MAP_CREATE, &mut attributes)? };
    // SAFETY: the kernel just gave it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A ring buffer of so many bytes, a power of two and at least a page.
pub fn ring_buffer(bytes: u32) -> io::Result<OwnedFd> {
    let mut attributes = Create { kind: BPF_MAP_TYPE_RINGBUF, max_entries: bytes, ..Create::default() };
    // SAFETY: no pointers.
    let fd = unsafe { bpf(BPF_MAP_CREATE, &mut attributes)? };
    // SAFETY: the kernel just gave it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts a program into a jump table, or a map into an array of maps; what was there is replaced in one step.
pub fn set_slot(table: BorrowedFd<'_>, slot: u32, program: BorrowedFd<'_>) -> io::Result<()> {
    let value = program.as_raw_fd();
    let mut attributes =
        Element { map: table.as_raw_fd() as u32, key: (&raw const slot) as u64, value: (&raw const value) as u64, ..Element::default() };
    // SAFETY: key and value are four bytes each, as in a jump table, and live until the call returns.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

/// Empties a place in a jump table.
pub fn clear_slot(table: BorrowedFd<'_>, slot: u32) -> io::Result<()> {
    let mut attributes = Element { map: table.as_raw_fd() as u32, key: (&raw const slot) as u64, ..Element::default() };
    // SAFETY: the key is four bytes and lives until the call returns.
    match unsafe { bpf(BPF_MAP_DELETE_ELEM, &mut attributes) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Runs a program on a frame `repeat` times; what it returned, and nanoseconds per run.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<(u32, u32)> {
    let mut attributes = TestRun {
        program: program.as_raw_fd() as u32,
        data_size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat,
        ..TestRun::default()
    };
    // SAFETY: the frame lives until the call returns, and nothing is written to it.
    unsafe { bpf(BPF_PROG_TEST_RUN, &mut attributes)? };
    Ok((attributes.returned, attributes.duration))
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// # Safety
/// `T` must be what the kernel expects for `name`.
unsafe fn set_option<T>(socket: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as `value` has.
    check(unsafe { libc::setsockopt(socket, level, name, (value as *const T).cast(), size_of::<T>() as u32) })
}

/// A raw packet socket that takes no packets until [`bind`].
pub fn packet_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
    check(fd)?;
    // SAFETY: the kernel just gave it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes all packets of an interface from now on; 0: of all interfaces.
pub fn bind(socket: BorrowedFd<'_>, ifindex: u32) -> io::Result<()> {
    // SAFETY: all zeros are a good `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = ifindex as i32;
    // SAFETY: the address lives until the call returns.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32) })
}

/// Sends a frame as it is on an interface; for tests and probes.
pub fn send(socket: BorrowedFd<'_>, ifindex: u32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: all zeros are a good `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = ifindex as i32;
    address.sll_protocol = frame.get(12..14).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes);
    // SAFETY: frame and address live until the call returns.
    let sent = unsafe {
        libc::sendto(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, (&raw const address).cast(), size_of_val(&address) as u32)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Index and name of every interface.
pub fn interfaces() -> io::Result<Vec<(u32, String)>> {
    // SAFETY: no arguments; the list is freed below.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut all = Vec::new();
    let mut entry = list;
    // SAFETY: the list ends with an index of 0, and its names are strings.
    unsafe {
        while (*entry).if_index != 0 {
            all.push(((*entry).if_index, CStr::from_ptr((*entry).if_name).to_string_lossy().into_owned()));
            entry = entry.add(1);
        }
        libc::if_freenameindex(list);
    }
    Ok(all)
}

/// Whether the kernel asks nobody's leave for us.
pub fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// Makes the interface promiscuous for as long as the socket is open: the kernel counts who asked, as it does for libpcap.
pub fn promiscuous(socket: BorrowedFd<'_>, ifindex: u32) -> io::Result<()> {
    let request = libc::packet_mreq { mr_ifindex: ifindex as i32, mr_type: libc::PACKET_MR_PROMISC as u16, mr_alen: 0, mr_address: [0; 8] };
    // SAFETY: the type that PACKET_ADD_MEMBERSHIP takes.
    unsafe { set_option(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request) }
}

/// Puts an eBPF program of type socket filter on a socket.
pub fn attach_socket(socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: SO_ATTACH_BPF takes a file descriptor.
    unsafe { set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_BPF, &program.as_raw_fd()) }
}

/// Puts a classic program on a socket.
pub fn attach_socket_classic(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    // `Instruction` has the layout of `sock_filter`; the kernel does not write to it.
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the type that SO_ATTACH_FILTER takes; the instructions live until the call returns.
    unsafe { set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program) }
}

/// Waits until `fd` is readable; false when the time is up or a signal came.
pub fn wait(fd: BorrowedFd<'_>, wait: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, as said.
    let ready = unsafe { libc::poll(&raw mut poll, 1, i32::try_from(wait.as_millis()).unwrap_or(i32::MAX)) };
    match check(ready) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Ok(ready > 0),
    }
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is written to. It cannot fail for the clocks asked here.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Nanoseconds since boot, time asleep included.
pub fn boot_time() -> u64 {
    clock(libc::CLOCK_BOOTTIME)
}

/// What to add (wrapping) to a boot time to get the wall clock. Of three readings the one that was least interrupted counts.
pub fn boot_to_wall() -> u64 {
    let reading = || {
        let before = boot_time();
        let wall = clock(libc::CLOCK_REALTIME);
        let after = boot_time();
        (after.wrapping_sub(before), wall.wrapping_sub(before.wrapping_add(after.wrapping_sub(before) / 2)))
    };
    [reading(), reading(), reading()].into_iter().min_by_key(|(took, _)| *took).map_or(0, |(_, offset)| offset)
}

/// Lets this process lock as much memory as it wants: kernels before 5.11 count BPF maps against that limit.
pub fn raise_memlock() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is read. Newer kernels do not care, and on older ones loading will say what is missing.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}
