//! Every hook on a veth in a network namespace of the test's own, which goes with its thread.
#![allow(unsafe_code)] // unshare(2)

use super::*;
use crate::capture::{
    Frame, Link, Polled, StrippedTag,
    filter::{Ports, Transports, Wanted, differential::privileged},
    sys::interface_index,
};
use std::{
    os::fd::AsFd,
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

/// For as long as the sources live.
fn open(options: &Options) -> Result<Vec<Box<dyn Source>>, Error> {
    Capture::open(options).map(|(_, sources)| sources)
}

/// Runs `test` in a thread with a network of its own: loopback, and a veth from `va` to `vb`.
fn in_a_network(name: &str, test: fn()) {
    if !privileged(name) {
        return;
    }
    let done = thread::spawn(move || {
        // SAFETY: no pointers; only this thread moves.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
        make_veth();
        run("ip link set lo up");
        test();
    });
    if let Err(panic) = done.join() {
        std::panic::resume_unwind(panic);
    }
}

fn make_veth() {
    run("ip link add va mtu 9000 type veth peer name vb mtu 9000");
    for device in ["va", "vb"] {
        // No addresses: the only packets are the test's.
        run(&format!("ip link set {device} addrgenmode none"));
        run(&format!("ip link set {device} up"));
        run(&format!("ethtool -K {device} gro on"));
    }
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

fn options(interface: &str, hook: Hook, filter: Filters) -> Options {
    Options {
        interfaces: vec![interface.into()],
        hook,
        snaplen: 65_535,
        buffer_bytes: 8 << 20,
        workers: 2,
        promiscuous: true,
        filter,
        follow_route: None,
    }
}

/// UDP over IPv4 between ports `from` and 9999, or 1111 when it is not wanted.
fn udp(tags: &[[u8; 4]], from: u16, wanted: bool, payload: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 0xbb, 2, 0, 0, 0, 0, 0xaa];
    frame.extend(tags.concat());
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((28 + payload as u16).to_be_bytes());
    frame.extend([0, 1, 0, 0, 64, 17, 0, 0, 10, 77, 0, (from % 250) as u8, 10, 77, 1, 2]);
    frame.extend(from.to_be_bytes());
    frame.extend(if wanted { 9999u16 } else { 1111 }.to_be_bytes());
    frame.extend((8 + payload as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend((0..payload).map(|n| n as u8));
    frame
}

const DOT1Q: [u8; 4] = [0x81, 0, 0x60, 7];
const SERVICE: [u8; 4] = [0x88, 0xa8, 0, 9];

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Got {
    /// With the tag back in its place.
    whole: Vec<u8>,
    wire_len: u32,
    ifindex: u32,
    stripped: Option<(u16, u16)>,
}

fn got(frame: Frame<'_>) -> Got {
    assert_eq!(frame.link, Link::Ethernet);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    assert!(now.abs_diff(frame.time.0) < 2_000_000_000, "time {} is not now, {now}", frame.time.0);
    let mut whole = frame.data.to_vec();
    if let Some(StrippedTag { tpid, tci }) = frame.tag {
        whole.splice(12..12, [tpid.to_be_bytes(), tci.to_be_bytes()].concat());
    }
    Got { whole, wire_len: frame.wire_len, ifindex: frame.ifindex, stripped: frame.tag.map(|tag| (tag.tpid, tag.tci)) }
}

/// Everything that comes until `count` frames are there or nothing has come for a while.
fn collect<T>(sources: &mut [Box<dyn Source>], count: usize, mut each: impl FnMut(Frame<'_>) -> T) -> Vec<T> {
    let mut all = Vec::new();
    let end = Instant::now() + Duration::from_secs(5);
    while all.len() < count && Instant::now() < end {
        for source in &mut *sources {
            assert_ne!(source.poll(Duration::from_millis(20), &mut |frame| all.push(each(frame))).unwrap(), Polled::Ended);
        }
    }
    // What should not be there would come now.
    for source in sources {
        source.poll(Duration::from_millis(30), &mut |frame| all.push(each(frame))).unwrap();
    }
    all
}

fn wanted(vlans: bool) -> Filters {
    Filters::new(&Wanted { ports: vec![Ports::one(9999, Transports::Udp)], vlans, ..Wanted::default() }).unwrap()
}

fn send_all(device: &str, frames: &[Vec<u8>]) {
    let socket = sys::packet_socket().unwrap();
    let ifindex = interface_index(device).unwrap();
    for frame in frames {
        sys::send(socket.as_fd(), ifindex, frame).unwrap();
    }
}

#[test]
fn tagged_and_untagged_frames_are_alike_on_every_hook() {
    in_a_network("tagged_and_untagged_frames_are_alike_on_every_hook", || {
        let stacks: [&[[u8; 4]]; 4] = [&[], &[DOT1Q], &[SERVICE, DOT1Q], &[DOT1Q, DOT1Q]];
        let frames = |from: u16| -> Vec<Vec<u8>> {
            let all = stacks.iter().enumerate().flat_map(|(n, tags)| {
                let from = from + n as u16;
                [udp(tags, from, true, 40), udp(tags, from, false, 40), udp(tags, from, true, 3000)]
            });
            all.collect()
        };
        let is_wanted = |frame: &&Vec<u8>, vlans: bool| {
            let tags = frame[12..].chunks(4).take_while(|tag| matches!(tag[0], 0x81 | 0x88)).count();
            (vlans || tags == 0) && frame[tags * 4 + 36..tags * 4 + 38] == 9999u16.to_be_bytes()
        };
        for (hook, words) in [
            (Hook::Xdp, "vb: native XDP in, tcx out"),
            (Hook::Tc, "vb: tcx"),
            (Hook::Socket, "vb: socket filter"),
            (Hook::Auto, "vb: native XDP in, tcx out"),
        ] {
            for vlans in [true, false] {
                let (capture, mut sources) = Capture::open(&options("vb", hook, wanted(vlans))).unwrap();
                assert_eq!(capture.hooks(), [words]);
                assert_eq!(sources.len(), 2);
                let (ingress, egress) = (frames(100), frames(200));
                send_all("va", &ingress);
                send_all("vb", &egress);
                let mut want: Vec<&Vec<u8>> = ingress.iter().chain(&egress).filter(|frame| is_wanted(frame, vlans)).collect();
                want.sort();
                let mut have = collect(&mut sources, want.len(), got);
                have.sort();
                let stripped = have.iter().filter(|got| got.stripped.is_some()).count();
                for got in &have {
                    let tag = if got.stripped.is_some() { 4 } else { 0 };
                    assert_eq!(got.wire_len as usize + tag, got.whole.len());
                    assert_eq!(got.ifindex, interface_index("vb").unwrap());
                }
                let have: Vec<&Vec<u8>> = have.iter().map(|got| &got.whole).collect();
                assert_eq!(have, want, "{hook:?} vlans {vlans}: {} frames, want {}", have.len(), want.len());
                // What comes in over a veth keeps its tag under XDP and has it taken out behind it.
                assert_eq!(stripped > 0, vlans && matches!(hook, Hook::Tc | Hook::Socket), "{hook:?}: {stripped} stripped");
                let stats = sources
                    .iter_mut()
                    .map(|source| source.stats().unwrap())
                    .fold((0, 0, 0), |sum, s| (sum.0 + s.seen, sum.1 + s.matched, sum.2 + s.lost));
                assert_eq!(stats, (24, want.len() as u64, 0), "{hook:?} vlans {vlans}: seen, matched, lost");
            }
        }
    });
}

#[test]
fn frames_are_cut_to_the_snap_length() {
    in_a_network("frames_are_cut_to_the_snap_length", || {
        for hook in [Hook::Xdp, Hook::Tc, Hook::Socket] {
            let options = Options { snaplen: 60, ..options("vb", hook, Filters::default()) };
            let mut sources = open(&options).unwrap();
            let sent = udp(&[], 7, true, 500);
            send_all("va", std::slice::from_ref(&sent));
            let have = collect(&mut sources, 1, got);
            let want =
                Got { whole: sent[..60].to_vec(), wire_len: sent.len() as u32, ifindex: interface_index("vb").unwrap(), stripped: None };
            assert_eq!(have, [want], "{hook:?}");
        }
    });
}

#[test]
fn a_filter_is_replaced_without_losing_a_packet() {
    in_a_network("a_filter_is_replaced_without_losing_a_packet", || {
        const COUNT: usize = 5_000;
        for hook in [Hook::Xdp, Hook::Tc, Hook::Socket] {
            let (capture, mut sources) = Capture::open(&Options { buffer_bytes: 64 << 20, ..options("vb", hook, wanted(false)) }).unwrap();
            let (ifindex, socket) = (interface_index("va").unwrap(), sys::packet_socket().unwrap());
            let frame = udp(&[], 7, true, 20);
            let sender = thread::spawn(move || (0..COUNT).for_each(|_| while sys::send(socket.as_fd(), ifindex, &frame).is_err() {}));
            let mut replaced = 0;
            while !sender.is_finished() {
                for vlans in [true, false] {
                    capture.set_filter(&wanted(vlans)).unwrap();
                    replaced += 1;
                }
            }
            sender.join().unwrap();
            assert_eq!(collect(&mut sources, COUNT, |_| ()).len(), COUNT, "{hook:?}, {replaced} times replaced");
            assert!(replaced > 2, "{hook:?}: replaced {replaced} times only");
        }
    });
}

#[test]
fn on_any_a_packet_on_two_interfaces_is_one() {
    in_a_network("on_any_a_packet_on_two_interfaces_is_one", || {
        let mut sources = open(&options("any", Hook::Auto, wanted(false))).unwrap();
        send_all("va", &[udp(&[], 7, true, 40), udp(&[], 8, true, 40), udp(&[], 7, true, 41)]);
        let have = collect(&mut sources, 3, got);
        let va = interface_index("va").unwrap();
        assert_eq!(have.iter().map(|got| got.ifindex).collect::<Vec<_>>(), [va; 3], "seen on the way out of va, then again into vb");
        let stats: Vec<_> = sources.iter_mut().map(|source| source.stats().unwrap()).collect();
        assert_eq!(stats.iter().map(|s| s.duplicates).sum::<u64>(), 3, "{stats:?}");
    });
}

#[test]
fn loopback_shows_a_packet_once() {
    in_a_network("loopback_shows_a_packet_once", || {
        for (device, hook) in [("lo", Hook::Auto), ("any", Hook::Auto), ("lo", Hook::Tc), ("lo", Hook::Xdp)] {
            let mut sources = open(&options(device, hook, wanted(false))).unwrap();
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(b"hello", "127.0.0.1:9999").unwrap();
            assert_eq!(collect(&mut sources, 1, |_| ()).len(), 1, "{device} {hook:?}");
        }
    });
}

/// An IPv4 packet of `protocol`.
fn ipv4(protocol: u8, fragment: u16, addresses: [[u8; 4]; 2], inside: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + inside.len() as u16).to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(addresses.concat());
    packet.extend(inside);
    packet
}

#[test]
fn what_belongs_together_goes_to_one_worker() {
    in_a_network("what_belongs_together_goes_to_one_worker", || {
        let mut sources = open(&Options { workers: 4, ..options("vb", Hook::Tc, Filters::default()) }).unwrap();
        const PAIRS: usize = 64;
        let mut frames = Vec::new();
        for n in 0..PAIRS as u8 {
            let (a, b, router) = ([10, 1, 2, n], [10, 1, 3, 1], [10, 9, 9, n]);
            let datagram = ipv4(17, 0, [a, b], &[0, 9, 0, 53, 0, 8, 0, 0]);
            let packets = [
                ipv4(17, 0, [b, a], &[0, 53, 0, 9, 0, 8, 0, 0]),
                ipv4(17, 0x2000, [a, b], &[0, 9, 0, 53, 0, 8, 0, 0]),
                ipv4(17, 2, [a, b], &[1; 16]),
                ipv4(1, 0, [router, a], &[&[11, 0, 0, 0, 0, 0, 0, 0], &datagram[..]].concat()),
                ipv4(4, 0, [router, [9; 4]], &datagram),
                datagram,
            ];
            frames.extend(packets.map(|packet| [&[2; 12][..], &[8, 0], &packet].concat()));
        }
        send_all("va", &frames);
        let mut workers = vec![Vec::new(); PAIRS];
        let mut loads = [0; 4];
        for (worker, source) in sources.iter_mut().enumerate() {
            while source
                .poll(Duration::from_millis(50), &mut |frame| {
                    let at = frames.iter().position(|sent| sent == frame.data).unwrap();
                    workers[at / 6].push(worker);
                    loads[worker] += 1;
                })
                .unwrap()
                != Polled::Idle
            {}
        }
        for (pair, workers) in workers.iter().enumerate() {
            assert!(workers.len() == 6 && workers.iter().all(|worker| *worker == workers[0]), "pair {pair}: {workers:?}");
        }
        assert!(loads.iter().all(|load| *load >= PAIRS / 4 * 6 / 3), "an idle worker: {loads:?}");
    });
}

#[test]
fn what_the_ring_cannot_take_is_counted() {
    in_a_network("what_the_ring_cannot_take_is_counted", || {
        let mut sources = open(&Options { workers: 1, buffer_bytes: 1, ..options("vb", Hook::Tc, Filters::default()) }).unwrap();
        send_all("va", &(0..100).map(|n| udp(&[], n, true, 8000)).collect::<Vec<_>>());
        let have = collect(&mut sources, 1, |_| ()).len() as u64;
        let stats = sources[0].stats().unwrap();
        assert_eq!((stats.seen, stats.matched, have + stats.lost), (100, 100, 100), "{stats:?}, {have} came");
        assert!(stats.lost > 0, "{stats:?}");
    });
}

#[test]
fn what_is_not_there_is_said() {
    in_a_network("what_is_not_there_is_said", || {
        let error = open(&options("nosuchdev0", Hook::Auto, Filters::default())).err().unwrap();
        assert!(error.to_string().starts_with("interface nosuchdev0: there is no such device"), "{error}");
        assert_eq!(error.missing_capability(), None);
        let error = open(&options("any", Hook::Xdp, Filters::default())).err().unwrap();
        assert!(error.to_string().contains("`hook: auto`"), "{error}");
    });
}

#[test]
fn a_device_that_comes_back_is_captured_again() {
    in_a_network("a_device_that_comes_back_is_captured_again", || {
        for hook in [Hook::Xdp, Hook::Tc, Hook::Socket] {
            let (capture, mut sources) = Capture::open(&options("vb", hook, wanted(false))).unwrap();
            let hooks = capture.hooks();
            run("ip link del va");
            thread::sleep(Duration::from_millis(1100));
            assert_eq!(sources[0].poll(Duration::ZERO, &mut |_| {}).unwrap(), Polled::Idle);
            assert_eq!(capture.hooks(), [""; 0], "{hook:?}");
            make_veth();
            thread::sleep(Duration::from_millis(1100));
            sources[0].poll(Duration::ZERO, &mut |_| {}).unwrap();
            assert_eq!(capture.hooks(), hooks);
            send_all("va", &[udp(&[], 7, true, 40)]);
            assert_eq!(collect(&mut sources, 1, |_| ()).len(), 1, "{hook:?}");
        }
    });
}

#[test]
fn a_clsact_of_ours_goes_and_one_of_others_stays() {
    in_a_network("a_clsact_of_ours_goes_and_one_of_others_stays", || {
        let qdiscs = || String::from_utf8(Command::new("tc").args(["qdisc", "show", "dev", "vb"]).output().unwrap().stdout).unwrap();
        for others in [false, true] {
            if others {
                run("tc qdisc add dev vb clsact");
            }
            let options = options("vb", Hook::Tc, wanted(false));
            let device = find("vb").unwrap();
            let (mut loaded, rings) = Loaded::new(&options, std::slice::from_ref(&device)).unwrap();
            attach::attach_with(&mut loaded, &device, &options, true).unwrap();
            assert!(qdiscs().contains("clsact"), "{}", qdiscs());
            let capture = Capture { loaded: Arc::new(Mutex::new(loaded)), not_entered: Arc::default() };
            assert_eq!(capture.hooks(), ["vb: tc (clsact)"]);
            let sources = rings
                .into_iter()
                .enumerate()
                .map(|(n, ring)| -> Box<dyn Source> { Box::new(RingSource::new(ring, n as u32, capture.clone(), None, false)) });
            let mut sources: Vec<_> = sources.collect();
            send_all("va", &[udp(&[], 7, true, 40)]);
            send_all("vb", &[udp(&[], 8, true, 40)]);
            assert_eq!(collect(&mut sources, 2, |_| ()).len(), 2);
            drop((sources, capture));
            assert_eq!(qdiscs().contains("clsact"), others, "{}", qdiscs());
        }
    });
}

/// Packets per second through each hook, and what one costs the reader and the sender, whose CPU runs the hook. A sender that does nothing
/// but `sendto` gives the rate.
#[test]
#[ignore = "a measurement: cargo test --release -p sniffer --lib capture::ebpf::tests::speed -- --ignored --nocapture"]
fn speed() {
    in_a_network("speed", || {
        const COUNT: u32 = 400_000;
        let thread_cpu = || {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: `time` is written to.
            unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
            time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
        };
        for payload in [22, 1458] {
            for every in [1, 100] {
                for hook in [None, Some(Hook::Xdp), Some(Hook::Tc), Some(Hook::Socket)] {
                    let options = |hook| Options { workers: 1, buffer_bytes: 24 << 20, ..options("vb", hook, wanted(false)) };
                    let mut sources = hook.map(|hook| open(&options(hook)).unwrap()).unwrap_or_default();
                    let (ifindex, socket) = (interface_index("va").unwrap(), sys::packet_socket().unwrap());
                    let (hit, miss) = (udp(&[], 7, true, payload), udp(&[], 7, false, payload));
                    let sender = thread::spawn(move || {
                        let (start, cpu) = (Instant::now(), thread_cpu());
                        for n in 0..COUNT {
                            while sys::send(socket.as_fd(), ifindex, if n % every == 0 { &hit } else { &miss }).is_err() {}
                        }
                        (start.elapsed(), thread_cpu() - cpu)
                    });
                    let (mut frames, mut bytes, cpu) = (0u64, 0, thread_cpu());
                    while !sender.is_finished() {
                        for source in &mut sources {
                            let _ = source.poll(Duration::from_millis(10), &mut |frame| {
                                frames += 1;
                                bytes += frame.data.len();
                            });
                        }
                        if sources.is_empty() {
                            thread::sleep(Duration::from_millis(10));
                        }
                    }
                    for source in &mut sources {
                        while source.poll(Duration::from_millis(30), &mut |_| frames += 1).unwrap() != Polled::Idle {}
                    }
                    let cpu = thread_cpu() - cpu;
                    let (took, sending) = sender.join().unwrap();
                    let stats = sources.first_mut().map(|source| source.stats().unwrap()).unwrap_or_default();
                    println!(
                        "{:4} bytes, 1 of {every:3}, {hook:?}: {:.0} packets/s, sender {} ns/packet, reader {} ns/match, {frames} read, {} lost of {}",
                        payload + 42,
                        f64::from(COUNT) / took.as_secs_f64(),
                        sending / u64::from(COUNT),
                        cpu / frames.max(1),
                        stats.lost,
                        stats.seen
                    );
                }
            }
        }
    });
}
