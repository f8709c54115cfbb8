//! Devices that go down, are deleted and are created again.

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
fn a_device_that_is_made_again_is_captured_again_with_the_new_filter() {
    in_a_network("a_device_that_is_made_again_is_captured_again_with_the_new_filter", || {
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
