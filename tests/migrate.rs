//! The command `migrate`: every configuration becomes one that starts, and nothing is lost on the way.

use crate::harness::{Home, assert_success, sniffer, tests};
use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The variables that the configurations use. `CERTS_DIR` is a folder with certificates.
const VARIABLES: &[(&str, &str)] = &[
    ("API_KEY", "id:key"),
    ("BOX_ID", "3f2a"),
    ("BOX_LOGSTASH", "logs.example.com:5044"),
    ("BOX_NAME", "front"),
    ("BOX_PROJECT", "shop"),
    ("CLOUD_AUTH", "writer:not-a-secret"),
    ("CLOUD_ID", "demo:ZXhhbXBsZS5jb20kYWJjJGRlZg=="),
    ("ES_HOST", "search.example.com"),
    ("ES_PASSWORD", "not-a-secret"),
    ("ES_PORT", "9200"),
    ("ES_USER", "writer"),
    ("HOSTNAME", "box"),
    ("KAFKA_PASSWORD", "not-a-secret"),
    ("WIRE_DEVICE", "any"),
    ("WIRE_FILE", "false"),
    ("WIRE_HEADERS", "User-Agent, Host"),
    ("WIRE_HIDE", "pin, token"),
    ("WIRE_HTTP_PORTS", "80, 8080"),
    ("WIRE_LOGSTASH", "logs.example.com:5044"),
    ("WIRE_REAL_IP", "X-Forwarded-For"),
];

/// The configurations in a folder and its folders.
fn configurations(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            configurations(&path, found);
        } else if path.extension() == Some(OsStr::new("yml")) {
            found.push(path);
        }
    }
}

/// Makes the files that the configurations name.
fn certificates() -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let script =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=a -keyout client.key -out client.crt &&
        cp client.crt ca.crt && cp client.crt 'my own ca.cer' && echo '{}' > template.json";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder.path()).output();
    made.is_ok_and(|made| made.status.success()).then_some(folder)
}

/// Runs the program in the folder of `home`.
fn run(home: &Home, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = sniffer();
    command.env_clear().envs(variables.iter().copied()).current_dir(home.path()).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every configuration of this project, and of `../shared/configs` or the folder that the variable `CONFIGS` names, if there is one, becomes
/// one that starts. It has the same lines, apart from those that had to change.
#[test]
fn every_configuration_starts_after_its_migration() {
    let Some(certs) = certificates() else {
        println!("SKIPPED: openssl is not installed");
        return;
    };
    let certs_dir = certs.path().display().to_string();
    let variables: Vec<(&str, &str)> = VARIABLES.iter().copied().chain([("CERTS_DIR", certs_dir.as_str())]).collect();
    let mut paths = Vec::new();
    configurations(&tests().join("configs"), &mut paths);
    let more = env::var_os("CONFIGS").map_or_else(|| tests().join("../../shared/configs"), PathBuf::from);
    if more.is_dir() {
        configurations(&more, &mut paths);
    }
    assert!(paths.len() >= 4, "{paths:?}");
    let mut wrong = Vec::new();
    for path in &paths {
        let original = fs::read_to_string(path).unwrap();
        for beside in [&[][..], &["--beside"]] {
            let home = Home::with_output(&original);
            let migrated = run(&home, &variables, &[&["migrate", "packetbeat.yml", "--output", "new/sniffer.yml"], beside].concat());
            let tested = run(&home, &variables, &["test", "config", "-c", "new/sniffer.yml", "--path.home", "."]);
            if !migrated.status.success() || !tested.status.success() {
                wrong.push(format!("{} {beside:?}\n{}{}", path.display(), text(&migrated), text(&tested)));
                continue;
            }
            let result = fs::read_to_string(home.path().join("new/sniffer.yml")).unwrap();
            let lost: Vec<&str> =
                original.trim_start_matches('\u{feff}').lines().filter(|line| !result.lines().any(|new| new == *line)).collect();
            if lost.len() > if beside.is_empty() { 0 } else { 8 } || !text(&migrated).contains("The same\n") {
                wrong.push(format!("{} {beside:?}: these lines are not in the result: {lost:#?}\n{}", path.display(), text(&migrated)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} configurations:\n{}", wrong.len(), paths.len(), wrong.join("\n"));
}

#[test]
fn the_report_says_what_is_the_same_different_and_refused() {
    let home = Home::with_output(
        "# my file\npacketbeat.interfaces.device: lo\npacketbeat.protocols:\n- {type: http, ports: [8123]}\npacketbeat.nosuch: 1\n\
         output.elasticsearch:\n  hosts: ['${HOST}:9200']\n  ssl.certificate_authorities: [ca.crt] # ours\nprocessors:\n- add_locale: {}\n",
    );
    fs::write(home.path().join("ca.crt"), "").unwrap();
    let migrated = run(&home, &[], &["migrate", "packetbeat.yml", "--output", "sniffer.yml"]);
    assert_success(&migrated);
    let report = text(&migrated);
    for expected in [
        "Different\n  line 5: packetbeat.nosuch: unknown setting, ignored",
        "ca.crt\n",
        "Variables that must be set when it starts\n  line 7: output.elasticsearch.hosts.0: the variable `HOST` is not set",
        "What to do next\n  sniffer test config -c sniffer.yml\n",
    ] {
        assert!(report.contains(expected), "{expected}\nis not in\n{report}");
    }
    let result = fs::read_to_string(home.path().join("sniffer.yml")).unwrap();
    let ca = home.path().join("ca.crt").display().to_string();
    assert!(result.contains("\n# my file\n") && result.contains(&format!("[\"{ca}\"] # ours\n")), "{result}");

    let again = run(&home, &[], &["migrate", "packetbeat.yml", "--output", "sniffer.yml"]);
    assert!(!again.status.success() && text(&again).contains("sniffer.yml: exists already"), "{}", text(&again));
    assert_success(&run(&home, &[], &["migrate", "packetbeat.yml", "--output", "sniffer.yml", "--force"]));
    let onto = run(&home, &[], &["migrate", "packetbeat.yml", "--output", "packetbeat.yml", "--force"]);
    assert!(!onto.status.success() && text(&onto).contains("name another one with --output"), "{}", text(&onto));

    home.write("wrong.yml", "packetbeat.interfaces.type: magic\nqueue.mem.events: many\noutput.console: {}\n");
    let refused = run(&home, &[], &["migrate", "wrong.yml", "--output", "w.yml"]);
    let report = text(&refused);
    for expected in ["Refused\n", "  line 1: packetbeat.interfaces.type: ", "  line 2: queue.mem.events: ", "Nothing was written."] {
        assert!(report.contains(expected), "{expected}\nis not in\n{report}");
    }
    assert!(!refused.status.success() && !home.path().join("w.yml").exists(), "{report}");
}

#[test]
fn the_keystore_comes_along() {
    let home = Home::with_output("output.elasticsearch:\n  hosts: [localhost]\n  username: u\n  password: '${PW}'\n");
    let create = run(&home, &[], &["keystore", "create", "-c", "packetbeat.yml", "--path.data", "data"]);
    assert_success(&create);
    let mut add = sniffer();
    add.current_dir(home.path()).args(["keystore", "add", "PW", "--stdin", "-c", "packetbeat.yml", "--path.data", "data"]);
    let mut child = add.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"geheim\n").unwrap();
    assert_success(&child.wait_with_output().unwrap());
    let migrated = run(&home, &[], &["migrate", "packetbeat.yml", "--output", "etc/sniffer.yml", "--beside"]);
    assert_success(&migrated);
    assert!(!text(&migrated).contains("Variables"), "the keystore has the variable\n{}", text(&migrated));
    let listed = run(&home, &[], &["keystore", "list", "-c", "etc/sniffer.yml"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "PW\n", "{}", text(&listed));
    let exported = run(&home, &[], &["export", "config", "--show-secrets", "-c", "etc/sniffer.yml"]);
    for expected in ["index: sniffer-%{[agent.version]}", "data: ", "name: sniffer-%{[agent.version]}"] {
        assert!(text(&exported).contains(expected), "{expected}\nis not in\n{}", text(&exported));
    }
    assert_success(&run(&home, &[], &["test", "config", "-c", "etc/sniffer.yml"]));
}
