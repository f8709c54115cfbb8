//! Live capture in network namespaces of the tests' own: each backend sees the same packets. Without the privileges they say so and pass.
#![allow(unsafe_code)] // Entering a namespace and opening a tun device.

use super::{
    Frame, Kernel, Link, Polled, Source,
    afpacket::{self, AfPacket},
    devices,
    filter::Filters,
    libpcap::{self, Libpcap},
    open::{self, Backend},
    options::{Interface, Kind, Replay},
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    net::UdpSocket,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    process::Command,
    time::{Duration, Instant},
};

/// A namespace that this test's thread lives in, with a pair of devices `v0` and `v1`.
struct Namespace(String);

fn run(command: &str) -> Result<(), String> {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().map_err(|e| e.to_string())?;
    if output.status.success() { Ok(()) } else { Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim())) }
}

impl Namespace {
    fn new(name: &str) -> Option<Self> {
        let name = format!("sniffer-{name}-{}", std::process::id());
        if let Err(reason) = run(&format!("ip netns add {name}")) {
            eprintln!("SKIPPED: live capture needs root and iproute2: {reason}");
            return None;
        }
        let this = Self(name);
        let handle = File::open(format!("/run/netns/{}", this.0)).unwrap();
        // SAFETY: an open descriptor; the call concerns this thread alone, which is the test's own.
        assert_eq!(unsafe { libc::setns(handle.as_raw_fd(), libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
        this.run("ip link set lo up");
        this.pair();
        Some(this)
    }

    /// Runs a command in it (it inherits the thread's namespace).
    fn run(&self, command: &str) {
        run(command).unwrap();
    }

    fn pair(&self) {
        self.run("ip link add v0 type veth peer name v1");
        self.run("ip link set v0 up");
        self.run("ip link set v1 up");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run(&format!("ip netns del {}", self.0));
    }
}

/// A UDP packet with this much VLAN in front, to `port`, different for each `n`.
fn packet(tags: &[[u8; 4]], port: u16, n: u8) -> Vec<u8> {
    let payload = [n; 40];
    let udp = [&(1000 + u16::from(n)).to_be_bytes()[..], &port.to_be_bytes(), &48_u16.to_be_bytes(), &[0, 0], &payload].concat();
    let ip = [&b"\x45\0\0\x44\0\0\0\0\x40\x11\0\0"[..], &[10, 0, 0, n], &[10, 0, 1, n], &udp].concat();
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..], &tags.concat(), &[8, 0], &ip].concat()
}

/// The packet as it was on the wire: with its tag back in its place.
fn whole(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = frame.data.to_vec();
    if let Some(tag) = frame.tag {
        bytes.splice(12..12, [tag.tpid.to_be_bytes(), tag.tci.to_be_bytes()].concat());
    }
    bytes
}

fn inject(device: &str, packets: &[Vec<u8>]) {
    let mut capture = pcap::Capture::from_device(device).unwrap().open().unwrap();
    for packet in packets {
        capture.sendpacket(packet.as_slice()).unwrap();
    }
}

/// Longer than a packet may wait in a block that is not full.
const QUIET: Duration = Duration::from_millis(100);

/// Takes frames until there are `count`, then looks whether there are more than that.
fn take<T>(source: &mut dyn Source, count: usize, mut each: impl FnMut(Frame<'_>) -> Option<T>) -> Vec<T> {
    let mut taken = Vec::new();
    let mut complete = count == 0;
    let mut end = Instant::now() + if complete { QUIET } else { Duration::from_secs(3) };
    while Instant::now() < end {
        let _ = source.poll(Duration::from_millis(10), &mut |f| taken.extend(each(f))).unwrap();
        if !complete && taken.len() >= count {
            complete = true;
            end = Instant::now() + QUIET;
        }
    }
    taken
}

fn counted(packets: impl IntoIterator<Item = Vec<u8>>) -> BTreeMap<Vec<u8>, usize> {
    packets.into_iter().fold(BTreeMap::new(), |mut counts, packet| {
        *counts.entry(packet).or_default() += 1;
        counts
    })
}

const EXPRESSION: &str = "udp dst port 9999 or (vlan and udp dst port 9999 or (vlan and udp dst port 9999))";

fn config(device: &str) -> afpacket::Config {
    let device = devices::resolve(device).unwrap();
    let (ifindex, loopback) = (device.ifindex, device.loopback);
    afpacket::Config { device: device.name, ifindex, loopback, snaplen: 65_535, ring_bytes: 4 << 20, promiscuous: true }
}

fn interface(device: &str, kind: Kind, workers: usize) -> Interface {
    Interface { device: device.to_owned(), kind, workers: Some(workers), buffer_size_mb: 4, ..Interface::default() }
}

fn filters(expression: &str) -> Filters {
    Filters::from_text(expression).unwrap()
}

fn opened(device: &str, kind: Kind, workers: usize, expression: &str) -> Vec<Box<dyn Source>> {
    open::open(&interface(device, kind, workers), &Replay::default(), &filters(expression), Kernel::default()).unwrap().sources
}

#[test]
fn every_backend_sees_the_same() {
    let Some(_namespace) = Namespace::new("same") else { return };
    let dot1q = [0x81, 0, 0x20, 5];
    let (outer, inner) = ([0x88, 0xa8, 0, 6], [0x81, 0, 0, 7]);
    let mut wanted = Vec::new();
    for n in 0..60 {
        wanted.push(packet(&[], 9999, n));
        wanted.push(packet(&[dot1q], 9999, n));
        wanted.push(packet(&[outer, inner], 9999, n));
    }
    let others: Vec<Vec<u8>> = (0..60).flat_map(|n| [packet(&[], 9998, n), packet(&[dot1q], 9998, n)]).collect();
    let mut sources = opened("v0", Kind::AfPacket, 2, EXPRESSION);
    assert_eq!(sources.len(), 2);
    let mut pcap = opened("v0", Kind::Pcap, 2, EXPRESSION);
    assert_eq!(pcap.len(), 1, "libpcap has one source");
    let before = now();
    inject("v1", &[others, wanted.clone()].concat());

    let ifindex = devices::resolve("v0").unwrap().ifindex;
    let mut check = |frame: Frame<'_>| {
        assert_eq!((frame.link, frame.ifindex, frame.wire_len as usize), (Link::Ethernet, ifindex, frame.data.len()));
        assert!(frame.time.0 >= before && frame.time.0 <= now(), "{} is not between {before} and now", frame.time.0);
        Some((frame.tag, whole(&frame)))
    };
    let by_pcap = take(pcap[0].as_mut(), wanted.len(), &mut check);
    let (first, second) = sources.split_at_mut(1);
    let mut by_ring = take(first[0].as_mut(), 1, &mut check);
    let rest = take(second[0].as_mut(), 1, &mut check);
    assert!(!by_ring.is_empty() && !rest.is_empty(), "one worker has it all: {} and {}", by_ring.len(), rest.len());
    by_ring.extend(rest);

    let expected = counted(wanted.clone());
    assert_eq!(counted(by_pcap.into_iter().map(|p| p.1)), expected, "libpcap");
    let tags = by_ring.iter().filter_map(|p| p.0).map(|t| (t.tpid, t.tci));
    let tags = tags.fold(BTreeMap::new(), |mut counts, tag| {
        *counts.entry(tag).or_insert(0) += 1;
        counts
    });
    assert_eq!(tags, BTreeMap::from([((0x8100, 0x2005), 60), ((0x88a8, 6), 60)]), "the outer tag is out of band");
    assert_eq!(counted(by_ring.into_iter().map(|p| p.1)), expected, "af_packet");
    let stats = sources.iter_mut().map(|s| s.stats().unwrap()).reduce(|a, b| a.plus(b)).unwrap();
    assert_eq!((stats.matched, stats.lost), (wanted.len() as u64, 0));
    assert_eq!(pcap[0].stats().unwrap().matched, wanted.len() as u64);
    assert_eq!(pcap[0].stats().unwrap().matched, wanted.len() as u64, "the same when asked again");
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
}

#[test]
fn snap_length() {
    let Some(_namespace) = Namespace::new("snap") else { return };
    let config = afpacket::Config { snaplen: 50, ..config("v0") };
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    let ebpf = load(&[mov(0, 50), EXIT]);
    for program in [afpacket::Filter::None, afpacket::Filter::Classic(vec![(0x06, 0, 0, 262_144)]), afpacket::Filter::Ebpf(ebpf)] {
        sources.push(Box::new(afpacket::open(&config, 1, None, &program).unwrap().0.pop().unwrap()));
    }
    let pcap = libpcap::Config { device: "v0".to_owned(), ifindex: 0, snaplen: 50, buffer_bytes: 1 << 20 };
    sources.push(Box::new(Libpcap::open(&pcap, "udp port 9999").unwrap()));
    inject("v1", &[packet(&[], 9999, 3)]);
    for mut source in sources {
        let is_ours = |f: &Frame<'_>| f.data.get(36..38) == Some(&9999_u16.to_be_bytes());
        let seen = take(source.as_mut(), 1, |f| is_ours(&f).then_some((f.data.len(), f.wire_len)));
        assert_eq!(seen, [(50, 82)]);
    }
}

/// `r = value` and `exit` of eBPF.
fn mov(register: u64, value: u32) -> u64 {
    0xb7 | register << 8 | u64::from(value) << 32
}
const EXIT: u64 = 0x95;

/// Loads a socket filter by bpf(2).
fn load(program: &[u64]) -> OwnedFd {
    let licence = c"Dual MIT/GPL";
    // program type and instruction count, instructions, licence, log level and size, log
    let attributes = [1 | (program.len() as u64) << 32, program.as_ptr() as u64, licence.as_ptr() as u64, 0, 0, 0];
    // SAFETY: BPF_PROG_LOAD reads the attributes and what they point to, all of it alive for the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, 5, attributes.as_ptr(), size_of_val(&attributes)) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: a new descriptor that is owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

#[test]
fn an_ebpf_filter_decides() {
    let Some(_namespace) = Namespace::new("ebpf") else { return };
    for (returned, expected) in [(0, 0), (65_535, 5)] {
        let filter = afpacket::Filter::Ebpf(load(&[mov(0, returned), EXIT]));
        let mut source = afpacket::open(&config("v0"), 1, None, &filter).unwrap().0.pop().unwrap();
        inject("v1", &(0..5).map(|n| packet(&[], 9999, n)).collect::<Vec<_>>());
        let seen = take(&mut source, expected, |f| (f.data.get(36..38) == Some(&9999_u16.to_be_bytes())).then_some(()));
        assert_eq!(seen.len(), expected, "the program returns {returned}");
    }
}

/// Loopback, a device with a link header and one without: each as what it is, and loopback once.
#[test]
fn any_device() {
    let Some(namespace) = Namespace::new("any") else { return };
    let mut tun = tun("tun7");
    namespace.run("ip link set tun7 up");
    let mut sources = opened("any", Kind::AfPacket, 1, EXPRESSION);
    let mut everything = afpacket::open(&config("any"), 1, None, &afpacket::Filter::None).unwrap().0;
    sources.push(Box::new(everything.pop().unwrap()));
    sources.append(&mut opened("any", Kind::Pcap, 1, EXPRESSION));
    let ethernet = packet(&[], 9999, 1);
    let raw = packet(&[], 9999, 2)[14..].to_vec();
    inject("v1", &[ethernet.clone(), packet(&[], 9998, 1)]);
    tun.write_all(&raw).unwrap();
    tun.write_all(&packet(&[], 9998, 2)[14..]).unwrap();
    UdpSocket::bind("127.0.0.1:9998").unwrap().send_to(&[9; 40], "127.0.0.1:9999").unwrap();

    let index = |name: &str| devices::resolve(name).unwrap().ifindex;
    let (v0, v1, lo, tun7) = (index("v0"), index("v1"), index("lo"), index("tun7"));
    for (which, source) in sources.iter_mut().enumerate() {
        let mut seen = take(source.as_mut(), 4, |f| {
            // From the IP header on.
            let head = if f.link == Link::LinuxSll2 { 20 } else { 14 };
            let ip = if f.link == Link::RawIp { f.data } else { &f.data[head.min(f.data.len())..] };
            let ours = ip.get(22..24) == Some(&9999_u16.to_be_bytes());
            ours.then(|| (f.ifindex, f.link, ip.get(28).copied().unwrap_or_default()))
        });
        seen.sort_by_key(|(ifindex, ..)| [lo, v0, v1, tun7].iter().position(|i| i == ifindex));
        let link = |link| if which == 2 { Link::LinuxSll2 } else { link };
        // What was injected on v1 is seen leaving there as well: which device a packet belongs to is not this module's to say.
        let expected = [(lo, Link::Ethernet, 9), (v0, Link::Ethernet, 1), (v1, Link::Ethernet, 1), (tun7, Link::RawIp, 2)];
        assert_eq!(seen, expected.map(|(ifindex, l, n)| (ifindex, link(l), n)), "source {which}");
    }
    // The device alone.
    let mut alone = opened("tun7", Kind::AfPacket, 1, "udp port 9999");
    alone.append(&mut opened("tun7", Kind::Pcap, 1, "udp port 9999"));
    tun.write_all(&raw).unwrap();
    for source in &mut alone {
        assert_eq!(take(source.as_mut(), 1, |f| Some((f.link, f.data.to_vec()))), [(Link::RawIp, raw.clone())]);
    }
    let mut lo = opened("lo", Kind::AfPacket, 2, "udp port 9999");
    UdpSocket::bind("127.0.0.1:9997").unwrap().send_to(&[9; 40], "127.0.0.1:9999").unwrap();
    assert_eq!(lo.iter_mut().map(|s| take(s.as_mut(), 1, |_| Some(())).len()).sum::<usize>(), 1, "loopback shows each packet once");
}

/// A tun device that lives as long as the file.
fn tun(name: &str) -> File {
    let file = File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    // SAFETY: all bytes zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: TUNSETIFF reads an `ifreq`.
    assert_eq!(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) }, 0, "{}", std::io::Error::last_os_error());
    file
}

/// Polls until something else than `Idle` comes, or an error.
fn until(source: &mut dyn Source) -> Result<Polled, String> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match source.poll(Duration::from_millis(10), &mut |_| {}) {
            Ok(Polled::Idle) if Instant::now() < end => {}
            other => return other.map_err(|e| e.to_string()),
        }
    }
}

#[test]
fn a_device_goes_down_and_comes_back() {
    let Some(namespace) = Namespace::new("down") else { return };
    let filter = afpacket::Filter::Classic(libpcap::live_program("v0", 65_535, "udp port 9999").unwrap());
    let mut sources: Vec<AfPacket> = afpacket::open(&config("v0"), 2, None, &filter).unwrap().0;
    let packets: Vec<Vec<u8>> = (0..50).map(|n| packet(&[], 9999, n)).collect();
    let mut both = |expected: usize| {
        let seen: usize = sources.iter_mut().map(|s| take(s, expected.min(1), |_| Some(())).len()).sum();
        assert_eq!(seen, expected);
    };
    inject("v1", &packets);
    both(50);
    namespace.run("ip link set v0 down");
    both(0);
    namespace.run("ip link set v0 up");
    inject("v1", &packets);
    both(50);
    namespace.run("ip link del v0");
    for source in &mut sources {
        assert_eq!(until(source), Err("device v0 has disappeared".to_owned()));
    }
}

#[test]
fn a_device_that_is_made_again_is_captured_again() {
    let Some(namespace) = Namespace::new("again") else { return };
    for kind in [Kind::AfPacket, Kind::Pcap] {
        let mut sources = opened("v0", kind, 2, "udp port 9999");
        inject("v1", &[packet(&[], 9999, 1)]);
        let mut seen = 0;
        let mut turn = |sources: &mut Vec<Box<dyn Source>>, expected: usize| {
            let end = Instant::now() + Duration::from_secs(5);
            while seen < expected && Instant::now() < end {
                for source in sources.iter_mut() {
                    let _ = source.poll(Duration::from_millis(5), &mut |_| seen += 1).unwrap();
                }
            }
            assert_eq!(seen, expected, "{kind:?}");
        };
        turn(&mut sources, 1);
        namespace.run("ip link del v0");
        for source in &mut sources {
            for _ in 0..20 {
                assert_eq!(source.poll(Duration::from_millis(10), &mut |_| {}).unwrap(), Polled::Idle);
            }
        }
        namespace.pair();
        // Long enough for the next attempt, which comes within a second.
        let end = Instant::now() + Duration::from_millis(1500);
        while Instant::now() < end {
            for source in &mut sources {
                assert_eq!(source.poll(Duration::from_millis(10), &mut |_| {}).unwrap(), Polled::Idle);
            }
        }
        inject("v1", &[packet(&[], 9999, 2)]);
        turn(&mut sources, 2);
        let stats = sources.iter_mut().map(|s| s.stats().unwrap()).reduce(|a, b| a.plus(b)).unwrap();
        assert_eq!((stats.matched, stats.lost), (2, 0), "{kind:?}: counted over both lives");
    }
}

#[test]
fn the_ladder() {
    let Some(_namespace) = Namespace::new("ladder") else { return };
    let open = |kernel| open::open(&interface("v0", Kind::Auto, 2), &Replay::default(), &filters("tcp port 80"), kernel);
    let opened = open(Kernel::default()).unwrap();
    assert_eq!((opened.backend, opened.sources.len()), (Backend::AfPacket, 2));
    let kernel = Kernel { socket_filter: |_| Err(super::Error::Setting("no filter".to_owned())), ..Kernel::default() };
    let opened = open(kernel).unwrap();
    assert_eq!((opened.backend, opened.sources.len()), (Backend::Pcap, 1));
    let error = open::open(&interface("v0", Kind::AfPacket, 1), &Replay::default(), &filters("tcp"), kernel).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "device v0: af_packet: no filter", "a named type does not walk down");
}
