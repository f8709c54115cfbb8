//! Forms of configurations that people write: variables, lists in one line, settings that are written twice, `packetbeat.protocols` as a
//! list and as a map.

use super::tests::{json, load_all};
use crate::config::{KnownProtocol, Node, read_protocols};
use serde_json::json;
use std::collections::BTreeMap;

const ENV: &[(&str, &str)] = &[
    ("HOME", "/root"),
    ("EMPTY", ""),
    ("NUM", "5"),
    ("BAR", "001"),
    ("PW", "\"abc,123\""),
    ("SINGLE", "'x y'"),
    ("LIST", "a,b"),
    ("BRACKETS", "[a, b]"),
    ("TRAILING", "a,b,"),
    ("MAP", "{a: 1}"),
    ("OPEN", "[a"),
    ("HALF", "\"abc"),
    ("BRACE", "a}"),
    ("DOLLARS", "a$$b"),
    ("REFERENCE", "${NUM}"),
    ("SPACES", " x "),
    ("NULL", "null"),
    ("TRUE", "true"),
    ("ESCAPES", "\"a\\nb\""),
    ("CERTIFICATE", "-----BEGIN X-----\nab==\n-----END X-----"),
];

/// The value of `v: …` as data.
fn data(yaml: &str, settings: &[&str]) -> serde_json::Value {
    json(&load_all(&[yaml], settings, ENV).unwrap())["v"].take()
}

/// Packetbeat 9.6 gives the same values, unless a comment says otherwise.
#[test]
fn variables_and_escapes() {
    for (text, want) in [
        (r#""fantastic$$$$""#, json!("fantastic$$")),
        (r#""a$b""#, json!("a$b")),
        (r#""$${x}""#, json!("${x}")),
        (r#""$""#, json!("$")),
        (r#""$$$""#, json!("$$")),
        (r#""x$}""#, json!("x}")),
        ("a$$b", json!("a$b")),
        (r#""5$$""#, json!("5$")),
        (r#"'"a$}"'"#, json!("\"a}\"")),
        (r#""[a$$, b]""#, json!("[a$, b]")),
        (r#""${HOME:+yes}""#, json!("yes")),
        (r#""${NOPE:+yes}x""#, json!("x")),
        (r#""${NOPE:+}""#, json!("")),
        (r#""${EMPTY:+alt}""#, json!("")),
        (r#""${NUM:+${BAR}}""#, json!("001")),
        (r#""${NUM:+x,y}""#, json!(["x", "y"])),
        (r#""${path.home:+set}""#, json!("set")),
        (r#""${NOPE:abc$}def}""#, json!("abc}def")),
        (r#""${NOPE:a$$b}""#, json!("a$b")),
        (r#""${NOPE:$${x}}""#, json!("${x}")),
        (r#""${NOPE:a:b}""#, json!("a:b")),
        (r#""${NOPE:-x}""#, json!("-x")),
        (r#""${NOPE:}""#, json!("")),
        (r#""${NOPE:null}""#, json!(null)),
        (r#""${NULL}""#, json!(null)),
        (r#""${EMPTY:d}""#, json!("d")),
        // Packetbeat reports the error that the variable is not set.
        (r#""${EMPTY}""#, json!("")),
        (r#""x${EMPTY}y""#, json!("xy")),
        // A quoted value is a text without its quotes.
        (r#""${PW}""#, json!("abc,123")),
        (r#""${SINGLE}""#, json!("x y")),
        (r#""${ESCAPES}""#, json!("a\nb")),
        (r#"'"${BAR}"'"#, json!("001")),
        (r#""'${BAR}'""#, json!("001")),
        (r#"'${NOPE:"007"}'"#, json!("007")),
        (r#"'x${NOPE:"007"}'"#, json!("x\"007\"")),
        (r#"'${NOPE:"a,b"}'"#, json!("a,b")),
        (r#""'a'""#, json!("'a'")),
        // Lists and maps.
        (r#""${LIST}""#, json!(["a", "b"])),
        (r#""${BRACKETS}""#, json!(["a", "b"])),
        (r#""${NOPE:c,d}""#, json!(["c", "d"])),
        (r#""${NOPE:[a, [b, c]]}""#, json!(["a", ["b", "c"]])),
        (r#""${NOPE:1,true,x y}""#, json!([1, true, "x y"])),
        (r#""pre${NOPE:a,b}post""#, json!(["prea", "bpost"])),
        (r#""${NUM},${NUM}""#, json!([5, 5])),
        (r#""[${NUM}, z]""#, json!([5, "z"])),
        // The first `}` ends the default; the text after it completes the map.
        (r#""${NOPE:{a: {b: 1}, c: [1, 2]}}""#, json!({"a": {"b": 1, "c": [1, 2]}})),
        (r#""{a: ${NUM}}""#, json!({"a": 5})),
        // The value of a variable is never a map: it may be a password.
        (r#""${MAP}""#, json!("{a: 1}")),
        // These texts begin like a list or a quoted text, but are neither. Packetbeat refuses them.
        (r#""${OPEN}""#, json!("[a")),
        (r#""${HALF}""#, json!("\"abc")),
        (r#""${PW}x""#, json!("\"abc,123\"x")),
        // A comma at the end does not add an item. Packetbeat adds a null.
        (r#""${TRAILING}""#, json!(["a", "b"])),
        ("\"a,b\"", json!("a,b")),
        ("\"[a, b]\"", json!("[a, b]")),
        // The values of variables are not searched for variables.
        (r#""${DOLLARS}""#, json!("a$$b")),
        (r#""${REFERENCE}""#, json!("${NUM}")),
        (r#""${BRACE}""#, json!("a}")),
        (r#""${SPACES}""#, json!("x")),
        (r#""${NUM}""#, json!(5)),
        (r#""${TRUE}""#, json!(true)),
        (r#""${NUM}s""#, json!("5s")),
        (r#""${CERTIFICATE}""#, json!("-----BEGIN X-----\nab==\n-----END X-----")),
    ] {
        assert_eq!(data(&format!("v: {text}"), &[]), want, "{text}");
    }
}

#[test]
fn settings_on_the_command_line() {
    for (setting, want) in [
        ("v=a,b", json!(["a", "b"])),
        ("v='a,b'", json!("a,b")),
        ("v=$$", json!("$")),
        ("v=a$}", json!("a}")),
        ("v=${LIST}", json!(["a", "b"])),
        ("v=${NOPE:a,b}", json!(["a", "b"])),
        ("v=[\"a\",\"b\"]", json!(["a", "b"])),
        ("v={a: 1}", json!({"a": 1})),
        ("v=1,2", json!([1, 2])),
        ("v=a:b", json!("a:b")),
        ("v=a=b", json!("a=b")),
        ("v=", json!(null)),
        ("v=null", json!(null)),
        ("v=\"\"", json!("")),
        ("v", json!(true)),
    ] {
        assert_eq!(data("v: before", &[setting]), want, "{setting}");
    }
}

#[test]
fn the_setting_decides_between_text_and_list() {
    let loaded = load_all(&["p: ${LIST}\nm: '{\"x\": ${NUM}}'\nh: ['${LIST}', c]\nq: ['${PW}']\nt: ${TRAILING}"], &["e=x,y"], ENV).unwrap();
    let text = |key: &str| loaded.root.get(key).read::<String>().unwrap();
    let list = |key: &str| loaded.root.get(key).read::<Vec<String>>().unwrap();
    assert_eq!((text("p"), text("m"), text("e")), ("a,b".into(), "{\"x\": 5}".into(), "x,y".into()));
    assert_eq!(
        (list("p"), list("e"), list("t")),
        (vec!["a".into(), "b".into()], vec!["x".into(), "y".into()], vec!["a".into(), "b".into()])
    );
    assert_eq!(list("h"), ["a", "b", "c"], "a variable in a list may stand for several items");
    assert_eq!(list("q"), ["abc,123"], "a quoted value is one item");
    assert_eq!(loaded.root.get("m").read::<BTreeMap<String, u8>>().unwrap(), [("x".to_owned(), 5)].into());
    assert_eq!(loaded.root.get("m.x").as_str(), Some("5"));
    assert!(loaded.root.get("p").is_list() && loaded.root.get("m").is_map() && !loaded.root.get("q.0").is_list());
}

#[test]
fn long_lists_in_one_text_stay_texts() {
    let long = "a,".repeat(20_000);
    let loaded = load_all(&["v: ${LONG}"], &[], &[("LONG", &long)]).unwrap();
    assert!(!loaded.root.get("v").is_list());
}

#[test]
fn the_last_value_of_a_repeated_key_is_used() {
    let twice = |key: &str, first: usize, second: usize| {
        format!("0.yml:{second}: {key}: is written twice; the value in line {second} is used, the one in line {first} is ignored")
    };
    for (text, want, warnings) in [
        ("v: 1\nv: 2", json!(2), vec![twice("v", 1, 2)]),
        ("v: 1\n'v': 2\nv: 3", json!(3), vec![twice("v", 1, 2), twice("v", 2, 3)]),
        ("v.b: 1\nv.b: 2", json!({"b": 2}), vec![twice("v.b", 1, 2)]),
        ("v.b: 1\nv:\n  b: 2", json!({"b": 2}), vec![twice("v.b", 1, 3)]),
        ("v:\n  b: 2\nv.b: 1", json!({"b": 1}), vec![twice("v.b", 2, 3)]),
        ("v:\n  b:\n    c: 1\n    d: 1\nv.b.c: 2", json!({"b": {"c": 2, "d": 1}}), vec![twice("v.b.c", 3, 5)]),
        // The same key with the same spelling: the whole section is replaced, as in Packetbeat.
        ("v: {p: 1}\nv: {q: 2}", json!({"q": 2}), vec![twice("v", 1, 2)]),
        ("v: [1, 2]\nw: 1\nv: [3]", json!([3]), vec![twice("v", 1, 3)]),
        ("v: {b: [1, 2]}\nv.b: [3]", json!({"b": [3]}), vec![twice("v.b", 1, 2)]),
        ("v: [{a: 1, a: 2}]", json!([{"a": 2}]), vec![twice("a", 1, 1)]),
        ("v: 1\nv:", json!(null), vec![twice("v", 1, 2)]),
        // Packetbeat refuses the following two configurations.
        ("v: 1\nv.b: 2", json!({"b": 2}), vec![twice("v.b", 1, 2)]),
        ("v.b: 2\nv: 1", json!(1), vec![twice("v", 1, 2)]),
        // Parts of one section are no repetition.
        ("v.b: {p: 1}\nv: {b: {q: 2}}", json!({"b": {"p": 1, "q": 2}}), vec![]),
        ("v:\nv.b: 1", json!({"b": 1}), vec![]),
        ("x: &x {a: 1}\nv: {<<: *x, a: 2}", json!({"a": 2}), vec![]),
    ] {
        let loaded = load_all(&[text], &[], &[]).unwrap();
        assert_eq!(json(&loaded)["v"], want, "{text}");
        assert_eq!(loaded.warnings, warnings, "{text}");
    }
    // A later file or `-E` overrides a setting without a warning.
    assert_eq!(load_all(&["v: 1", "v: 2"], &["v=3", "v=4"], &[]).unwrap().warnings, [""; 0]);
}

#[test]
fn a_closing_bracket_may_be_at_the_column_of_the_key() {
    for (text, want) in [
        ("v: [\n  a,\n  b\n]\nw: 1", json!(["a", "b"])),
        ("v: {\n  a: 1\n}\n", json!({"a": 1})),
        ("v:\n  k: [\n    'a',\n    'b'\n  ]\n  l: 1", json!({"k": ["a", "b"], "l": 1})),
        ("v:\n  k: [\n    a\n]\n  l: 1", json!({"k": ["a"], "l": 1})),
        ("v:\n  k: {\n    a: [\n    b,\n    c\n    ],\n  }\n", json!({"k": {"a": ["b", "c"]}})),
        ("v:\n- k: [\n  a,\n  b\n  ]\n- l", json!([{"k": ["a", "b"]}, "l"])),
        ("v:\n  k: [\n# remark ]\n  a, # ]\n\n  \"]\"\n  ]\n", json!({"k": ["a", "]"]})),
        ("v:\n    k: [\n'a'\n, b]\n", json!({"k": ["a", "b"]})),
    ] {
        let loaded = load_all(&[text], &[], &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(json(&loaded)["v"], want, "{text}");
    }
    // The line numbers of settings after the corrected lines are right, also in error messages.
    let loaded = load_all(&["v:\n  k: [\n    a\n  ]\n  l: x"], &[], &[]).unwrap();
    assert_eq!(loaded.root.get("v.l").read::<u8>().unwrap_err().0, "0.yml:5: v.l: expected a whole number, got `x`");
    assert!(load_all(&["v:\n  k: [\n    a\n  ]\n  l: [\n"], &[], &[]).unwrap_err().0.starts_with("0.yml:"));
    // 500 lines that need the correction do not exceed the limit of bytes that are parsed again.
    let many = format!("v:\n  k: [\n{}  ]\n", "  'a',\n".repeat(500));
    assert_eq!(json(&load_all(&[&many], &[], &[]).unwrap())["v"]["k"].as_array().unwrap().len(), 500);
}

#[test]
fn both_forms_of_the_protocols() {
    let known: Vec<KnownProtocol> = ["http", "dns", "icmp"].map(|name| KnownProtocol { name, once: false }).into();
    for (text, settings, want) in [
        ("packetbeat.protocols.http: {ports: [80]}\npacketbeat.protocols:\n- {type: dns, ports: [53]}", &[][..], &["http", "dns"][..]),
        ("packetbeat.protocols:\n- {type: dns, ports: [53]}\npacketbeat.protocols.http: {ports: [80]}", &[], &["dns", "http"]),
        ("packetbeat:\n  protocols:\n  - {type: dns}\npacketbeat.protocols.http.ports: [80]", &[], &["dns", "http"]),
        ("packetbeat.protocols:\n- {type: dns}\npacketbeat.protocols.dns.ports: [54]", &[], &["dns"]),
        ("packetbeat.protocols: {http: {ports: [80]}, icmp: }", &["packetbeat.protocols.dns.ports=53"], &["http", "icmp", "dns"]),
        ("packetbeat.protocols: {gopher: {ports: [x], processors: 1}, http: {ports: [80]}}", &[], &["http"]),
    ] {
        let loaded = load_all(&[text], settings, &[]).unwrap();
        assert_eq!(loaded.warnings, [""; 0], "{text}");
        let (protocols, _) = read_protocols(&loaded.root, &known).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(protocols.iter().map(|protocol| protocol.name.as_str()).collect::<Vec<_>>(), want, "{text}");
    }
}

#[test]
fn an_empty_text_counts_as_not_set_unless_a_text_is_expected() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Options {
        number: u16,
        flag: Option<bool>,
        list: Vec<u16>,
        map: BTreeMap<String, String>,
        #[serde(with = "crate::config::duration")]
        wait: std::time::Duration,
        text: String,
        maybe: Option<String>,
        precision: crate::config::Precision,
    }
    impl Default for Options {
        fn default() -> Self {
            let (number, wait, precision) = (7, std::time::Duration::from_secs(3), crate::config::Precision::Nanosecond);
            Self { number, flag: None, list: vec![], map: BTreeMap::new(), wait, text: "t".into(), maybe: None, precision }
        }
    }
    let empty = |value: &str| {
        let keys = ["number", "flag", "list", "map", "wait", "text", "maybe", "precision"];
        keys.map(|key| format!("{key}: {value}\n")).concat()
    };
    for value in ["''", "${EMPTY}", "${NOPE:}"] {
        let loaded = load_all(&[&empty(value)], &[], ENV).unwrap();
        let want = Options { text: String::new(), maybe: Some(String::new()), ..Options::default() };
        assert_eq!(loaded.root.read::<Options>().unwrap(), want, "{value}");
    }
    let error = Node::parse("v: ['']").unwrap().get("v").read::<Vec<u8>>().unwrap_err();
    assert_eq!(error.0, "line 1: v.0: expected a whole number, got ``", "an item of a list has no default");
}

#[test]
fn errors_point_to_the_setting_that_the_message_names() {
    let node = Node::parse("a:\n  b:\n    c: 1\n  d: 2").unwrap().get("a");
    for (message, want) in [
        ("b.c: wrong", "line 3: a.b.c: wrong"),
        ("d: wrong", "line 4: a.d: wrong"),
        ("e: missing", "line 1: a: e: missing"),
        ("wrong", "line 1: a: wrong"),
    ] {
        assert_eq!(node.error(message).0, want);
    }
    let root = load_all(&["a: 1", "b: 2"], &[], &[]).unwrap().root;
    let error = root.error("nothing there").0;
    assert!(error.ends_with("1.yml: nothing there") && error.contains("0.yml, "), "{error}");
}

#[test]
fn exported_without_secrets() {
    let text = "output.elasticsearch: {hosts: ['http://u:p@h:1'], password: hush, api_key: '${KEY:a:b}', timeout: 3}\nname: 'x$$y'";
    let loaded = load_all(&[text], &["cloud.auth=u:p"], &[]).unwrap();
    let hidden = loaded.export(false).unwrap();
    for part in ["- http://***@h:1\n", "password: '***'\n", "api_key: ${KEY}\n", "timeout: 3\n", "auth: '***'\n", "name: x$$y\n"] {
        assert!(hidden.contains(part), "{part}\nis not in\n{hidden}");
    }
    assert!(!hidden.contains("hush") && !hidden.contains("u:p"), "{hidden}");
    let shown = loaded.export(true).unwrap();
    for part in ["- http://u:p@h:1\n", "password: hush\n", "api_key: ${KEY}\n", "auth: u:p\n"] {
        assert!(shown.contains(part), "{part}\nis not in\n{shown}");
    }
}
