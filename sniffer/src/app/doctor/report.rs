//! The report of `doctor`, and its text for a terminal of 80 columns. This module examines nothing.

use serde::Serialize;
use std::fmt::{self, Write};

/// Width of the text.
const WIDTH: usize = 80;
/// Maximum number of interfaces in the text that the configuration does not name. JSON has all of them.
const MAX_OTHERS: usize = 20;
/// Width of the column of names. The kernel limits a name to 15 bytes; the setting `default_route_ipv4` is longer, and has `*` in front.
const MAX_NAME: usize = 19;

/// Whether a way of capturing works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It was tried, and it works.
    Works,
    /// What could be tried works. Packets were not captured.
    Untried,
    /// It does not work.
    Fails,
    /// The interface does not have it.
    NotApplicable,
}

/// A way of capturing on an interface.
#[derive(Debug, Serialize)]
pub(super) struct WayReport {
    /// The value of the setting `type`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The value of the setting `hook`; `None` for types that have no hooks.
    pub hook: Option<&'static str>,
    /// Whether the settings of the interface permit this way.
    pub permitted: bool,
    pub state: State,
    /// For XDP: `native`, `generic` or `not known`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// Why it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do, with the command to type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl WayReport {
    /// The word in the table.
    fn word(&self) -> &'static str {
        match (self.state, self.mode) {
            (State::Works, Some(mode)) => mode,
            (State::Works, None) => "yes",
            (State::Untried, _) => "likely",
            (State::Fails, _) => "no",
            (State::NotApplicable, _) => "-",
        }
    }

    fn name(&self) -> String {
        self.hook.map_or_else(|| self.kind.to_owned(), |hook| format!("{} {hook}", self.kind))
    }
}

/// An interface with all ways of capturing.
#[derive(Debug, Serialize)]
pub(super) struct InterfaceReport {
    pub name: String,
    /// Whether the configuration names it. Without a configuration, this is `any`.
    pub configured: bool,
    /// Whether packets can be captured with its settings.
    pub works: bool,
    /// Why the interface cannot be examined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    pub ways: Vec<WayReport>,
}

impl InterfaceReport {
    /// Whether a way was not tried on a device.
    pub fn is_likely(&self) -> bool {
        self.ways.iter().any(|way| way.state == State::Untried)
    }
}

/// How important a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    Ok,
    /// Something that the user may want to know.
    Remark,
    /// Something that the user should mend.
    Problem,
}

/// The result of a check that is not about a way of capturing.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub name: &'static str,
    pub level: Level,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Check {
    pub fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, text: text.into(), mend: None }
    }

    pub fn remark(name: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, level: Level::Remark, text: text.into(), mend: Some(mend.into()) }
    }

    pub fn problem(name: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, level: Level::Problem, text: text.into(), mend: Some(mend.into()) }
    }
}

/// Everything that `doctor` found out.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub version: &'static str,
    /// The release of the kernel.
    pub kernel: String,
    /// The number of the user.
    pub user: u32,
    /// The capabilities for capture that this process does not have.
    pub missing_capabilities: Vec<&'static str>,
    /// Whether every configured interface has a way that works; true if the configuration only reads files.
    pub works: bool,
    pub interfaces: Vec<InterfaceReport>,
    pub checks: Vec<Check>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rights = match self.missing_capabilities.as_slice() {
            [] => "all rights for capture".to_owned(),
            missing => format!("without {}", missing.join(", ")),
        };
        let head = format!("sniffer {}, Linux {}, user {}, {rights}", self.version, self.kernel, self.user);
        paragraph(f, "", &head)?;
        writeln!(f)?;
        self.table(f)?;
        for (mend, failures) in self.failures() {
            writeln!(f)?;
            for Failure { reason, ways, interfaces } in failures {
                paragraph(f, "", &format!("{} ({}): {reason}", ways.join(", "), self.named(&interfaces)))?;
            }
            mend.lines().try_for_each(|line| paragraph(f, "  ", line))?;
        }
        writeln!(f)?;
        for check in &self.checks {
            let level = match check.level {
                Level::Ok => "ok",
                Level::Remark => "remark",
                Level::Problem => "PROBLEM",
            };
            let first = format!("{level:<8} {:<14} ", check.name);
            let indented = " ".repeat(first.len());
            let text = wrapped(&check.text, WIDTH - first.len());
            for (line, before) in text.iter().zip(std::iter::once(first.as_str()).chain(std::iter::repeat(indented.as_str()))) {
                writeln!(f, "{before}{line}")?;
            }
            if let Some(mend) = &check.mend {
                mend.lines().try_for_each(|line| paragraph(f, &indented, line))?;
            }
        }
        writeln!(f)?;
        let names = |works: bool| {
            let of = self.interfaces.iter().filter(|interface| interface.configured && interface.works == works);
            of.map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        match self.works {
            true if names(true).is_empty() => writeln!(f, "The configuration reads files and captures no interface."),
            true => writeln!(f, "Packets can be captured on {}.", names(true)),
            false if names(false).is_empty() => writeln!(f, "The interfaces are not known, because the configuration is wrong."),
            false => writeln!(f, "Packets cannot be captured on {}.", names(false)),
        }
    }
}

impl Report {
    /// The table of interfaces and ways: the configured interfaces, then others.
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = ["ebpf xdp", "ebpf tc", "ebpf socket", "af_packet", "pcap"];
        let row = |name: &str, words: &[&str]| {
            let mut line = format!("{name:<MAX_NAME$}");
            for (word, column) in words.iter().zip(columns) {
                // Writing to a string does not fail.
                let _ = write!(line, "  {word:<width$}", width = column.len().max("not known".len()));
            }
            line.trim_end().to_owned()
        };
        writeln!(f, "{}", row("interface", &columns))?;
        let (configured, others): (Vec<_>, Vec<_>) = self.interfaces.iter().partition(|interface| interface.configured);
        for interface in configured.iter().chain(others.iter().take(MAX_OTHERS)) {
            let mark = if interface.configured { "*" } else { "" };
            let name = format!("{mark}{}", interface.name);
            match &interface.problem {
                Some(problem) => {
                    let lines = wrapped(&format!("{name}: {problem}"), WIDTH - 2);
                    lines
                        .iter()
                        .zip(std::iter::once("").chain(std::iter::repeat("  ")))
                        .try_for_each(|(l, indent)| writeln!(f, "{indent}{l}"))?;
                }
                None => writeln!(f, "{}", row(&name, &interface.ways.iter().map(WayReport::word).collect::<Vec<_>>()))?,
            }
        }
        if others.len() > MAX_OTHERS {
            writeln!(f, "and {} more, which --json lists", others.len() - MAX_OTHERS)?;
        }
        let is_likely = self.interfaces.iter().any(InterfaceReport::is_likely);
        writeln!(f, "* to be captured{}", if is_likely { "; likely: it loads, but was not tried on a device" } else { "" })
    }

    /// The ways that do not work: each advice once, with the reasons for it.
    fn failures(&self) -> Vec<(&str, Vec<Failure<'_>>)> {
        let mut found: Vec<(&str, Vec<Failure<'_>>)> = Vec::new();
        for interface in &self.interfaces {
            for way in interface.ways.iter().filter(|way| way.state == State::Fails) {
                let (mend, reason) = (way.mend.as_deref().unwrap_or_default(), way.reason.as_deref().unwrap_or_default());
                let Some((_, failures)) = find_or_make(&mut found, |(other, _)| *other == mend, || (mend, Vec::new())) else { continue };
                let make = || Failure { reason, ..Failure::default() };
                let Some(failure) = find_or_make(failures, |other| other.reason == reason, make) else { continue };
                find_or_make(&mut failure.ways, |name| *name == way.name(), || way.name());
                find_or_make(&mut failure.interfaces, |name| *name == interface.name, || &interface.name);
            }
        }
        found
    }

    /// The names of interfaces, shortened if there are many.
    fn named(&self, names: &[&str]) -> String {
        match names {
            names if names.len() > 1 && names.len() == self.interfaces.len() => "all interfaces".to_owned(),
            names if names.len() > 4 => format!("{} and {} more", names.get(..3).unwrap_or_default().join(", "), names.len() - 3),
            names => names.join(", "),
        }
    }
}

/// A reason, and the ways and interfaces that fail for it.
#[derive(Default)]
struct Failure<'a> {
    reason: &'a str,
    ways: Vec<String>,
    interfaces: Vec<&'a str>,
}

/// The first item for which `is_it` is true. If there is none, `make` makes it.
fn find_or_make<T>(items: &mut Vec<T>, is_it: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> Option<&mut T> {
    let index = items.iter().position(is_it).unwrap_or_else(|| {
        items.push(make());
        items.len() - 1
    });
    items.get_mut(index)
}

/// Writes `text` in lines of at most [`WIDTH`] columns. `indent` is in front of each line.
fn paragraph(f: &mut fmt::Formatter<'_>, indent: &str, text: &str) -> fmt::Result {
    // A command is one line, because it is copied.
    if text.starts_with("  ") {
        return writeln!(f, "{indent}{text}");
    }
    wrapped(text, WIDTH - indent.len()).iter().try_for_each(|line| writeln!(f, "{indent}{line}"))
}

/// The words of a text. What is between two backticks is one word: a command that is broken cannot be copied.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_open = false;
    for part in text.split_whitespace() {
        match words.last_mut().filter(|_| is_open) {
            Some(word) => *word += &format!(" {part}"),
            None => words.push(part.to_owned()),
        }
        is_open ^= part.matches('`').count() % 2 == 1;
    }
    words
}

/// The text in lines of at most `width` characters. A longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in words(text) {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(kind: &'static str, hook: Option<&'static str>, state: State, reason: Option<&str>) -> WayReport {
        let mode = (hook == Some("xdp")).then_some("not known");
        let mend = reason.map(|_| "Give it the right:\n  sudo setcap cap_net_raw+ep /usr/bin/sniffer".to_owned());
        WayReport { kind, hook, permitted: true, state, mode, reason: reason.map(str::to_owned), mend }
    }

    fn report() -> Report {
        let interface = |name: &str, configured: bool| InterfaceReport {
            name: name.to_owned(),
            configured,
            works: true,
            problem: None,
            ways: vec![
                way("ebpf", Some("xdp"), State::Works, None),
                way("ebpf", Some("tc"), State::Untried, None),
                way("ebpf", Some("socket"), State::NotApplicable, None),
                way("af_packet", None, State::Fails, Some("it is not permitted")),
                way("pcap", None, State::Works, None),
            ],
        };
        let others = (0..30).map(|number| interface(&format!("veth{number:011}"), false));
        Report {
            version: "1.2.3",
            kernel: "6.1.0-18-cloud-amd64-with-a-long-name".into(),
            user: 4_294_967_294,
            missing_capabilities: vec!["cap_net_raw", "cap_net_admin", "cap_perfmon", "cap_bpf"],
            works: true,
            interfaces: std::iter::once(interface("default_route_ipv4", true)).chain(others).collect(),
            checks: vec![
                Check::ok("clock", "synchronised"),
                Check::problem("output", "word ".repeat(40), "mend ".repeat(40)),
                Check::remark("configuration", "none", "sniffer -c FILE"),
            ],
        }
    }

    #[test]
    fn the_text_fits_and_is_aligned() {
        let text = report().to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{} columns: {line}\n{text}", line.chars().count());
        }
        let column = |line: &str, word: &str| line.find(word).unwrap_or_else(|| panic!("no {word} in {line}\n{text}"));
        let lines: Vec<&str> = text.lines().collect();
        let head = lines.iter().find(|line| line.starts_with("interface")).unwrap();
        let row = lines.iter().find(|line| line.starts_with("veth00000000000")).unwrap();
        for (title, word) in
            [("ebpf xdp", "not known"), ("ebpf tc", "likely"), ("ebpf socket", "- "), ("af_packet", "no "), ("pcap", "yes")]
        {
            let after = column(head, title);
            assert_eq!(row.get(after..).map(|rest| rest.starts_with(word)), Some(true), "{word} below {title}\n{text}");
        }
        assert!(
            text.contains("and 10 more, which --json lists") && text.contains("af_packet (all interfaces): it is not permitted"),
            "{text}"
        );
        assert!(text.contains("\n    sudo setcap cap_net_raw+ep /usr/bin/sniffer\n"), "{text}");
        assert!(text.ends_with("\nPackets can be captured on default_route_ipv4.\n"), "{text}");
    }

    #[test]
    fn commands_are_not_broken() {
        assert_eq!(
            wrapped("Start a time service: `sudo systemctl enable --now timesyncd`, or chrony.", 46),
            ["Start a time service:", "`sudo systemctl enable --now timesyncd`, or", "chrony."]
        );
        assert_eq!(wrapped("a `b c", 3), ["a", "`b c"], "a backtick that is not closed");
        let mut report = report();
        report.interfaces[0].problem = Some("there is no such device; the devices are ".to_owned() + &"eth0, ".repeat(20));
        let text = report.to_string();
        assert!(text.contains("\n*default_route_ipv4: there is no such device; the devices are eth0, eth0,\n  eth0, eth0, "), "{text}");
    }

    #[test]
    fn json_has_everything() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json.pointer("/interfaces/30/ways/3/reason").and_then(|text| text.as_str()), Some("it is not permitted"), "{json}");
        assert_eq!(json.pointer("/checks/1/level").and_then(|text| text.as_str()), Some("problem"), "{json}");
    }
}
