//! Tests `add_docker_metadata` against a daemon that the test runs, which speaks the API of Docker.

use crate::processors::testing::{Running, errors};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Answers one request as a daemon that has one container.
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

/// Makes an authority (`ca`), another one (`other`), and certificates of the daemon (`srv`, for 127.0.0.1) and of a client (`cli`). `None` if
/// openssl is not installed.
fn certificates() -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let script = "set -e
        new='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'
        for ca in ca other; do $new -subj /CN=$ca -keyout $ca.key -out $ca.pem; done
        for end in srv cli; do $new -subj /CN=$end -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
            -CA ca.pem -CAkey ca.key -keyout $end.key -out $end.pem; done";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder.path()).output();
    if made.as_ref().is_ok_and(|made| made.status.success()) {
        return Some(folder);
    }
    println!("SKIPPED: openssl is not installed, or cannot make the certificates");
    None
}

/// A daemon that requires a client certificate.
fn tls_daemon(folder: &Path) -> SocketAddr {
    let read = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(read("ca.pem")).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("srv.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_client_cert_verifier(clients).with_single_cert(vec![read("srv.pem")], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut session, mut stream) = (ServerConnection::new(config.clone()).unwrap(), stream.unwrap());
            while session.is_handshaking() && session.complete_io(&mut stream).is_ok() {}
            if !session.is_handshaking() {
                serve(StreamOwned::new(session, stream));
            }
        }
    });
    address
}

#[test]
fn a_daemon_is_asked_over_tls() {
    let Some(folder) = certificates() else { return };
    let address = tls_daemon(folder.path());
    let path = folder.path().display();
    let client = format!("certificate: '{path}/cli.pem', key: '{path}/cli.key'");
    for (scheme, ssl, is_found) in [
        ("tcp", format!("certificate_authority: '{path}/ca.pem', {client}"), true),
        ("https", format!("certificate_authorities: ['{path}/other.pem', '{path}/ca.pem'], {client}"), true),
        ("tcp", format!("verification_mode: none, {client}"), true),
        ("tcp", format!("certificate_authority: '{path}/other.pem', {client}"), false),
        ("https", client.clone(), false),
        ("http", format!("certificate_authority: '{path}/ca.pem', {client}"), false),
    ] {
        let yaml = format!("- add_docker_metadata: {{host: '{scheme}://{address}', match_fields: [c], ssl: {{{ssl}}}}}");
        let got = Running::open_with(&yaml, false).run(&json!({"c": ID})).unwrap();
        assert_eq!(got.get("container").is_some(), is_found, "{yaml}: {got}");
    }
    let error = errors("- add_docker_metadata: {host: 'tcp://a', ssl: {certificate_authority: /nonexistent}}").unwrap();
    assert!(error.contains("/nonexistent"), "{error}");
}
