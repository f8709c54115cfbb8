//! From the results of the trials to what works on each interface, with the reason and the command that mends it.

use super::report::{InterfaceReport, State, WayReport};
use crate::{
    app::rights,
    capture::{
        devices::{self, Device},
        ebpf::links::{XdpMode, xdp_mode, xdp_program},
        options::Interface,
        trial::{Outcome, Trials, Way},
    },
};

/// The capabilities of this process, and the program's file for the commands.
pub(super) struct Rights {
    /// The capabilities for capture that this process does not have.
    pub missing: Vec<&'static str>,
    /// The commands that give them.
    pub advice: Option<String>,
}

impl Rights {
    /// The missing capabilities that this way needs.
    fn missing_for(&self, way: Way) -> Vec<&'static str> {
        let needed: &[&str] = match way {
            Way::Xdp | Way::Tc => &["cap_net_raw", "cap_net_admin", "cap_perfmon", "cap_bpf"],
            Way::Socket => &["cap_net_raw", "cap_perfmon", "cap_bpf"],
            Way::AfPacket | Way::Pcap => &["cap_net_raw"],
        };
        self.missing.iter().copied().filter(|name| needed.contains(name)).collect()
    }
}

/// Describes all ways on the interface. `settings`: the interface of the configuration; `None` if the configuration does not name it.
pub(super) fn interface(name: &str, settings: Option<&Interface>, trials: &Trials, rights: &Rights) -> InterfaceReport {
    let (configured, name) = (settings.is_some(), name.to_owned());
    let device = match devices::resolve(&name) {
        Ok(device) => device,
        Err(error) => {
            let text = error.to_string();
            let problem = text.strip_prefix(&format!("device {name}: ")).unwrap_or(&text).to_owned();
            return InterfaceReport { name, configured, works: false, problem: Some(problem), ways: Vec::new() };
        }
    };
    let default = Interface::default();
    let settings = settings.unwrap_or(&default);
    let ways: Vec<WayReport> = Way::ALL.into_iter().map(|way| report(way, &device, way.is_permitted(settings), trials, rights)).collect();
    let works = ways.iter().any(|way| way.permitted && matches!(way.state, State::Works | State::Untried));
    InterfaceReport { name, configured, works, problem: None, ways }
}

/// The devices on which another program has attached an XDP program.
pub(super) fn with_xdp(devices: &[(u32, String)]) -> Vec<String> {
    devices.iter().filter(|(index, _)| matches!(xdp_program(*index), Ok(Some(_)))).map(|(_, name)| name.clone()).collect()
}

fn report(way: Way, device: &Device, permitted: bool, trials: &Trials, rights: &Rights) -> WayReport {
    let (kind, hook) = way.settings();
    let mode = (way == Way::Xdp && !device.is_any()).then(|| match xdp_mode(device.ifindex) {
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
        XdpMode::NotKnown => "not known",
    });
    let with = |state: State, reason: Option<String>, mend: Option<String>| WayReport { kind, hook, permitted, state, mode, reason, mend };
    if way == Way::Xdp && device.is_raw_ip() {
        return with(State::NotApplicable, None, None);
    }
    let Some(outcome) = trials.of(way, device.is_any()) else { return with(State::NotApplicable, None, None) };
    let (state, reason) = match outcome {
        Outcome::Works(_) => (State::Works, None),
        Outcome::Untried => (State::Untried, None),
        Outcome::Fails(error) => {
            let text = error.to_string();
            // The device of the trial means nothing to the user.
            let reason = text.strip_prefix("device ").and_then(|rest| rest.split_once(": ")).map_or(text.as_str(), |(_, reason)| reason);
            (State::Fails, Some(reason.to_owned()))
        }
    };
    if let Some(reason) = reason {
        let mend = mend(&reason, rights);
        return with(state, Some(short(reason, &rights.missing_for(way))), Some(mend));
    }
    if way == Way::Xdp
        && let Ok(Some(program)) = xdp_program(device.ifindex)
    {
        let reason = format!("another XDP program is attached (number {program})");
        let mend = format!("Use `hook: tc`. To detach the other program:\n  sudo ip link set dev {} xdp off", device.name);
        return with(State::Fails, Some(reason), Some(mend));
    }
    with(state, None, None)
}

/// The reason for the user. The error of a missing capability depends on where the kernel notices it, and can be a long log of the verifier.
fn short(reason: String, missing: &[&str]) -> String {
    /// Maximum length of a reason, in characters. The end of a verifier's log has its message.
    const MAX: usize = 300;
    if !missing.is_empty() {
        return format!("it needs {}", missing.join(", "));
    }
    match reason.char_indices().rev().nth(MAX) {
        Some((cut, _)) => format!("…{}", reason.get(cut..).unwrap_or_default()),
        None => reason,
    }
}

/// What to do about the reason of a failure.
fn mend(reason: &str, rights: &Rights) -> String {
    let is_permission = reason.contains("not permitted") || reason.contains("ermission denied") || reason.contains("EACCES");
    match &rights.advice {
        _ if reason.contains("locked memory") => {
            "Raise the limit of locked memory: `ulimit -l unlimited`, or LimitMEMLOCK=infinity.".to_owned()
        }
        Some(advice) => advice.clone(),
        None if is_permission => "This process has the capabilities, so a seccomp filter, a security module or the container forbids it. \
                                  In a container:\n  docker run --cap-add BPF --cap-add PERFMON --cap-add NET_ADMIN --cap-add NET_RAW …"
            .to_owned(),
        None => "This kernel does not have it; `type: auto`, which is the default, uses another way.".to_owned(),
    }
}

/// Reads the capabilities of this process.
pub(super) fn rights(arguments: &[String]) -> Rights {
    let missing = rights::missing();
    let advice = (!missing.is_empty()).then(|| rights::commands(arguments));
    Rights { missing, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_short() {
        let rights = Rights { missing: vec!["cap_net_admin", "cap_perfmon"], advice: None };
        assert_eq!(short("log ".repeat(1000), &rights.missing_for(Way::Tc)), "it needs cap_net_admin, cap_perfmon");
        assert_eq!(short("log ".repeat(1000), &rights.missing_for(Way::Socket)), "it needs cap_perfmon");
        let cut = short(format!("{}end", "ä".repeat(1000)), &rights.missing_for(Way::Pcap));
        assert!(cut.starts_with("…ä") && cut.ends_with("end") && cut.chars().count() == 302, "{cut}");
    }

    #[test]
    fn every_reason_has_advice() {
        let advice = "sudo setcap";
        for (reason, missing, expected) in [
            ("loading: Operation not permitted (os error 1)", true, advice),
            ("loading: Operation not permitted (os error 1)", false, "seccomp"),
            ("map: Cannot allocate memory; kernels before 5.11 count it as locked memory, whose limit is 65536 bytes", true, "ulimit -l"),
            ("map: Invalid argument (os error 22)", false, "type: auto"),
        ] {
            let rights = Rights { missing: vec!["cap_bpf"], advice: missing.then(|| advice.to_owned()) };
            let mend = mend(reason, &rights);
            assert!(mend.contains(expected), "{reason}: {mend}");
        }
    }
}
