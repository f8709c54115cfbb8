//! Tests of TC programs in a clsact qdisc, as on kernels before 6.6. Other programs have filters and qdiscs on the same device, or killed
//! runs left filters behind.

use super::*;
use crate::capture::ebpf::{
    qdisc::for_tests::{add, names},
    sys::{TC, load},
};
use crate::capture::filter::ebpf::Insn;
use std::{os::fd::AsFd, process::Command};

fn qdiscs() -> String {
    String::from_utf8(Command::new("tc").args(["qdisc", "show", "dev", "vb"]).output().unwrap().stdout).unwrap()
}

/// Captures on `vb` through clsact.
fn capture() -> (Vec<Box<dyn Source>>, Arc<EbpfControl>) {
    let (interface, device) = (on("vb", HookSetting::Tc), devices::resolve("vb").unwrap());
    let (loaded, rings, ..) = Loaded::new(&interface, &device, &wanted(false), false).unwrap();
    let mut attachments = Attachments::new(loaded);
    attachments.attach_with(&device, &interface, true).unwrap();
    let control = Arc::new(EbpfControl::new(attachments, None, None));
    let sources = rings.into_iter().map(|ring| -> Box<dyn Source> { Box::new(RingSource::new(ring, Arc::clone(&control), None)) });
    (sources.collect(), control)
}

/// Sends one packet in each direction, and fails if the capture sees other packets than these two.
fn sees_both(sources: &mut [Box<dyn Source>], what: &str) {
    send_all("va", &[udp(&[], 7, WANTED, 40)]);
    send_all("vb", &[udp(&[], 8, WANTED, 40)]);
    assert_eq!(collect(sources, 2, |_| Some(())).len(), 2, "{what}: {:?}", names(interface_index("vb").unwrap()));
}

/// A program that accepts every packet (`TC_ACT_OK`), so that later filters do not see it.
fn accepts() -> std::os::fd::OwnedFd {
    load(TC, &[Insn { code: 0xb7, ..Insn::default() }, Insn { code: 0x95, ..Insn::default() }], "other").unwrap()
}

#[test]
fn a_clsact_of_ours_goes_and_one_of_others_stays() {
    in_a_network("a_clsact_of_ours_goes_and_one_of_others_stays", || {
        for others in [false, true] {
            if others {
                run("tc qdisc add dev vb clsact");
            }
            let (mut sources, control) = capture();
            assert!(qdiscs().contains("clsact"), "{}", qdiscs());
            assert_eq!(control.hooks(), ["vb: tc (clsact)"]);
            sees_both(&mut sources, "a clsact qdisc");
            drop((sources, control));
            assert_eq!(qdiscs().contains("clsact"), others, "{}", qdiscs());
        }
    });
}

#[test]
fn filters_that_accept_packets_do_not_hide_them() {
    in_a_network("filters_that_accept_packets_do_not_hide_them", || {
        run("tc qdisc add dev vb clsact");
        let vb = interface_index("vb").unwrap();
        let other = accepts();
        for (priority, protocol) in [(0, libc::ETH_P_ALL), (1, libc::ETH_P_ALL), (7, libc::ETH_P_IP)] {
            add(vb, other.as_fd(), "other", priority, protocol);
            let (mut sources, _control) = capture();
            sees_both(&mut sources, &format!("a filter with priority {priority} was there"));
        }
        let (mut sources, _control) = capture();
        add(vb, other.as_fd(), "later", 0, libc::ETH_P_ALL);
        sees_both(&mut sources, "a filter was added later");
    });
}

#[test]
fn where_no_program_can_be_first_a_packet_socket_is_used() {
    in_a_network("where_no_program_can_be_first_a_packet_socket_is_used", || {
        run("tc qdisc add dev vb clsact");
        add(interface_index("vb").unwrap(), accepts().as_fd(), "other", 1, libc::ETH_P_IP);
        let (mut sources, control) = capture();
        assert_eq!(control.hooks(), ["vb: socket filter"], "its first priority is taken");
        sees_both(&mut sources, "the first priority is taken");
        drop((sources, control));
        run("tc qdisc del dev vb clsact");
        run("tc qdisc add dev vb ingress");
        let (mut sources, control) = capture();
        assert_eq!(control.hooks(), ["vb: socket filter"], "a qdisc without an egress side");
        sees_both(&mut sources, "a qdisc without an egress side");
        drop((sources, control));
        assert!(qdiscs().contains("ingress"), "{}", qdiscs());
    });
}

#[test]
fn programs_that_somebody_removed_are_attached_again() {
    in_a_network("programs_that_somebody_removed_are_attached_again", || {
        let (mut sources, control) = capture();
        let mut watch = Watch::new(&on("vb", HookSetting::Tc), &devices::resolve("vb").unwrap());
        for command in ["tc qdisc del dev vb clsact", "tc filter del dev vb ingress"] {
            run(command);
            send_all("va", &[udp(&[], 7, WANTED, 40)]);
            assert_eq!(collect(&mut sources, 0, |_| Some(())).len(), 0, "{command}");
            watch.look(&control, Instant::now());
            sees_both(&mut sources, command);
        }
        drop((sources, control));
        assert!(!qdiscs().contains("clsact"), "{}", qdiscs());
    });
}

#[test]
fn what_a_killed_run_left_is_removed_and_what_others_have_is_not() {
    in_a_network("what_a_killed_run_left_is_removed_and_what_others_have_is_not", || {
        run("tc qdisc add dev vb clsact");
        let vb = interface_index("vb").unwrap();
        add(vb, accepts().as_fd(), "sniffer-0123456789abcdef", 1, libc::ETH_P_ALL);
        add(vb, accepts().as_fd(), "others", 0, libc::ETH_P_ALL);
        let (mut first, first_control) = capture();
        assert_eq!(names(vb).len(), 2, "{:?}", names(vb));
        let (mut second, second_control) = capture();
        let all = names(vb);
        assert_eq!((all.len(), all.last().map(String::as_str)), (3, Some("others")), "two that run, and others': {all:?}");
        sees_both(&mut first, "the first of two captures");
        assert_eq!(collect(&mut second, 2, |_| Some(())).len(), 2, "the second of two captures");
        drop((first, first_control, second, second_control));
        assert_eq!(names(vb), ["others"]);
    });
}
