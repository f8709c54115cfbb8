//! Tests of every hook on a veth pair in a network namespace of the test.

mod clsact;
mod segments;
mod speed;
mod waking;

use super::*;
use crate::capture::{
    Frame, Link, Polled, StrippedTag,
    control::DeviceStats,
    devices,
    options::{HookSetting, Kind},
    sys::interface_index,
    testing::*,
};
use std::{
    thread,
    time::{Duration, Instant},
};

fn open(interface: &Interface, filters: &Filters) -> Result<Opened, Error> {
    super::open(interface, &devices::resolve(&interface.device).unwrap(), filters, true)
}

fn on(device: &str, hook: HookSetting) -> Interface {
    Interface { hook, ..interface(device, Kind::Ebpf) }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Got {
    /// The bytes of the frame, with a stripped tag inserted again.
    whole: Vec<u8>,
    wire_len: u32,
    ifindex: u32,
    stripped: Option<(u16, u16)>,
}

fn got(frame: Frame<'_>) -> Option<Got> {
    assert_eq!(frame.link, Link::Ethernet);
    let now = now();
    assert!(now.abs_diff(frame.time.0) < 2_000_000_000, "time {} is not now, {now}", frame.time.0);
    let stripped = frame.tag.map(|StrippedTag { tpid, tci }| (tpid, tci));
    Some(Got { whole: whole(&frame), wire_len: frame.wire_len, ifindex: frame.ifindex, stripped })
}

#[test]
fn tagged_and_untagged_frames_are_alike_on_every_hook() {
    in_a_network("tagged_and_untagged_frames_are_alike_on_every_hook", || {
        let stacks: [&[[u8; 4]]; 4] = [&[], &[DOT1Q], &[SERVICE, DOT1Q], &[DOT1Q, DOT1Q]];
        let frames = |from: u16| -> Vec<Vec<u8>> {
            let all = stacks.iter().enumerate().flat_map(|(n, tags)| {
                let from = from + n as u16;
                [udp(tags, from, WANTED, 40), udp(tags, from, OTHER, 40), udp(tags, from, WANTED, 3000)]
            });
            all.collect()
        };
        let is_wanted = |frame: &&Vec<u8>, vlans: bool| {
            let tags = frame[12..].chunks(4).take_while(|tag| matches!(tag[0], 0x81 | 0x88)).count();
            (vlans || tags == 0) && frame[tags * 4 + 36..tags * 4 + 38] == WANTED.to_be_bytes()
        };
        for (hook, words) in [
            (HookSetting::Xdp, "vb: native XDP in, tcx out"),
            (HookSetting::Tc, "vb: tcx"),
            (HookSetting::Socket, "vb: socket filter"),
            (HookSetting::Auto, "vb: tcx"),
        ] {
            for vlans in [true, false] {
                let (mut sources, control) = open(&on("vb", hook), &wanted(vlans)).unwrap();
                assert_eq!(control.hooks(), [words]);
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
                // On a veth, XDP sees the tag in the frame; the kernel strips it before TC and sockets see the packet.
                assert_eq!(stripped > 0, vlans && hook != HookSetting::Xdp, "{hook:?}: {stripped} stripped");
                let stats = stats(&mut sources, control.as_ref());
                let copied_bytes = have.iter().map(|frame| frame.len() as u64).sum::<u64>() - 4 * stripped as u64;
                let want = DeviceStats {
                    seen: 24,
                    unmatched: 24 - want.len() as u64,
                    copied: want.len() as u64,
                    copied_bytes,
                    ..Default::default()
                };
                assert_eq!(stats, want, "{hook:?} vlans {vlans}");
            }
        }
    });
}

/// The limit is `net.core.optmem_max`, which each network namespace has since Linux 6.8.
#[test]
fn a_socket_filter_that_is_longer_than_the_limit_is_called_by_a_short_one() {
    in_a_network("a_socket_filter_that_is_longer_than_the_limit_is_called_by_a_short_one", || {
        std::fs::write("/proc/sys/net/core/optmem_max", "512").unwrap();
        let (mut sources, control) = open(&on("vb", HookSetting::Socket), &wanted(false)).unwrap();
        assert_eq!(control.hooks(), ["vb: socket filter"]);
        send_all("va", &[udp(&[], 7, WANTED, 40), udp(&[], 8, OTHER, 40)]);
        send_all("vb", &[udp(&[], 9, WANTED, 40)]);
        let mut have = collect(&mut sources, 2, |frame| Some(whole(&frame)));
        have.sort();
        let mut want = [udp(&[], 7, WANTED, 40), udp(&[], 9, WANTED, 40)];
        want.sort();
        assert_eq!(have, want);
    });
}

#[test]
fn frames_are_cut_to_the_snap_length() {
    in_a_network("frames_are_cut_to_the_snap_length", || {
        for hook in [HookSetting::Xdp, HookSetting::Tc, HookSetting::Socket] {
            let (mut sources, _control) = open(&Interface { snaplen: 60, ..on("vb", hook) }, &Filters::default()).unwrap();
            let sent = udp(&[], 7, WANTED, 500);
            send_all("va", std::slice::from_ref(&sent));
            let have = collect(&mut sources, 1, got);
            let want =
                Got { whole: sent[..60].to_vec(), wire_len: sent.len() as u32, ifindex: interface_index("vb").unwrap(), stripped: None };
            assert_eq!(have, [want], "{hook:?}");
        }
    });
}

#[test]
fn on_any_a_packet_on_two_interfaces_is_one() {
    in_a_network("on_any_a_packet_on_two_interfaces_is_one", || {
        let (mut sources, control) = open(&on("any", HookSetting::Auto), &wanted(false)).unwrap();
        send_all("va", &[udp(&[], 7, WANTED, 40), udp(&[], 8, WANTED, 40), udp(&[], 7, WANTED, 41)]);
        let have = collect(&mut sources, 3, got);
        let va = interface_index("va").unwrap();
        assert_eq!(have.iter().map(|got| got.ifindex).collect::<Vec<_>>(), [va; 3], "seen on the way out of va, then again into vb");
        let stats = stats(&mut sources, control.as_ref());
        assert_eq!((stats.seen, stats.matched(), stats.copied, stats.duplicates), (3, 3, 3, 3), "{stats:?}");
    });
}

#[test]
fn on_any_no_packet_is_lost_that_was_seen_once() {
    in_a_network("on_any_no_packet_is_lost_that_was_seen_once", || {
        run("ip link add vc mtu 9000 type veth peer name vd mtu 9000");
        for device in ["vc", "vd"] {
            run(&format!("ip link set {device} addrgenmode none"));
            run(&format!("ip link set {device} up"));
        }
        let (mut sources, control) = open(&on("any", HookSetting::Auto), &Filters::from_text("udp port 9999").unwrap()).unwrap();
        // A frame crosses both devices of a pair, so it is seen twice. Requests alternate between the pairs, as on a
        // bond. Answers come over the second pair, as with an asymmetric route.
        let mut want = Vec::new();
        for length in 40..60 {
            let (request, answer) = (udp(&[], 7, WANTED, length), udp(&[], WANTED, 7, length));
            send_all(if length % 2 == 0 { "va" } else { "vc" }, std::slice::from_ref(&request));
            send_all("vd", std::slice::from_ref(&answer));
            want.extend([request, answer]);
        }
        let mut have = collect(&mut sources, want.len(), |frame| Some(frame.data.to_vec()));
        have.sort();
        want.sort();
        assert!(have == want, "{} frames, want {}", have.len(), want.len());
        let stats = stats(&mut sources, control.as_ref());
        assert_eq!((stats.seen, stats.copied, stats.duplicates), (40, 40, 40), "{stats:?}");
    });
}

#[test]
fn loopback_shows_a_packet_once() {
    in_a_network("loopback_shows_a_packet_once", || {
        for (device, hook) in [("lo", HookSetting::Auto), ("any", HookSetting::Auto), ("lo", HookSetting::Tc), ("lo", HookSetting::Xdp)] {
            let (mut sources, _control) = open(&on(device, hook), &wanted(false)).unwrap();
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(b"hello", "127.0.0.1:9999").unwrap();
            assert_eq!(collect(&mut sources, 1, |_| Some(())).len(), 1, "{device} {hook:?}");
        }
    });
}

/// An IPv4 packet with protocol number `protocol`.
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
        let (mut sources, _control) = open(&Interface { workers: Some(4), ..on("vb", HookSetting::Tc) }, &Filters::default()).unwrap();
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
        let least = Interface { workers: Some(1), buffer_size_mb: 0, ..on("vb", HookSetting::Tc) };
        let (mut sources, control) = open(&least, &Filters::default()).unwrap();
        send_all("va", &(0..100).map(|n| udp(&[], n, WANTED, 8000)).collect::<Vec<_>>());
        let have = collect(&mut sources, 1, |_| Some(())).len() as u64;
        let stats = stats(&mut sources, control.as_ref());
        assert_eq!((stats.seen, stats.matched(), stats.copied, have + stats.lost), (100, 100, have, 100), "{stats:?}, {have} came");
        assert!(stats.lost > 0, "{stats:?}");
    });
}

#[test]
fn a_hook_that_the_device_does_not_have() {
    in_a_network("a_hook_that_the_device_does_not_have", || {
        let error = open(&on("any", HookSetting::Xdp), &Filters::default()).err().unwrap();
        assert!(error.to_string().contains("`hook: auto`"), "{error}");
        assert_eq!(error.missing_capability(), None);
    });
}
