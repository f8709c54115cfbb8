//! The filter of system calls (seccomp(2)), with Packetbeat's settings `seccomp.*`. The crate `seccompiler` makes and installs it.

use super::allowed;
use crate::config::{self, Node};
use seccompiler::{BpfProgram, TargetArch, apply_filter_all_threads, compile_from_json};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{env::consts::ARCH, sync::LazyLock};

/// The settings `seccomp.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    enabled: bool,
    /// What happens at a system call that no group has.
    default_action: Action,
    /// What happens at the system calls of each group.
    groups: Vec<(Action, Vec<String>)>,
}

/// What happens at a system call, see seccomp(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Allow,
    /// The call fails with the error EPERM.
    Errno,
    KillProcess,
    KillThread,
    Log,
    Trace,
    Trap,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    enabled: Option<bool>,
    default_action: Option<Action>,
    syscalls: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    action: Action,
    #[serde(default)]
    names: Vec<String>,
}

impl Options {
    /// Reads the section `seccomp`. Without `syscalls` the list of this program applies.
    ///
    /// # Errors
    /// When a value is invalid, or when this architecture does not have a system call.
    pub fn read(root: &Node) -> Result<Self, config::Error> {
        let node = root.get("seccomp");
        let Settings { enabled, default_action, syscalls } = node.read()?;
        for group in node.get("syscalls").items() {
            let names = group.get("names");
            if names.items().is_empty() {
                return Err(group.error("`names` must have at least one system call"));
            }
            for name in names.items() {
                let text: String = name.read()?;
                // On an architecture without filters, `install` says so.
                if target().is_some_and(|target| !exists(&text, target)) {
                    return Err(name.error(format!("`{text}` is not a system call of {ARCH}")));
                }
            }
        }
        let groups = if syscalls.is_empty() {
            vec![(Action::Allow, own_list())]
        } else {
            syscalls.into_iter().map(|group| (group.action, group.names)).collect()
        };
        Ok(Self { enabled: enabled.unwrap_or(true), default_action: default_action.unwrap_or(Action::Errno), groups })
    }

    /// The programs for the kernel. A program has two actions only: the first one applies the default action to everything that is not
    /// in a group, and one for each other action follows. The kernel runs all of them and applies the strictest result.
    fn programs(&self, target: TargetArch) -> Result<Vec<BpfProgram>, seccompiler::Error> {
        let mut programs = Vec::new();
        if self.default_action != Action::Allow {
            let all: Vec<String> = self.groups.iter().flat_map(|(_, names)| names.iter().cloned()).collect();
            programs.push(program(self.default_action, Action::Allow, &all, target)?);
        }
        for (action, names) in self.groups.iter().filter(|(action, _)| *action != Action::Allow) {
            programs.push(program(Action::Allow, *action, names, target)?);
        }
        // The last program that is installed is the first one that may forbid to install another one.
        programs.reverse();
        Ok(programs)
    }

    /// Installs the filter in all threads. Like Packetbeat, the program goes on with a warning if the kernel has no filters.
    pub fn install(&self) {
        if !self.enabled {
            log::info!("System calls are not filtered (seccomp.enabled: false)");
            return;
        }
        let Some(target) = target() else {
            log::warn!("System calls are not filtered: there is no filter for {ARCH}");
            return;
        };
        let installed =
            self.programs(target).and_then(|programs| programs.iter().try_for_each(|program| apply_filter_all_threads(program)));
        match installed {
            Ok(()) => log::info!("System calls are filtered (seccomp)"),
            Err(error) => log::warn!("System calls are not filtered: {error}"),
        }
    }
}

fn target() -> Option<TargetArch> {
    ARCH.try_into().ok()
}

/// The system calls that this program uses. The list is made once, because a trial of each name takes tens of milliseconds together, and the
/// settings are read at each reload.
fn own_list() -> Vec<String> {
    static LIST: LazyLock<Vec<String>> = LazyLock::new(|| {
        let names = allowed::NAMES.iter().map(|name| (*name).to_owned());
        names.filter(|name| target().is_some_and(|target| exists(name, target))).collect()
    });
    LIST.clone()
}

fn exists(name: &str, target: TargetArch) -> bool {
    program(Action::Errno, Action::Allow, &[name.to_owned()], target).is_ok()
}

impl Action {
    /// The action in the notation of `seccompiler`.
    fn json(self) -> Value {
        match self {
            Self::Allow => json!("allow"),
            Self::Errno => json!({"errno": libc::EPERM}),
            Self::KillProcess => json!("kill_process"),
            Self::KillThread => json!("kill_thread"),
            Self::Log => json!("log"),
            Self::Trace => json!({"trace": 0}),
            Self::Trap => json!("trap"),
        }
    }
}

/// Makes a program that applies `matching` to the system calls in `names`, and `others` to all others.
fn program(others: Action, matching: Action, names: &[String], target: TargetArch) -> Result<BpfProgram, seccompiler::Error> {
    let rules: Vec<Value> = names.iter().map(|name| json!({"syscall": name})).collect();
    let filter = json!({"filter": {"mismatch_action": others.json(), "match_action": matching.json(), "filter": rules}});
    Ok(compile_from_json(filter.to_string().as_bytes(), target)?.into_values().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Options, String> {
        Options::read(&Node::parse(yaml).unwrap()).map_err(|e| e.to_string())
    }

    fn programs(yaml: &str) -> usize {
        read(yaml).unwrap().programs(target().unwrap()).unwrap().len()
    }

    #[test]
    fn the_settings_are_those_of_packetbeat() {
        let default = read("").unwrap();
        assert_eq!((default.enabled, default.default_action, default.groups.len()), (true, Action::Errno, 1));
        assert!(default.groups[0].1.iter().any(|name| name == "bpf"));
        assert_eq!(read("seccomp.enabled: true"), Ok(default.clone()));
        assert!(!read("seccomp.enabled: false").unwrap().enabled);
        let other = read("seccomp.default_action: kill_process").unwrap();
        assert_eq!((other.default_action, &other.groups), (Action::KillProcess, &default.groups));
        let own = read("seccomp: {default_action: allow, syscalls: [{action: errno, names: [execve, ptrace]}]}").unwrap();
        assert_eq!((own.default_action, own.groups), (Action::Allow, vec![(Action::Errno, vec!["execve".into(), "ptrace".into()])]));
    }

    #[test]
    fn the_names_of_the_list_exist() {
        let missing = |target: TargetArch| allowed::NAMES.iter().copied().filter(|name| !exists(name, target)).collect::<Vec<_>>();
        assert_eq!(missing(TargetArch::x86_64), Vec::<&str>::new());
        let older = allowed::NAMES.iter().position(|name| *name == "access").unwrap();
        assert_eq!(missing(TargetArch::aarch64), allowed::NAMES[older..].to_vec());
    }

    #[test]
    fn every_action_becomes_a_program() {
        assert_eq!(programs(""), 1, "all names of the list exist");
        for action in ["errno", "trace", "trap", "kill_thread", "kill_process", "log"] {
            assert_eq!(programs(&format!("seccomp: {{default_action: allow, syscalls: [{{action: {action}, names: [ptrace]}}]}}")), 1);
            assert_eq!(programs(&format!("seccomp.default_action: {action}")), 1);
        }
        let several = "seccomp: {default_action: trap, syscalls: [{action: allow, names: [read]}, {action: log, names: [write]}, {action: errno, \
                       names: [ptrace]}]}";
        assert_eq!(programs(several), 3);
        assert_eq!(programs("seccomp.default_action: allow"), 0);
    }

    #[test]
    fn wrong_settings_are_refused_with_their_place() {
        for (yaml, expected) in [
            ("seccomp: {default_action: nonsense}", "line 1: seccomp.default_action: expected one of "),
            (
                "seccomp:\n  syscalls:\n  - action: errno\n    names: [uname, nosuchcall]",
                &format!("line 4: seccomp.syscalls.0.names.1: `nosuchcall` is not a system call of {ARCH}"),
            ),
            ("seccomp: {syscalls: [{action: errno}]}", "line 1: seccomp.syscalls.0: `names` must have at least one system call"),
            ("seccomp: {syscalls: [{names: [uname]}]}", "line 1: seccomp.syscalls.0: `action` is missing"),
            ("seccomp.enabled: maybe", "line 1: seccomp.enabled: "),
        ] {
            let error = read(yaml).unwrap_err();
            assert!(error.starts_with(expected), "{yaml}: {error}\nexpected {expected}");
        }
    }
}
