use super::*;
use crate::protocols::testing::{Harness, Script, ToClient, ToServer, every_cut};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const SHOW: &str = "{send_request: true, send_response: true}";

/// The TCP payloads of a capture, connection by connection: who sent what, in the order of the file.
fn connections(capture: &Path) -> Vec<Vec<(Direction, Vec<u8>)>> {
    let data = std::fs::read(capture).unwrap();
    let number = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap()) as usize;
    let link = match number(20) {
        1 => 14,
        0 => 4,
        113 => 16,
        other => panic!("link type {other}"),
    };
    let mut all: Vec<(u16, Vec<(Direction, Vec<u8>)>)> = vec![];
    let mut at = 24;
    while at < data.len() {
        let len = number(at + 8);
        let ip = &data[at + 16 + link..at + 16 + len];
        at += 16 + len;
        let whole = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let tcp = &ip[usize::from(ip[0] & 15) * 4..whole];
        let ports = [u16::from_be_bytes([tcp[0], tcp[1]]), u16::from_be_bytes([tcp[2], tcp[3]])];
        let server = ports.iter().copied().min().unwrap();
        let (client, dir) = if ports[1] == server { (ports[0], ToServer) } else { (ports[1], ToClient) };
        let payload = &tcp[usize::from(tcp[12] >> 4) * 4..];
        if tcp[13] & 2 != 0 || all.iter().all(|(port, _)| *port != client) {
            all.push((client, vec![]));
        }
        if !payload.is_empty() {
            all.iter_mut().rev().find(|(port, _)| *port == client).unwrap().1.push((dir, payload.to_vec()));
        }
    }
    all.into_iter().map(|(_, pieces)| pieces).collect()
}

fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    all.retain(|p| p.extension().is_some_and(|e| e == "pcap") && p.file_stem().unwrap().to_str().unwrap().contains("m"));
    all.sort();
    all
}

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/protocols/mysql")
}

fn brief(e: &Value) -> String {
    let mysql = &e["mysql"];
    format!(
        "{} [{}] {} {}/{} {}x{} {}>{} {} {} {}",
        e["status"].as_str().unwrap(),
        e["method"].as_str().unwrap(),
        e["query"].as_str().unwrap(),
        mysql["affected_rows"],
        mysql["insert_id"],
        mysql["num_fields"],
        mysql["num_rows"],
        e["source"]["bytes"],
        e["destination"]["bytes"],
        e["path"].as_str().unwrap_or("-"),
        e["params"],
        e["response"],
    )
}

fn play(pieces: &[(Direction, Vec<u8>)]) -> Harness {
    let mut h = Harness::new(&PROTOCOL, SHOW);
    for (dir, data) in pieces {
        h.now += 1;
        h.data(*dir, data);
    }
    h.close_both(Close::Fin);
    h
}

#[test]
fn dev() {
    let Ok(folder) = std::env::var("MYSQL_DEV") else { return };
    for capture in captures(Path::new(&folder)) {
        if !capture.to_str().unwrap().contains("mysql") && !capture.to_str().unwrap().contains("mariadb") {
            continue;
        }
        println!("== {}", capture.display());
        for pieces in connections(&capture) {
            let mut h = play(&pieces);
            println!("-- {:?} {:?}", h.state, ["unmatched_requests", "unmatched_responses", "compressed", "tls"].map(|n| h.counted(n)));
            for e in h.events() {
                println!("JSON\t{}\t{e}", capture.file_stem().unwrap().display());
                println!("{} {}", brief(&e), e["error"]);
            }
        }
    }
}
