//! Tests of the cache: expiry, bounds, and the file between two runs.

use super::{file, store::Store};
use crate::{
    opening::{Clock, testing::Fixed},
    time::Timestamp,
};
use serde_json::json;
use std::{fs, sync::Arc, time::Duration};

static NOON: Fixed = Fixed(Timestamp(1_709_208_000_000_000_000));

fn now() -> Timestamp {
    NOON.now()
}

fn later(seconds: u64) -> Timestamp {
    now().after(Duration::from_secs(seconds))
}

#[test]
fn values_expire_and_are_replaced() {
    let store = Store::default();
    store.reserve(10);
    store.put("a".into(), json!(1), now(), later(10)).unwrap();
    store.put("a".into(), json!({"b": [2]}), now(), later(5)).unwrap();
    assert_eq!((store.get("a", later(4)), store.get("a", later(5)), store.get("b", now())), (Some(json!({"b": [2]})), None, None));
    store.delete("a");
    assert_eq!(store.get("a", now()), None);
}

#[test]
fn number_and_bytes_are_bounded() {
    let store = Store::default();
    store.reserve(100);
    for number in 0..1000_u64 {
        store.put(number.to_string(), json!(number), now(), later(10 + number)).unwrap();
    }
    assert!(store.copy(now()).len() <= 100);
    assert_eq!(store.get("999", now()), Some(json!(999)), "the one that expires last stays");
    assert!(store.put("large".into(), json!("x".repeat(2 << 20)), now(), later(1)).is_err());
    let store = Store::default();
    store.reserve(0);
    for number in 0..200 {
        store.put(number.to_string(), json!("x".repeat(1 << 19)), now(), later(10)).unwrap();
    }
    let bytes: usize = store.copy(now()).iter().map(|(_, value, _)| value.as_str().unwrap_or_default().len()).sum();
    assert!((32 << 20..=64 << 20).contains(&bytes), "{bytes}");
}

#[test]
fn the_file_keeps_values_between_runs() {
    let folder = std::env::temp_dir().join(format!("sniffer-cache-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    let path = folder.join("deep/users");
    let run = |change: &dyn Fn(&Store)| {
        let store = Arc::new(Store::default());
        store.reserve(0);
        let writer = file::open(path.clone(), Duration::ZERO, &store, &NOON).unwrap();
        change(&store);
        drop(writer);
        let mut values = store.copy(now());
        values.sort_by(|one, other| one.0.cmp(&other.0));
        values
    };
    assert_eq!(run(&|_| ()), []);
    assert!(!path.exists(), "nothing has changed");
    run(&|store| {
        store.put("a".into(), json!({"b": "c"}), now(), later(60)).unwrap();
        store.put("gone".into(), json!(1), now(), now()).unwrap();
    });
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "{\"key\":\"a\",\"val\":{\"b\":\"c\"},\"expires\":\"2024-02-29T12:01:00.000Z\"}\n");
    let wrong = "not JSON\n{\"key\":\"old\",\"val\":1,\"expires\":\"2024-02-29T11:59:59Z\"}\n";
    fs::write(&path, format!("{wrong}{text}")).unwrap();
    assert_eq!(run(&|_| ()), [("a".to_owned(), json!({"b": "c"}), later(60))]);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_is_written_at_the_interval() {
    let path = std::env::temp_dir().join(format!("sniffer-cache-interval-{}", std::process::id()));
    let store = Arc::new(Store::default());
    store.reserve(0);
    let writer = file::open(path.clone(), Duration::from_millis(5), &store, &NOON).unwrap();
    store.put("a".into(), json!(1), now(), later(60)).unwrap();
    let begun = std::time::Instant::now();
    while !path.exists() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::yield_now();
    }
    assert!(path.exists());
    drop(writer);
    fs::remove_file(path).unwrap();
}
