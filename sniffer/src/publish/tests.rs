//! Tests of the sink as a whole, from the configuration to the documents.

use super::*;
use crate::{
    config::{self, Node},
    event::{PROCESS, Summary, TRANSACTION, tree::Tree},
    flow,
    net::{Direction, StoredKey, Transport},
    opening::testing::opening,
    processors::{Decision, Factory, Processor, Step},
    protocols::PROTOCOLS,
};
use serde_json::{Value, json};
use std::sync::{
    atomic::{AtomicU64, Ordering},
    mpsc,
};

/// The processors of Packetbeat's default configuration.
pub(super) const STOCK: &str = r#"
processors:
  - if.contains.tags: forwarded
    then:
      - drop_fields: {fields: [host]}
    else:
      - add_host_metadata: ~
  - add_cloud_metadata: ~
  - add_docker_metadata: ~
  - detect_mime_type: {field: http.request.body.content, target: http.request.mime_type}
  - detect_mime_type: {field: http.response.body.content, target: http.response.mime_type}
"#;

const DATASETS: [&str; 16] = [
    "icmp",
    "amqp",
    "cassandra",
    "dhcpv4",
    "dns",
    "http",
    "memcache",
    "mysql",
    "pgsql",
    "redis",
    "thrift",
    "mongodb",
    "nfs",
    "tls",
    "sip",
    "flow",
];

fn host_data() -> HostData {
    let mut host_data = HostData::default();
    host_data.addresses.push("10.0.0.1".parse().unwrap());
    let os = json!({"type": "linux", "platform": "debian", "family": "debian", "name": "Debian GNU/Linux", "version": "12 (bookworm)",
                    "codename": "bookworm", "kernel": "6.18.0"});
    let host = json!({"hostname": "Box", "name": "box", "architecture": "x86_64", "id": "0123456789abcdef0123456789abcdef",
                      "containerized": false, "os": os});
    host_data.host.fields = host.as_object().unwrap().clone();
    host_data.host.ip = vec!["10.0.0.1".into(), "fe80::1".into()];
    host_data.host.mac = vec!["02-42-AC-11-00-02".into()];
    host_data
}

fn identity(metadata: bool) -> Identity {
    let metadata = metadata.then(|| "packetbeat".to_owned());
    Identity { name: "here".into(), id: "id".into(), ephemeral_id: "eid".into(), metadata }
}

fn opened(root: &str, own: &[(&'static str, &str)], metadata: bool) -> Result<Arc<Publishers>, config::Error> {
    // Documents can name processes if the configuration mentions a field of a process.
    let processes = if root.contains("process.") { PROCESS } else { &[] };
    let fields = |dataset: &str| {
        PROTOCOLS.iter().find(|p| p.name == dataset).map_or([flow::FIELDS, &[], processes], |p| [TRANSACTION, p.fields, processes])
    };
    let summary = |dataset: &str| PROTOCOLS.iter().find(|p| p.name == dataset).map_or(Summary::HEAD, |p| p.summary);
    let publisher = |((dataset, yaml), id): (&(&'static str, &str), u32)| Publisher {
        id: PublisherId(id),
        dataset,
        fields: fields(dataset),
        summary: summary(dataset),
        settings: Node::parse(yaml).unwrap(),
    };
    let publishers: Vec<_> = own.iter().zip(0..).map(publisher).collect();
    Publishers::open(identity(metadata), &opening(&Node::parse(root).unwrap()), &publishers)
}

pub(super) fn publishing(root: &str, own: &[(&'static str, &str)], metadata: bool) -> Arc<Publishing> {
    let active: Vec<_> = (0..).take(own.len()).map(PublisherId).collect();
    Publishing::new(opened(root, own, metadata).unwrap(), &active, &Node::default(), &["private".into()], host_data()).unwrap()
}

pub(super) struct Seen {
    sink: Sink,
    records: mpsc::Receiver<Vec<Record>>,
}

impl Seen {
    pub(super) fn new(publishing: &Arc<Publishing>) -> Self {
        let (send, records) = mpsc::channel();
        Self { sink: Sink::new(publishing.clone(), Box::new(move |batch| send.send(batch).unwrap())), records }
    }

    pub(super) fn emit<B: Serialize>(&mut self, publisher: u32, head: &Head<'_>, body: &B) -> Vec<Record> {
        self.between("10.0.0.7:40000", "10.0.0.9:53", publisher, head, body)
    }

    fn between<B: Serialize>(&mut self, client: &str, server: &str, publisher: u32, head: &Head<'_>, body: &B) -> Vec<Record> {
        let peers = Peers::new(client.parse().unwrap(), server.parse().unwrap(), Transport::Udp);
        self.sink.emit(PublisherId(publisher), &peers, head, body);
        self.sink.flush();
        self.records.try_iter().flatten().collect()
    }
}

/// Parses a document and checks that no key occurs twice in an object.
fn document(body: &[u8]) -> Value {
    let read: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(serde_json::to_vec(&read).unwrap().len(), body.len(), "a key occurs twice: {}", body.escape_ascii());
    read
}

pub(super) fn head(dataset: &'static str) -> Head<'static> {
    Head { start: Some(Timestamp(1_000_000_000_123_456_789)), end: Some(Timestamp(1_000_000_000_223_456_789)), ..Head::new(dataset) }
}

#[derive(Serialize)]
struct Nothing {}

#[test]
fn the_default_configuration_needs_no_trees() {
    let plain: Vec<_> = DATASETS.iter().map(|dataset| (*dataset, "{}")).collect();
    let all = publishing(STOCK, &plain, false);
    let slow: Vec<&str> = DATASETS.iter().zip(0..).filter(|(_, id)| !all.is_fast(PublisherId(*id))).map(|(name, _)| *name).collect();
    assert_eq!(slow, Vec::<&str>::new());
    assert_eq!(all.refresh_every(), Some(std::time::Duration::from_secs(300)));
    for bodies in ["include_body_for: [json]", "include_request_body_for: json", "include_response_body_for: [json]"] {
        assert!(!publishing(STOCK, &[("http", bodies)], false).is_fast(PublisherId(0)), "{bodies}");
    }
}

#[test]
fn a_document_of_the_default_configuration() {
    let mut seen = Seen::new(&publishing(STOCK, &[("dns", "{}"), ("dns", "{tags: [forwarded], index: other}")], true));
    let records = seen.emit(0, &head("dns"), &json!({"dns": {"id": 1}}));
    let doc = document(&records[0].body);
    let host = json!({"hostname": "Box", "name": "box", "architecture": "x86_64", "id": "0123456789abcdef0123456789abcdef", "containerized": false,
                      "os": host_data().host.fields["os"], "ip": ["10.0.0.1", "fe80::1"], "mac": ["02-42-AC-11-00-02"]});
    for (name, expected) in [
        ("@timestamp", json!("2001-09-09T01:46:40.123Z")),
        ("@metadata", json!({"beat": "packetbeat", "type": "_doc", "version": "9.6.0"})),
        ("agent", json!({"ephemeral_id": "eid", "id": "id", "name": "here", "type": "packetbeat", "version": "9.6.0"})),
        ("ecs", json!({"version": "8.0.0"})),
        ("host", host),
        ("dns", json!({"id": 1})),
        ("tags", Value::Null),
        ("cloud", Value::Null),
    ] {
        assert_eq!(doc[name], expected, "{name}");
    }
    assert_eq!(doc["network"]["direction"], "internal");
    assert_eq!(records[0].route, Route { time: Timestamp(1_000_000_000_123_456_789), ..Route::default() });

    let records = seen.emit(1, &head("dns"), &Nothing {});
    let doc = document(&records[0].body);
    assert_eq!((&doc["host"], &doc["tags"]), (&Value::Null, &json!(["forwarded"])));
    assert_eq!(doc["@metadata"]["raw_index"], "other");
    assert_eq!(records[0].route.destination.target.as_deref(), Some("other"));
}

#[test]
fn fields_of_a_publisher_override_fields_of_all() {
    let root = "tags: [a]\nfields: {env: one, zone.x: 1}\nprocessors: [{add_fields: {target: '', fields: {network.name: mine, network.protocol: over}}}]";
    let own = "tags: b\nfields: {env: two}\npipeline: 'p-%{[agent.version]}'\nprocessors: [{add_tags: {tags: [c]}}, {add_fields: {target: agent, fields: {name: before}}}]";
    let mut seen = Seen::new(&publishing(root, &[("dns", own), ("http", "{fields: {env: three}, fields_under_root: true}")], false));
    let records = seen.emit(0, &head("dns"), &Nothing {});
    let doc = document(&records[0].body);
    assert_eq!(doc["tags"], json!(["a", "b", "c"]));
    assert_eq!(doc["fields"], json!({"env": "two", "zone": {"x": 1}}));
    assert_eq!(
        (&doc["network"]["name"], &doc["network"]["protocol"], &doc["network"]["transport"]),
        (&json!("mine"), &json!("over"), &json!("udp"))
    );
    // The built-in constants do not replace existing fields.
    assert_eq!((&doc["agent"]["name"], &doc["agent"]["type"]), (&json!("before"), &json!("packetbeat")));
    assert_eq!(doc["@metadata"], Value::Null);
    assert_eq!(records[0].route.destination.pipeline.as_deref(), Some("p-9.6.0"));
    let doc = document(&seen.emit(1, &head("http"), &Nothing {})[0].body);
    assert_eq!((&doc["env"], &doc["fields"]["env"]), (&json!("three"), &json!("one")));
}

#[test]
fn steps_see_the_event() {
    let root = "
processors:
- drop_event.when.equals.dns.question.name: boring.example
- if.range.dns.id.gte: 10
  then:
  - add_tags: {tags: [big]}
  - add_fields: {target: '@metadata', fields: {raw_index: big}}
  else: {add_fields: {fields: {small: true}}}
- rename: {fields: [{from: dns.id, to: dns.number}, {from: nothing, to: something}], ignore_missing: true}
- drop_fields: {fields: [type, /^client\\.(ip|port)$/, event.kind]}
- add_host_metadata: {netinfo.enabled: false}
";
    let all = publishing(root, &[("dns", "index: base"), ("http", "{}")], false);
    assert!(!all.is_fast(PublisherId(0)));
    let mut seen = Seen::new(&all);
    let dns = |id: u32, name: &str| json!({"dns": {"id": id, "question": {"name": name}}});
    assert!(seen.emit(0, &head("dns"), &dns(1, "boring.example")).is_empty());
    assert_eq!(seen.sink.counters(), [(PublisherId(0), "filtered", 1)]);

    let records = seen.emit(0, &head("dns"), &dns(10, "a.example"));
    let doc = document(&records[0].body);
    assert_eq!((&doc["tags"], &doc["dns"]), (&json!(["big"]), &json!({"number": 10, "question": {"name": "a.example"}})));
    assert_eq!((&doc["type"], &doc["client"], &doc["event"]["kind"]), (&json!("dns"), &json!({}), &Value::Null));
    assert_eq!((&doc["host"]["hostname"], &doc["host"]["ip"], &doc["@metadata"]), (&json!("Box"), &Value::Null, &Value::Null));
    assert_eq!(doc["agent"]["name"], "here");
    assert_eq!(records[0].route.destination.target.as_deref(), Some("big"));
    let records = seen.emit(0, &head("dns"), &dns(9, "a.example"));
    assert_eq!(document(&records[0].body)["fields"], json!({"small": true}));
    assert_eq!(records[0].route.destination.target.as_deref(), Some("base"));
}

/// Processors that are applied at start and processors that run per event give the same documents. A step without effect forces the
/// processors to run per event.
#[test]
fn merged_text_and_edited_tree_agree() {
    let force = "{rename: {fields: [{from: no.such, to: other}], ignore_missing: true}}";
    let body =
        json!({"dns": {"id": 7, "flags": {"a": true}, "list": [1, 2.5, "x", null]}, "user.name": "dotted", "big": u64::MAX, "float": 1e21});
    for processors in [
        "{add_tags: {tags: [x]}}",
        "{add_fields: {target: dns, fields: {flags.b: 1, id: 8}}}",
        "{add_fields: {target: '', fields: {type: other, dns: flat}}}",
        "{add_fields: {target: type.inner, fields: {a: 1}}}",
        "{drop_fields: {fields: [dns.flags, user.name, related, agent.id, host, '@timestamp', type, nothing.here]}}",
        "{drop_fields: {fields: [dns]}}, {add_fields: {target: dns, fields: {id: 1}}}",
        "{add_host_metadata: {replace_fields: false, geo: {name: yes}}}",
        "{add_host_metadata: {name: other, netinfo.enabled: false}}",
        "{drop_fields: {fields: [host.name]}}, {add_host_metadata: {replace_fields: false}}",
        "{drop_fields.when.equals.type: dns, drop_fields.fields: [dns.id]}",
        "{drop_fields.when.equals.type: http, drop_fields.fields: [dns.id]}",
        "{drop_fields.when.has_fields: [agent.name], drop_fields.fields: [dns.id]}",
        "{drop_fields.when.not.has_fields: [http.request.method, tags], drop_fields.fields: [dns.id]}",
        "{if.equals.host.name: here, then: {add_tags: {tags: [y]}}, else: {add_tags: {tags: [n]}}}",
    ] {
        let run = |list: String, fast: bool| {
            let all = publishing(&format!("processors: [{list}]"), &[("dns", "{}")], true);
            assert_eq!(all.is_fast(PublisherId(0)), fast, "{list}");
            document(&Seen::new(&all).emit(0, &head("dns"), &body)[0].body)
        };
        assert_eq!(run(processors.to_owned(), true), run(format!("{force}, {processors}"), false), "{processors}");
    }
}

/// With and without a tree, `@timestamp` is the first field, and U+2028 and U+2029 are escapes.
#[test]
fn the_text_of_documents() {
    for processors in ["[]", "[{rename: {fields: [{from: no.such, to: other}], ignore_missing: true}}]"] {
        let mut seen = Seen::new(&publishing(&format!("processors: {processors}"), &[("dns", "{}")], true));
        let body = json!({"dns": {"a": "\u{2028}\u{2027}–\u{2029}\u{2028}", "b": "€\u{20a8}"}});
        let records = seen.emit(0, &head("dns"), &body);
        let text = std::str::from_utf8(&records[0].body).unwrap();
        assert!(text.starts_with(r#"{"@timestamp":"2001-"#), "{text}");
        assert!(text.contains("\"dns\":{\"a\":\"\\u2028\u{2027}–\\u2029\\u2028\",\"b\":\"€\u{20a8}\"}"), "{text}");
    }
}

#[test]
fn conditions_of_constants_decide_at_start() {
    let drops = "processors: [{drop_event.when.equals.type: dns}]";
    let mut seen = Seen::new(&publishing(drops, &[("dns", "{}"), ("http", "{}")], false));
    assert!(seen.emit(0, &head("dns"), &Nothing {}).is_empty());
    assert_eq!(seen.emit(1, &head("http"), &Nothing {}).len(), 1);
    assert_eq!(seen.sink.counters(), [(PublisherId(0), "filtered", 1)]);
}

#[test]
fn include_fields_keeps_what_is_mandatory() {
    let root = "processors: [{include_fields: {fields: [client.ip, missing, event.duration]}}]";
    let mut seen = Seen::new(&publishing(root, &[("dns", "{}")], true));
    let doc = document(&seen.emit(0, &head("dns"), &Nothing {})[0].body);
    let expected = json!({"@timestamp": "2001-09-09T01:46:40.123Z", "type": "dns", "client": {"ip": "10.0.0.7"},
                          "event": {"duration": 100_000_000},
                          "@metadata": {"beat": "packetbeat", "type": "_doc", "version": "9.6.0"}});
    assert_eq!(doc, expected);
}

#[test]
fn a_rename_that_fails_undoes_all_of_them() {
    let root = "processors: [{rename: {fields: [{from: status, to: state}, {from: state, to: type}]}}]";
    let mut seen = Seen::new(&publishing(root, &[("dns", "{}")], true));
    let doc = document(&seen.emit(0, &head("dns"), &Nothing {})[0].body);
    let message = "failed to rename fields in processor: target field type already exists, drop or rename this field first";
    assert_eq!((&doc["status"], &doc["state"], &doc["error"]["message"]), (&json!("OK"), &Value::Null, &json!(message)));
}

#[test]
fn the_mime_type_of_bodies_is_added() {
    let mut seen = Seen::new(&publishing(STOCK, &[("http", "include_body_for: [json]")], false));
    let body = json!({"http": {"request": {"body": {"content": "{\"a\": 1}"}}, "response": {"body": {"content": "plain"}}}});
    let doc = document(&seen.emit(0, &head("http"), &body)[0].body);
    assert_eq!(
        (&doc["http"]["request"]["mime_type"], &doc["http"]["response"]["mime_type"]),
        (&json!("application/json"), &json!("text/plain; charset=utf-8"))
    );
    assert_eq!(doc["host"]["hostname"], "Box");
}

#[test]
fn directions_precision_and_ignored_outgoing_transactions() {
    let root = "{packetbeat: {ignore_outgoing: true}, timestamp: {precision: nanosecond}}";
    let all = publishing(root, &[("dns", "{}")], false);
    let mut seen = Seen::new(&all);
    assert!(seen.between("10.0.0.1:1", "8.8.8.8:53", 0, &head("dns"), &Nothing {}).is_empty());
    assert_eq!(seen.sink.counters(), [(PublisherId(0), "ignored_outgoing", 1)]);
    let answer = Head { from: Direction::ToClient, ..head("dns") };
    let doc = document(&seen.between("10.0.0.1:1", "8.8.8.8:53", 0, &answer, &Nothing {})[0].body);
    assert_eq!((&doc["network"]["direction"], &doc["@timestamp"]), (&json!("ingress"), &json!("2001-09-09T01:46:40.123456789Z")));
    assert_eq!(seen.sink.digits(), 9);

    // The host gets another address and name.
    let mut later = host_data();
    later.addresses = vec!["10.0.0.5".parse().unwrap()];
    all.set_host_data(later);
    seen.sink.flush();
    let doc = document(&seen.between("10.0.0.1:1", "8.8.8.8:53", 0, &head("dns"), &Nothing {})[0].body);
    assert_eq!(doc["network"]["direction"], "outbound");
}

#[test]
fn changed_host_metadata_is_prepared_again() {
    let all = publishing(STOCK, &[("dns", "{}")], false);
    let mut seen = Seen::new(&all);
    let mut later = host_data();
    later.host.ip = vec!["192.0.2.1".into()];
    all.set_host_data(later);
    seen.sink.flush();
    assert_eq!(document(&seen.emit(0, &head("dns"), &Nothing {})[0].body)["host"]["ip"], json!(["192.0.2.1"]));
}

/// Writes two numbers into each event: how many events this instance has processed, and how many all instances have processed.
#[derive(Debug, Default)]
struct Numbering {
    instances: Arc<AtomicU64>,
    all: Arc<AtomicU64>,
}

struct Numberer {
    own: u64,
    all: Arc<AtomicU64>,
}

impl Factory for Numbering {
    fn instance(&self) -> Box<dyn Processor> {
        self.instances.fetch_add(1, Ordering::Relaxed);
        Box::new(Numberer { own: 0, all: self.all.clone() })
    }
}

impl Processor for Numberer {
    fn run(&mut self, event: &mut Tree, _: &HostData) -> Decision {
        self.own += 1;
        let all = self.all.fetch_add(1, Ordering::Relaxed) + 1;
        event.put("numbers", json!([self.own, all])).unwrap();
        if all == 6 { Decision::Drop } else { Decision::Keep }
    }
}

#[test]
fn each_sink_has_its_own_instances_and_they_share_the_factory() {
    let factory = Numbering::default();
    let instances = factory.instances.clone();
    let publishers = Publishers::with_step(Step::of(factory));
    let publishing = Publishing::new(publishers, &[PublisherId(0), PublisherId(1)], &Node::default(), &[], host_data()).unwrap();
    let (mut one, mut other) = (Seen::new(&publishing), Seen::new(&publishing));
    assert_eq!(instances.load(Ordering::Relaxed), 2, "made with the sink, once for all its publishers");
    let numbers = |seen: &mut Seen, publisher: u32, dataset: &'static str| {
        let records = seen.emit(publisher, &head(dataset), &Nothing {});
        records.first().map(|record| document(&record.body)["numbers"].clone())
    };
    assert_eq!(numbers(&mut one, 0, "dns"), Some(json!([1, 1])));
    assert_eq!(numbers(&mut one, 1, "http"), Some(json!([2, 2])), "publishers of one sink share the instance");
    assert_eq!(numbers(&mut other, 0, "dns"), Some(json!([1, 3])));
    // Instances survive a new compilation of the chains.
    publishing.set_host_data(HostData::default());
    one.sink.flush();
    assert_eq!(numbers(&mut one, 0, "dns"), Some(json!([3, 4])));
    assert_eq!(numbers(&mut other, 1, "http"), Some(json!([2, 5])), "before its flush");
    assert_eq!(numbers(&mut other, 1, "http"), None, "dropped");
    assert_eq!(other.sink.counters(), [(PublisherId(1), "filtered", 1)]);
    assert_eq!(instances.load(Ordering::Relaxed), 2);
}

#[test]
fn new_settings_bring_new_instances_and_retired_publishers_keep_theirs() {
    let with = |factory: Numbering, active: &[PublisherId]| {
        Publishing::new(Publishers::with_step(Step::of(factory)), active, &Node::default(), &[], host_data()).unwrap()
    };
    let (first, second) = (Numbering::default(), Numbering::default());
    let first_alive = Arc::downgrade(&first.instances);
    let mut seen = Seen::new(&with(first, &[PublisherId(0), PublisherId(1)]));
    let numbers = |seen: &mut Seen, publisher| document(&seen.emit(publisher, &head("dns"), &Nothing {})[0].body)["numbers"].clone();
    assert_eq!(numbers(&mut seen, 0), json!([1, 1]));
    seen.sink.replace(with(second, &[PublisherId(1)]));
    assert_eq!(numbers(&mut seen, 0), json!([2, 2]), "no longer configured: as before");
    assert_eq!(numbers(&mut seen, 1), json!([1, 1]), "the new factory's");
    seen.sink.replace(with(Numbering::default(), &[PublisherId(0), PublisherId(1)]));
    assert_eq!(numbers(&mut seen, 0), json!([1, 1]), "configured again");
    assert!(first_alive.upgrade().is_none(), "nobody uses the first factory any more");
}

#[test]
fn documents_of_flows() {
    let mut seen = Seen::new(&publishing(STOCK, &[("flow", "{}")], false));
    let record = FlowRecord::new(StoredKey::new(&[]), false, Timestamp(0));
    let time = Timestamp(1_000_000_000_000_000_000);
    seen.sink.emit_flow(PublisherId(0), time, (&record, &Ends::NONE), &json!({"type": "flow", "network": {"bytes": 1}}));
    seen.sink.flush();
    let doc = document(&seen.records.try_recv().unwrap()[0].body);
    assert_eq!(
        (&doc["@timestamp"], &doc["type"], &doc["agent"]["name"]),
        (&json!("2001-09-09T01:46:40.000Z"), &json!("flow"), &json!("here"))
    );
}

#[test]
fn records_come_in_batches() {
    let (send, receive) = mpsc::channel();
    let mut sink = Sink::new(publishing("{}", &[("dns", "{}")], false), Box::new(move |batch| send.send(batch.len()).unwrap()));
    let peers = Peers::unspecified();
    for _ in 0..BATCH + 3 {
        sink.emit(PublisherId(0), &peers, &head("dns"), &Nothing {});
    }
    assert_eq!(receive.try_iter().collect::<Vec<_>>(), [BATCH]);
    sink.flush();
    sink.flush();
    assert_eq!(receive.try_iter().collect::<Vec<_>>(), [3]);
}

#[test]
fn errors_name_line_and_entry_of_all_lists() {
    let root = "processors:\n- drop_event: ~\n- nosuch: {field: a}";
    let own = "type: dns\nprocessors:\n- drop_fields: {field: a}";
    let error = opened(root, &[("dns", own)], true).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert!(lines[0].starts_with("line 3: processors.1.nosuch: this processor is not supported"), "{error}");
    assert!(lines[1].starts_with("line 3: processors.0.drop_fields.field: unknown setting `field`"), "{error}");
    assert_eq!(lines.len(), 2, "{error}");
    let publishers = opened("{}", &[], true).unwrap();
    let error = Publishing::new(publishers, &[], &Node::default(), &["privat".into()], host_data()).unwrap_err().to_string();
    assert!(error.contains("internal_networks: `privat` is no network"), "{error}");
}
