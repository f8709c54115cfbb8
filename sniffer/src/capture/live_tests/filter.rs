//! Tests that replace the filter while packets flow, on every backend.

use super::*;
use crate::capture::{
    Link,
    filter::{
        FilterSpec, Vlans,
        cbpf::{Instruction, Program},
    },
    libpcap::for_tests::{attached, expected},
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// Settings for every backend and hook on one device, and for those backends that make a different filter on `any`.
fn every_way_and_any() -> Vec<(String, Interface)> {
    let mut ways = every_way("va");
    for kind in [Kind::Ebpf, Kind::AfPacket, Kind::Pcap] {
        ways.push((format!("{kind:?} on any"), interface("any", kind)));
    }
    ways
}

#[test]
fn a_filter_is_replaced_without_losing_a_packet() {
    in_a_network("a_filter_is_replaced_without_losing_a_packet", || {
        const ROUNDS: usize = 5;
        // The packets that the test sends match every one of these filters.
        let filters = [wanted(true), Filters::from_text("udp").unwrap(), Filters::default(), wanted(false)];
        for (name, way) in every_way_and_any() {
            let Capture { mut sources, control, .. } = opened(&Interface { buffer_size_mb: 64, ..way }, &wanted(false));
            let (sender, frame, stop) = (Sender::new("vb"), udp(&[], 7, WANTED, 20), Arc::new(AtomicBool::new(false)));
            let stopped = Arc::clone(&stop);
            let sender = thread::spawn(move || {
                let mut sent = 0;
                while !stopped.load(Ordering::Relaxed) {
                    (0..20).for_each(|_| sender.send(&frame));
                    sent += 20;
                    // The sender is slow enough that the ring does not fill while a filter is loaded.
                    thread::sleep(Duration::from_micros(200));
                }
                sent
            });
            let va = devices::resolve("va").unwrap().ifindex;
            // On `any` a frame is also seen as outgoing on vb. Only the eBPF backend recognises it as a duplicate.
            let mut seen = 0;
            let mut count = |frame: Frame<'_>| {
                seen += usize::from(port(&frame) == Some(WANTED) && (name == "Ebpf on any" || frame.ifindex == va));
            };
            for _ in 0..ROUNDS {
                for filter in &filters {
                    control.set_filter(filter).unwrap();
                    for source in &mut sources {
                        source.poll(Duration::from_millis(1), &mut count).unwrap();
                    }
                }
            }
            stop.store(true, Ordering::Relaxed);
            let sent = sender.join().unwrap();
            collect(&mut sources, 1, |frame| {
                count(frame);
                None::<()>
            });
            let stats = stats(&mut sources, control.as_ref());
            assert_eq!((seen, stats.lost), (sent, 0), "{name}");
            assert!(sent > ROUNDS * filters.len(), "{name}: {sent} sent only");
        }
    });
}

/// A filter that every backend refuses: libpcap cannot parse the text, and the eBPF program is longer than a jump can
/// span.
fn refused() -> Filters {
    let load = Instruction { code: 0x40, jt: 0, jf: 0, k: 1 };
    let mut program = vec![load; 4095];
    program.push(Instruction { code: 0x06, jt: 0, jf: 0, k: 65_535 });
    let program = Some(Program::new(&program).unwrap());
    let text = "port eighty three".to_owned();
    Filters { user: Some(text.clone()), text_raw_ip: text.clone(), text, ethernet: program.clone(), raw_ip: program, ..Filters::default() }
}

#[test]
fn the_filter_in_force_decides_and_a_refused_one_changes_nothing() {
    in_a_network("the_filter_in_force_decides_and_a_refused_one_changes_nothing", || {
        for (name, way) in every_way_and_any() {
            let filter = |port: u16| Filters::from_text(&format!("udp dst port {port}")).unwrap();
            let Capture { mut sources, control, .. } = opened(&way, &filter(WANTED));
            let both = [udp(&[], 1, WANTED, 40), udp(&[], 1, OTHER, 40)];
            let va = devices::resolve("va").unwrap().ifindex;
            let mut seen = || {
                // libpcap installs a new filter at its next poll.
                sources.iter_mut().for_each(|source| {
                    source.poll(Duration::ZERO, &mut |_| {}).unwrap();
                });
                send_all("vb", &both);
                collect(&mut sources, 1, |frame| port(&frame).filter(|_| name == "Ebpf on any" || frame.ifindex == va))
            };
            assert_eq!(seen(), [WANTED], "{name}");
            control.set_filter(&filter(OTHER)).unwrap();
            assert_eq!(seen(), [OTHER], "{name}");
            let error = control.set_filter(&refused()).map_err(|error| error.to_string());
            assert!(error.is_err(), "{name}");
            assert_eq!(seen(), [OTHER], "{name}: {error:?}");
            control.set_filter(&Filters::default()).unwrap();
            assert_eq!(seen(), [WANTED, OTHER], "{name}");
        }
    });
}

/// The program that this backend attaches directly equals the program that libpcap attaches.
#[test]
fn a_program_for_libpcaps_socket() {
    in_a_network("a_program_for_libpcaps_socket", || {
        let _tun = tun("tun7");
        run("ip link set tun7 up");
        for device in ["va", "lo", "tun7", "any"] {
            for expression in ["", "udp port 53", "tcp portrange 1-10 or icmp6", "greater 100 and not arp", &wanted(false).text_raw_ip] {
                let mut config = libpcap::Config { device: device.to_owned(), ifindex: 0, snaplen: 2000, buffer_bytes: 1 << 20 };
                config.ifindex = devices::resolve(device).unwrap().ifindex;
                let source = Libpcap::open(&config, &Slot::new(expression.into()), Arc::default()).unwrap();
                let link = source.link();
                assert_eq!(link == Link::LinuxSll2, device == "any", "{link:?}");
                assert_eq!(expected(&source, &expression.into()), attached(&source), "{device} ({link:?}): {expression}");
            }
        }
    });
}

/// Tagged frames pass like untagged ones by default, and not at all with `with_vlans: false`, whatever the device does with tags.
#[test]
fn tagged_frames_are_alike_on_every_backend() {
    in_a_network("tagged_frames_are_alike_on_every_backend", || {
        let users = |expression: &str, vlans| {
            Filters::new(&FilterSpec { user_expression: Some(expression.to_owned()), vlans, ..FilterSpec::default() }).unwrap()
        };
        let frames: Vec<_> = [&[][..], &[DOT1Q], &[SERVICE, DOT1Q]]
            .into_iter()
            .flat_map(|tags| [udp(tags, tags.len() as u16, WANTED, 40), udp(tags, tags.len() as u16, OTHER, 40)])
            .collect();
        for (what, filter, expected) in [
            ("generated", wanted(true), 3),
            ("generated, without tags", wanted(false), 1),
            ("a user's", users("udp dst port 9999", Vlans::Match), 3),
            ("a user's negation", users("ip and not udp dst port 1111", Vlans::Match), 3),
            ("a user's, without tags", users("ip and not udp dst port 1111", Vlans::Reject), 1),
            ("a user's with tags", users("vlan and udp", Vlans::Match), 2),
        ] {
            for (name, way) in every_way("va") {
                let mut capture = opened(&way, &filter);
                send_all("vb", &frames);

                let seen = collect(&mut capture.sources, expected, |frame| {
                    let frame = whole(&frame);
                    let tags = frame[12..].chunks(4).take_while(|tag| matches!(tag[0], 0x81 | 0x88)).count();
                    let at = 36 + 4 * tags;
                    Some((tags, u16::from_be_bytes([frame[at], frame[at + 1]])))
                });
                // `vlan` shifts the offsets by one tag, so the expression matches UDP after one tag, whatever the port.
                let right = seen.iter().all(|(tags, port)| if what == "a user's with tags" { *tags == 1 } else { *port == WANTED });
                assert!(seen.len() == expected && right, "{what} on {name}: {seen:?}");
            }
        }
    });
}
