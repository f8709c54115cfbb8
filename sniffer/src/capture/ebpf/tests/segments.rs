//! Tests of the number of segments in a record, for packets that the kernel merged (GRO) or has not yet split (GSO).
#![allow(unsafe_code)] // a packet socket that sends unsplit segments

use super::*;
use crate::capture::Segments;
use std::{io, os::fd::AsRawFd};

/// Sends a TCP segment with `payload` bytes that the device is to split into segments of `size` bytes.
fn send_unsplit(device: &str, payload: usize, size: u16) {
    let segment = [&[0, 9, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0][..], &vec![b'x'; payload]].concat();
    let frame = [&[2, 0, 0, 0, 0, 0xbb, 2, 0, 0, 0, 0, 0xaa, 8, 0][..], &ipv4(6, 0, [[10, 77, 0, 1], [10, 77, 1, 2]], &segment)].concat();
    // `virtio_net_hdr`: flags (checksum needed), type (TCP over IPv4), header length, segment size, checksum start and
    // offset.
    let (needs_checksum, tcp_v4) = (1, 1);
    let mut message = vec![needs_checksum, tcp_v4];
    message.extend([54, size, 34, 16].iter().flat_map(|n| n.to_ne_bytes()));
    message.extend(frame);
    let socket = sys::packet_socket().unwrap();
    let on = 1_i32;
    // SAFETY: the socket is open, and the option has four bytes and lives for the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_VNET_HDR, (&raw const on).cast(), size_of_val(&on) as u32)
    };
    assert_eq!(result, 0, "PACKET_VNET_HDR: {}", io::Error::last_os_error());
    // SAFETY: `sockaddr_ll` consists of integers, for which all bytes zero are valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = interface_index(device).unwrap() as i32;
    address.sll_protocol = (libc::ETH_P_IP as u16).to_be();
    // SAFETY: message and address live until the call returns.
    let sent = unsafe {
        let (address, size) = ((&raw const address).cast(), size_of_val(&address) as u32);
        libc::sendto(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0, address, size)
    };
    assert_eq!(sent, message.len() as isize, "sendto: {}", io::Error::last_os_error());
}

#[test]
fn a_record_says_how_many_segments_it_is() {
    in_a_network("a_record_says_how_many_segments_it_is", || {
        for hook in [HookSetting::Tc, HookSetting::Socket] {
            // For a packet sent from user space the kernel knows only the segment size, until the device accepts the
            // packet.
            let sent = if hook == HookSetting::Tc { Segments::OfSize(1000) } else { Segments::Count(3) };
            for (device, expected) in [("va", sent), ("vb", Segments::Count(3))] {
                let (mut sources, _control) = open(&on(device, hook), &Filters::default()).unwrap();
                send_unsplit("va", 2500, 1000);
                send_all("va", &[udp(&[], 7, WANTED, 40)]);
                let mut have = collect(&mut sources, 2, |frame| Some((frame.wire_len, frame.segments)));
                have.sort_by_key(|frame| frame.0);
                assert_eq!(have, [(82, Segments::default()), (14 + 20 + 20 + 2500, expected)], "{device} {hook:?}");
            }
        }
    });
}
