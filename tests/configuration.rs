//! The configuration from the user's side: forms of the configuration that Packetbeat accepts, messages about mistakes,
//! and the destination of the log.

use crate::harness::{Home, assert_success, tests};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, process::Output};

/// The path of a capture with one HTTP request and its response, on port 80.
fn capture() -> PathBuf {
    tests().join("configs/request.pcap")
}

/// Reads the capture with `config`. The environment contains only the variables `environment`.
fn run(config: &str, environment: &[(&str, &str)], args: &[&str]) -> Output {
    let home = Home::with_output(config);
    let mut command = home.command(args);
    command.env_clear().envs(environment.iter().copied());
    command.args(["-t"]).arg("-I").arg(capture()).output().unwrap()
}

/// The lines that the console output wrote.
fn lines(config: &str, environment: &[(&str, &str)], args: &[&str]) -> Vec<String> {
    let output = run(config, environment, args);
    assert_success(&output);
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The only document that the console output wrote.
fn document(config: &str, environment: &[(&str, &str)], args: &[&str]) -> Value {
    let lines = lines(config, environment, args);
    let [line] = lines.as_slice() else { panic!("not one document: {lines:?}") };
    serde_json::from_str(line).unwrap()
}

const HTTP: &str = "packetbeat.protocols: [{type: http, ports: [80]}]\noutput.console.enabled: true\n";

#[test]
fn escapes_and_alternatives() {
    let config = format!(
        "{HTTP}name: \"${{NOPE:abc$}}def}}\"\nfields: {{two: \"fantastic$$$$\", one: \"a$b\", open: \"$${{x}}\", alt: \"${{HOME:+yes}}\", altno: \
         \"${{NOPE:+yes}}x\"}}"
    );
    let document = document(&config, &[("HOME", "/root")], &[]);
    assert_eq!(document["fields"], json!({"two": "fantastic$$", "one": "a$b", "open": "${x}", "alt": "yes", "altno": "x"}));
    assert_eq!(document["agent"]["name"], "abc}def");
}

#[test]
fn quoted_variables() {
    let config = format!("{HTTP}fields: {{a: \"${{PW}}\", b: '\"${{BAR}}\"', c: '${{NOPE:\"007\"}}'}}");
    let document = document(&config, &[("PW", "\"abc,123\""), ("BAR", "001")], &[]);
    assert_eq!(document["fields"], json!({"a": "abc,123", "b": "001", "c": "007"}));
}

#[test]
fn lists_from_variables() {
    let config = format!(
        "{HTTP}packetbeat.interfaces: {{device: lo, internal_networks: \"${{NETS}}\"}}\ntags: \"${{TAGS}}\"\nprocessors:\n- add_tags: {{tags: \
         \"${{MORE:c,d}}\"}}\n- include_fields: {{fields: \"${{FL}}\"}}\n"
    );
    let common = [("NETS", "private,192.0.2.0/24"), ("FL", "tags,method,network")];
    for (tags, args) in [("a,b", &[][..]), ("[a, b]", &[]), ("x", &["-E", "tags=a,b"]), ("x", &["-E", "tags=[a, b]"])] {
        let environment: Vec<_> = common.into_iter().chain([("TAGS", tags)]).collect();
        let document = document(&config, &environment, args);
        assert_eq!(document["tags"], json!(["a", "b", "c", "d"]), "{tags} {args:?}");
        assert_eq!((&document["method"], &document["network"]["direction"]), (&json!("GET"), &json!("outbound")), "{document}");
        assert_eq!(document.get("url"), None);
    }
}

#[test]
fn both_forms_of_protocols() {
    let config =
        "packetbeat.protocols.http: {ports: [80]}\npacketbeat.protocols:\n- {type: dns, ports: [53]}\noutput.console.enabled: true\n";
    assert_eq!(document(config, &[], &[])["type"], "http");
}

#[test]
fn format_strings_with_lists_and_maps() {
    let config = "packetbeat.protocols: [{type: http, ports: [80]}]\noutput.console.codec.format.string: \"i-%{[event.category]:x} j-%{[source]:y}\"";
    assert_eq!(lines(config, &[], &[]), ["i-x j-y"]);
}

/// The log files below a folder, and all their lines.
fn log(home: &Home, folder: &str) -> Vec<Value> {
    let mut files: Vec<_> =
        fs::read_dir(home.path().join(folder)).map(|dir| dir.flatten().map(|entry| entry.path()).collect()).unwrap_or_default();
    files.sort();
    let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The systemd unit of the deb and rpm packages and the container image pass `--environment`. Log settings in the configuration take
/// precedence over it.
#[test]
fn the_environment_sets_only_the_default_of_the_log() {
    for environment in ["systemd", "container"] {
        let base = "packetbeat.protocols: [{type: http, ports: [80]}]\noutput.discard.enabled: true\n";
        let to_files = format!("{base}logging: {{to_files: true, to_stderr: false, files: {{path: HOME/logs, name: pb}}}}\n");
        for (config, in_files) in [(to_files.as_str(), true), (base, false)] {
            let home = Home::with_output("");
            home.write("packetbeat.yml", &config.replace("HOME", &home.path().display().to_string()));
            let output = home.command(&["--environment", environment, "-t"]).arg("-I").arg(capture()).output().unwrap();
            assert_success(&output);
            assert_eq!((log(&home, "logs").is_empty(), output.stderr.is_empty()), (!in_files, in_files), "{environment} {config}");
        }
    }
}

#[test]
fn the_log_begins_with_what_runs_and_says_when_it_is_ready() {
    let home = Home::new("packetbeat.protocols: [{type: http, ports: [80]}]\npacketbeat.interfaces.devise: lo");
    assert_success(&home.command(&["-t"]).arg("-I").arg(capture()).output().unwrap());
    let messages: Vec<String> = log(&home, "logs").iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect();
    let path = |name: &str| home.path().join(name).display().to_string();
    let expected = [
        format!("sniffer version {} ", env!("CARGO_PKG_VERSION")),
        format!("Configuration: {}", path("packetbeat.yml")),
        format!("Data path: {}", path("data")),
        format!("Logs path: {}", path("logs")),
    ];
    for (message, begin) in messages.iter().zip(&expected) {
        assert!(message.starts_with(begin), "{message} does not begin with {begin}");
    }
    let at = |part: &str| messages.iter().position(|message| message.contains(part));
    let (ready, unknown) = (
        at("is running"),
        at("packetbeat.yml:2: packetbeat.interfaces.devise: unknown setting, ignored; did you mean `packetbeat.interfaces.device`?"),
    );
    assert!(ready.is_some() && unknown.is_some() && unknown < ready, "{messages:#?}");
}

/// Messages of `test config` and `run` about mistakes contain file and line, the wrong key, and advice.
#[test]
fn mistakes_are_named() {
    const CONSOLE: &str = "output.console.enabled: true\n";
    for (config, expected) in [
        (
            "packetbeat.interfaces.devise: lo\n",
            "packetbeat.yml:1: packetbeat.interfaces.devise: unknown setting, ignored; did you mean `packetbeat.interfaces.device`?",
        ),
        ("packetbeat.nosuch: 1\n", "packetbeat.yml:1: packetbeat.nosuch: unknown setting, ignored"),
        (
            "\npacketbeat.inputs: []\n",
            "packetbeat.yml:2: packetbeat.inputs: unknown setting, ignored; `packetbeat.interfaces` says where to capture",
        ),
        (
            "packetbeat.processors: []\n",
            "packetbeat.yml:1: packetbeat.processors: unknown setting, ignored; `processors` belongs at the top level",
        ),
        (
            "processors: []\nprocessors: []\n",
            "packetbeat.yml:2: processors: is written twice; the value in line 2 is used, the one in line 1 is ignored",
        ),
        ("\npacketbeat.interfaces.bpf_filter: no filter\n", "packetbeat.yml:2: packetbeat.interfaces.bpf_filter: "),
        ("queue.spool.file.size: 10MiB\n", "packetbeat.yml:1: queue.spool: unrecognized queue type 'spool'"),
        (
            "packetbeat.protocols:\n- type: http\n  ports: [80]\n\tsend_request: true\n",
            "packetbeat.yml:4: not YAML: a tab in the indentation",
        ),
        ("output.file.path: /tmp\n", "packetbeat.yml:2: output.console: more than one namespace configured accessing 'output': file ("),
    ] {
        let home = Home::with_output(&format!("{config}{CONSOLE}"));
        let checked = home.command(&["test", "config", "-e"]).output().unwrap();
        let ran = home.command(&["-e", "-t"]).arg("-I").arg(capture()).output().unwrap();
        for (what, output) in [("test config", checked), ("run", ran)] {
            let text = String::from_utf8_lossy(&output.stderr).replace("\\\"", "\"");
            // `run` reads a file here, so it compiles only the user's filter and no filter for a device.
            assert!(text.contains(expected), "{what}: {expected}\nis not in\n{text}");
        }
    }
    for (config, expected) in [
        ("packetbeat.output.elasticsearch.hosts: [a]\n", "packetbeat.yml:1: packetbeat.output: no outputs are defined"),
        ("output:\n  elasticsearch:\n  hosts: [a]\n", "packetbeat.yml:3: output.hosts: `hosts` belongs below `output.elasticsearch`"),
        ("output.elasticsearch: {hosts: [a],\n  index: own}\n", "packetbeat.yml:2: output.elasticsearch.index: setup.template.name and"),
    ] {
        let home = Home::with_output(config);
        let output = home.command(&["test", "config"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(expected), "{expected}\nis not in\n{text}");
    }
}

/// All wrong values are named with one attempt, several in one section too, and none that is only missing because another is wrong.
#[test]
fn all_mistakes_are_named_at_once() {
    let text = "packetbeat.protocols:\n- type: http\n  ports: [80, x]\n  max_message_size: many\n\
                processors:\n- nosuch: {}\n- rename: {fields: 5}\n- neither: {}\n\
                output.redis:\n  hosts: {a: b}\n  db: none\n";
    let home = Home::with_output(text);
    for args in [&["test", "config"][..], &["-e", "-t", "-I", "x.pcap"]] {
        let output = home.command(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let all = stderr.split("Exiting: ").last().unwrap_or_default();
        let lines: Vec<&str> =
            all.lines().filter_map(|line| line.rsplit_once("packetbeat.yml:")?.1.split_once(':').map(|(at, _)| at)).collect();
        let mut sorted = lines.clone();
        sorted.sort_unstable_by_key(|line| line.parse::<u32>().unwrap_or_default());
        assert_eq!(sorted, ["3", "4", "6", "7", "8", "10", "11"], "{args:?}\n{stderr}");
        assert!(!output.status.success(), "{args:?}");
    }
}

/// `watch` obeys the configuration and says so when nothing of it is seen. Settings that only matter for documents cause no warning.
#[test]
fn watch_with_a_configuration() {
    let home = Home::new(
        "packetbeat.protocols:\n- {type: redis, ports: [6379]}\nlogging.level: debug\nqueue.mem.events: 32\nsetup.kibana.host: x\n",
    );
    let output = home.command(&["watch", "-r", &capture().display().to_string()]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let first = format!("{}, 1 protocol on 1 port (-v lists them), times UTC\n0 transactions\n", capture().display());
    assert!(stderr.starts_with(&first) && !stderr.contains("warning"), "{stderr}");
    assert!(stderr.contains(": tcp 80, ") && stderr.contains("looks like http.\nTo see it, add this to packetbeat.protocols"), "{stderr}");
    let home = Home::new("packetbeat.protocols:\n- {type: http, ports: [80]}\nprocesors: []\n");
    let output = home.command(&["watch", "-r", &capture().display().to_string()]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains(" http ") && stderr.contains("\n1 transaction, "), "{stdout}\n{stderr}");
    assert!(stderr.contains("packetbeat.yml:3: procesors: unknown setting, ignored; did you mean `processors`?"), "{stderr}");
}

/// Without rights, the program says so in the style of a person's terminal, and names the commands that help. Arguments are not lost.
#[test]
fn missing_rights_are_explained() {
    let home = Home::new("packetbeat.interfaces.device: lo\n");
    for args in [&["watch", "-i", "lo"][..], &["watch", "-i", "lo", "--json"], &["-i", "lo"]] {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid", "65534", "--clear-groups", "--bounding-set", "-all", "--"]).arg(env!("CARGO_BIN_EXE_sniffer")).args(args);
        let Ok(output) = command.current_dir(home.path()).output() else {
            println!("SKIPPED: setpriv is not installed");
            return;
        };
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if stderr.contains("setpriv:") {
            println!("SKIPPED: only root may become another user: {stderr}");
            return;
        }
        if args.first() == Some(&"-i") {
            assert!(stderr.contains("tip: it is a flag of a command: `sniffer watch -i`"), "{args:?}\n{stderr}");
            continue;
        }
        let typed = args.join(" ");
        for expected in [format!("sniffer {typed}\n"), "sudo setcap cap_net_raw,".to_owned(), "\n  sudo ".to_owned()] {
            assert!(stderr.contains(&expected), "{args:?}: {expected}\nis not in\n{stderr}");
        }
        assert!(stdout.is_empty() && !stderr.contains("{\"") && !output.status.success(), "{args:?}\n{stdout}\n{stderr}");
    }
}

#[test]
fn settings_of_outputs_that_are_not_in_use_cause_no_warning() {
    let stock = fs::read_to_string(tests().join("configs/stock.yml")).unwrap();
    let home = Home::with_output(&stock);
    let folder = home.path().join("out").display().to_string();
    let output = home
        .command(&["test", "config", "-E", "output.elasticsearch.enabled=false"])
        .arg("-E")
        .arg(format!("output.file.path={folder}"))
        .output()
        .unwrap();
    assert_success(&output);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_configuration_is_exported_without_secrets() {
    let home = Home::with_output(
        "output.elasticsearch:\n  hosts: ['https://u:hush1@h:9200']\n  password: hush2\n  api_key: hush3\n  proxy_url: http://v:hush4@p\n  headers: \
         {Authorization: Bearer hush5}\n  ssl.key_passphrase: hush6\n",
    );
    let exported = |args: &[&str]| {
        let output = home.command(&[&["export", "config"], args].concat()).output().unwrap();
        assert_success(&output);
        String::from_utf8(output.stdout).unwrap()
    };
    let (hidden, shown) = (exported(&[]), exported(&["--show-secrets"]));
    assert!(!hidden.contains("hush") && hidden.contains("password: '***'"), "{hidden}");
    for number in 1..=6 {
        assert!(shown.contains(&format!("hush{number}")), "{shown}");
    }
}
