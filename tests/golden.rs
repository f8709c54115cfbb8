//! Golden tests: compare the documents of every capture in `tests/protocols/*/` and `tests/flows` with the expected documents. The capture
//! `x.pcap` must give the documents in `x.ndjson`. It is read with the options in `x.yml` if this file exists, otherwise in the
//! `golden.yml` of its folder, otherwise in `tests/golden.yml`. The README of the folder says how each capture was made.

use crate::harness::{Home, assert_success, tests};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// All protocols on their usual ports, with every option that makes a protocol report more.
const OPTIONS: &str = include_str!("golden.yml");

/// The paths of all captures, sorted.
pub fn captures() -> Vec<PathBuf> {
    let folders = fs::read_dir(tests().join("protocols")).unwrap().flatten().map(|entry| entry.path()).chain([tests().join("flows")]);
    let files = folders.filter_map(|folder| fs::read_dir(folder).ok()).flat_map(Iterator::flatten).map(|e| e.path());
    let mut captures: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|e| e == "pcap" || e == "pcapng")).collect();
    captures.sort();
    captures
}

/// The configuration with which a capture is read, without `name` and output.
pub fn options(capture: &Path) -> String {
    let own = [capture.with_extension("yml"), capture.with_file_name("golden.yml")].into_iter().find(|path| path.exists());
    own.map_or_else(|| OPTIONS.to_owned(), |path| fs::read_to_string(path).unwrap())
}

/// The documents of a capture, without the parts that differ between runs and machines.
pub fn documents(capture: &Path) -> Vec<Value> {
    let home = Home::new(&format!("name: golden\n{}", options(capture)));
    assert_success(&home.read_capture(capture));
    let mut documents = home.documents();
    for document in &mut documents {
        let document = document.as_object_mut().unwrap();
        for constant in ["@metadata", "agent", "ecs", "host"] {
            assert!(document.remove(constant).is_some(), "{constant} is missing");
        }
    }
    documents
}

fn flat<'a>(prefix: &str, value: &'a Value, out: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| flat(&format!("{prefix}.{k}"), v, out)),
        other => out.push((prefix.trim_start_matches('.').to_owned(), other)),
    }
}

/// The fields in which two documents differ, one per paragraph, with both values.
fn difference(want: &Value, got: &Value) -> String {
    let (mut a, mut b) = (vec![], vec![]);
    flat("", want, &mut a);
    flat("", got, &mut b);
    let names: BTreeSet<&String> = a.iter().chain(&b).map(|(k, _)| k).collect();
    let find =
        |list: &[(String, &Value)], name: &String| list.iter().find(|(k, _)| k == name).map_or("-".to_owned(), |(_, v)| v.to_string());
    let differing = names.into_iter().filter(|n| find(&a, n) != find(&b, n));
    differing.map(|n| format!("    {n}\n      want {}\n      got  {}\n", find(&a, n), find(&b, n))).collect()
}

#[test]
fn golden_captures_give_the_expected_documents() {
    let accept = std::env::var("GOLDEN").is_ok_and(|v| v == "accept");
    let (mut wrong, mut seen) = (String::new(), 0);
    for capture in captures() {
        let name = capture.strip_prefix(tests()).unwrap().display().to_string();
        let got = documents(&capture);
        let beside = capture.with_extension("ndjson");
        seen += 1;
        if accept {
            let text: String = got.iter().map(|d| format!("{d}\n")).collect();
            fs::write(&beside, text).unwrap();
            continue;
        }
        let text =
            fs::read_to_string(&beside).unwrap_or_else(|e| panic!("{}: {e}; `cargo xtask golden --accept` makes it", beside.display()));
        let want: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        if want.len() != got.len() {
            wrong += &format!("{name}: {} documents wanted, {} got\n", want.len(), got.len());
        }
        for (i, (w, g)) in want.iter().zip(&got).enumerate().filter(|(_, (w, g))| w != g).take(5) {
            wrong += &format!("{name}, document {}:\n{}", i + 1, difference(w, g));
        }
    }
    for kind in ["protocols", "flows"] {
        assert!(captures().iter().any(|path| path.starts_with(tests().join(kind))), "no captures in tests/{kind}");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    println!("{seen} captures");
}
