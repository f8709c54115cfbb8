//! Tests of the generated expression: its text, and which packets it matches.

use super::*;
use crate::capture::Link;

fn packetbeats() -> FilterSpec {
    let ports = vec![
        Ports::one(80, Transports::Tcp),
        Ports::one(53, Transports::Both),
        Ports { first: 8000, last: 8010, transports: Transports::Tcp },
    ];
    FilterSpec { ports, icmp: true, ..FilterSpec::default() }
}

#[test]
fn the_text_of_the_generated_expression() {
    let icmp = FilterSpec { icmp: true, ..FilterSpec::default() };
    assert_eq!(icmp.expression(), "icmp or icmp6");
    let want = "tcp port 80 or port 53 or tcp portrange 8000-8010 or icmp or icmp6 or ";
    assert!(packetbeats().expression().starts_with(want), "want {want}\nhave {}", packetbeats().expression());
    assert_eq!(FilterSpec { user_expression: Some("vlan 7".into()), ..packetbeats() }.expression(), "vlan 7");
    assert_eq!(FilterSpec { everything: true, ..FilterSpec::default() }.expression(), "");
    assert_eq!(
        FilterSpec { icmp: true, vlans: Vlans::Match, ..FilterSpec::default() }.expression(),
        "icmp or icmp6 or (vlan and (icmp or icmp6 or (vlan and (icmp or icmp6))))"
    );
}

fn ipv4(fragment: u16, protocol: u8, tags: &[[u8; 4]], ports: [u16; 2]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend(tags.concat());
    frame.extend([8, 0, 0x45, 0, 0, 40, 0, 1]);
    frame.extend(fragment.to_be_bytes());
    frame.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
    frame.extend([0; 20]);
    frame
}

#[test]
fn the_frames_that_the_generated_expression_matches() {
    let tag = [0x81, 0, 0, 7];
    let service = [0x88, 0xa8, 0, 9];
    let cases: &[(&str, Vec<u8>, bool, bool)] = &[
        // name, frame, matches, matches with VLANs
        ("http", ipv4(0, 6, &[], [40_000, 80]), true, true),
        ("udp on a tcp port", ipv4(0, 17, &[], [40_000, 80]), false, false),
        ("in the range", ipv4(0, 6, &[], [8010, 4]), true, true),
        ("outside", ipv4(0, 6, &[], [8011, 4]), false, false),
        ("icmp", ipv4(0, 1, &[], [0, 0]), true, true),
        ("a later fragment", ipv4(0x2003, 17, &[], [1, 2]), true, true),
        ("a later fragment of something else", ipv4(0x2003, 47, &[], [1, 2]), false, false),
        ("one tag", ipv4(0, 6, &[tag], [40_000, 80]), false, true),
        ("one tag, outside", ipv4(0, 6, &[tag], [40_000, 81]), false, false),
        ("QinQ", ipv4(0, 6, &[service, tag], [40_000, 80]), false, true),
        ("a later fragment in QinQ", ipv4(2, 6, &[tag, tag], [9, 9]), false, true),
    ];
    let mut spec = packetbeats();
    for vlans in [false, true] {
        spec.vlans = if vlans { Vlans::Match } else { Vlans::Reject };
        let filters = Filters::new(&spec).unwrap();
        for (name, frame, plain, with_vlans) in cases {
            let want = if vlans { *with_vlans } else { *plain };
            let got = filters.ethernet.as_ref().unwrap().matches(frame, frame.len() as u32, None);
            assert_eq!(got, want, "{name}, vlans {vlans}: {}", filters.text);
            if frame[12] == 8 {
                let got = filters.raw_ip.as_ref().unwrap().matches(&frame[14..], frame.len() as u32 - 14, None);
                assert_eq!(got, want, "{name} as raw IP");
            }
        }
    }
}

#[test]
fn a_filter_for_no_protocol_matches_no_frame() {
    let filters = Filters::new(&FilterSpec::default()).unwrap();
    assert!(!filters.ethernet.unwrap().matches(&[0; 60], 60, None));
}

/// A user's expression with a negation, which no tagged frame may pass because of its tag.
#[test]
fn a_users_expression_behind_tags() {
    let (tag, service) = ([0x81, 0, 0, 7], [0x88, 0xa8, 0, 9]);
    let stacks: [&[[u8; 4]]; 4] = [&[], &[tag], &[service, tag], &[tag, tag]];
    for (expression, port_80, port_22) in [("tcp port 80", true, false), ("not tcp port 22", true, false), ("ip", true, true)] {
        for (vlans, tagged) in [(Vlans::Match, true), (Vlans::Reject, false)] {
            let spec = FilterSpec { user_expression: Some(expression.to_owned()), vlans, ..FilterSpec::default() };
            let filters = Filters::new(&spec).unwrap();
            for tags in stacks {
                for (port, wanted) in [(80, port_80), (22, port_22)] {
                    let frame = ipv4(0, 6, tags, [40_000, port]);
                    let got = filters.ethernet.as_ref().unwrap().matches(&frame, frame.len() as u32, None);
                    let want = wanted && (tagged || tags.is_empty());
                    assert_eq!(got, want, "port {port}, {} tags, {vlans:?}: {}", tags.len(), filters.text);
                }
            }
        }
    }
    let written = FilterSpec { user_expression: Some("vlan 7 and tcp".to_owned()), vlans: Vlans::Match, ..FilterSpec::default() };
    assert_eq!(written.expression(), "vlan 7 and tcp");
}

/// The program that [`super::cbpf`] makes for tagged frames equals libpcap's program for the same expression.
#[test]
fn the_program_behind_tags_and_the_expression_agree() {
    let generated = FilterSpec { vlans: Vlans::Match, ..packetbeats() };
    let users =
        |expression: &str| FilterSpec { user_expression: Some(expression.to_owned()), vlans: Vlans::Match, ..FilterSpec::default() };
    let mut matches = 0;
    for spec in
        [generated, users("not tcp port 80 and ip"), users("host 10.0.0.1 and udp"), users("ether src 02:02:02:02:02:02 and port 53")]
    {
        let filters = Filters::new(&spec).unwrap();
        let (made, written) = (filters.ethernet.unwrap(), Program::compile(&filters.text, Link::Ethernet).unwrap());
        for frame in differential::packets() {
            let len = frame.len() as u32;
            // The made program reads the EtherType first, and so matches no frame without one.
            let want = written.matches(&frame, len, None) && len >= 14;
            assert_eq!(made.matches(&frame, len, None), want, "{}: {frame:02x?}", filters.text);
            matches += usize::from(want);
        }
    }
    assert!(matches > 200, "{matches}");
    let hosts = (0..400).map(|n| format!("host 10.0.{}.{}", n / 250, n % 250 + 1)).collect::<Vec<_>>().join(" or ");
    let long = Program::compile(&hosts, Link::Ethernet).unwrap();
    assert_eq!(long.behind_tags(), None, "{} instructions", long.ops().len());
}

#[test]
fn a_program_that_is_too_long_for_the_kernel() {
    let hosts = (0..300).map(|n| format!("host 10.0.{}.{}", n / 250, n % 250 + 1)).collect::<Vec<_>>().join(" or ");
    let program = Program::compile_with(&hosts, Link::Ethernet, false).unwrap();
    assert!(program.ops().len() > cbpf::MAX_INSTRUCTIONS, "{}", program.ops().len());
    assert_eq!(program.only_in_user_space(), Some("it has more than 4096 instructions"));
    let frame = ipv4(0, 6, &[], [1, 2]);
    assert!(program.matches(&frame, frame.len() as u32, None), "10.0.0.1 is in the list");
}
