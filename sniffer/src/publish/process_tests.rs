//! Tests of the fields that name processes, from a fake owner of sockets to the document and the observer.

use super::{
    observer::{Observer, Transaction},
    tests::{STOCK, head, publishing},
    *,
};
use crate::{
    config::Node,
    net::{Direction, Realm, StoredKey, Transport, TunnelKey},
    process::{
        Options, Owner,
        fake::{self, FakeOwners},
    },
};
use serde_json::{Value, json};
use std::sync::{Mutex, mpsc};

/// Owners of both ends: a browser that has ended, and the process of the test.
fn owners() -> FakeOwners {
    let owners = FakeOwners::default().with(Transport::Tcp, "10.0.0.7:40000", Owner { uid: 0, ..fake::owner("curl") });
    owners.with(Transport::Tcp, "10.0.0.9:80", fake::this_process())
}

fn peers() -> Peers {
    Peers::new("10.0.0.7:40000".parse().unwrap(), "10.0.0.9:80".parse().unwrap(), Transport::Tcp)
}

/// The processes at both ends of every event, as an observer receives them.
type Shown = Arc<Mutex<Vec<String>>>;

struct Recording(Shown);

impl Recording {
    fn add(&self, of: &Ends) {
        let name = |end: &Option<Arc<crate::process::Process>>| end.as_ref().map_or("-".to_owned(), |process| process.name.clone());
        self.0.lock().unwrap().push(format!("{} {}", name(&of.source), name(&of.destination)));
    }
}

impl Observer for Recording {
    fn transaction(&mut self, of: &Transaction<'_>) {
        self.add(of.processes);
    }

    fn flow(&mut self, _: &FlowRecord, processes: &Ends) {
        self.add(processes);
    }
}

/// A sink that names processes with these settings of `packetbeat.procs`.
struct Named {
    sink: Sink,
    records: mpsc::Receiver<Vec<Record>>,
    shown: Shown,
}

impl Named {
    fn new(root: &str, procs: &str) -> Self {
        Self::with(owners(), root, procs, true)
    }

    fn with(owners: FakeOwners, root: &str, procs: &str, observed: bool) -> Self {
        let (send, records) = mpsc::channel();
        let mut sink =
            Sink::new(publishing(root, &[("http", "{}"), ("flow", "{}")], false), Box::new(move |batch| send.send(batch).unwrap()));
        let options = Options::read(&Node::parse(&format!("packetbeat.procs: {procs}")).unwrap()).unwrap();
        sink.name_processes(Processes::new(Arc::new(owners), options));
        let shown = Shown::default();
        if observed {
            sink.show(Box::new(Recording(shown.clone())));
        }
        Self { sink, records, shown }
    }

    fn document(&mut self) -> Value {
        self.sink.flush();
        let record = self.records.try_iter().flatten().next().unwrap();
        let read: Value = serde_json::from_slice(&record.body).unwrap();
        assert_eq!(serde_json::to_vec(&read).unwrap().len(), record.body.len(), "a key occurs twice: {}", record.body.escape_ascii());
        read
    }

    fn transaction(&mut self, peers: &Peers, head: &Head<'_>, body: &Value) -> Value {
        self.sink.emit(PublisherId(0), peers, head, body);
        self.document()
    }
}

fn body() -> Value {
    json!({"http": {"version": "1.1"}})
}

/// The process of the test as documents of transactions show it, without user.
fn this_process() -> Value {
    let args: Vec<String> = std::env::args().collect();
    let text = |path: std::io::Result<std::path::PathBuf>| path.unwrap().display().to_string();
    let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
    json!({"pid": std::process::id(), "name": comm.trim_end(), "args": args, "executable": text(std::env::current_exe()),
           "working_directory": text(std::env::current_dir()), "parent": {"pid": std::os::unix::process::parent_id()}})
}

/// `process` without `start`, which must be a time.
fn without_start(process: &Value) -> Value {
    let mut process = process.clone();
    let start = process.as_object_mut().unwrap().remove("start");
    assert!(start.as_ref().and_then(Value::as_str).is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()), "{start:?}");
    process
}

#[test]
fn transactions_name_both_processes() {
    for root in ["{}", STOCK, "processors: [{add_fields: {target: '', fields: {a: 1}}}, {rename: {fields: [{from: status, to: state}]}}]"] {
        let mut named = Named::new(root, "{enabled: true}");
        let document = named.transaction(&peers(), &head("http"), &body());
        let mut this = this_process();
        assert_eq!(without_start(&document["process"]), this, "{root}");
        let uid = fake::this_process().uid.to_string();
        assert_eq!(document["user"]["id"], json!(uid));
        this["user"] = document["user"].clone();
        let mut destination = without_start(&document["destination"]["process"]);
        for top in ["container", "service"] {
            if let Some(value) = document.get(top) {
                this[top] = value.clone();
            }
        }
        assert_eq!(destination, this, "{root}");
        destination = without_start(&document["source"]["process"]);
        assert_eq!(destination, json!({"pid": 2_147_483_600, "name": "curl", "user": {"id": "0", "name": "root"}}), "{root}");
        for end in ["client", "server"] {
            assert!(document[end].is_object() && document[end].get("process").is_none(), "{document}");
        }
        assert_eq!(*named.shown.lock().unwrap(), [format!("curl {}", this["name"].as_str().unwrap())]);
    }
}

#[test]
fn roles_follow_the_direction_of_the_request() {
    let mut named = Named::new("{}", "{enabled: true}");
    let document = named.transaction(&peers(), &Head { from: Direction::ToClient, ..head("http") }, &body());
    assert_eq!((&document["destination"]["process"]["name"], &document["process"]["name"]), (&json!("curl"), &json!("curl")));
    assert_eq!(document["source"]["process"]["pid"], json!(std::process::id()));
}

#[test]
fn the_user_of_the_protocol_stays() {
    let mut named = Named::new("{}", "{enabled: true}");
    let body = json!({"user.name": "eve"});
    let document = named.transaction(&peers(), &Head { names_user: true, ..head("http") }, &body);
    assert_eq!((&document["user.name"], document.get("user")), (&json!("eve"), None));
    assert_eq!(document["process"]["user"]["id"], json!(fake::this_process().uid.to_string()));
}

#[test]
fn the_source_is_named_if_the_destination_is_not_known() {
    let owners = FakeOwners::default().with(Transport::Tcp, "10.0.0.7:40000", Owner { uid: 0, ..fake::owner("curl") });
    let mut named = Named::with(owners, "{}", "{enabled: true}", true);
    let document = named.transaction(&peers(), &head("http"), &body());
    assert_eq!(document["destination"].get("process"), None);
    assert_eq!((&document["process"]["name"], &document["user"]["name"]), (&json!("curl"), &json!("root")));
    assert_eq!(*named.shown.lock().unwrap(), ["curl -"]);
    let other = Peers::new("10.1.0.7:1".parse().unwrap(), "10.1.0.9:2".parse().unwrap(), Transport::Tcp);
    let document = named.transaction(&other, &head("http"), &body());
    assert_eq!([document.get("process"), document.get("user"), document["source"].get("process")], [None; 3]);
}

#[test]
fn without_procs_only_the_observer_gets_processes() {
    let mut named = Named::new("{}", "{enabled: false}");
    let document = named.transaction(&peers(), &head("http"), &body());
    assert_eq!([document.get("process"), document.get("user"), document["source"].get("process")], [None; 3]);
    assert!(named.shown.lock().unwrap()[0].starts_with("curl "));
    let owners = Arc::new(owners());
    let mut sink = Sink::bare(Box::new(|_| ()));
    sink.name_processes(Processes::new(owners.clone(), Options::default()));
    sink.emit(PublisherId(0), &peers(), &head("http"), &body());
    assert_eq!(owners.asked(), [], "no observer, no question");
}

#[test]
fn names_of_monitored_processes_and_redacted_arguments() {
    let procs = "{enabled: true, monitored: [{process: the tests, cmdline_grep: sniffer}], redact_args: ['^\\S+']}";
    let document = Named::new("{}", procs).transaction(&peers(), &head("http"), &body());
    assert_eq!((&document["process"]["name"], &document["process"]["args"][0]), (&json!("the tests"), &json!("xxxxx")));
    let document = Named::new("{}", "{enabled: true, redact_args: []}").transaction(&peers(), &head("http"), &body());
    assert_eq!(document["process"]["args"][0], json!(std::env::args().next().unwrap()));
}

#[test]
fn processors_see_the_fields() {
    let root = "processors: [{drop_event: {when: {equals: {source.process.name: curl}}}}]";
    let mut named = Named::new(root, "{enabled: true}");
    named.sink.emit(PublisherId(0), &peers(), &head("http"), &body());
    assert_eq!(named.sink.counters(), [(PublisherId(0), "filtered", 1)]);
    let root = "processors: [{drop_fields: {fields: [process, source.process.args, user]}}]";
    let document = Named::new(root, "{enabled: true}").transaction(&peers(), &head("http"), &body());
    assert_eq!((document.get("process"), &document["source"]["process"]["name"]), (None, &json!("curl")));
}

#[test]
fn tunnels_have_no_loopback_of_this_host() {
    let local = Peers::new("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap(), Transport::Tcp);
    let owners = || FakeOwners::default().with(Transport::Tcp, "127.0.0.1:1", fake::owner("curl"));
    let mut realm = Realm::default();
    let plain = Named::with(owners(), "{}", "{enabled: true}", false).transaction(&local, &head("http"), &body());
    assert_eq!(plain["source"]["process"]["name"], json!("curl"));
    realm.push_tunnel(TunnelKey(7));
    let tunnelled = Named::with(owners(), "{}", "{enabled: true}", false).transaction(&local.with_realm(realm), &head("http"), &body());
    assert_eq!(tunnelled.get("process"), None);
}

#[test]
fn observers_of_flows_get_processes() {
    let mut named = Named::new("{}", "{enabled: true}");
    let conversation = Conversation {
        transport: Transport::Tcp,
        source: peers().client,
        destination: peers().server,
        tunnelled: false,
        time: Timestamp(1),
    };
    let ends = named.sink.ends(&conversation, true).unwrap();
    let record = FlowRecord::new(StoredKey::new(&[]), false, Timestamp(0));
    named.sink.emit_flow(PublisherId(1), Timestamp(1), (&record, &ends), &json!({"type": "flow"}));
    assert!(named.shown.lock().unwrap()[0].starts_with("curl "));
    let mut unobserved = Named::with(owners(), "{}", "{enabled: true}", false);
    assert!(unobserved.sink.ends(&conversation, true).is_some());
    assert_eq!(unobserved.sink.ends(&conversation, false), None, "nobody wants them");
}
