//! Tests of filter expressions that the kernel cannot run on every backend: tests of metadata, loops, and long lists.

use super::*;

/// Destination ports of the frames that the tests send: `IN` of frames that `va` receives, `OUT` of frames that `va` sends.
const IN: u16 = WANTED;
const OUT: u16 = OTHER;

fn directions(capture: &mut Capture, expected: usize) -> Vec<u16> {
    send_all("vb", &[udp(&[], 1, IN, 40)]);
    send_all("va", &[udp(&[], 2, OUT, 40)]);
    let mut seen = collect(&mut capture.sources, expected, |frame| port(&frame));
    seen.sort_unstable_by(|a, b| b.cmp(a));
    seen
}

#[test]
fn direction_and_interface_decide_on_every_backend() {
    in_a_network("direction_and_interface_decide_on_every_backend", || {
        let (va, vb) = (devices::resolve("va").unwrap().ifindex, devices::resolve("vb").unwrap().ifindex);
        for (expression, expected) in [
            ("inbound".to_owned(), vec![IN]),
            ("outbound and udp".to_owned(), vec![OUT]),
            (format!("ifindex {va} and udp"), vec![IN, OUT]),
            (format!("ifindex {vb}"), vec![]),
            (format!("(inbound and ifindex {va}) or (outbound and udp port 4)"), vec![IN]),
        ] {
            for (name, way) in every_way("va") {
                let mut capture = opened(&way, &Filters::from_text(&expression).unwrap());
                assert_eq!(directions(&mut capture, expected.len()), expected, "{expression} on {name}");
            }
        }
        // On `any` both devices see each frame, and eBPF reports the frame once.
        for kind in [Kind::Ebpf, Kind::AfPacket, Kind::Pcap] {
            let mut capture = opened(&interface("any", kind), &Filters::from_text(&format!("inbound and udp and ifindex {va}")).unwrap());
            assert_eq!(directions(&mut capture, 1), [IN], "{kind:?} on any");
        }
    });
}

/// An IPv6 packet with a hop-by-hop header before UDP.
fn with_extension() -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 0xbb, 2, 0, 0, 0, 0, 0xaa, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 0, 64];
    frame.extend([0xfd; 16]);
    frame.extend([0xfe; 16]);
    frame.extend([17, 0, 5, 2, 0, 0, 1, 0, 0, 9, 0, 53, 0, 8, 0, 0]);
    frame
}

#[test]
fn what_the_kernel_does_not_run_is_filtered_in_user_space() {
    in_a_network("what_the_kernel_does_not_run_is_filtered_in_user_space", || {
        let expression = "ip6 protochain 17 or udp dst port 9999";
        let filters = Filters::from_text(expression).unwrap();
        assert!(filters.ethernet.as_ref().unwrap().only_in_user_space().is_some(), "{expression}");
        let expected = [udp(&[], 1, WANTED, 40), with_extension()];
        let frames = [udp(&[], 1, WANTED, 40), udp(&[], 2, OTHER, 40), with_extension()];
        for (name, way) in every_way("va") {
            let mut capture = opened(&way, &filters);
            send_all("vb", &frames);
            let seen = collect(&mut capture.sources, expected.len(), |frame| Some(whole(&frame)));
            assert_eq!(counted(seen), counted(expected.clone()), "{name}");
            let stats = stats(&mut capture.sources, capture.control.as_ref());
            assert_eq!(stats.copied, expected.len() as u64, "{name}: {stats:?}");
            // Replace the filter by one that the kernel runs, and then by the first filter again.
            for (filter, expected) in [(Filters::from_text("udp dst port 9999").unwrap(), 1), (filters.clone(), expected.len())] {
                capture.control.set_filter(&filter).unwrap();
                collect(&mut capture.sources, 0, |_| Some(()));
                send_all("vb", &frames);
                let seen = collect(&mut capture.sources, expected, |frame| port(&frame));
                assert_eq!(seen.len(), expected, "{name} after a swap: {seen:?}");
            }
        }
    });
}
