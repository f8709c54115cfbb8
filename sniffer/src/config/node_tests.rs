//! Tests of [`Node`]: conversions of values, missing values, errors, and the record of keys that no module has read.

use super::Node;
use crate::config::{bytes, duration, duration_option, duration_signed};
use serde::Deserialize;
use std::{collections::HashMap, time::Duration};

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Socket,
    Framed,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default)]
struct Options {
    number: u16,
    signed: i32,
    float: f64,
    flag: bool,
    text: String,
    maybe: Option<u8>,
    list: Vec<String>,
    numbers: Vec<u16>,
    kind: Kind,
    #[serde(with = "duration")]
    wait: Duration,
    #[serde(with = "duration_option")]
    perhaps: Option<Duration>,
    #[serde(with = "duration_signed")]
    period: jiff::SignedDuration,
    #[serde(with = "bytes")]
    size: u64,
    headers: HashMap<String, String>,
    inner: Inner,
    password: u8,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Inner {
    a: u8,
    b: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            number: 7,
            signed: 0,
            float: 0.0,
            flag: true,
            text: "t".into(),
            maybe: None,
            list: vec!["l".into()],
            numbers: Vec::new(),
            kind: Kind::Socket,
            wait: Duration::from_secs(10),
            perhaps: None,
            period: jiff::SignedDuration::from_secs(10),
            size: 0,
            headers: HashMap::new(),
            inner: Inner::default(),
            password: 0,
        }
    }
}

#[test]
fn values_are_converted_leniently() {
    let node = Node::parse(
        "number: '80'\nsigned: -0x10\nfloat: 1\nflag: 'yes'\ntext: 1.50\nmaybe: 3\nlist: x\nnumbers: ['1', 2]\nkind: framed\nwait: 1m30s\n\
         perhaps: 5\nperiod: -1s\nsize: 10KiB\nheaders: {A: 1, B: true}\ninner: {a: 1e1, b: 2.0}",
    )
    .unwrap();
    assert_eq!(
        node.read::<Options>().unwrap(),
        Options {
            number: 80,
            signed: -16,
            float: 1.0,
            flag: true,
            text: "1.50".into(),
            maybe: Some(3),
            list: vec!["x".into()],
            numbers: vec![1, 2],
            kind: Kind::Framed,
            wait: Duration::from_secs(90),
            perhaps: Some(Duration::from_secs(5)),
            period: jiff::SignedDuration::from_secs(-1),
            size: 10240,
            headers: [("A".into(), "1".into()), ("B".into(), "true".into())].into(),
            inner: Inner { a: 10, b: 2 },
            password: 0,
        }
    );
    assert!(node.unknown().is_empty(), "{:?}", node.unknown());
}

#[test]
fn a_missing_value_is_the_default() {
    let want = Options::default();
    for yaml in ["", "~", "number: ~\ntext:\nlist: null\nkind:\nwait: ~\nperhaps: ~\ninner:\nheaders: ~"] {
        assert_eq!(Node::parse(yaml).unwrap().read::<Options>().unwrap(), want, "{yaml}");
    }
    assert_eq!(Node::default().get("not.there").read::<Options>().unwrap(), want);
    assert_eq!(Node::default().get("not.there").read::<Option<u8>>().unwrap(), None);
}

#[test]
fn wrong_values_are_refused() {
    for (yaml, want) in [
        ("number: abc", "number: expected a whole number, got `abc`"),
        ("number: 70000", "number: expected a whole number from 0 to 65535, got `70000`"),
        ("number: -1", "number: expected a whole number from 0 to 65535, got `-1`"),
        ("number: 1.5", "number: expected a whole number, got `1.5`"),
        ("number: [1, 2]", "number: expected a whole number, got a list"),
        ("number: {a: 1}", "number: expected a whole number, got a map"),
        ("number: nan", "number: expected a whole number, got `nan`"),
        ("float: inf", "float: expected a number, got `inf`"),
        ("flag: maybe", "flag: expected `true` or `false`, got `maybe`"),
        ("text: {a: 1}", "text: expected a text, got a map"),
        ("numbers: [1, x]", "numbers.1: expected a whole number, got `x`"),
        ("numbers: [1, ~]", "numbers.1: expected a whole number, got nothing"),
        ("kind: pipe", "kind: expected one of `socket`, `framed`, got `pipe`"),
        ("kind: [a, b]", "kind: expected one of `socket`, `framed`, got a list"),
        ("wait: soon", "wait: expected a duration (`10s`, `1m30s`, `500ms`, `1h`, or a number of seconds), got `soon`"),
        ("wait: -1s", "wait: expected a duration (`10s`, `1m30s`, `500ms`, `1h`, or a number of seconds), got `-1s`"),
        ("perhaps: x", "perhaps: expected a duration (`10s`, `1m30s`, `500ms`, `1h`, or a number of seconds), got `x`"),
        ("period: x", "period: expected a duration (`10s`, `1m30s`, `-1s` for never, or a number of seconds), got `x`"),
        ("size: big", "size: expected a size (`10MiB`, `10MB`, or a number of bytes), got `big`"),
        ("inner: 1", "inner: expected a map (`key: value`), got `1`"),
        ("inner.a: 256", "inner.a: expected a whole number from 0 to 255, got `256`"),
        ("headers: {A: [1, 2]}", "headers.A: expected a text, got a list"),
        ("password: hush", "password: expected a whole number, got a text that is not shown here"),
    ] {
        let node = Node::parse(&format!("\n{yaml}")).unwrap();
        assert_eq!(node.read::<Options>().unwrap_err().0, format!("line 2: {want}"), "{yaml}");
    }
    let long = Node::parse(&format!("number: {}", "ä".repeat(100))).unwrap();
    assert_eq!(long.read::<Options>().unwrap_err().0, format!("line 1: number: expected a whole number, got `{}…`", "ä".repeat(60)));
}

#[derive(Debug, Deserialize)]
struct Required {
    #[serde(rename = "type")]
    _kind: String,
}

#[test]
fn missing() {
    let node = Node::parse("a:\n- type: x\n- other: y").unwrap();
    assert_eq!(node.get("a").read::<Vec<Required>>().unwrap_err().0, "line 3: a.1: `type` is missing");
}

#[test]
fn unread_keys_are_listed() {
    let keys = |node: &Node| node.unknown().into_iter().map(|u| u.key).collect::<Vec<_>>();
    let node = Node::parse("a: {b: 1, c: 2}\nd: [{e: 1}]\nf.g: 1\nh: {i: 1}").unwrap();
    assert_eq!(keys(&node), ["a", "d", "f", "h"]);
    assert_eq!(node.get("a.b").as_str(), Some("1"));
    assert_eq!(keys(&node), ["a.c", "d", "f", "h"]);
    for item in node.get("d").items() {
        item.read::<Inner>().unwrap();
    }
    assert_eq!(keys(&node), ["a.c", "d.0.e", "f", "h"]);
    node.get("h").read::<serde_json::Value>().unwrap();
    assert_eq!(keys(&node), ["a.c", "d.0.e", "f"]);
    assert_eq!(node.entries().count(), 4);
    assert_eq!(keys(&node), ["a.c", "d.0.e", "f.g"]);
    node.accept();
    assert!(keys(&node).is_empty());
    let node = Node::parse("\nnumber: 1\nnumbr: 2\ninner: {a: 1, c: 1}").unwrap();
    node.read::<Options>().unwrap();
    let messages: Vec<_> = node.unknown().iter().map(ToString::to_string).collect();
    assert_eq!(messages, ["line 3: numbr: unknown setting, ignored", "line 4: inner.c: unknown setting, ignored"]);
}

#[test]
fn any_value_can_be_read_as_data() {
    let node = Node::parse("a: 1\nb: -2\nc: 1.5\nd: 'x'\ne: '1'\nf: true\ng: [~, 0x10]\nh: 007\ni: 1e3\nj: 99999999999999999999").unwrap();
    assert_eq!(
        node.read::<serde_json::Value>().unwrap(),
        serde_json::json!({"a": 1, "b": -2, "c": 1.5, "d": "x", "e": "1", "f": true, "g": [null, 16], "h": "007", "i": 1000.0, "j": 1e20})
    );
}

#[test]
fn places() {
    let node = Node::parse("a:\n  - x\n  - b:\n      c: 1").unwrap();
    let c = node.get("a.1.b.c");
    assert_eq!((c.key(), c.place().as_str()), ("a.1.b.c", "line 4"));
    assert_eq!(c.error("no").0, "line 4: a.1.b.c: no");
    let none = node.get("a.1.b.d.e");
    assert_eq!((none.key(), none.is_null()), ("a.1.b.d.e", true));
    assert_eq!(none.error("is needed").0, "line 3: a.1.b.d.e: is needed");
    let leaves: Vec<_> = Node::parse("a.b: 1\na.c: {d: [1]}").unwrap().leaves().into_iter().map(|(k, _)| k).collect();
    assert_eq!(leaves, ["a.b", "a.c.d"]);
}

#[test]
fn shared_between_threads() {
    fn sync<T: Send + Sync>() {}
    sync::<Node>();
}

#[test]
fn entries_of_one_map_over_those_of_another() {
    let root = Node::parse("own: {a: 1, b: , ssl: {x: 1}}\nbase: {a: 2, b: 3, c: 4, ssl: {y: 2}}\ntext: t\nnothing:").unwrap();
    let json = |node: &Node| node.read::<serde_json::Value>().unwrap();
    let [own, base, text, nothing] = ["own", "base", "text", "nothing"].map(|key| root.get(key));
    assert_eq!(json(&own.over(&base)), serde_json::json!({"a": 1, "ssl": {"x": 1}, "b": 3, "c": 4}));
    assert_eq!((json(&nothing.over(&base)), json(&text.over(&base))), (json(&base), json(&text)));
    let error = own.over(&base).get("c").error("wrong").to_string();
    assert_eq!(error, "line 2: base.c: wrong", "an entry keeps its place");
}

#[test]
fn a_key_is_found_at_any_depth_without_marking_it_as_known() {
    let root = Node::parse("a: 1\nlist: [{x: 1}, [{if: {}, then: [{deep: {}}]}]]\ntext: deeper").unwrap();
    for (key, expected) in [("a", true), ("x", true), ("deep", true), ("deeper", false), ("1", false)] {
        assert_eq!(root.mentions(key), expected, "{key}");
    }
    assert_eq!(root.unknown().len(), 3, "{:?}", root.unknown());
}
