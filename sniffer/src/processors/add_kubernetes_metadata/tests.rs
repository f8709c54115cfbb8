//! Tests `add_kubernetes_metadata` against an API server that the test runs. The expected fields are those of Packetbeat with the same objects.

use crate::processors::testing::{Running, errors};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

/// An API server with the objects of one cluster.
struct Api {
    state: Arc<State>,
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct State {
    /// The objects of each list, by its path.
    lists: Mutex<Vec<(String, Vec<Value>)>>,
    /// Changes of pods that watches report.
    changes: Mutex<Vec<Value>>,
    changed: Condvar,
    requests: Mutex<Vec<String>>,
}

const PODS: &str = "/api/v1/pods";

fn pod(name: &str, uid: &str, ip: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": "5",
            "labels": {"app.kubernetes.io/name": "web", "app": "web", "nested.a": "1", "nested": "2"},
            "annotations": {"team.example/owner": "me", "other": "x"},
            "ownerReferences": [{"kind": "Other", "name": "no"}, {"kind": "ReplicaSet", "name": "web-abc", "controller": true}]},
        "spec": {"nodeName": "node1", "containers": [
            {"name": "main", "image": "nginx:1", "ports": [{"containerPort": 80}, {"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]},
            {"name": "side", "image": "side:2", "ports": [{"containerPort": 53}]}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}, {"ip": "fd00::1"}], "containerStatuses": [
            {"name": "side", "containerID": "containerd://beef"}, {"name": "main", "containerID": "containerd://c0ffee"}]},
    })
}

impl Api {
    /// An API server that does not answer yet, and a kubeconfig for it.
    fn bind() -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "clusters: [{{name: c, cluster: {{server: 'http://{}/behind'}}}}]\nusers: [{{name: u, user: {{token: secret}}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n",
            listener.local_addr().unwrap()
        );
        std::fs::write(folder.path().join("config"), config).unwrap();
        let state = Arc::new(State::default());
        let owner = json!([{"kind": "Deployment", "name": "web", "controller": true}]);
        *state.lists.lock().unwrap() = vec![
            (PODS.into(), vec![pod("web-1", "u-1", "10.0.0.1")]),
            (
                "/api/v1/nodes".into(),
                vec![json!({"metadata": {"name": "node1", "uid": "n-1", "labels": {"zone": "a", "b.c": "d"},
                "annotations": {"n.x": "1"}}, "status": {"addresses": [{"type": "Hostname", "address": "host1"}]}})],
            ),
            (
                "/api/v1/namespaces".into(),
                vec![json!({"metadata": {"name": "shop", "uid": "ns-1", "labels": {"tier": "gold"},
                "annotations": {"a.b": "c"}}})],
            ),
            (
                "/apis/apps/v1/replicasets".into(),
                vec![json!({"metadata": {"name": "web-abc", "namespace": "shop", "ownerReferences": owner}})],
            ),
        ];
        (Self { state, folder }, listener)
    }

    fn start() -> Self {
        let (api, listener) = Self::bind();
        api.serve(listener);
        api
    }

    fn serve(&self, listener: TcpListener) {
        let state = self.state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = state.clone();
                // A client that is gone ends its thread.
                thread::spawn(move || drop(state.answer(stream.unwrap())));
            }
        });
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    fn running(&self, options: &str, live: bool) -> Running {
        let config = self.config().display().to_string();
        Running::open_with(&format!("- add_kubernetes_metadata: {{kube_config: '{config}', node: node1, {options}}}"), live)
    }

    fn change(&self, change: Value) {
        self.state.changes.lock().unwrap().push(change);
        self.state.changed.notify_all();
    }
}

impl State {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut line, mut token) = (String::new(), false);
        reader.read_line(&mut line)?;
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        while line != "\r\n" && !line.is_empty() {
            line.clear();
            reader.read_line(&mut line)?;
            token |= line.eq_ignore_ascii_case("authorization: Bearer secret\r\n");
        }
        self.requests.lock().unwrap().push(target.clone());
        let path = target.split('?').next().unwrap().strip_prefix("/behind").unwrap_or_default();
        if target.contains("watch=true") {
            write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            if path != PODS {
                // Nothing changes: wait until the client is gone.
                return reader.read_to_end(&mut Vec::new()).map(drop);
            }
            let mut sent = 0;
            loop {
                let changes = self.changes.lock().unwrap();
                let changes = self.changed.wait_while(changes, |changes| changes.len() <= sent).unwrap();
                let change = format!("{}\n", changes[sent]);
                sent = changes.len();
                drop(changes);
                // In two chunks, to be put together again.
                let (one, two) = change.split_at(change.len() / 2);
                write!(stream, "{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n", one.len(), two.len())?;
            }
        }
        let lists = self.lists.lock().unwrap();
        let list = lists.iter().find(|(name, _)| name == path && token);
        // Two objects per page.
        let at: usize = target.split("continue=").nth(1).map_or(0, |at| at.split('&').next().unwrap().parse().unwrap());
        let (status, body) = match list {
            Some((_, items)) => {
                let next = if items.len() > at + 2 { (at + 2).to_string() } else { String::new() };
                let page: Vec<_> = items.iter().skip(at).take(2).collect();
                ("200 OK", json!({"metadata": {"resourceVersion": "10", "continue": next}, "items": page}))
            }
            None => ("403 Forbidden", json!({"message": "no"})),
        };
        let body = body.to_string();
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }
}

/// Runs the processor until the outcome is as expected; fails after 60 s with the last one.
fn until(running: &mut Running, event: &Value, what: &str, is_expected: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let got = running.run(event).unwrap();
        if is_expected(&got) {
            return got;
        }
        assert!(Instant::now() < end, "{what}: {got}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_pod_is_found_by_each_indexer_and_matcher() {
    let api = Api::start();
    let own = "default_matchers.enabled: false";
    let format = "matchers: [{field_format: {format: '%{[destination.ip]}:%{[destination.port]}'}}]";
    let server = json!({"server": {"ip": "10.0.0.1", "port": 80}});
    let destination = json!({"destination": {"ip": "10.0.0.1", "port": 53}});
    let key = |key: &str| json!({"k": key});
    let (main, nothing) = (json!("main"), Value::Null);
    let (is_pod, is_none) = (json!("web-1"), Value::Null);
    for (options, event, pod, container) in [
        ("", server.clone(), &is_pod, &main),
        ("", destination.clone(), &is_pod, &main),
        ("", json!({"server": {"ip": "10.0.0.1", "port": 81}}), &is_pod, &nothing),
        ("", json!({"server": {"ip": "10.9.9.9", "port": 81}, "client": {"ip": "fd00::1"}}), &is_pod, &nothing),
        ("", json!({"source": {"ip": "10.0.0.1"}}), &is_pod, &nothing),
        ("", json!({"server": {"ip": "10.9.9.9", "port": 80}}), &is_none, &nothing),
        ("host: node1, in_cluster: false, kube_client_options: {qps: 5, burst: 10}", server.clone(), &is_pod, &main),
        (own, server.clone(), &is_none, &nothing),
        (&format!("{own}, {format}"), destination.clone(), &is_pod, &main),
        (&format!("{own}, {format}"), server.clone(), &is_none, &nothing),
        (&format!("{own}, default_indexers.enabled: false, {format}"), destination.clone(), &is_none, &nothing),
        ("default_indexers.enabled: false, indexers: [{ip_port: }]", server.clone(), &is_pod, &main),
        ("matchers: [{fields: {lookup_fields: [none, k]}}], indexers: [{pod_uid: }]", key("u-1"), &is_pod, &nothing),
        ("matchers: [{fields: {lookup_fields: [k]}}], indexers: [{pod_name: }]", key("shop/web-1"), &is_pod, &nothing),
        ("matchers: [{fields: {lookup_fields: [k]}}], indexers: [{container: }]", key("c0ffee"), &is_pod, &main),
        ("matchers: [{fields: {lookup_fields: [k]}}], indexers: [{pod_uid: }, {container: }]", key("beef"), &is_pod, &json!("side")),
        (
            "matchers: [{fields: {lookup_fields: [k], regex_pattern: '^/(?P<key>[^/]*)'}}], indexers: [{pod_uid: }]",
            key("/u-1/x"),
            &is_pod,
            &nothing,
        ),
        (
            "matchers: [{fields: {lookup_fields: [k], regex_pattern: '^/(?P<key>[^/]*)'}}], indexers: [{pod_uid: }]",
            key("u-1"),
            &is_none,
            &nothing,
        ),
    ] {
        let mut running = api.running(options, false);
        let got = until(&mut running, &event, options, |got| got.pointer("/kubernetes/pod/name").unwrap_or(&Value::Null) == pod);
        assert_eq!(got.pointer("/kubernetes/container/name").unwrap_or(&Value::Null), container, "{options} {event}: {got}");
    }
    let before = json!({"kubernetes": {"mine": true}, "server": {"ip": "10.0.0.1", "port": 80}});
    assert_eq!(api.running("", false).run(&before).unwrap()["kubernetes"], json!({"mine": true}), "an event that has metadata keeps them");
}

#[test]
fn the_fields_are_those_of_packetbeat() {
    let api = Api::start();
    let event = json!({"server": {"ip": "10.0.0.1", "port": 80}});
    let base = json!({
        "container": {"name": "main"},
        "labels": {"app": "web", "app_kubernetes_io/name": "web", "nested": "2", "nested_a": "1"},
        "namespace": "shop", "namespace_uid": "ns-1", "namespace_labels": {"tier": "gold"},
        "node": {"hostname": "host1", "labels": {"zone": "a", "b_c": "d"}, "name": "node1", "uid": "n-1"},
        "pod": {"ip": "10.0.0.1", "name": "web-1", "uid": "u-1"},
        "replicaset": {"name": "web-abc"},
    });
    let with = |pointer: &str, value: Value| {
        let mut fields = base.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = fields.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            parent.remove(key)
        } else {
            parent.insert(key.to_owned(), value)
        };
        fields
    };
    let without_namespace = {
        let mut fields = with("/namespace_uid", Value::Null);
        fields.as_object_mut().unwrap().remove("namespace_labels");
        fields
    };
    for (options, wanted) in [
        ("", base.clone()),
        ("include_labels: [app, nested.a]", with("/labels", json!({"app": "web", "nested_a": "1"}))),
        ("exclude_labels: [app, nested.a, nested]", with("/labels", json!({"app_kubernetes_io/name": "web"}))),
        ("exclude_labels: [app, app.kubernetes.io/name]", with("/labels", json!({"nested": "2", "nested_a": "1"}))),
        (
            "exclude_labels: [app, app.kubernetes.io/name], labels.dedot: false",
            with("/labels", json!({"nested": {"value": "2", "a": "1"}})),
        ),
        ("include_annotations: [other, team.example/owner]", with("/annotations", json!({"other": "x", "team_example/owner": "me"}))),
        (
            "include_annotations: [team.example/owner], annotations.dedot: false",
            with("/annotations", json!({"team": {"example/owner": "me"}})),
        ),
        ("add_resource_metadata: {deployment: true, cronjob: true}", with("/deployment", json!({"name": "web"}))),
        ("add_resource_metadata.namespace.enabled: false", without_namespace),
        ("add_resource_metadata.node.enabled: false", with("/node", json!({"name": "node1"}))),
        ("add_resource_metadata.node: {include_labels: [zone]}", with("/node/labels", json!({"zone": "a"}))),
        ("add_resource_metadata.node: {exclude_labels: [zone], labels.dedot: false}", with("/node/labels", json!({"b": {"c": "d"}}))),
        ("add_resource_metadata.node: {include_annotations: [n.x]}", with("/node/annotations", json!({"n_x": "1"}))),
        (
            "add_resource_metadata.namespace: {include_annotations: [a.b], annotations.dedot: false}",
            with("/namespace_annotations", json!({"a": {"b": "c"}})),
        ),
    ] {
        let mut running = api.running(options, false);
        let got = until(&mut running, &event, options, |got| got["kubernetes"] == wanted);
        assert_eq!(got["container"], json!({"id": "c0ffee", "runtime": "containerd", "image": {"name": "nginx:1"}}), "{options}");
        let url = got["orchestrator"]["cluster"]["url"].as_str().unwrap_or_default();
        assert!(url.starts_with("http://127.0.0.1:") && got["orchestrator"]["cluster"]["name"] == "c", "{got}");
    }
}

#[test]
fn changes_are_followed() {
    let api = Api::start();
    let mut running = api.running("cleanup_timeout: 0s, sync_period: 0", true);
    let at = |ip: &str| json!({"server": {"ip": ip, "port": 80}});
    let name = |wanted: Value| move |got: &Value| got.pointer("/kubernetes/pod/name").unwrap_or(&Value::Null) == &wanted;
    until(&mut running, &at("10.0.0.1"), "listed", name(json!("web-1")));
    api.change(json!({"type": "ADDED", "object": pod("web-2", "u-2", "10.0.0.2")}));
    until(&mut running, &at("10.0.0.2"), "added", name(json!("web-2")));
    api.change(json!({"type": "MODIFIED", "object": pod("web-2", "u-2", "10.0.0.3")}));
    until(&mut running, &at("10.0.0.3"), "modified", name(json!("web-2")));
    until(&mut running, &at("10.0.0.2"), "the old address", name(Value::Null));
    // The address of a pod that has ended goes to another pod.
    let mut ended = pod("web-2", "u-2", "10.0.0.3");
    ended["status"]["phase"] = "Succeeded".into();
    api.change(json!({"type": "MODIFIED", "object": ended}));
    until(&mut running, &at("10.0.0.3"), "ended", name(Value::Null));
    api.change(json!({"type": "DELETED", "object": pod("web-1", "u-1", "10.0.0.1")}));
    until(&mut running, &at("10.0.0.1"), "deleted", name(Value::Null));
    // Everything is listed again when the server does not have the changes any more. The list has two pages.
    let pods = (4..8).map(|number| pod(&format!("web-{number}"), &format!("u-{number}"), &format!("10.0.0.{number}"))).collect();
    api.state.lists.lock().unwrap()[0].1 = pods;
    api.change(json!({"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}));
    until(&mut running, &at("10.0.0.7"), "listed again", name(json!("web-7")));
}

#[test]
fn scope_and_namespace_choose_the_pods() {
    let api = Api::start();
    api.state.lists.lock().unwrap().push(("/api/v1/namespaces/shop/pods".into(), vec![pod("web-1", "u-1", "10.0.0.1")]));
    let event = json!({"server": {"ip": "10.0.0.1", "port": 80}});
    for (options, wanted) in [
        ("scope: node", "/behind/api/v1/pods?fieldSelector=spec.nodeName%3Dnode1&limit=500"),
        ("scope: cluster", "/behind/api/v1/pods?limit=500"),
        ("namespace: shop", "/behind/api/v1/namespaces/shop/pods?fieldSelector=spec.nodeName%3Dnode1&limit=500"),
    ] {
        let mut running = api.running(options, false);
        until(&mut running, &event, options, |got| got["kubernetes"]["pod"]["uid"] == "u-1");
        let requests = std::mem::take(&mut *api.state.requests.lock().unwrap());
        assert!(requests.iter().any(|request| request == wanted), "{options}: {requests:#?}");
    }
}

#[test]
fn nodes_in_the_network_of_their_host_have_no_address_of_their_own() {
    let api = Api::start();
    let mut shared = pod("agent", "u-9", "10.0.0.1");
    shared["spec"]["hostNetwork"] = true.into();
    api.state.lists.lock().unwrap()[0].1 = vec![shared];
    let mut running = api.running("", false);
    until(&mut running, &json!({"server": {"ip": "10.0.0.1", "port": 80}}), "its port", |got| got["kubernetes"]["pod"]["uid"] == "u-9");
    assert_eq!(running.run(&json!({"server": {"ip": "10.0.0.1", "port": 9}})).unwrap()["kubernetes"], Value::Null);
}

#[test]
fn a_live_event_does_not_wait_and_the_server_is_asked_again() {
    let (api, listener) = Api::bind();
    // Namespaces and nodes are refused; the pods are known without them.
    api.state.lists.lock().unwrap().truncate(1);
    let mut running = api.running("", true);
    let event = json!({"server": {"ip": "10.0.0.1", "port": 80}});
    assert_eq!(running.run(&event).unwrap(), event, "no connection is accepted yet");
    api.serve(listener);
    let got = until(&mut running, &event, "pods", |got| !got["kubernetes"].is_null());
    assert_eq!((&got["kubernetes"]["pod"]["uid"], &got["kubernetes"]["node"]), (&json!("u-1"), &json!({"name": "node1"})));
}

#[test]
fn wrong_options_are_named() {
    for (options, error) in [
        ("scope: planet", "scope: expected node or cluster, got `planet`"),
        ("matchers: [{field: {}}]", "there is no such matcher"),
        ("matchers: [{field_format: {format: '%{[a'}}]", "format"),
        ("matchers: [{fields: {lookup_fields: [a], regex_pattern: 'a(.*)'}}]", "the pattern has no group `key`"),
        ("matchers: [a]", "each entry must be a map with one key"),
        ("indexers: [{ip: }]", "there is no such indexer"),
        ("sync_period: often", "sync_period"),
    ] {
        let got = errors(&format!("- add_kubernetes_metadata: {{{options}}}")).unwrap_or_default();
        assert!(got.contains(error), "{options}: {got} lacks {error}");
    }
}
