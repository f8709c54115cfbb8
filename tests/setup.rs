//! Tests of `setup` and of the exports of objects for Kibana, against a server that plays Elasticsearch and Kibana.

use crate::{
    ending::capture,
    harness::{Home, assert_success},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Output,
    sync::{Arc, Mutex},
};

/// A server that answers as an Elasticsearch without data and as Kibana. It records the requests that change something.
struct Server {
    port: u16,
    changes: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, changes) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let log = changes.clone();
        // The thread ends with the process that runs the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = log.clone();
                std::thread::spawn(move || serve(&stream, &log));
            }
        });
        Self { port, changes }
    }

    fn config(&self, more: &str) -> Home {
        let port = self.port;
        Home::with_output(&format!(
            "packetbeat.protocols: [{{type: dns, ports: [53]}}]\noutput.elasticsearch.hosts: ['127.0.0.1:{port}']\nsetup.kibana.host: 127.0.0.1:{port}\n{more}\n"
        ))
    }

    fn changes(&self) -> Vec<String> {
        std::mem::take(&mut self.changes.lock().unwrap())
    }
}

fn serve(stream: &TcpStream, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length, mut events) = (String::new(), 0, 0);
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            match header.to_lowercase().split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().unwrap(),
                Some(("x-elastic-event-count", value)) => events = value.trim().parse().unwrap(),
                _ => {}
            }
            if header.trim_end().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (method, path) = line.split_once(' ').map(|(method, rest)| (method, rest.split(' ').next().unwrap())).unwrap();
        let (status, answer) = match (method, path) {
            ("POST", path) if path.contains("_bulk") => {
                (200, json!({"errors": false, "items": vec![json!({"create": {"status": 201}}); events]}))
            }
            (_, "/") | (_, "/api/status") => (200, json!({"version": {"number": "9.6.0"}})),
            ("PUT", _) | ("GET", "/_license?human=false") => (200, json!({})),
            ("POST", path) if path.contains("_import") => (200, json!({"success": true, "successCount": 1})),
            _ => (404, json!({})),
        };
        let answer = answer.to_string();
        if method != "GET" && method != "HEAD" {
            log.lock().unwrap().push(format!("{method} {}", path.split('?').next().unwrap()));
        }
        let sent = if method == "HEAD" { "" } else { &answer };
        let mut stream = stream;
        write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{sent}", answer.len()).unwrap();
    }
}

fn run(home: &Home, args: &[&str]) -> Output {
    home.command(args).output().unwrap()
}

const INDICES: [&str; 3] = ["PUT /_ilm/policy/packetbeat", "PUT /_index_template/packetbeat-9.6.0", "PUT /_data_stream/packetbeat-9.6.0"];
const IMPORT: &str = "POST /api/saved_objects/_import";

#[test]
fn setup_prepares_what_the_flags_say() {
    let server = Server::start();
    let home = server.config("");
    let dashboards = [IMPORT; 7];
    let everything = [INDICES.as_slice(), dashboards.as_slice()].concat();
    for (args, expected, said) in [
        (
            &["setup"][..],
            everything.as_slice(),
            "Index setup finished.\nLoading dashboards (Kibana must be running and reachable)\nLoaded dashboards\n",
        ),
        (&["setup", "--enable-all-filesets", "--force-enable-module-filesets"], &everything, "Loaded dashboards\n"),
        (&["setup", "--index-management"], &INDICES, "Index setup finished.\n"),
        (&["setup", "--dashboards"], &dashboards, "Loaded dashboards\n"),
        (&["setup", "--pipelines"], &[], "Loaded Ingest pipelines\n"),
        (&["setup", "--pipelines", "--index-management"], &INDICES, "Index setup finished.\nLoaded Ingest pipelines\n"),
    ] {
        let output = run(&home, args);
        assert_success(&output);
        assert_eq!(server.changes(), expected, "{args:?}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(stdout.contains(said), "{args:?}: {said:?} is not in {stdout:?}");
    }
}

#[test]
fn setup_says_what_is_missing() {
    let server = Server::start();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let of_redis = format!(
        "packetbeat.protocols: [{{type: dns, ports: [53]}}]\noutput.redis.hosts: ['127.0.0.1:1']\nsetup.kibana.host: 127.0.0.1:{}",
        server.port
    );
    let away = format!(
        "packetbeat.protocols: [{{type: dns, ports: [53]}}]\noutput.elasticsearch.hosts: ['127.0.0.1:{nobody}', '127.0.0.1:{nobody}']\nsetup.kibana.host: 127.0.0.1:{nobody}"
    );
    for (config, args, expected) in [
        (&of_redis, &["setup"][..], "Exiting: index management requested but the Elasticsearch output is not configured/enabled"),
        (
            &of_redis,
            &["setup", "--pipelines"],
            "Exiting: ingest pipelines requested but the Elasticsearch output is not configured/enabled",
        ),
        (&away, &["setup", "--index-management"], "Exiting: Elasticsearch cannot be set up: http://127.0.0.1:"),
        (&away, &["setup", "--dashboards"], "Exiting: Kibana at http://127.0.0.1:"),
    ] {
        let output = run(&Home::with_output(config), args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {expected:?} is not in {stderr:?}");
    }
    let output = run(&Home::with_output(&of_redis), &["setup", "--dashboards"]);
    assert_success(&output);
    assert_eq!(server.changes(), [IMPORT; 7], "dashboards do not depend on the output");
    let output = run(&server.config("setup.kibana.hots: x"), &["setup", "--pipelines"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("setup.kibana.hots: unknown setting, ignored; did you mean `setup.kibana.host`?"), "{stderr}");
}

#[test]
fn dashboards_at_the_start_do_not_delay_the_run() {
    let server = Server::start();
    let home = server.config("setup.dashboards.enabled: true");
    let file = capture(&home, 5);
    assert_success(&home.read_capture(&file));
    let changes = server.changes();
    assert_eq!(changes.iter().filter(|change| *change == IMPORT).count(), 7, "{changes:?}");
    assert!(changes.contains(&"POST /_bulk".to_owned()), "{changes:?}");

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let home = Home::new(&format!(
        "packetbeat.protocols: [{{type: dns, ports: [53]}}]\nsetup.dashboards.enabled: true\nsetup.kibana.host: 127.0.0.1:{nobody}"
    ));
    let output = home.read_capture(&capture(&home, 5));
    assert_success(&output);
    assert_eq!(home.documents().len(), 5);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("The dashboards are not loaded: Kibana at "), "{stderr}");
}

#[test]
fn objects_for_kibana_are_exported() {
    let home = Server::start().config("setup.dashboards.index: 'mine-*'");
    let output = run(&home, &["export", "index-pattern"]);
    assert_success(&output);
    let pattern: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&pattern["id"], &pattern["type"]), (&"packetbeat-*".into(), &"index-pattern".into()));
    let output = run(&home, &["export", "dashboard", "--built-in"]);
    assert_success(&output);
    let objects: Vec<Value> =
        output.stdout.split(|&b| b == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!(objects[0]["id"], "mine-*");
    assert_eq!(objects.iter().filter(|object| object["type"] == "dashboard").count(), 6);
    for (args, expected) in [
        (&["export", "dashboard"][..], "--folder must be specified"),
        (&["export", "dashboard", "--folder", "x"], "exactly one of --id and --yml must be specified"),
    ] {
        let output = run(&home, args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && stderr.contains(expected), "{args:?}: {stderr}");
    }
}
