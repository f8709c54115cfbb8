//! Measures the cost of turning a transaction into a record.

use super::{
    tests::{STOCK, Seen, head, publishing},
    *,
};
use crate::net::Transport;
use std::hint::black_box;

#[derive(Serialize)]
struct Dns<'a> {
    dns: Section<'a>,
}

#[derive(Serialize)]
struct Section<'a> {
    id: u16,
    op_code: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    response_code: &'a str,
    question: Question<'a>,
    answers_count: u16,
    answers: [Answer<'a>; 2],
    resolved_ip: [std::net::IpAddr; 2],
    authorities_count: u16,
    additionals_count: u16,
    flags: [(); 0],
    header_flags: [&'a str; 2],
}

#[derive(Serialize)]
struct Question<'a> {
    name: crate::event::Text<'a>,
    #[serde(rename = "type")]
    kind: &'a str,
    class: &'a str,
    registered_domain: &'a str,
    top_level_domain: &'a str,
    subdomain: &'a str,
    etld_plus_one: &'a str,
}

#[derive(Serialize)]
struct Answer<'a> {
    name: crate::event::Text<'a>,
    #[serde(rename = "type")]
    kind: &'a str,
    class: &'a str,
    ttl: u32,
    data: std::net::IpAddr,
}

/// CPU time of this thread in nanoseconds. It does not include the time of other threads.
fn on_cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// Prints the cost of an event: `cargo test --release -p sniffer --lib -- --ignored --nocapture cost_of_an_event`.
#[test]
#[ignore = "a measurement"]
fn cost_of_an_event() {
    let name = crate::event::Text(b"www.example.com");
    let answer = |ip: &str| Answer { name, kind: "A", class: "IN", ttl: 3600, data: ip.parse().unwrap() };
    let question = Question {
        name,
        kind: "A",
        class: "IN",
        registered_domain: "example.com",
        top_level_domain: "com",
        subdomain: "www",
        etld_plus_one: "example.com",
    };
    let section = Section {
        id: 4711,
        op_code: "QUERY",
        kind: "answer",
        response_code: "NOERROR",
        question,
        answers_count: 2,
        answers: [answer("93.184.216.34"), answer("93.184.216.35")],
        resolved_ip: ["93.184.216.34".parse().unwrap(), "93.184.216.35".parse().unwrap()],
        authorities_count: 0,
        additionals_count: 0,
        flags: [],
        header_flags: ["RD", "RA"],
    };
    let body = Dns { dns: section };
    let head = Head {
        source_bytes: 33,
        destination_bytes: 65,
        query: Some("class IN, type A, www.example.com".into()),
        resource: Some(name),
        method: Some("QUERY".into()),
        ..head("dns")
    };
    let peers = Peers::new("10.0.0.7:40000".parse().unwrap(), "10.0.0.9:53".parse().unwrap(), Transport::Udp);
    peers.community_id();
    let measure = |what: &str, root: &str, own: &'static str| {
        let mut sink = Sink::new(publishing(root, &[("dns", own)], false), Box::new(|batch| drop(black_box(batch))));
        let each = (0..20)
            .map(|_| {
                let start = on_cpu();
                for _ in 0..20_000 {
                    sink.emit(PublisherId(0), black_box(&peers), black_box(&head), black_box(&body));
                }
                (on_cpu() - start) / 20_000
            })
            .min();
        println!("{what}: {} ns", each.unwrap_or_default());
    };
    measure("fast, without host metadata", "{}", "{}");
    measure("fast, stock configuration", STOCK, "{}");
    measure("slow, one field renamed", &format!("{STOCK}\n  - rename: {{fields: [{{from: status, to: state}}]}}"), "{}");
    let start = on_cpu();
    for _ in 0..100_000 {
        let whole = Whole::new(&peers, &head, &body, Writing { digits: 3, direction: "unknown", processes: &Ends::NONE });
        black_box(serde_json::to_writer(std::io::sink(), black_box(&whole)).is_ok());
    }
    println!("the event's own fields to nowhere: {} ns", (on_cpu() - start) / 100_000);
    let mut seen = Seen::new(&publishing(STOCK, &[("dns", "{}")], false));
    let records = seen.emit(0, &head, &body);
    println!("{} bytes: {}", records[0].body.len(), records[0].body.escape_ascii());
}
