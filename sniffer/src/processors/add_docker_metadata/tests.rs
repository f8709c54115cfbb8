//! `add_docker_metadata` against a daemon of the test, which speaks the API of Docker.

use crate::processors::testing::{Running, errors};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Answers one request as a daemon with one container does.
fn serve(mut stream: impl Read + Write) {
    let mut reader = BufReader::new(&mut stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let path = line.split(' ').nth(1).unwrap().to_owned();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    let known = [ID, &ID[..12]].iter().any(|id| path == format!("/containers/{id}/json"));
    let (status, body) = match known {
        true => (
            "200 OK",
            json!({"Id": ID, "Name": "/web", "State": {"Pid": 7}, "Config": {"Image": "nginx:1", "Labels": {"com.example.team": "a", "x": "y"}}}),
        ),
        false => ("404 Not Found", json!({"message": "No such container"})),
    };
    write!(stream, "HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{body}").unwrap();
}

fn daemon(socket: &Path) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(socket).unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
            serve(stream.unwrap());
        }
    });
    requests
}

fn container(labels: &Value) -> Value {
    json!({"id": ID, "name": "web", "image": {"name": "nginx:1"}, "labels": labels})
}

#[test]
fn a_container_is_found_by_id_and_by_process() {
    let root = tempfile::tempdir().unwrap();
    let socket = root.path().join("docker.sock");
    daemon(&socket);
    for (folder, cgroup) in [("proc/7", format!("0::/system.slice/docker-{ID}.scope")), ("proc/8", format!("0::/mine/{}", &ID[..12]))] {
        fs::create_dir_all(root.path().join(folder)).unwrap();
        fs::write(root.path().join(folder).join("cgroup"), cgroup).unwrap();
    }
    let (dedotted, plain) = (json!({"com_example_team": "a", "x": "y"}), json!({"com.example.team": "a", "x": "y"}));
    for (options, event, labels) in [
        ("match_fields: [c]", json!({"c": ID}), Some(&dedotted)),
        ("match_fields: [c], match_short_id: true", json!({"c": &ID[..12]}), Some(&dedotted)),
        ("match_fields: [c], labels.dedot: false", json!({"c": ID}), Some(&plain)),
        ("match_fields: [c]", json!({"c": "other"}), None),
        ("match_fields: [c]", json!({"c": "../../info"}), None),
        ("match_source: true, match_source_index: 3, cleanup_timeout: 5s", json!({"process": {"pid": 7}}), Some(&dedotted)),
        ("match_pids: [p]", json!({"p": 7}), Some(&dedotted)),
        ("match_pids: [p]", json!({"p": 9}), None),
        ("match_pids: [p], cgroup_prefixes: [/mine]", json!({"p": 8}), Some(&dedotted)),
        ("match_pids: [p], cgroup_regex: '/mine/(.*)'", json!({"p": 8}), Some(&dedotted)),
    ] {
        let path = root.path().display();
        let yaml = format!("- add_docker_metadata: {{host: 'unix://{path}/docker.sock', hostfs: '{path}', {options}}}");
        let got = Running::open_with(&yaml, false).run(&event).unwrap();
        let wanted = labels.map(container).unwrap_or_default();
        assert_eq!(got["container"], wanted, "{options} {event}");
    }
}

#[test]
fn containers_are_remembered() {
    let root = tempfile::tempdir().unwrap();
    let socket = root.path().join("docker.sock");
    let requests = daemon(&socket);
    let yaml = format!("- add_docker_metadata: {{host: 'unix://{}', match_fields: [c]}}", socket.display());
    let mut running = Running::open_with(&yaml, false);
    (0..5).for_each(|_| _ = running.run(&json!({"c": ID})));
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}

#[test]
fn a_live_event_does_not_wait_and_a_missing_daemon_harms_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut live = Running::open(&format!("- add_docker_metadata: {{host: 'tcp://{address}', match_fields: [c]}}"));
    let event = json!({"c": ID});
    assert_eq!(live.run(&event), Some(event.clone()), "the daemon has not answered yet");
    serve(listener.accept().unwrap().0);
    let answered = (0..1000).find_map(|_| {
        thread::sleep(Duration::from_millis(10));
        live.run(&event).filter(|event| event.get("container").is_some())
    });
    assert_eq!(answered.unwrap()["container"]["name"], json!("web"));
    let mut without = Running::open_with("- add_docker_metadata: {host: 'unix:///nonexistent/docker.sock', match_fields: [c]}", false);
    assert_eq!(without.run(&event), Some(event));
}

#[test]
fn wrong_addresses_are_refused() {
    let error = errors("- add_docker_metadata: {host: 'ssh://x'}").unwrap();
    assert!(error.starts_with("line 1: 0.add_docker_metadata.host: `ssh://x` is not supported"), "{error}");
}
