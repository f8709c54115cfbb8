//! The command `doctor`, with all rights, without single capabilities, and without any.

use crate::harness::Home;
use serde_json::Value;
use std::process::{Command, Output};

/// The report of `doctor --json`.
fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// The state of each way on an interface: `ebpf xdp: works`.
fn ways(report: &Value, interface: &str) -> Vec<String> {
    let all = report["interfaces"].as_array().unwrap();
    let found = all.iter().find(|this| this["name"] == interface).unwrap_or_else(|| panic!("no {interface} in {report:#}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    found["ways"]
        .as_array()
        .unwrap()
        .iter()
        .map(|way| format!("{} {}: {}", text(&way["type"]), text(&way["hook"]), text(&way["state"])).replace(" :", ":"))
        .collect()
}

/// Runs `doctor --json` as `setpriv` with these arguments says. `None` if this system has no setpriv, or this user may not use it.
fn limited(home: &Home, setpriv: &[&str]) -> Option<Output> {
    let output = Command::new("unshare")
        .args(["--net", "setpriv"])
        .args(setpriv)
        .arg(env!("CARGO_BIN_EXE_sniffer"))
        .args(["doctor", "--json", "--path.home"])
        .arg(home.path())
        .current_dir(home.path())
        .output()
        .ok()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let is_there = !stderr.contains("unshare:") && !stderr.contains("setpriv:");
    if !is_there {
        println!("SKIPPED: {stderr}");
    }
    is_there.then_some(output)
}

/// A folder without a configuration.
fn empty() -> Home {
    let home = Home::with_output("");
    std::fs::remove_file(home.path().join("packetbeat.yml")).unwrap();
    home
}

#[test]
fn without_a_single_capability_the_report_names_it() {
    let home = empty();
    let (untried, fails) = ("untried", "fails");
    for (capability, [xdp, tc, socket, af_packet, pcap], works) in [
        ("net_raw", [fails; 5], false),
        ("net_admin", [fails, fails, untried, untried, untried], true),
        ("perfmon", [fails, fails, fails, untried, untried], true),
        ("bpf", [fails, fails, fails, untried, untried], true),
    ] {
        // CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON. Without it, no network namespace can be made for a trial.
        let bounding = format!("-sys_admin,-{capability}");
        let Some(output) = limited(&home, &["--bounding-set", &bounding, "--inh-caps", "-all"]) else { return };
        let report = report(&output);
        assert_eq!(report["missing_capabilities"], serde_json::json!([format!("cap_{capability}")]), "{report:#}");
        let of = |names: [&str; 5]| names.map(str::to_owned).to_vec();
        let all = [
            format!("ebpf xdp: {xdp}"),
            format!("ebpf tc: {tc}"),
            format!("ebpf socket: {socket}"),
            format!("af_packet: {af_packet}"),
            format!("pcap: {pcap}"),
        ];
        assert_eq!(ways(&report, "lo"), of(all.each_ref().map(String::as_str)), "without {capability}: {report:#}");
        assert_eq!((report["works"].as_bool(), output.status.success()), (Some(works), works), "without {capability}: {report:#}");
        for way in report["interfaces"].as_array().unwrap().iter().flat_map(|interface| interface["ways"].as_array().unwrap()) {
            if way["state"] == fails {
                let mend = way["mend"].as_str().unwrap_or_default();
                assert!(mend.contains("sudo setcap cap_net_raw,") && way["reason"].is_string(), "without {capability}: {way:#}");
            }
        }
    }
}

#[test]
fn a_user_without_rights_sees_every_missing_capability_at_once() {
    let home = empty();
    let Some(output) = limited(&home, &["--reuid", "65534", "--clear-groups", "--bounding-set", "-all", "--inh-caps", "-all"]) else {
        return;
    };
    let report = report(&output);
    let all = serde_json::json!(["cap_net_raw", "cap_net_admin", "cap_perfmon", "cap_bpf"]);
    assert_eq!((&report["missing_capabilities"], &report["works"], &report["user"]), (&all, &false.into(), &65534.into()), "{report:#}");
    assert_eq!(ways(&report, "lo").iter().filter(|way| way.ends_with("fails")).count(), 5, "{report:#}");
    assert_eq!(output.status.code(), Some(1), "{report:#}");
}

/// The configuration decides which interfaces count. A broken one, and a device that does not exist, are problems.
#[test]
fn the_configured_interfaces_decide_the_exit_code() {
    let level = |report: &Value, name: &str| {
        let checks = report["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).map(|check| check["level"].as_str().unwrap_or_default().to_owned())
    };
    for (config, works, configuration) in [
        ("packetbeat.interfaces.device: nosuchdev0\n", Some(false), "ok"),
        ("packetbeat.interfaces.type: magic\n", Some(false), "problem"),
        ("packetbeat: [\n", Some(false), "problem"),
        ("packetbeat.interfaces.file: x.pcap\n", Some(true), "ok"),
        ("packetbeat.nosuch: 1\npacketbeat.interfaces.device: lo\n", None, "remark"),
    ] {
        let home = Home::with_output(&format!("{config}output.elasticsearch.hosts: ['127.0.0.1:1']\n"));
        let output = home.command(&["doctor", "--json"]).output().unwrap();
        let report = report(&output);
        assert_eq!(level(&report, "configuration").as_deref(), Some(configuration), "{config}{report:#}");
        assert_eq!(report["works"].as_bool(), Some(output.status.success()), "{config}{report:#}");
        if let Some(works) = works {
            assert_eq!(output.status.success(), works, "{config}{report:#}");
        }
        if level(&report, "output").is_some() && configuration != "problem" {
            assert_eq!(level(&report, "output").as_deref(), Some("problem"), "nothing listens there: {report:#}");
        }
    }
}

#[test]
fn with_all_rights_a_pair_of_devices_is_captured() {
    let home = empty();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sniffer"));
    let output = command.args(["doctor", "--json", "--path.home"]).arg(home.path()).current_dir(home.path()).output().unwrap();
    let report = report(&output);
    if report["checks"].as_array().unwrap().iter().any(|check| check["name"] == "trial") || report["works"] == false {
        println!("SKIPPED: no pair of devices can be made here");
        return;
    }
    assert_eq!(
        ways(&report, "any"),
        ["ebpf xdp: not_applicable", "ebpf tc: not_applicable", "ebpf socket: works", "af_packet: works", "pcap: works"],
        "{report:#}"
    );
    assert_eq!(ways(&report, "lo").iter().filter(|way| way.ends_with("works")).count(), 5, "{report:#}");
    assert!(output.status.success(), "{report:#}");
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap();
    assert!(!devices.contains("trial"), "the devices of the trial are in the network of the host\n{devices}");
}
