//! `layers`: who may use whom. Reads the sources as text: every `crate::…` path and every crate of a few that are confined.

use crate::{Outcome, setup::project};
use std::{fs, path::Path};

/// Files whose path (below `sniffer/src`) begins so may name only these modules of the crate (and their own). The first that fits counts.
const MAY_USE: &[(&str, &[&str])] = &[
    ("time.rs", &[]),
    ("config/", &["time"]),
    ("event/", &["net", "time"]),
    ("net/", &["time"]),
    ("flow/", &["config", "decode", "net", "publish", "time"]),
    ("decode/", &["capture", "net", "time"]),
    ("capture/", &["config", "net", "time"]),
    ("protocols/mod.rs", &["config", "event", "net", "publish", "time"]),
    ("protocols/", &["config", "event", "net", "protocols", "publish", "time"]),
    ("stream/", &["config", "decode", "net", "protocols", "publish", "time"]),
    ("enrich/", &["config", "event", "net", "time"]),
    ("opening.rs", &["config", "time"]),
    ("processors/", &["config", "enrich", "event", "opening", "time"]),
    ("publish/", &["config", "enrich", "event", "net", "processors", "time"]),
    ("queue/", &["config", "monitor", "publish", "time"]),
    ("output/", &["config", "event", "monitor", "opening", "processors::condition", "publish", "queue", "rotate", "time"]),
    ("monitor/", &["config", "rotate", "time"]),
    ("rotate.rs", &[]),
    ("worker.rs", &["capture", "decode", "flow", "net", "protocols", "publish", "stream", "time"]),
];

/// Only these may name that crate.
const CONFINED: &[(&str, &[&str])] = &[
    ("tokio::", &["output/", "queue/", "app.rs", "app/"]),
    ("reqwest::", &["output/"]),
    ("aya::", &["capture/ebpf/"]),
    // `capture/file` has a module of that name; the host's addresses are what libpcap lists.
    ("pcap::", &["capture/", "enrich/host.rs"]),
];

/// The only files with `unsafe` in them: those that talk to the kernel.
const UNSAFE: &[&str] = &[
    "capture/afpacket.rs",
    "capture/afpacket/",
    "capture/ebpf/",
    "capture/devices.rs",
    "capture/filter/sys.rs",
    "capture/sys.rs",
    "capture/live_tests.rs",
];

/// Checks all sources.
pub fn layers(_args: &[String]) -> Outcome {
    let source = project().join("sniffer/src");
    let mut wrong = Vec::new();
    visit(&source, &mut |path| {
        let Ok(name) = path.strip_prefix(&source) else { return };
        let name = name.to_string_lossy().into_owned();
        match fs::read_to_string(path) {
            Ok(text) => check(&name, &text, &mut wrong),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    });
    if wrong.is_empty() { Ok(()) } else { Err(format!("wrong ways through the house:\n  {}", wrong.join("\n  "))) }
}

fn visit(dir: &Path, each: &mut dyn FnMut(&Path)) {
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            visit(&path, each);
        } else if path.extension().is_some_and(|e| e == "rs") {
            each(&path);
        }
    }
}

fn check(file: &str, text: &str, wrong: &mut Vec<String>) {
    let own = file.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    // Tests may use whatever shows what they test.
    let test = file.ends_with("tests.rs") || file.ends_with("testing.rs");
    let rule = MAY_USE.iter().find(|(prefix, _)| file.starts_with(prefix)).filter(|_| !test);
    let protocol = file.strip_prefix("protocols/").and_then(|f| f.split_once('/')).map(|(name, _)| name);
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    for (used, line) in paths(code) {
        let module = used.split("::").next().unwrap_or_default();
        if module == "app" && !file.starts_with("app") && file != "main.rs" {
            wrong.push(format!("{file}:{line}: nothing sees app"));
        }
        if let Some((_, allowed)) = rule
            && module != own
            && !allowed.iter().any(|a| used == *a || used.starts_with(&format!("{a}::")) || a.starts_with(&format!("{used}::")))
        {
            wrong.push(format!("{file}:{line}: may not use {used} (only {})", allowed.join(", ")));
        }
        if let (Some(protocol), Some(of)) = (protocol, used.strip_prefix("protocols::").and_then(|u| u.split("::").next()))
            && of != protocol
            && of.starts_with(|c: char| c.is_ascii_lowercase())
            && !["kit", "testing"].contains(&of)
        {
            wrong.push(format!("{file}:{line}: one protocol does not use another ({of})"));
        }
    }
    for (number, line) in code.lines().enumerate() {
        let line_code = line.split("//").next().unwrap_or_default();
        for (krate, places) in CONFINED {
            if mentions(line_code, krate) && !places.iter().any(|p| file.starts_with(p)) {
                wrong.push(format!("{file}:{}: {krate} is confined to {}", number + 1, places.join(", ")));
            }
        }
        let unsafe_code = line_code.contains("unsafe {")
            || line_code.contains("unsafe impl")
            || line_code.contains("unsafe fn")
            || line_code.contains("allow(unsafe_code");
        if unsafe_code && !UNSAFE.iter().any(|p| file.starts_with(p)) {
            wrong.push(format!("{file}:{}: unsafe is confined to {}", number + 1, UNSAFE.join(", ")));
        }
    }
}

/// Whether `line` names the crate, and not another whose name ends like it or a module of this one.
fn mentions(line: &str, krate: &str) -> bool {
    line.match_indices(krate).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

/// Every path that begins with `crate::`, with its line, braces expanded to two levels: `flow::{id::Key, table}` gives
/// `flow::id` and `flow::table`.
fn paths(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        if code[..at].rsplit('\n').next().is_some_and(|l| l.contains("//")) {
            continue; // in a comment
        }
        expand(&code[at + "crate::".len()..], "", 2, &mut |path| found.push((path.to_owned(), line)));
    }
    found
}

fn expand(text: &str, prefix: &str, depth: usize, each: &mut dyn FnMut(&str)) {
    let text = text.trim_start();
    if let Some(inside) = text.strip_prefix('{') {
        for part in top_level_parts(inside) {
            expand(part, prefix, depth, each);
        }
        return;
    }
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}::{name}") };
    match text[name.len()..].strip_prefix("::") {
        Some(rest) if depth > 1 => expand(rest, &path, depth - 1, each),
        _ => each(&path),
    }
}

/// The comma-separated parts up to the closing brace.
fn top_level_parts(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&text[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.retain(|p| !p.trim().is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(file: &str, text: &str) -> Vec<String> {
        let mut wrong = vec![];
        check(file, text, &mut wrong);
        wrong
    }

    #[test]
    fn wrong_ways_are_found() {
        assert_eq!(complaints("event/mod.rs", "use crate::net::Peers;\nuse crate::worker::Engine;").len(), 1);
        assert_eq!(complaints("event/mod.rs", "use crate::{\n    net::Peers, flow::table::FlowTable,\n    time::Timestamp,\n};").len(), 1);
        assert_eq!(complaints("protocols/http/mod.rs", "use crate::protocols::{dns, kit::Reader, Context};").len(), 1);
        assert_eq!(complaints("stream/mod.rs", "let x = tokio::spawn(async {});").len(), 1);
        assert_eq!(complaints("stream/mod.rs", "unsafe { x() }").len(), 1);
    }

    #[test]
    fn right_ways_are_not() {
        let text = "//! uses crate::worker in a comment\nuse crate::{config, net::Peers};\n#[cfg(test)]\nmod tests { use crate::worker; }";
        assert_eq!(complaints("protocols/http/wire.rs", text), Vec::<String>::new());
        assert_eq!(complaints("capture/libpcap.rs", "use pcap::Capture; use crate::time::Timestamp;"), Vec::<String>::new());
    }
}
