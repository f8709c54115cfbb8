//! Tests of the state machine: records and fragments, pairing by transaction id, gaps, datagrams, and callbacks.

use super::{PROTOCOL, wire::tests::*};
use crate::protocols::{
    Close,
    testing::{Harness, ToClient, ToServer, every_cut},
};
use serde_json::json;

fn record(message: &[u8]) -> Vec<u8> {
    [&words(&[0x8000_0000 | message.len() as u32])[..], message].concat()
}

/// The same data in fragments of these lengths, and one fragment with the rest.
fn fragments(message: &[u8], lengths: &[usize]) -> Vec<u8> {
    let (mut out, mut rest) = (vec![], message);
    for &n in lengths {
        let (fragment, after) = rest.split_at(n);
        out.extend(words(&[n as u32]));
        out.extend(fragment);
        rest = after;
    }
    out.extend(record(rest));
    out
}

fn lookup(xid: u32) -> Vec<u8> {
    call(xid, 3, 3, &words(&[4, 1, 1, 0x6100_0000]))
}

fn reply(xid: u32, status: u32) -> Vec<u8> {
    words(&[xid, 1, 0, 0, 0, 0, status, 1, 2, 3])
}

fn lines(events: &[serde_json::Value]) -> Vec<String> {
    let line = |e: &serde_json::Value| {
        let text = |v: &serde_json::Value| v.as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {}", text(&e["rpc"]["xid"]), text(&e["nfs"]["opcode"]), text(&e["nfs"]["status"]), text(&e["status"]))
    };
    events.iter().map(line).collect()
}

#[test]
fn a_call_and_its_reply() {
    let events = every_cut(&PROTOCOL, "{}", &[(ToServer, &record(&lookup(0xa1))), (ToClient, &record(&reply(0xa1, 2)))]);
    let e = &events[0];
    assert_eq!(events.len(), 1);
    assert_eq!(e["nfs"], json!({"version": 3, "opcode": "LOOKUP", "status": "NFSERR_NOENT"}));
    assert_eq!(
        e["rpc"],
        json!({"xid": "000000a1", "status": "success", "auth_flavor": "unix",
            "cred": {"stamp": 7, "machinename": "ani", "uid": 500, "gid": 501, "gids": [502]}})
    );
    assert_eq!((&e["host.hostname"], &e["user.id"], &e["group.id"]), (&json!("ani"), &json!(500), &json!(501)));
    assert_eq!((&e["event"]["action"], &e["network"]["protocol"]), (&json!("nfs.LOOKUP"), &json!("nfsv3")));
    assert_eq!(e["source"], json!({"ip": "10.0.0.1", "port": 40000, "bytes": 84, "domain": "ani"}));
    assert_eq!(e["destination"]["bytes"], json!(40));
}

#[test]
fn several_fragments_and_several_records() {
    let asks = [fragments(&lookup(1), &[2, 0, 9, 40]), record(&lookup(2)), fragments(&lookup(3), &[60])].concat();
    let answers = [fragments(&reply(3, 0), &[5]), record(&reply(1, 13)), fragments(&reply(2, 70), &[24])].concat();
    let events = every_cut(&PROTOCOL, "{}", &[(ToServer, &asks), (ToClient, &answers)]);
    assert_eq!(lines(&events), ["00000003 LOOKUP NFS_OK OK", "00000001 LOOKUP NFSERR_ACCESS OK", "00000002 LOOKUP NFSERR_STALE OK"]);
    assert!(events.iter().all(|e| e["source"]["bytes"] == 84 && e["destination"]["bytes"] == 40), "{events:#?}");
}

#[test]
fn compounds() {
    // The COMPOUND has the operations PUTROOTFH and GETATTR, and the tag "ls".
    let ask = call(7, 4, 1, &words(&[2, 0x6c73_0000, 1, 2, 24, 9, 1, 3]));
    let events = every_cut(&PROTOCOL, "{}", &[(ToServer, &record(&ask)), (ToClient, &record(&reply(7, 0)))]);
    assert_eq!(events[0]["nfs"], json!({"version": 4, "minor_version": 1, "tag": "ls", "opcode": "GETATTR", "status": "NFS_OK"}));
    assert_eq!(events[0]["network"]["protocol"], "nfsv4");
}

#[test]
fn a_large_write_and_a_gap_in_it_are_skipped() {
    let mut write = call(1, 3, 7, &words(&[4, 1, 0, 0, 1_000_000, 2, 1_000_000]));
    write.resize(write.len() + 1_000_000, 0x61);
    let write = record(&write);
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&write[..9000]).gap(ToServer, 900_000).client(&write[909_000..]).client(&record(&lookup(2)));
    h.server(&record(&reply(1, 0))).server(&record(&reply(2, 0)));
    assert_eq!(lines(&h.events()), ["00000001 WRITE NFS_OK OK", "00000002 LOOKUP NFS_OK OK"]);
}

#[test]
fn after_a_gap_the_next_record_is_found() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&record(&lookup(1))).client(&record(&lookup(2)));
    h.server(&record(&reply(1, 0))[..20]).gap(ToClient, 10).server(b"0123456789012345678901").server(&record(&reply(2, 0)));
    h.gap(ToServer, 5).client(&[&b"rest"[..], &record(&lookup(3))].concat()).server(&record(&reply(3, 0)));
    assert_eq!(lines(&h.events()), ["00000002 LOOKUP NFS_OK OK", "00000003 LOOKUP NFS_OK OK"]);
}

#[test]
fn a_start_inside_the_zeros_of_a_file_is_no_record() {
    for zeros in 30..34 {
        let mut h = Harness::new(&PROTOCOL, "{}").joined();
        h.server(&vec![0; zeros]).client(&record(&lookup(1))).server(&record(&reply(1, 0)));
        h.client(&record(&lookup(2))).server(&record(&reply(2, 0)));
        assert_eq!(lines(&h.events()), ["00000001 LOOKUP NFS_OK OK", "00000002 LOOKUP NFS_OK OK"], "{zeros}");
    }
}

#[test]
fn calls_without_replies() {
    let mut h = Harness::new(&PROTOCOL, "{transaction_timeout: 30s}");
    h.client(&record(&lookup(1))).at(29_000);
    assert_eq!(h.events().len(), 0);
    h.at(30_001);
    let events = h.events();
    assert_eq!(lines(&events), ["00000001 LOOKUP - NO_REPLY"]);
    assert_eq!((&events[0]["rpc"]["status"], h.counted("unmatched_requests")), (&json!(null), 1));
    h.server(&record(&reply(1, 0))).client(&record(&lookup(2))).close(ToServer, Close::Fin);
    assert_eq!((h.events().len(), h.counted("unmatched_responses")), (0, 1));
    h.close(ToClient, Close::Fin);
    assert_eq!(lines(&h.events()), ["00000002 LOOKUP - NO_REPLY"]);
}

#[test]
fn datagrams() {
    let mut h = Harness::new(&PROTOCOL, "{transaction_timeout: 5s}");
    h.datagram(ToServer, &lookup(1)).datagram(ToServer, &lookup(1)).datagram(ToClient, &reply(1, 0)).datagram(ToServer, b"no RPC");
    h.datagram(ToServer, &lookup(2)).at(5001);
    assert_eq!(lines(&h.events()), ["00000001 LOOKUP NFS_OK OK", "00000002 LOOKUP - NO_REPLY"]);
    assert_eq!((h.counted("retransmitted_requests"), h.counted("malformed")), (1, 1));
    // Until the call is parsed, the server's port is unknown.
    h.datagram(ToClient, &lookup(3));
    h.at(11_000);
    assert_eq!(h.events()[0]["source"]["ip"], "10.0.0.2");
}

#[test]
fn errors_of_rpc() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&record(&call(1, 3, 99, &[]))).server(&record(&words(&[1, 1, 0, 0, 0, 3])));
    let events = h.events();
    assert_eq!((&events[0]["rpc"]["status"], &events[0]["event"]["outcome"]), (&json!("proc_unavail"), &json!("failure")));
    assert_eq!(events[0]["nfs"], json!({"version": 3, "opcode": "ILLEGAL"}));
    h.client(&record(&lookup(2))).server(&record(&words(&[2, 1, 1, 1, 5])));
    assert_eq!((h.events().len(), h.counted("denied")), (0, 1));
}

#[test]
fn client_and_server_are_corrected_and_callbacks_counted() {
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&record(&reply(1, 0))).server(&record(&lookup(2))).client(&record(&reply(2, 0)));
    // The server sends a call to its client.
    h.client(&record(&words(&[5, 0, 2, 0x4000_0000, 1, 0, 0, 0, 0, 0]))).server(&record(&reply(5, 0)));
    let events = h.events();
    assert_eq!((lines(&events), &events[0]["source"]["ip"]), (vec!["00000002 LOOKUP NFS_OK OK".to_owned()], &json!("10.0.0.2")));
    assert_eq!(h.counted("unmatched_responses"), 0);
}

#[test]
fn tls_is_handed_over() {
    use crate::stream::pending::Outcome;
    let mut h = Harness::new(&PROTOCOL, "{}");
    h.client(&record(&words(&[1, 0, 2, 100_003, 4, 0, 7, 0, 0, 0])));
    h.server(&record(&[words(&[1, 1, 0, 0, 8]), b"STARTTLS".to_vec(), words(&[0])].concat()));
    assert_eq!((h.state, lines(&h.events())), (Outcome::HandOver("tls"), vec!["00000001 NULL NFS_OK OK".to_owned()]));
}

#[test]
fn a_start_anywhere_inside_a_message_is_no_record() {
    let compound = call(7, 4, 1, &words(&[2, 0x6c73_0000, 1, 2, 24, 9, 1, 3]));
    for ask in [lookup(7), compound] {
        let (ask, answer) = (record(&ask), record(&reply(7, 0)));
        for from in 1..ask.len() + answer.len() {
            let mut h = Harness::new(&PROTOCOL, "{}").joined();
            h.client(ask.get(from..).unwrap_or_default()).server(&answer[from.saturating_sub(ask.len())..]);
            h.events();
            for round in 1..6 {
                h.client(&ask).server(&answer);
                // In the first round the search may still pass over the reply.
                let events = h.events().len();
                assert!(round == 1 || events == 1, "from byte {from}, round {round}: {events} events");
            }
        }
    }
}
