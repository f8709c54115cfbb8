//! Tests of the log of dropped events.

use crate::{ending, harness::Home, net::Running};
use std::fs;

/// A Python script that acts as Elasticsearch. It refuses each document, and its error quotes a value of the document.
const SERVER: &str = r#"
import gzip, json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        answer = {"version": {"number": "9.6.0", "build_flavor": "default"}}
        if "_bulk" in self.path:
            documents = [json.loads(line) for line in body.split(b"\n") if line][1::2]
            error = {"type": "document_parsing_exception", "reason": "cannot parse the value 'example.org'"}
            answer = {"errors": True, "items": [{"create": {"status": 400, "error": error}}] * len(documents)}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_PUT = do_POST = do_GET

server = HTTPServer(("127.0.0.1", 0), Handler)
print("port", server.server_port, file=sys.stderr, flush=True)
server.serve_forever()
"#;

#[test]
fn dropped_events_are_in_the_log_of_events_and_in_no_other() {
    let mut server = Running::start(std::process::Command::new("python3").args(["-c", SERVER]));
    server.wait_for("port ");
    let port = server.last().rsplit(' ').next().unwrap().to_owned();
    let home = Home::with_output("");
    let config = format!(
        "packetbeat.protocols: [{{type: dns, ports: [53]}}]\npacketbeat.shutdown_timeout: 30s\n\
         setup: {{template.enabled: false, ilm.enabled: false}}\nlogging.level: info\n\
         output.elasticsearch: {{hosts: ['http://127.0.0.1:{port}'], proxy_disable: true}}\n"
    );
    home.write("packetbeat.yml", &config);
    let output = home.read_capture(&ending::capture(&home, 3));
    let log_text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log_text}");
    assert!(log_text.contains("Cannot publish 3 events, which are dropped: "), "{log_text}");
    assert!(!log_text.contains("example.org"), "the log quotes an event:\n{log_text}");
    let files: Vec<_> = fs::read_dir(home.path().join("logs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert!(file.file_name().unwrap().to_string_lossy().starts_with("packetbeat-events-data-"), "{file:?}");
    let text = fs::read_to_string(file).unwrap();
    let records: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 3, "{text}");
    for record in &records {
        let message = record["message"].as_str().unwrap();
        assert_eq!((record["log.type"].as_str(), record["log.level"].as_str()), (Some("event"), Some("warn")), "{record}");
        assert!(message.starts_with("Cannot publish event {\"@timestamp\":"), "{message}");
        assert!(message.contains("cannot parse the value 'example.org'"), "{message}");
    }
}
