//! Tests with devices that go down, are deleted and are created again.

use super::*;
use crate::capture::control::DeviceStats;
use std::time::{Duration, Instant};

#[test]
fn a_device_goes_down_and_comes_back() {
    in_a_network("a_device_goes_down_and_comes_back", || {
        let program = libpcap::live_program("va", 65_535, "udp port 9999").unwrap();
        let mut sources = with_filter(&interface("va", Kind::AfPacket), &SocketFilter::Classic(program));
        let frames: Vec<_> = (0..50).map(|n| udp(&[], n, WANTED, 40)).collect();
        send_all("vb", &frames);
        assert_eq!(collect(&mut sources, 50, |_| Some(())).len(), 50);
        run("ip link set va down");
        assert_eq!(collect(&mut sources, 0, |_| Some(())).len(), 0);
        run("ip link set va up");
        // The peer transmits some time after the device is up, so packets are sent until one is captured.
        let end = Instant::now() + Duration::from_secs(5);
        while collect(&mut sources, 0, |_| Some(())).is_empty() {
            assert!(Instant::now() < end, "no packet after the device was up again");
            send_all("vb", &frames[..1]);
        }
        collect(&mut sources, 0, |_| Some(()));
        send_all("vb", &frames);
        assert_eq!(collect(&mut sources, 50, |_| Some(())).len(), 50);
        run("ip link del va");
        let end = Instant::now() + Duration::from_secs(5);
        let error = loop {
            match sources[0].poll(Duration::from_millis(10), &mut |_| {}) {
                Ok(Polled::Idle) if Instant::now() < end => {}
                other => break other.map_err(|error| error.to_string()),
            }
        };
        assert_eq!(error, Err("device va has disappeared".to_owned()));
    });
}

/// The filter is replaced while the device is gone. The new device gets the new filter, and the counters continue.
#[test]
fn a_recreated_device_is_captured_with_the_new_filter() {
    in_a_network("a_recreated_device_is_captured_with_the_new_filter", || {
        for (name, way) in every_way("va") {
            let Capture { mut sources, control, .. } = opened(&way, &Filters::from_text("udp dst port 9999").unwrap());
            let both = [udp(&[], 1, WANTED, 40), udp(&[], 1, OTHER, 40)];
            send_all("vb", &both);
            assert_eq!(collect(&mut sources, 1, |frame| port(&frame)), [WANTED], "{name}");
            run("ip link del va");
            // Wait until the source notices the loss, which takes eBPF a second. Before that, the filter would be
            // replaced on the deleted device.
            let end = Instant::now() + Duration::from_millis(1200);
            poll_until(&mut sources, &format!("{name}: a second"), || Instant::now() >= end);
            control.set_filter(&Filters::from_text("udp dst port 1111").unwrap()).unwrap();
            make_veth();
            // The device is captured again within some seconds, so packets are sent until one is captured.
            let (mut seen, end) = (Vec::new(), Instant::now() + Duration::from_secs(5));
            while seen.is_empty() && Instant::now() < end {
                send_all("vb", &both);
                for source in &mut sources {
                    source.poll(Duration::from_millis(50), &mut |frame| seen.push(port(&frame))).unwrap();
                }
            }
            seen.extend(collect(&mut sources, 0, |frame| Some(port(&frame))));
            assert!(!seen.is_empty() && seen.iter().all(|port| *port == Some(OTHER)), "{name}: {seen:?}");
            let DeviceStats { copied, lost, .. } = stats(&mut sources, control.as_ref());
            assert_eq!((copied, lost), (1 + seen.len() as u64, 0), "{name}: counted over both lives");
        }
    });
}

/// Polls until a packet to [`WANTED`], sent again and again, arrives; fails after ten seconds. Returns how many arrived.
fn until_one_arrives(sources: &mut [Box<dyn Source>], what: &str, mut send: impl FnMut()) -> usize {
    let (mut seen, end) = (0, Instant::now() + Duration::from_secs(10));
    while seen == 0 {
        assert!(Instant::now() < end, "{what}: no packet arrived");
        send();
        for source in &mut *sources {
            source.poll(Duration::from_millis(20), &mut |frame| seen += usize::from(port(&frame) == Some(WANTED))).unwrap();
        }
    }
    seen
}

#[test]
fn a_renamed_device_is_followed() {
    in_a_network("a_renamed_device_is_followed", || {
        for (name, way) in every_way("va") {
            let Capture { mut sources, control, .. } = opened(&way, &wanted(false));
            let frame = [udp(&[], 1, WANTED, 40)];
            send_all("vb", &frame);
            assert_eq!(collect(&mut sources, 1, |frame| port(&frame)), [WANTED], "{name}");
            for command in ["ip link set va down", "ip link set va name renamed", "ip link set renamed up"] {
                run(command);
            }
            // The backend notices the new name within a second. Until then it may capture nothing.
            until_one_arrives(&mut sources, &name, || send_all("vb", &frame));
            let end = Instant::now() + Duration::from_millis(1500);
            while Instant::now() < end {
                for source in &mut sources {
                    source.poll(Duration::from_millis(20), &mut |_| {}).unwrap();
                }
            }
            send_all("vb", &frame);
            assert_eq!(collect(&mut sources, 1, |frame| port(&frame)), [WANTED], "{name}: after the new name was noticed");
            drop((sources, control));
            for command in ["ip link set renamed down", "ip link set renamed name va", "ip link set va up"] {
                run(command);
            }
        }
    });
}

#[test]
fn a_device_that_does_not_exist_is_waited_for() {
    in_a_network("a_device_that_does_not_exist_is_waited_for", || {
        run("ip link del va");
        for (name, way) in every_way("va") {
            assert!(open::open(&way, &Replay::default(), &wanted(false)).is_err_and(|error| error.is_missing()), "{name}");
            let Capture { mut sources, control, .. } = open::wait_for(&way, &Replay::default(), &wanted(false)).unwrap();
            assert_eq!(collect(&mut sources, 0, |_| Some(())).len(), 0, "{name}");
            // The device gets the newest filter.
            control.set_filter(&Filters::from_text("udp dst port 9999").unwrap()).unwrap();
            make_veth();
            let frames = [udp(&[], 1, WANTED, 40), udp(&[], 1, OTHER, 40)];
            let seen = until_one_arrives(&mut sources, &name, || send_all("vb", &frames));
            let more = collect(&mut sources, 0, |frame| Some(port(&frame)));
            assert!(more.iter().all(|port| *port == Some(WANTED)), "{name}: {more:?}");
            let stats = stats(&mut sources, control.as_ref());
            assert_eq!(stats.copied, (seen + more.len()) as u64, "{name}: {stats:?}");
            drop((sources, control));
            run("ip link del va");
        }
    });
}

/// A device without a link header that is made while `any` is captured.
#[test]
fn a_device_made_later_is_seen_on_any() {
    in_a_network("a_device_made_later_is_seen_on_any", || {
        for kind in [Kind::Ebpf, Kind::AfPacket, Kind::Pcap] {
            let Capture { mut sources, control, .. } = opened(&interface("any", kind), &wanted(true));
            collect(&mut sources, 0, |_| Some(()));
            let mut tun = tun("tun8");
            run("ip link set tun8 up");
            let ifindex = devices::resolve("tun8").unwrap().ifindex;
            let raw = udp(&[], 2, WANTED, 40)[14..].to_vec();
            // A packet from 8.0.0.0/16. It looks like an Ethernet frame until the device is entered in the list.
            let mut like_ethernet = raw.clone();
            like_ethernet[12..16].copy_from_slice(&[8, 0, 1, 2]);
            tun.write_all(&raw).unwrap();
            tun.write_all(&udp(&[], 2, OTHER, 40)[14..]).unwrap();
            let of_tun = |sources: &mut [Box<dyn Source>], count| {
                collect(sources, count, |frame| (frame.ifindex == ifindex).then_some((port(&frame), frame.link == Link::Ethernet)))
            };
            assert_eq!(of_tun(&mut sources, 1), [(Some(WANTED), false)], "{kind:?}: at once");
            let end = Instant::now() + Duration::from_millis(1300);
            while Instant::now() < end {
                of_tun(&mut sources, 0);
            }
            tun.write_all(&like_ethernet).unwrap();
            assert_eq!(of_tun(&mut sources, 1), [(Some(WANTED), false)], "{kind:?}: after it was entered");
            drop((sources, control));
        }
    });
}
