//! Tests of loading the configuration: merging of sources, variables, limits, errors with their place, old forms, and
//! configurations of users.

use super::{LoadOptions, Loaded, load_with};
use crate::{
    config::{Error, General, KnownProtocol, Node, leftover, read_protocols},
    protocols::PROTOCOLS,
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// A directory that is removed when the value is dropped.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let dir = std::env::temp_dir().join(format!("sniffer-load-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed)));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn load_all(files: &[&str], settings: &[&str], env: &[(&str, &str)]) -> Result<Loaded, Error> {
    let dir = Dir::new();
    let mut names = Vec::new();
    for (i, text) in files.iter().enumerate() {
        let name = format!("{i}.yml");
        std::fs::write(dir.0.join(&name), text).unwrap();
        names.push(PathBuf::from(name));
    }
    let options = LoadOptions {
        files: names,
        settings: settings.iter().map(ToString::to_string).collect(),
        config: Some(dir.0.clone()),
        home: Some("/home/of/it".into()),
        strict_perms: false,
        ..LoadOptions::default()
    };
    let env: HashMap<_, _> = env.iter().copied().collect();
    load_with(&options, Path::new("/program"), &|name| env.get(name).map(ToString::to_string))
}

pub(super) fn json(loaded: &Loaded) -> serde_json::Value {
    let mut all: serde_json::Value = loaded.root.read().unwrap();
    all.as_object_mut().unwrap().remove("path");
    all
}

#[test]
fn merged_in_order() {
    for (files, settings, want) in [
        (&["a.b: 1\na.c: [1, 2]", "a: {b: 2}\na.c: [3]"][..], &[][..], serde_json::json!({"a": {"b": 2, "c": [3]}})),
        (&["a.b: 1"], &["a.c=x", "a.b=7"], serde_json::json!({"a": {"b": 7, "c": "x"}})),
        // The example of the Beats documentation.
        (
            &["output.elasticsearch: {hosts: ['h:9200'], username: u}"],
            &["output={elasticsearch.enabled: false, console.pretty: true}"],
            serde_json::json!({"output": {"elasticsearch": {"hosts": ["h:9200"], "username": "u", "enabled": false}, "console": {"pretty": true}}}),
        ),
        (&["a: {b: 1}"], &["a=null"], serde_json::json!({"a": null})),
        (&["a: 1"], &["b=[1, x, 'y, z']", "c=\"d e\"", "d"], serde_json::json!({"a": 1, "b": [1, "x", "y, z"], "c": "d e", "d": true})),
        (&["# nothing\n"], &[], serde_json::json!({})),
        (&["{\"json\": {\"a.b\": [1]}}"], &[], serde_json::json!({"json": {"a": {"b": [1]}}})),
        (
            &["x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: [*x]"],
            &[],
            serde_json::json!({"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}, "z": [{"a": 1, "b": 2}]}),
        ),
        (
            &["packetbeat.protocols: [{type: dns, ports: [53]}, {type: http, ports: [80]}]"],
            &["packetbeat.protocols.http.ports=[81]", "packetbeat.protocols.0.enabled=false", "packetbeat.protocols.redis.ports=[1]"],
            serde_json::json!({"packetbeat": {"protocols": [
                {"type": "dns", "ports": [53], "enabled": false}, {"type": "http", "ports": [81]}, {"type": "redis", "ports": [1]}]}}),
        ),
    ] {
        let loaded = load_all(files, settings, &[]).unwrap();
        assert_eq!(json(&loaded), want, "{files:?} {settings:?}");
        assert_eq!(loaded.warnings, [""; 0], "{files:?}");
    }
}

#[test]
fn variables() {
    let env = [("HOSTS", "a:1, b:2"), ("PASSWORD", "x,y"), ("PORT", "80"), ("EMPTY", ""), ("WHICH", "PORT")];
    for (yaml, key, want) in [
        ("v: '${HOSTS}'", "v", serde_json::json!(["a:1", "b:2"])),
        ("v: ['${HOSTS}', 'c,d']", "v", serde_json::json!(["a:1", "b:2", "c,d"])),
        ("v: '${ELSE:elasticsearch:9200}'", "v", serde_json::json!(["elasticsearch:9200"])),
        ("v: ${EMPTY:d}", "v", serde_json::json!(["d"])),
        ("v: ${NO:${PORT}}", "v", serde_json::json!(["80"])),
        ("v: ${${WHICH}}", "v", serde_json::json!(["80"])),
        ("v: a$${PORT}", "v", serde_json::json!(["a${PORT}"])),
        ("v: ${path.home}/x", "v", serde_json::json!(["/home/of/it/x"])),
        ("other.list: [1, 2]\nv: ${other.list}", "v", serde_json::json!(["1", "2"])),
        ("v: ['${PORT}', 'x${PORT}y']", "v", serde_json::json!(["80", "x80y"])),
        ("v: ${NO:}", "v", serde_json::json!([])),
        ("v: '[${PORT}, z]'", "v", serde_json::json!(["80", "z"])),
    ] {
        let loaded = load_all(&[yaml], &[], &env).unwrap();
        let got: Vec<String> = loaded.root.get(key).read().unwrap();
        assert_eq!(serde_json::json!(got), want, "{yaml}");
    }
    // The type that the module reads decides whether the value is a list or a text.
    let loaded = load_all(&["p: ${PASSWORD}\nn: ${PORT}"], &["e=a,b"], &env).unwrap();
    assert_eq!(loaded.root.get("p").read::<String>().unwrap(), "x,y");
    assert_eq!(loaded.root.get("n").read::<u16>().unwrap(), 80);
    assert_eq!(loaded.root.get("e").read::<String>().unwrap(), "a,b");
    assert_eq!(loaded.root.get("e").read::<Vec<String>>().unwrap(), ["a", "b"]);
}

#[test]
fn an_unresolved_variable_is_an_error_for_its_reader() {
    let loaded = load_all(&["v: ${NO}"], &[], &[]).unwrap();
    assert!(loaded.root.get("v.w.x").read::<Option<String>>().is_err(), "nor is what is below it silently nothing");
    for (yaml, want) in [
        ("v: ${NO}", "0.yml:1: v: the variable `NO` is not set, and no setting has that name; `${NO:…}` gives a default"),
        ("\nv: ${NO:?say where}", "0.yml:2: v: the variable `NO` is not set: say where"),
        ("v: x${NO", "0.yml:1: v: the `}` of a `${` is missing; `$${` stands for a literal `${`"),
        ("v: ${}", "0.yml:1: v: a variable without a name: `${}`"),
        ("v: a${w}\nw: {x: 1}", "0.yml:1: v: `${w}` is a list or a map, and cannot be part of a text"),
        ("v: ${v}", "0.yml:1: v: the variables refer to each other in a circle, or through more than 16 settings"),
        ("v: ${w}\nw: ${v}", "0.yml:1: v: the variables refer to each other in a circle, or through more than 16 settings"),
    ] {
        let loaded = load_all(&[yaml], &[], &[]).unwrap();
        assert_eq!(loaded.root.get("v").read::<String>().unwrap_err().0, want, "{yaml}");
    }
}

#[test]
fn sizes_are_bounded() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        laughs += &format!("a{i}: &a{i} [{}]\n", format!("*a{},", i - 1).repeat(10));
    }
    assert_eq!(load_all(&[&laughs], &[], &[]).unwrap_err().0, "0.yml:5: more than 100000 values, aliases resolved");
    let mut laughs = "a0: xxxxxxxxxx\n".to_owned();
    for i in 1..16 {
        laughs += &format!("a{i}: '{}'\n", format!("${{a{}}}", i - 1).repeat(10));
    }
    assert_eq!(
        load_all(&[&laughs], &[], &[]).unwrap_err().0,
        "the variables of the configuration expand to more than 1048576 bytes, or 100000 values"
    );
    let deep = format!("{}1", "{a: ".repeat(100));
    assert_eq!(load_all(&[&deep], &[], &[]).unwrap_err().0, "0.yml:1: nested more than 64 levels deep");
    let deep = format!("{}a: 1", "a.".repeat(100));
    assert_eq!(load_all(&[&deep], &[], &[]).unwrap_err().0, "0.yml:1: nested more than 64 levels deep");
    assert_eq!(load_all(&["a: 1"], &[&format!("a={}", "[".repeat(5000))], &[]).unwrap_err().0, "-E: a: nested more than 64 levels deep");
}

#[test]
fn wrong_files() {
    for (yaml, want) in [
        ("a: [1\nb: 2", "0.yml:2: not YAML: illegal placement of ':' indicator (column 2)"),
        ("a:\n\tb: 1", "0.yml:2: not YAML: a tab in the indentation; use spaces"),
        ("a:\n  b: 1\n\tc: 2\n", "0.yml:3: not YAML: a tab in the indentation; use spaces"),
        ("a:\n  b:\n    - x\n    \t- y\n", "0.yml:4: not YAML: a tab in the indentation; use spaces"),
        ("a:\n  b: c\n  \td: e\n", "0.yml:3: not YAML: a tab in the indentation; use spaces"),
        ("- a", "0.yml:1: expected settings (`key: value`)"),
        ("just words", "0.yml:1: expected settings (`key: value`)"),
        ("? [a]\n: 1", "0.yml:1: a key must be a word, not a list or a map"),
        ("a: &a [*a]", "0.yml:1: an alias (`*`) refers to a value that contains the alias"),
        ("a: *b", "0.yml:1: not YAML: while parsing node, found unknown anchor (column 4)"),
        ("<<: 1", "0.yml:1: `<<` takes a map, or a list of maps"),
    ] {
        assert_eq!(load_all(&[yaml], &[], &[]).unwrap_err().0, want, "{yaml}");
    }
    for (setting, want) in [
        ("=1", "-E: ``: expected `key=value`, with a dotted key"),
        ("a..b=1", "-E: `a..b`: expected `key=value`, with a dotted key"),
        ("a=[1", "-E: a: expected `,` or `]` in the list"),
        ("a={hush}", "-E: a: expected `:` after a key of the map; a text with braces goes into quotes"),
        ("a='x", "-E: a: a ' is missing at the end"),
        ("a=[1] x", "-E: a: there is more text after the end of the value"),
    ] {
        assert_eq!(load_all(&["x: 1"], &[setting], &[]).unwrap_err().0, want, "{setting}");
    }
    let none = LoadOptions { files: vec!["nowhere.yml".into()], config: Some("/none".into()), ..LoadOptions::default() };
    assert_eq!(
        load_with(&none, Path::new("/"), &|_| None).unwrap_err().0,
        "no configuration file nowhere.yml, neither in /none (path.config) nor in the current directory; name one with -c"
    );
}

#[test]
fn errors_name_their_source() {
    let loaded = load_all(&["a: 1", "\nb: [x]"], &["c=y"], &[]).unwrap();
    assert_eq!(loaded.root.get("b").read::<Vec<u8>>().unwrap_err().0, "1.yml:2: b.0: expected a whole number, got `x`");
    assert_eq!(loaded.root.get("c").read::<u8>().unwrap_err().0, "-E: c: expected a whole number, got `y`");
}

#[test]
fn paths() {
    let loaded = load_all(&["path.data: /d\npath.logs: ${LOGS}"], &["path.config=/ignored"], &[("LOGS", "/l")]).unwrap();
    let p = |s: &str| PathBuf::from(s);
    assert_eq!((loaded.paths.home, loaded.paths.data, loaded.paths.logs), (p("/home/of/it"), p("/d"), p("/l")));
    assert_eq!(loaded.root.get("path.data").as_str(), Some("/d"));
}

#[test]
fn exported() {
    let loaded = load_all(
        &["a.b: '${A:x}'\nlist: [1, two, '3']\nmode: 0600\nflag: true\nempty:\npacketbeat.protocols.dns: {ports: [53]}"],
        &["output.file.path=/o"],
        &[("A", "secret")],
    )
    .unwrap();
    let text = loaded.export(false).unwrap();
    let config = loaded.paths.config.display().to_string();
    assert_eq!(
        text,
        format!(
            "a:\n  b: ${{A}}\nlist:\n- 1\n- two\n- '3'\nmode: '0600'\nflag: true\nempty: null\npacketbeat:\n  protocols:\n  - type: dns\n    \
             ports:\n    - 53\noutput:\n  file:\n    path: /o\npath:\n  home: /home/of/it\n  config: {config}\n  data: /home/of/it/data\n  logs: \
             /home/of/it/logs\n"
        )
    );
}

#[test]
fn settings_of_version_1_are_converted() {
    let text = include_str!("../../../tests/configs/legacy-1.yml");
    let loaded = load_all(&[text], &[], &[]).unwrap();
    let warnings = loaded.warnings.join("\n");
    for part in [
        "0.yml:2: interfaces: an old form; it works, but write instead:\npacketbeat.interfaces:\n  device: any\n  snaplen: 1514",
        "0.yml:8: protocols: an old form; it works, but write instead:\npacketbeat.protocols:\n- type: http\n  ports:\n  - 80",
        "0.yml:16: output.elasticsearch: an old form; it works, but write instead:\noutput.elasticsearch:\n  enabled: true\n  hosts:\n  - 127.0.0.1:9200",
        "0.yml:20: output.elasticsearch.save_topology: a setting of Packetbeat 1.x that has no replacement, ignored",
    ] {
        assert!(warnings.contains(part), "{part}\nis not in\n{warnings}");
    }
    assert_eq!(loaded.warnings.len(), 4, "{warnings}");
    assert_eq!(loaded.root.get("output.elasticsearch.hosts").read::<Vec<String>>().unwrap(), ["127.0.0.1:9200"]);
    assert_eq!(loaded.root.get("packetbeat.interfaces.type").as_str(), Some("af_packet"));
    let (protocols, _) = read_protocols(&loaded.root, &known()).unwrap();
    let names: Vec<&str> = protocols.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["http", "memcache", "mysql", "redis", "pgsql", "thrift"]);
    assert!(protocols[3].ports.as_ref().unwrap().contains(6379));
}

#[test]
fn old_outputs_do_not_show_passwords() {
    let loaded = load_all(&["output.redis: {host: h, password: hush, tls: {certificate_key: k, insecure: true}}"], &[], &[]).unwrap();
    assert_eq!(
        loaded.warnings,
        ["0.yml:1: output.redis: an old form; it works, but write instead:\noutput.redis:\n  password: '***'\n  ssl:\n    key: k\n    \
          verification_mode: none\n  hosts:\n  - h"]
    );
    assert_eq!(loaded.root.get("output.redis.password").as_str(), Some("hush"));
}

/// The protocols that the program knows.
fn known() -> Vec<KnownProtocol> {
    PROTOCOLS.iter().map(|p| KnownProtocol { name: p.name, once: p.ports.is_empty() }).collect()
}

/// Reads the settings of this module as the program does, marks the settings of other modules as known, and returns all warnings.
fn read_as_the_program_does(root: &Node) -> Vec<String> {
    General::read(root).unwrap();
    let (_, warnings) = read_protocols(root, &known()).unwrap();
    for key in ["packetbeat.interfaces", "packetbeat.flows", "processors", "output", "setup", "packetbeat.protocols"] {
        root.get(key).accept();
    }
    warnings.into_iter().chain(leftover(root)).collect()
}

#[test]
fn configurations_of_users() {
    for (text, env) in
        [(include_str!("../../../tests/configs/stock.yml"), &[][..]), (include_str!("../../../tests/configs/minimal-7.yml"), &[])]
    {
        let loaded = load_all(&[text], &[], env).unwrap();
        assert_eq!(loaded.warnings, [""; 0]);
        assert_eq!(read_as_the_program_does(&loaded.root), [""; 0]);
    }
    let text = include_str!("../../../tests/configs/container.yml");
    let loaded = load_all(&[text], &[], &[("ELASTICSEARCH_HOSTS", "a:1,b:2")]).unwrap();
    assert_eq!(loaded.warnings, [""; 0], "the map form of the protocols is the container configuration's");
    assert_eq!(read_as_the_program_does(&loaded.root), [""; 0]);
    assert_eq!(loaded.root.get("output.elasticsearch.hosts").read::<Vec<String>>().unwrap(), ["a:1", "b:2"]);
    assert_eq!(loaded.root.get("output.elasticsearch.username").read::<String>().unwrap(), "");
    assert!(loaded.root.get("processors").items()[0].entries().all(|(name, options)| name == "add_cloud_metadata" && options.is_null()));
}

#[test]
fn a_configuration_cut_anywhere_does_not_panic() {
    for text in [
        include_str!("../../../tests/configs/stock.yml"),
        include_str!("../../../tests/configs/container.yml"),
        include_str!("../../../tests/configs/legacy-1.yml"),
    ] {
        for (cut, _) in text.char_indices() {
            if let Ok(node) = Node::parse(&text[..cut]) {
                node.read::<serde_json::Value>().unwrap();
            }
        }
    }
    for text in ["a={b:[c,'d',\"e\\n\"],f:${g:h}}", "${a:${b}}$${", "a.b.c=,,"] {
        for (cut, _) in text.char_indices() {
            let _ = super::overrides::setting(&text[..cut]);
            let _ = load_all(&[&format!("x: \"{}\"", text[..cut].replace(['"', '\\'], ""))], &[], &[]);
        }
    }
}

#[test]
fn secrets_come_before_the_environment_and_are_taken_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("packetbeat.yml");
    let settings = "keystore.path: ${DIR}/my.keystore\na: ${A}\nb: ${B}\nmixed: <${A}>\nsetting: ${name}\nname: own\nothers: ${OTHER}\n";
    std::fs::write(&file, settings).unwrap();
    let location = crate::config::keystore::Location { path: dir.path().join("my.keystore"), strict: true };
    location.create().unwrap();
    let options = LoadOptions { files: vec![file], strict_perms: false, ..LoadOptions::default() };
    let shown = dir.path().display().to_string();
    let lookup = |name: &str| match name {
        "DIR" => Some(shown.clone()),
        "A" => Some("environment".into()),
        "OTHER" => Some("x,y".into()),
        _ => None,
    };
    for secret in ["\"quoted\"", "'quoted'", "[1, 2]", "a,b", "{a: b}", "${B} $$", "x: y # z", "pässwörd ☃"] {
        location
            .update(|keystore| {
                ["A", "B", "name"].into_iter().for_each(|name| keystore.set(name, secret));
                Ok(())
            })
            .unwrap();
        let root = load_with(&options, Path::new("/program"), &lookup).unwrap().root;
        let read = |key: &str| root.get(key).read::<serde_json::Value>().unwrap();
        for (key, want) in [("a", secret.to_owned()), ("b", secret.to_owned()), ("setting", "own".into())] {
            assert_eq!(read(key), serde_json::Value::from(want), "{key} with {secret}");
        }
        assert_eq!(root.get("mixed").read::<String>().unwrap(), format!("<{secret}>"));
        assert_eq!(read("others"), serde_json::json!(["x", "y"]), "a variable of the environment may be a list");
    }
    std::fs::write(&location.path, "v2").unwrap();
    let error = load_with(&options, Path::new("/program"), &lookup).unwrap_err().0;
    assert!(error.contains("my.keystore has the version v2"), "{error}");
}
