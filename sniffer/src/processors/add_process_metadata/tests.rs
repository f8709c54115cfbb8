//! Tests `add_process_metadata` on the process of the test, and on folders that look like proc(5).

use crate::processors::testing::{Running, errors};
use serde_json::{Value, json};
use std::{env, fs, os::unix::process::parent_id, process};

fn run(options: &str, event: &Value) -> Value {
    let yaml = format!("- add_process_metadata: {{match_pids: [a, pid], {options}}}");
    Running::open_with(&yaml, false).run(event).unwrap()
}

#[test]
fn the_own_process_is_found() {
    let own = process::id();
    let event = json!({"a": "no number", "pid": own});
    let all = run("", &event);
    let found = &all["process"];
    assert_eq!(found["pid"], json!(own));
    assert_eq!(found["args"][0], json!(env::args().next().unwrap()));
    assert_eq!(found["parent"]["pid"], json!(parent_id()));
    for name in ["name", "title", "executable", "start_time", "entity_id"] {
        assert!(found[name].is_string(), "{name}: {all}");
    }
    assert!(found["owner"]["id"].is_string() && found["thread"]["capabilities"]["effective"].is_array(), "{all}");
    assert!(found.get("env").is_none(), "{all}");
    let with_environment = run("restricted_fields: true, include_fields: [process.env], target: x", &event);
    assert_eq!(with_environment["x"]["process"]["env"]["PATH"], json!(env::var("PATH").unwrap()));
    let some = run("include_fields: [process.pid, process.parent], cgroup_cache_expire_time: 1s", &event);
    assert_eq!(some["process"], json!({"pid": own, "parent": {"pid": parent_id()}}));
}

#[test]
fn fields_that_exist_are_kept() {
    let event = json!({"pid": process::id(), "process": {"name": "x"}});
    assert_eq!(run("", &event), event);
    assert_ne!(run("overwrite_keys: true", &event)["process"]["name"], json!("x"));
    let absent = json!({"pid": 2_147_483_600});
    assert_eq!(run("ignore_missing: false", &absent), absent);
}

#[test]
fn containers_are_found_by_cgroup() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("proc/7");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("status"), "Name:\tapp\nPPid:\t1\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n").unwrap();
    fs::write(folder.join("cmdline"), "app\0-x\0").unwrap();
    let id = "0123456789abcdef".repeat(4);
    for (options, cgroup, wanted) in [
        ("", format!("0::/system.slice/docker-{id}.scope"), json!({"id": id})),
        ("cgroup_prefixes: [/kubepods]", "1:cpu:/kubepods/pod1/abc".to_owned(), json!({"id": "abc"})),
        ("cgroup_regex: '/lxc/([a-z]+)'", "1:cpu:/lxc/mine/x".to_owned(), json!({"id": "mine"})),
        ("", "0::/init.scope".to_owned(), Value::Null),
    ] {
        fs::write(folder.join("cgroup"), cgroup).unwrap();
        let path = root.path().display();
        let event = run(&format!("host_path: '{path}', include_fields: [container, process.args], {options}"), &json!({"pid": 7}));
        assert_eq!((&event["container"], &event["process"]["args"]), (&wanted, &json!(["app", "-x"])), "{options}");
    }
}

#[test]
fn wrong_options_are_refused() {
    for (options, error) in [
        ("target: x", "line 1: 0.add_process_metadata: `match_pids` is missing"),
        ("match_pids: [a], include_fields: [process.x]", "line 1: 0.add_process_metadata.include_fields: there is no field `process.x`"),
        ("match_pids: [a], cgroup_regex: '['", "line 1: 0.add_process_metadata.cgroup_regex: regex parse error"),
    ] {
        let got = errors(&format!("- add_process_metadata: {{{options}}}")).unwrap_or_default();
        assert!(got.starts_with(error), "{options}\nwant: {error}\ngot:  {got}");
    }
}
