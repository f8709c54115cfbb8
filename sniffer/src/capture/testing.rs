//! Helpers for the live tests of all backends: a network namespace, frames, and functions that send and collect them.
#![allow(unsafe_code)] // unshare(2), tun devices, packet sockets

use super::{
    Frame, Polled, Source,
    control::{Control, DeviceStats},
    ebpf::sys,
    filter::{FilterSpec, Filters, Ports, Transports, Vlans, differential::privileged},
    options::{Interface, Kind},
    sys::interface_index,
};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Runs `test` in a thread with its own network namespace. The namespace contains loopback and a veth pair `va` and `vb`, and is removed
/// with the thread. Without the necessary privileges the function prints that the test is skipped, and the test passes.
pub fn in_a_network(name: &str, test: fn()) {
    if !privileged(name) {
        return;
    }
    let done = thread::spawn(move || {
        // SAFETY: the call takes no pointers. It moves only this thread to a new namespace.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", io::Error::last_os_error());
        make_veth();
        run("ip link set lo up");
        test();
    });
    if let Err(panic) = done.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Makes the veth pair. Its devices have no addresses, so only the test's packets are on the pair.
pub fn make_veth() {
    run("ip link add va mtu 9000 type veth peer name vb mtu 9000");
    for device in ["va", "vb"] {
        run(&format!("ip link set {device} addrgenmode none"));
        run(&format!("ip link set {device} up"));
        run(&format!("ethtool -K {device} gro on"));
    }
}

/// Runs a command in the network namespace of the calling thread.
pub fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a tun device that exists as long as the file is open.
pub fn tun(name: &str) -> File {
    let file = File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    // SAFETY: `ifreq` consists of integers and pointers that may be null, for which all bytes zero are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: TUNSETIFF reads an `ifreq`, which lives for the call.
    assert_eq!(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) }, 0, "{}", io::Error::last_os_error());
    file
}

/// Sends frames on one interface.
pub struct Sender {
    socket: OwnedFd,
    ifindex: u32,
}

impl Sender {
    pub fn new(device: &str) -> Self {
        Self { socket: sys::packet_socket().unwrap(), ifindex: interface_index(device).unwrap() }
    }

    /// Sends one frame unchanged; fails when the send buffer is full.
    pub fn try_send(&self, frame: &[u8]) -> io::Result<()> {
        send(self.socket.as_fd(), self.ifindex, frame)
    }

    /// Sends one frame. If there is no room in the send buffer, the function tries again until there is.
    pub fn send(&self, frame: &[u8]) {
        while let Err(error) = self.try_send(frame) {
            assert!(matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN)), "{error}");
        }
    }
}

fn send(socket: BorrowedFd<'_>, ifindex: u32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: `sockaddr_ll` consists of integers, for which all bytes zero are valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = ifindex as i32;
    address.sll_protocol = frame.get(12..14).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes);
    // SAFETY: frame and address live until the call returns.
    let sent = unsafe {
        libc::sendto(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, (&raw const address).cast(), size_of_val(&address) as u32)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends frames on a device.
pub fn send_all(device: &str, frames: &[Vec<u8>]) {
    let sender = Sender::new(device);
    frames.iter().for_each(|frame| sender.send(frame));
}

/// An Ethernet frame with UDP over IPv4 from port `from` to port `to`, with VLAN tags `tags`.
pub fn udp(tags: &[[u8; 4]], from: u16, to: u16, payload: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 0xbb, 2, 0, 0, 0, 0, 0xaa];
    frame.extend(tags.concat());
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((28 + payload as u16).to_be_bytes());
    frame.extend([0, 1, 0, 0, 64, 17, 0, 0, 10, 77, 0, (from % 250) as u8, 10, 77, 1, 2]);
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    frame.extend((8 + payload as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend((0..payload).map(|n| n as u8));
    frame
}

/// The port that the filter of [`wanted`] matches, and one that it does not match.
pub const WANTED: u16 = 9999;
pub const OTHER: u16 = 1111;

/// An inner VLAN tag (802.1Q), and a service tag (802.1ad) that encloses another tag. TPID and TCI as on the wire.
pub const DOT1Q: [u8; 4] = [0x81, 0, 0x60, 7];
pub const SERVICE: [u8; 4] = [0x88, 0xa8, 0, 9];

/// A filter for UDP on port [`WANTED`], with or without tagged frames.
pub fn wanted(vlans: bool) -> Filters {
    let vlans = if vlans { Vlans::Match } else { Vlans::Reject };
    Filters::new(&FilterSpec { ports: vec![Ports::one(WANTED, Transports::Udp)], vlans, ..FilterSpec::default() }).unwrap()
}

/// Settings with two workers.
pub fn interface(device: &str, kind: Kind) -> Interface {
    Interface { device: device.to_owned(), kind, workers: Some(2), buffer_size_mb: 8, auto_promisc_mode: true, ..Interface::default() }
}

/// The bytes of the frame as on the wire: a stripped tag is inserted again.
pub fn whole(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = frame.data.to_vec();
    if let Some(tag) = frame.tag {
        bytes.splice(12..12, [tag.tpid.to_be_bytes(), tag.tci.to_be_bytes()].concat());
    }
    bytes
}

/// A time that is longer than a packet waits in a ring block that is not full.
const QUIET: Duration = Duration::from_millis(60);

/// Polls the sources and collects the values that `each` returns, until there are `count` values, for at most five seconds. Then polls a
/// little longer, to catch frames that should not arrive. Polls every source at least once, even if `count` is 0.
pub fn collect<T>(sources: &mut [Box<dyn Source>], count: usize, mut each: impl FnMut(Frame<'_>) -> Option<T>) -> Vec<T> {
    let mut all = Vec::new();
    let end = Instant::now() + Duration::from_secs(5);
    while all.len() < count && Instant::now() < end {
        for source in &mut *sources {
            assert_ne!(source.poll(Duration::from_millis(5), &mut |frame| all.extend(each(frame))).unwrap(), Polled::Ended);
        }
    }
    let end = Instant::now() + QUIET;
    while Instant::now() < end {
        for source in &mut *sources {
            source.poll(Duration::from_millis(5), &mut |frame| all.extend(each(frame))).unwrap();
        }
    }
    all
}

/// Polls until `until` returns true; fails after five seconds.
pub fn poll_until(sources: &mut [Box<dyn Source>], what: &str, mut until: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !until() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        for source in &mut *sources {
            assert_eq!(source.poll(Duration::from_millis(5), &mut |_| {}).unwrap(), Polled::Idle, "{what}");
        }
    }
}

/// The current statistics.
pub fn stats(sources: &mut [Box<dyn Source>], control: &dyn Control) -> DeviceStats {
    sources.iter_mut().for_each(|source| source.update_stats().unwrap());
    control.stats().unwrap()
}

/// The wall-clock time in nanoseconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
}
