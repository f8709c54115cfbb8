//! Tests with captures crafted byte by byte, and with invalid input: the program must report the right events, or a clear error.

use crate::harness::{Home, assert_success};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

const CONFIG: &str = "
name: crafted
packetbeat.protocols:
  - {type: icmp, enabled: true}
  - {type: dns, ports: [53]}
  - {type: http, ports: [80], include_body_for: [text]}
";
pub const CLIENT: u8 = 1;
pub const SERVER: u8 = 2;

/// An IPv4 packet from 10.0.0.`from` to the other host. `fragment` is the header field with the flags and the fragment offset.
pub fn ipv4(from: u8, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 7]); // All fragments have the same identification.
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 10, 0, 0, from, 10, 0, 0, 3 - from]);
    packet.extend(payload);
    packet
}

/// An IPv6 packet between the same hosts as in [`ipv4`], with a fragment header if `fragment` is given.
fn ipv6(from: u8, protocol: u8, fragment: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    if let Some(fragment) = fragment {
        body.extend([protocol, 0]);
        body.extend(fragment.to_be_bytes());
        body.extend([0, 0, 0, 9]);
    }
    body.extend(payload);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((body.len() as u16).to_be_bytes());
    packet.extend([if fragment.is_some() { 44 } else { protocol }, 64]);
    for last in [from, 3 - from] {
        packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend(body);
    packet
}

fn ethernet(tags: &[(u16, u16)], packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    for (kind, vlan) in tags {
        frame.extend(kind.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend(if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] });
    frame.extend(packet);
    frame
}

pub fn udp(from: u16, to: u16, data: &[u8]) -> Vec<u8> {
    let mut datagram = [from.to_be_bytes(), to.to_be_bytes(), (8 + data.len() as u16).to_be_bytes(), [0, 0]].concat();
    datagram.extend(data);
    datagram
}

/// The IPv4 packets of a TCP connection: handshake, data of both sides, and FINs.
pub struct Tcp {
    next: [u32; 2],
    packets: Vec<Vec<u8>>,
}

impl Tcp {
    pub fn open() -> Self {
        let mut tcp = Self { next: [u32::MAX - 10, 1000], packets: vec![] }; // The sequence numbers of the client wrap.
        tcp.segment(CLIENT, 2, b"");
        tcp.segment(SERVER, 18, b"");
        tcp.segment(CLIENT, 16, b"");
        tcp
    }

    fn segment(&mut self, from: u8, flags: u8, data: &[u8]) {
        let (mine, other) = (usize::from(from - 1), usize::from(2 - from));
        let (source, destination) = if from == CLIENT { (40000u16, 80u16) } else { (80, 40000) };
        let mut segment = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        segment.extend(self.next[mine].to_be_bytes());
        segment.extend(if flags & 16 == 0 { [0; 4] } else { self.next[other].to_be_bytes() });
        segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(data);
        self.packets.push(ipv4(from, 6, 0x4000, &segment));
        let counted = data.len() as u32 + u32::from(flags & 3 != 0);
        self.next[mine] = self.next[mine].wrapping_add(counted);
    }

    pub fn says(mut self, from: u8, data: &[u8]) -> Self {
        self.segment(from, 24, data);
        self
    }

    pub fn close(mut self) -> Vec<Vec<u8>> {
        self.segment(CLIENT, 17, b"");
        self.segment(SERVER, 17, b"");
        self.packets
    }
}

/// A pcap file with times in microseconds and one millisecond between packets.
fn pcap(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = [0xa1b2_c3d4u32.to_le_bytes(), [2, 0, 4, 0], [0; 4], [0; 4], 262_144u32.to_le_bytes(), link.to_le_bytes()].concat();
    for (i, frame) in frames.iter().enumerate() {
        file.extend(1_700_000_000u32.to_le_bytes());
        file.extend((i as u32 * 1000).to_le_bytes());
        file.extend((frame.len() as u32).to_le_bytes());
        file.extend((frame.len() as u32).to_le_bytes());
        file.extend(frame);
    }
    file
}

fn read(file: &[u8]) -> (Vec<Value>, std::process::Output) {
    let home = Home::new(CONFIG);
    let path: PathBuf = home.path().join("x.pcap");
    fs::write(&path, file).unwrap();
    let output = home.read_capture(&path);
    (home.documents(), output)
}

/// Returns `query status code notes` of each document, in the order in which the transactions began.
fn gists(file: &[u8]) -> Vec<String> {
    let (mut documents, output) = read(file);
    assert_success(&output);
    documents.sort_by_key(|d| d["@timestamp"].as_str().map(str::to_owned));
    let gist = |d: &Value| {
        let code = d["http"]["response"]["status_code"].as_u64().map(|c| format!(" {c}")).unwrap_or_default();
        let note = d["error"]["message"].as_str().map(|n| format!(" ({n})")).unwrap_or_default();
        format!("{} {}{code}{note}", d["query"].as_str().unwrap_or_default(), d["status"].as_str().unwrap_or_default())
    };
    documents.iter().map(gist).collect()
}

pub fn ethernet_file(packets: &[Vec<u8>]) -> Vec<u8> {
    pcap(1, &packets.iter().map(|p| ethernet(&[], p)).collect::<Vec<_>>())
}

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n0123456789";

#[test]
fn swapped_segments_lose_no_bytes() {
    let whole = |tcp: Tcp| tcp.says(SERVER, &OK[..20]).says(SERVER, &OK[20..70]).says(SERVER, &OK[70..]).close();
    for (a, b) in [(4, 5), (5, 6), (4, 6)] {
        let mut packets = whole(Tcp::open().says(CLIENT, GET));
        packets.swap(a, b);
        let (documents, output) = read(&ethernet_file(&packets));
        assert_success(&output);
        assert_eq!(documents.len(), 1, "packets {a} and {b} swapped: {documents:?}");
        assert_eq!(documents[0]["http"]["response"]["body"], json!({"bytes": 10, "content": "0123456789"}), "packets {a} and {b} swapped");
        assert_eq!((&documents[0]["status"], &documents[0]["error"]), (&json!("OK"), &Value::Null));
    }
}

#[test]
fn a_response_to_head_does_not_consume_the_next_response() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let packets =
        Tcp::open().says(CLIENT, b"HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n").says(SERVER, head).says(CLIENT, GET).says(SERVER, OK).close();
    assert_eq!(gists(&ethernet_file(&packets)), ["HEAD /h OK 200", "GET /a OK 200"]);
}

#[test]
fn data_after_connect_and_upgrades_is_not_parsed_as_http() {
    let tunnel = [0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5];
    let packets = Tcp::open()
        .says(CLIENT, b"CONNECT x.org:443 HTTP/1.1\r\nHost: x.org:443\r\n\r\n")
        .says(SERVER, b"HTTP/1.1 200 Connection established\r\n\r\n")
        .says(CLIENT, &tunnel)
        .says(SERVER, &tunnel)
        .close();
    let got = gists(&ethernet_file(&packets));
    assert_eq!(got.len(), 1, "{got:?}");
    assert!(got[0].starts_with("CONNECT") && got[0].ends_with("OK 200"), "{got:?}");
    let packets = Tcp::open()
        .says(CLIENT, b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .says(SERVER, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .says(CLIENT, &[0x81, 0x82, 1, 2, 3, 4, 5, 6])
        .says(SERVER, &[0x81, 2, b'h', b'i'])
        .close();
    assert_eq!(gists(&ethernet_file(&packets)), ["GET /ws OK 101"]);
    let packets =
        Tcp::open().says(CLIENT, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").says(SERVER, b"\0\0\0\x04\0\0\0\0\0").close();
    assert_eq!(gists(&ethernet_file(&packets)), Vec::<String>::new());
}

#[test]
fn pipelined_requests_are_paired_in_order() {
    let three: Vec<u8> = ["/1", "/2", "/3"].iter().flat_map(|p| format!("GET {p} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes()).collect();
    let answers: Vec<u8> =
        [201, 404, 200].iter().flat_map(|c| format!("HTTP/1.1 {c} X\r\nContent-Length: 1\r\n\r\nx").into_bytes()).collect();
    let packets = Tcp::open().says(CLIENT, &three).says(SERVER, &answers).close();
    let mut got = gists(&ethernet_file(&packets));
    got.sort();
    assert_eq!(got, ["GET /1 OK 201", "GET /2 Error 404", "GET /3 OK 200"]);
}

/// A DNS query and its response as UDP datagrams.
fn dns() -> [Vec<u8>; 2] {
    let query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x04name\x04test\0\0\x01\0\x01".to_vec();
    let mut answer = query.clone();
    answer[2] = 0x81;
    answer[7] = 1;
    answer.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
    [udp(40000, 53, &query), udp(53, 40000, &answer)]
}

const DNS: &str = "class IN, type A, name.test OK";

#[test]
fn ip_fragments_are_reassembled_in_any_order() {
    let [query, answer] = dns();
    let parts = |datagram: &[u8]| [(0u16, datagram[..16].to_vec()), (16, datagram[16..32].to_vec()), (32, datagram[32..].to_vec())];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let more = |offset: u16| u16::from(offset < 32);
        let v4 = parts(&answer).map(|(offset, data)| ipv4(SERVER, 17, (offset / 8) | (more(offset) << 13), &data));
        let packets = [vec![ipv4(CLIENT, 17, 0, &query)], order.map(|i| v4[i].clone()).to_vec()].concat();
        assert_eq!(gists(&ethernet_file(&packets)), [DNS], "IPv4, {order:?}");
        let v6 = parts(&answer).map(|(offset, data)| ipv6(SERVER, 17, Some(offset | more(offset)), &data));
        let packets = [vec![ipv6(CLIENT, 17, None, &query)], order.map(|i| v6[i].clone()).to_vec()].concat();
        assert_eq!(gists(&ethernet_file(&packets)), [DNS], "IPv6, {order:?}");
    }
}

#[test]
fn link_types_and_three_vlan_tags_are_decoded() {
    let packets = dns().iter().zip([CLIENT, SERVER]).map(|(d, from)| ipv4(from, 17, 0, d)).collect::<Vec<_>>();
    assert_eq!(gists(&pcap(101, &packets)), [DNS], "raw IP");
    let sll2 =
        packets.iter().map(|p| [&[0x08, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], p].concat()).collect::<Vec<_>>();
    assert_eq!(gists(&pcap(276, &sll2)), [DNS], "SLL2");
    let sll = packets.iter().map(|p| [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x08, 0][..], p].concat()).collect::<Vec<_>>();
    assert_eq!(gists(&pcap(113, &sll)), [DNS], "SLL");
    let tags = [(0x88a8, 1), (0x8100, 2), (0x8100, 3)];
    let tagged = packets.iter().map(|p| ethernet(&tags, p)).collect::<Vec<_>>();
    assert_eq!(gists(&pcap(1, &tagged)), [DNS], "three tags");
}

#[test]
fn truncated_and_invalid_capture_files_are_reported() {
    let whole = ethernet_file(&dns().iter().zip([CLIENT, SERVER]).map(|(d, from)| ipv4(from, 17, 0, d)).collect::<Vec<_>>());
    let (documents, output) = read(&whole[..whole.len() - 5]);
    assert_success(&output);
    // The response is cut off, so the query is reported without one.
    assert_eq!(documents.len(), 1, "{documents:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("truncated"), "{}", String::from_utf8_lossy(&output.stderr));
    for (file, what) in [(&b""[..], "empty"), (b"this is no capture, but text of some length", "capture"), (&pcap(9999, &[]), "9999")] {
        let (documents, output) = read(file);
        let log_text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((documents.len(), output.status.code()), (0, Some(1)), "{what}: {log_text}");
        assert!(log_text.contains("Exiting: ") && log_text.contains(what) && log_text.contains("x.pcap"), "{what}: {log_text}");
    }
}

#[test]
fn configuration_errors_are_one_line_and_name_their_place() {
    for (config, wanted) in [
        ("packetbeat.interfaces.snaplen: abc", "packetbeat.yml:1: packetbeat.interfaces.snaplen"),
        ("packetbeat.protocols:\n- {type: http, ports: [99999]}", "packetbeat.yml:2"),
        ("packetbeat.interfaces.bpf_filter: tcp prot 80", "tcp prot 80"),
        ("processors: [{no_such_thing: {}}]", "no_such_thing"),
        ("packetbeat.flows: {timeout: 1ms}", "timeout"),
        ("a: [", "packetbeat.yml"),
    ] {
        let home = Home::new(config);
        let output = home.command(&["test", "config"]).output().unwrap();
        let log_text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{config}: {log_text}");
        assert!(
            log_text.starts_with("Exiting: ") && log_text.contains(wanted) && log_text.trim_end().lines().count() == 1,
            "{config}: {log_text}"
        );
    }
}

#[test]
fn the_log_has_packetbeats_messages_about_files_and_unknown_operations() {
    let message = |code: u32| [36u32, 1, 0, code].iter().flat_map(|n| n.to_le_bytes()).chain([0; 20]).collect::<Vec<u8>>();
    let packets = Tcp::open().says(CLIENT, &message(4711)).says(CLIENT, &message(4711)).says(CLIENT, &message(4712)).close();
    let home = Home::new("packetbeat.protocols: [{type: mongodb, ports: [80]}]");
    let path = home.write("x.pcap", "");
    fs::write(&path, ethernet_file(&packets)).unwrap();
    let log = |flags: &[&str]| {
        let output = home.command(flags).arg("-I").arg(&path).output().unwrap();
        assert_success(&output);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let times = |log: &str, text: &str| log.matches(text).count();
    let info = log(&["-e", "-t"]);
    assert_eq!(times(&info, "Process watcher disabled when file input is used"), 1, "{info}");
    assert_eq!(times(&info, "Unknown operation code"), 0, "{info}");
    let debug = log(&["-e", "-t", "-d", "mongodb"]);
    assert_eq!(times(&debug, "Unknown operation code: 4711\""), 1, "{debug}");
}

#[test]
fn with_strict_time_outs_up_to_publish_timeout_expire_at_the_end() {
    let [query, _] = dns();
    let memcache = udp(40000, 11211, b"\0\x01\0\0\0\x01\0\0get a\r\n");
    let file = ethernet_file(&[ipv4(CLIENT, 17, 0, &query), ipv4(CLIENT, 17, 0, &memcache)]);
    for (publish_timeout, expected) in [("0s", 0), ("5ms", 0), ("10ms", 1), ("1s", 2), ("1m", 2)] {
        let home = Home::new(&format!(
            "packetbeat: {{compatibility: strict, publish_timeout: {publish_timeout}, protocols: [\
            {{type: dns, ports: [53], transaction_timeout: 1s}}, {{type: memcache, ports: [11211], udptransactiontimeout: 10ms}}]}}"
        ));
        let path = home.path().join("x.pcap");
        fs::write(&path, &file).unwrap();
        assert_success(&home.read_capture(&path));
        assert_eq!(home.documents().len(), expected, "{publish_timeout}");
    }
}
