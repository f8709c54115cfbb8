//! Recognition of protocols on shared ports: reads every golden capture with all protocols on all ports. No protocol may claim the
//! connections or datagrams of another protocol.

use crate::{
    golden::captures,
    harness::{Home, assert_success, tests},
};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path};

/// Every protocol that can be recognised on any port.
const PROTOCOLS: [&str; 14] =
    ["amqp", "cassandra", "dhcpv4", "dns", "http", "memcache", "mysql", "pgsql", "redis", "thrift", "mongodb", "nfs", "tls", "sip"];

/// A configuration with these protocols on all ports.
fn on_all_ports<'a>(protocols: impl Iterator<Item = &'a str>) -> String {
    let list: String = protocols.map(|name| format!("- {{type: {name}, ports: any, transaction_timeout: 10s}}\n")).collect();
    format!("name: probes\npacketbeat.protocols:\n{list}")
}

fn kinds(documents: &[Value]) -> BTreeSet<String> {
    documents.iter().map(|d| d["type"].as_str().unwrap().to_owned()).collect()
}

/// The captures of protocols, each with the name of its folder and the types of its expected documents.
fn golden() -> Vec<(std::path::PathBuf, String, BTreeSet<String>)> {
    let of_protocols = captures().into_iter().filter(|capture| capture.starts_with(tests().join("protocols")));
    let with_kinds = |capture: std::path::PathBuf| {
        let folder = capture.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(capture.with_extension("ndjson")).unwrap();
        let documents: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds = kinds(&documents);
        (capture, folder, kinds)
    };
    of_protocols.map(with_kinds).collect()
}

#[test]
fn with_all_protocols_on_all_ports_each_capture_is_recognised() {
    let home = Home::new(&on_all_ports(PROTOCOLS.into_iter()));
    let mut wrong = String::new();
    let mut recognised = BTreeSet::new();
    for (capture, folder, expected) in golden() {
        let _ = fs::remove_dir_all(home.path().join("out"));
        assert_success(&home.read_capture(&capture));
        let got = kinds(&home.documents());
        // A connection that switches to TLS is reported as TLS, which is not an error.
        let others: Vec<_> = got.iter().filter(|kind| **kind != folder && *kind != "tls" && !expected.contains(*kind)).collect();
        if !others.is_empty() {
            wrong += &format!("{}: {others:?}, expected {expected:?}\n", capture.display());
        }
        recognised.extend(got.into_iter().filter(|kind| *kind == folder));
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    let unrecognised: Vec<_> = PROTOCOLS.iter().filter(|name| !recognised.contains(**name)).collect();
    assert!(unrecognised.is_empty(), "no capture is recognised of {unrecognised:?}");
}

#[test]
fn without_its_own_protocol_a_capture_is_not_recognised() {
    let mut wrong = String::new();
    for (capture, folder, expected) in golden() {
        let others = PROTOCOLS.into_iter().filter(|name| *name != folder && !expected.contains(*name));
        // A capture of pgsql may contain TLS, which `tls` recognises correctly.
        let home = Home::new(&on_all_ports(others.filter(|name| *name != "tls" || folder != "pgsql")));
        assert_success(&home.read_capture(&capture));
        let documents = home.documents();
        if !documents.is_empty() {
            wrong += &format!("{}: {:?}, first {}\n", capture.display(), kinds(&documents), documents[0]);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
