//! Tests of the events that an observer receives: events as they were emitted, and events that constants and processors
//! changed.

use super::{
    observer::{Details, Observer, Transaction},
    *,
};
use crate::{
    config::Node,
    event::{Head, Status, Summary, TRANSACTION, Text},
    flow,
    net::{Direction, FlowRecord, Realm, StoredKey, Transport, Vlans},
    opening::testing::opening,
    protocols::PROTOCOLS,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// The summaries received, each as text.
type Shown = Arc<Mutex<Vec<String>>>;

struct Recording(Shown);

const HTTP: PublisherId = PublisherId(7);

impl Observer for Recording {
    fn transaction(&mut self, of: &Transaction<'_>) {
        self.0.lock().unwrap().push(format!("{of:?}"));
    }

    fn flow(&mut self, of: &FlowRecord, processes: &Ends) {
        self.0.lock().unwrap().push(format!("{of:?} {processes:?}"));
    }
}

fn publishing(root: &Node, publishers: &[Publisher]) -> Arc<Publishing> {
    let active: Vec<_> = publishers.iter().map(|publisher| publisher.id).collect();
    let publishers = Publishers::open(Identity::default(), &opening(root), publishers).unwrap();
    Publishing::new(publishers, &active, root, &[], HostData::default()).unwrap()
}

/// A sink for http and flows with these processors, and the summaries that its observer receives.
fn sink(processors: &str, of_http: &str) -> (Sink, Shown) {
    let http = PROTOCOLS.iter().find(|p| p.name == "http").unwrap();
    let publishers = [
        Publisher {
            id: HTTP,
            dataset: "http",
            fields: [TRANSACTION, http.fields, &[]],
            summary: http.summary,
            settings: Node::parse(of_http).unwrap(),
        },
        Publisher {
            id: PublisherId::FLOWS,
            dataset: "flow",
            fields: [flow::FIELDS, &[], &[]],
            summary: Summary::HEAD,
            settings: Node::default(),
        },
    ];
    let root = Node::parse(&format!("processors: {processors}")).unwrap();
    let publishing = publishing(&root, &publishers);
    let shown = Shown::default();
    let mut sink = Sink::new(publishing, Box::new(|_| ()));
    sink.show(Box::new(Recording(shown.clone())));
    (sink, shown)
}

fn peers() -> Peers {
    let mut peers = Peers::new("10.0.0.7:40000".parse().unwrap(), "[fd00::9]:80".parse().unwrap(), Transport::Tcp);
    peers.realm = Realm { vlans: Vlans { count: 1, outer: 0, inner: 7 }, ..Realm::default() };
    peers
}

fn head() -> Head<'static> {
    Head {
        status: Status::ClientError,
        start: Some(Timestamp(1_000_000_000_000_000_000)),
        end: Some(Timestamp(1_000_000_000_001_500_000)),
        source_bytes: 12,
        destination_bytes: 34,
        destination_domain: Text(b"x.org"),
        method: Some(Text(b"GET")),
        query: Some(Text(b"GET /a\xff")),
        notes: &["first", "second"],
        ..Head::new("http")
    }
}

fn body() -> Value {
    json!({"http": {"response": {"status_code": 404}}, "url": {"path": "/a\u{fffd}"}})
}

/// The summary of [`head`] and [`body`] if nothing changes them.
fn unchanged() -> Transaction<'static> {
    let head = head();
    Transaction {
        protocol: "http",
        realm: peers().realm,
        transport: Transport::Tcp,
        from: Direction::ToServer,
        source: Some(peers().client),
        destination: Some(peers().server),
        time: head.start.unwrap(),
        start: head.start,
        end: head.end,
        duration: Some(std::time::Duration::from_micros(1500)),
        source_bytes: 12,
        destination_bytes: 34,
        method: "GET",
        resource: "/a\u{fffd}",
        query: "GET /a\u{fffd} x.org",
        result: "404",
        status: "Client Error",
        details: Details::Http { host: "x.org" },
        notes: &["first", "second"],
        processes: &Ends::NONE,
    }
}

/// Emits [`head`] and [`body`] with these processors. Returns the summaries received.
fn shown(processors: &str) -> Vec<String> {
    let (mut sink, shown) = sink(processors, "{}");
    sink.emit(HTTP, &peers(), &head(), &body());
    let shown = shown.lock().unwrap().clone();
    assert_eq!(shown.len(), usize::from(!sink.counters().contains(&(HTTP, "filtered", 1))), "{processors}: {shown:?}");
    shown
}

#[test]
fn an_event_without_changes() {
    for processors in [
        "[]",
        // The added constants are not part of the summary.
        "[add_fields: {target: '', fields: {host.name: h}}, drop_fields: {fields: [network, url.domain]}]",
        // The constant is merged into a field of the summary, where the event has its own value.
        "[add_tags: {tags: [t], target: labels.x}]",
        // The processor runs on each event and changes nothing.
        "[drop_event: {when: {equals: {method: POST}}}]",
    ] {
        assert_eq!(shown(processors), [format!("{:?}", unchanged())], "{processors}");
    }
}

#[test]
fn an_event_whose_request_the_server_sends() {
    let (mut sink, shown) = sink("[]", "{}");
    sink.emit(HTTP, &peers(), &Head { from: Direction::ToClient, ..head() }, &body());
    let expected =
        Transaction { from: Direction::ToClient, source: Some(peers().server), destination: Some(peers().client), ..unchanged() };
    assert_eq!(*shown.lock().unwrap(), [format!("{expected:?}")]);
}

#[test]
fn removed_and_renamed_fields_are_not_shown() {
    let gone = |processors: &str, expected: Transaction<'_>| {
        // If all processors are constant, they are compiled to constants that are merged while writing. After a step
        // that runs on each event, they are steps too.
        let steps = format!("[drop_event: {{when: {{equals: {{method: POST}}}}}}, {processors}]");
        for processors in [&format!("[{processors}]"), &steps] {
            assert_eq!(shown(processors), [format!("{expected:?}")], "{processors}");
        }
    };
    let all = unchanged();
    gone("drop_fields: {fields: [method]}", Transaction { method: "", query: "GET /a\u{fffd}", ..all });
    gone("drop_fields: {fields: [url, query]}", Transaction { resource: "", query: "", ..all });
    gone("drop_fields: {fields: [http]}", Transaction { result: "", ..all });
    gone("drop_fields: {fields: [http.response.status_code, status]}", Transaction { result: "", status: "", ..all });
    gone(
        "drop_fields: {fields: [source.ip, destination.port, source.bytes]}",
        Transaction { source: None, destination: Some("[fd00::9]:0".parse().unwrap()), source_bytes: 0, ..all },
    );
    gone("drop_fields: {fields: [event.end, event.duration, error]}", Transaction { end: None, duration: None, notes: &[], ..all });
    gone(
        "add_fields: {target: '', fields: {status: Renamed, error.message: one}}",
        Transaction { status: "Renamed", notes: &["one"], ..all },
    );
    gone("rename: {fields: [{from: method, to: verb}]}", Transaction { method: "", query: "GET /a\u{fffd}", ..all });
    gone(
        "include_fields: {fields: [source, status]}",
        Transaction {
            destination: None,
            start: None,
            end: None,
            duration: None,
            destination_bytes: 0,
            method: "",
            resource: "",
            query: "",
            details: Details::Http { host: "" },
            result: "",
            notes: &[],
            ..all
        },
    );
}

#[test]
fn events_that_are_not_published_are_not_shown() {
    for processors in ["[drop_event: {}]", "[drop_event: {when: {equals: {method: GET}}}]"] {
        assert_eq!(shown(processors), Vec::<String>::new(), "{processors}");
    }
}

#[test]
fn changed_settings_apply_while_the_program_runs() {
    let http = PROTOCOLS.iter().find(|p| p.name == "http").unwrap();
    let settings = Node::default();
    let publisher = Publisher { id: HTTP, dataset: "http", fields: [TRANSACTION, http.fields, &[]], summary: http.summary, settings };
    let root = Node::parse("processors: [add_host_metadata: {geo: {name: here}}]").unwrap();
    let publishing = publishing(&root, &[publisher]);
    let seen = Shown::default();
    let mut sink = Sink::new(publishing.clone(), Box::new(|_| ()));
    sink.show(Box::new(Recording(seen.clone())));
    sink.emit(HTTP, &peers(), &head(), &body());
    let mut host_data = HostData::default();
    host_data.host.ip = vec!["192.0.2.1".into()];
    publishing.set_host_data(host_data);
    sink.flush();
    sink.emit(HTTP, &peers(), &head(), &body());
    let expected = format!("{:?}", unchanged());
    assert_eq!(*seen.lock().unwrap(), [expected.clone(), expected]);
}

#[test]
fn flows_that_are_published() {
    let record =
        FlowRecord::new(StoredKey::new(&[2, 0, 1, 0, 255, 0, 255, 255, 10, 0, 0, 1, 10, 0, 0, 2, 1, 0, 2, 0]), false, Timestamp(5));
    for (processors, expected) in
        [("[]", vec![format!("{record:?} {:?}", Ends::NONE)]), ("[drop_event: {when: {equals: {type: flow}}}]", vec![])]
    {
        let (mut sink, shown) = sink(processors, "{}");
        sink.emit_flow(PublisherId::FLOWS, Timestamp(9), (&record, &Ends::NONE), &json!({"type": "flow"}));
        assert_eq!(*shown.lock().unwrap(), expected, "{processors}");
    }
}
