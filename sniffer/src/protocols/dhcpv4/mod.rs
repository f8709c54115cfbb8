//! DHCPv4: each message is one event; offers and requests are not paired.

mod event;
mod fields;
mod names;
mod wire;

use super::{CommonOptions, Context, Plugin, Probe, Protocol};
use crate::{
    event::{Head, Summary},
    net::{Direction, Transport},
};
use event::{Body, Fields};
use std::net::IpAddr;
use wire::Message;

/// The protocol `dhcpv4`.
pub const PROTOCOL: Protocol = Protocol {
    name: "dhcpv4",
    ports: &[67, 68],
    transports: &[Transport::Udp],
    default_ports: true,
    open: |node| {
        // The common options are read only to report errors in them. They have no effect, because each message is an
        // event.
        let _: CommonOptions = node.read()?;
        Ok(Box::new(Dhcp))
    },
    probe: |_, data| {
        let magic = data.get(wire::FIXED..).and_then(|rest| rest.first_chunk());
        if magic == Some(&wire::MAGIC) { Probe::Yes } else { Probe::No }
    },
    fields: fields::FIELDS,
    summary: Summary { query: &["{dhcpv4.option.message_type}"], ..Summary::HEAD },
};

struct Dhcp;

/// The value of `op` in a message to the client.
const REPLY: u8 = 2;

impl Plugin for Dhcp {
    fn on_datagram(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) {
        cx.count("total_packets");
        let Some(message) = Message::parse(data, cx.missing() > 0) else {
            return cx.count("parse_failures");
        };
        // Both ports may be the protocol's, so the message, not the ports, determines the direction.
        let way = if message.op == REPLY { Direction::ToClient } else { Direction::ToServer };
        if dir != way {
            cx.flip();
        }
        let mut related = [message.client_ip; 3];
        let mut count = 0;
        for ip in [message.client_ip, message.assigned_ip, message.relay_ip].into_iter().filter(|ip| !ip.is_unspecified()) {
            related[count] = ip;
            count += 1;
        }
        let related = related.map(IpAddr::V4);
        let head = Head {
            from: way,
            start: Some(cx.now()),
            source_bytes: data.len() as u64 + u64::from(cx.missing()),
            related_ips: &related[..count],
            ..Head::new("dhcpv4")
        };
        cx.emit(&head, &Body { dhcpv4: Fields(&message) });
    }

    /// The plugin holds nothing, because no requests are kept.
    fn held(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::{wire::tests::message, *};
    use crate::protocols::testing::{Harness, ToServer};
    use serde_json::json;

    #[test]
    fn a_reply_goes_to_the_client() {
        let mut h = Harness::new(&PROTOCOL, "{}");
        h.peers.client = "10.0.0.9:67".parse().unwrap(); // the sender
        h.peers.server = "10.0.0.1:68".parse().unwrap();
        let mut reply = message(2, &[53, 1, 2, 51, 4, 0, 0, 0, 0, 2, 4, 0xff, 0xff, 0xff, 0xff, 124, 6, 0, 0, 0, 9, 1, 0xab, 255]);
        reply[16..20].copy_from_slice(&[10, 0, 0, 1]);
        let e = h.datagram(ToServer, &reply).events();
        assert_eq!(e.len(), 1);
        let length = reply.len();
        assert_eq!(e[0]["source"], json!({"ip": "10.0.0.9", "port": 67, "bytes": length}));
        assert_eq!((&e[0]["server"], &e[0]["client"]), (&e[0]["source"], &json!({"ip": "10.0.0.1", "port": 68})));
        assert_eq!(
            e[0]["dhcpv4"],
            json!({"op_code": "bootreply", "hardware_type": "Ethernet", "hops": 0, "transaction_id": "0x00003d1d", "seconds": 5,
                "flags": "broadcast", "client_mac": "00-0B-82-01-FC-42", "assigned_ip": "10.0.0.1",
                "option": {"message_type": "offer", "utc_time_offset_sec": -1, "vendor_identifying_options": [{"id": 9, "data": "ab"}]}})
        );
    }

    #[test]
    fn texts_lists_and_names() {
        let mut h = Harness::new(&PROTOCOL, "{}");
        let options = [
            &[53, 1, 99, 55, 4, 1, 51, 156, 84, 12, 4, b'h', b'o', 0, 0, 15, 3, b'a', b'b', 0][..],
            &[4, 3, 1, 2, 3, 3, 8, 1, 1, 1, 1, 2, 2, 2, 2, 57, 2, 5, 0xdc, 255],
        ]
        .concat();
        let mut request = message(7, &options);
        request[10..12].copy_from_slice(&[0, 2]);
        let e = h.datagram(ToServer, &request).events();
        assert_eq!(
            (&e[0]["dhcpv4"]["op_code"], &e[0]["dhcpv4"]["flags"]),
            (&json!("unknown (7)"), &json!("unicast (reserved bits not zeroed)"))
        );
        assert_eq!(
            e[0]["dhcpv4"]["option"],
            json!({"message_type": "unknown (99)", "parameter_request_list": ["Subnet Mask", "IP Addresses Lease Time", "DHCP Staet", "unknown (84)"],
                "hostname": "ho", "domain_name": "ab\0", "router": ["1.1.1.1", "2.2.2.2"], "max_dhcp_message_size": 1500})
        );
        h.datagram(ToServer, &request[..300 - 50]);
        assert_eq!((h.counted("total_packets"), h.counted("parse_failures")), (2, 1));
    }

    #[test]
    fn a_cut_message_is_reported_with_its_captured_fields() {
        let whole = message(1, &[53, 1, 1, 55, 2, 1, 3, 255]);
        for (captured, kind) in [(whole.len() - 4, json!("discover")), (96, json!(null)), (44, json!(null))] {
            let mut h = Harness::new(&PROTOCOL, "{}");
            let e = h.cut_datagram(ToServer, &whole[..captured], (whole.len() - captured) as u32).events();
            assert_eq!((e.len(), h.counted("parse_failures")), (1, 0), "{captured} bytes");
            assert_eq!((&e[0]["source"]["bytes"], &e[0]["dhcpv4"]["client_mac"]), (&json!(whole.len()), &json!("00-0B-82-01-FC-42")));
            assert_eq!(e[0]["dhcpv4"]["option"]["message_type"], kind, "{captured} bytes");
        }
        let mut h = Harness::new(&PROTOCOL, "{}");
        h.cut_datagram(ToServer, &whole[..43], 1);
        assert_eq!((h.events().len(), h.counted("parse_failures")), (0, 1));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic() {
        let whole = message(1, &[53, 1, 1, 124, 6, 0, 0, 0, 9, 1, 0xab, 52, 1, 3, 255]);
        for at in 0..whole.len() {
            for flip in [1, 0x80, 0xff] {
                let mut h = Harness::new(&PROTOCOL, "{}");
                let mut changed = whole.clone();
                changed[at] ^= flip;
                h.datagram(ToServer, &changed).datagram(ToServer, &whole[..at]);
            }
        }
    }
}
