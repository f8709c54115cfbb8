//! `layers`: checks which modules use which, import cycles, and the length of files. The lists below are the only
//! definition of these rules; the table in `docs/ARCHITECTURE.md` is generated from them.

use crate::{
    Outcome,
    imports::{
        cycles::{self, Cycle, Files, Import},
        source,
    },
    layers_page,
    setup::project,
};
use std::{fs, path::Path};

/// The modules of the crate that a file may use besides its own module. The key is the beginning of the file's path below `sniffer/src`.
/// The first match applies.
pub const MAY_USE: &[(&str, &[&str])] = &[
    ("time/", &[]),
    ("tls/", &["config"]),
    ("nearest.rs", &[]),
    ("config/", &["nearest", "time"]),
    ("event/", &["net", "process", "time"]),
    ("net/", &["time"]),
    ("process/", &["config", "net", "time"]),
    ("flow/", &["config", "decode", "event", "memory", "net", "process", "publish", "time"]),
    ("decode/", &["capture", "memory", "net", "time"]),
    ("capture/", &["config", "net", "process", "time"]),
    ("protocols/", &["config", "event", "net", "publish", "time"]),
    ("memory.rs", &["config"]),
    ("stream/", &["config", "decode", "memory", "net", "protocols", "publish", "time"]),
    ("enrich/", &["config", "event", "net", "time"]),
    ("opening.rs", &["config", "event", "net", "process", "time"]),
    ("processors/", &["config", "enrich", "event", "net", "opening", "process", "time", "tls"]),
    ("publish/", &["config", "enrich", "event", "memory", "net", "opening", "process", "processors", "time"]),
    ("queue/", &["config", "monitor", "publish", "time"]),
    ("output/", &["config", "event", "monitor", "net", "opening", "processors::condition", "publish", "queue", "rotate", "time", "tls"]),
    ("monitor/", &["config", "rotate", "time"]),
    ("rotate.rs", &[]),
    ("engine/", &["capture", "config", "decode", "flow", "memory", "net", "process", "protocols", "publish", "stream", "time"]),
    ("view/", &["event::summary", "nearest", "net", "process", "publish::observer", "time"]),
    ("endpoint/", &["config", "monitor", "net", "process", "publish::observer", "time"]),
    ("web/", &["config", "endpoint", "view"]),
    ("worker.rs", &["capture", "engine", "time"]),
];

/// A folder inside one of these must not use its sibling folders: a protocol must not use another protocol, and an output
/// must not use another output. Folders in [`SHARED`] are exempt.
pub const APART: &[&str] = &["protocols", "output"];

/// Folders inside [`APART`] whose purpose is to be used by their siblings.
pub const SHARED: &[&str] = &["protocols/kit", "output/drive", "output/fields"];

/// Crates that only these files and folders may use.
pub const CONFINED: &[(&str, &[&str])] = &[
    ("tokio::", &["output/", "queue/", "endpoint/", "processors/add_kubernetes_metadata/", "web/", "app.rs", "app/"]),
    ("hyper::", &["endpoint/", "web/"]),
    ("reqwest::", &["output/", "processors/add_kubernetes_metadata/"]),
    ("aya::", &["capture/ebpf/", "process/ebpf/"]),
    ("aya_obj::", &["capture/ebpf/", "capture/filter/"]),
    // `pcap::` also occurs in `capture/file`, which has a module named `pcap`.
    ("pcap::", &["capture/"]),
];

/// The only files and folders that may contain `unsafe`: they make system calls or share memory with the kernel.
pub const UNSAFE: &[&str] = &[
    "capture/afpacket.rs",
    "capture/afpacket/",
    "capture/ebpf/",
    "capture/devices.rs",
    "capture/filter/sys.rs",
    "capture/sockets.rs",
    "capture/sys.rs",
    "capture/testing.rs",
    "capture/trial/sys.rs",
    "process/diag/netlink.rs",
    "process/ebpf/",
    "process/kernfs.rs",
];

/// Largest number of lines of a source file.
pub const MOST_LINES: usize = 500;

/// Folders with source files.
const SOURCES: &[&str] = &["sniffer/src", "sniffer/benches", "sniffer-common/src", "sniffer-ebpf/src", "xtask/src", "tests"];

/// Checks all sources and the table in the documentation. With `--write` updates the table.
pub fn layers(args: &[String]) -> Outcome {
    let write = match args {
        [] => false,
        [write] if write == "--write" => true,
        _ => return Err("this verb takes no argument other than --write".into()),
    };
    let mut wrong = violations(&project());
    if let Err(error) = layers_page::check(write) {
        wrong.push(error);
    }
    report(&wrong)
}

/// Checks the sources of the checkout at `root`, but not its documentation.
///
/// # Errors
/// All violations, one per line.
pub fn check(root: &Path) -> Outcome {
    report(&violations(root))
}

fn report(wrong: &[String]) -> Outcome {
    if wrong.is_empty() { Ok(()) } else { Err(format!("{} violations:\n  {}", wrong.len(), wrong.join("\n  "))) }
}

fn violations(checkout: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut files = Files::new();
    let root = checkout.join("sniffer/src");
    visit(&root, &mut |path| {
        let name = path.strip_prefix(&root).unwrap_or(path).to_string_lossy().into_owned();
        // Tests may use any module.
        if name.contains("tests/") || name.ends_with("tests.rs") || name.ends_with("testing.rs") {
            return;
        }
        match fs::read_to_string(path).map_err(|e| e.to_string()).and_then(|text| Ok((source::read(&text)?, text))) {
            Ok((source, text)) => {
                check_text(&name, &text, &mut wrong);
                files.insert(name, source);
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    });
    let imports = cycles::imports(&files);
    wrong.extend(imports.iter().filter_map(check_import));
    for cycle in cycles::cycles(&imports) {
        if !is_inside_protocol(&cycle) {
            wrong.push(format!("import cycle: {cycle}"));
        }
    }
    check_lengths(checkout, &mut wrong);
    wrong
}

fn visit(dir: &Path, each: &mut dyn FnMut(&Path)) {
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.ends_with("target") {
            visit(&path, each);
        } else if path.extension().is_some_and(|e| e == "rs") {
            each(&path);
        }
    }
}

fn check_lengths(checkout: &Path, wrong: &mut Vec<String>) {
    for folder in SOURCES {
        visit(&checkout.join(folder), &mut |path| {
            let name = path.strip_prefix(checkout).unwrap_or(path).to_string_lossy().into_owned();
            let lines = fs::read_to_string(path).unwrap_or_default().lines().count();
            if lines > MOST_LINES {
                wrong.push(format!("{name}: {lines} lines, more than {MOST_LINES}; divide the file"));
            }
        });
    }
}

/// Whether a cycle is allowed because all its files belong to one protocol.
fn is_inside_protocol(cycle: &Cycle) -> bool {
    let folder = |shared: &str| cycle.folder == shared || cycle.folder.starts_with(&format!("{shared}/"));
    cycle.folder.starts_with("protocols/") && !SHARED.iter().any(|shared| folder(shared))
}

/// Returns the violation of the rules by an import; `None` if the import is allowed.
fn check_import(Import { from, line, to }: &Import) -> Option<String> {
    let of = |file: &str| file.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
    let (own, module) = (of(from), of(to));
    if module == "app" && own != "app" && from != "main.rs" {
        return Some(format!("{from}:{line}: uses app, which nothing may use"));
    }
    let used = to.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    if let Some((_, allowed)) = MAY_USE.iter().find(|(prefix, _)| from.starts_with(prefix))
        && module != own
        && !allowed.iter().any(|a| used == *a || used.starts_with(&format!("{a}::")))
    {
        return Some(format!("{from}:{line}: may not use {used} (only {})", allowed.join(", ")));
    }
    let parent = APART.iter().find(|parent| **parent == own && **parent == module)?;
    let folder = |file: &str| file.split('/').nth(2).and_then(|_| file.split('/').nth(1)).map(str::to_owned);
    let (ours, theirs) = (folder(from)?, folder(to)?);
    let shared = SHARED.contains(&format!("{parent}/{theirs}").as_str());
    (ours != theirs && !shared).then(|| format!("{from}:{line}: {parent}/{ours} may not use {parent}/{theirs}"))
}

/// Reports confined crates and `unsafe` that are used outside of the permitted files.
fn check_text(file: &str, text: &str, wrong: &mut Vec<String>) {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    for (number, line) in code.lines().enumerate() {
        let line_code = line.split("//").next().unwrap_or_default();
        for (krate, places) in CONFINED {
            if mentions(line_code, krate) && !places.iter().any(|p| file.starts_with(p)) {
                wrong.push(format!("{file}:{}: {krate} may only be used in {}", number + 1, places.join(", ")));
            }
        }
        let unsafe_code = ["unsafe {", "unsafe impl", "unsafe fn", "allow(unsafe_code"].iter().any(|what| line_code.contains(what));
        if unsafe_code && !UNSAFE.iter().any(|p| file.starts_with(p)) {
            wrong.push(format!("{file}:{}: `unsafe` may only be used in {}", number + 1, UNSAFE.join(", ")));
        }
    }
}

/// Whether `line` uses the crate. A longer name that ends with the name of the crate, or a module of this crate with that name, is not a
/// use.
fn mentions(line: &str, krate: &str) -> bool {
    line.match_indices(krate).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(from: &str, to: &str) -> Option<String> {
        check_import(&Import { from: from.into(), line: 1, to: to.into() })
    }

    #[test]
    fn forbidden_imports_are_found() {
        let forbidden = [
            ("event/mod.rs", "worker.rs"),
            ("event/mod.rs", "flow/table.rs"),
            ("protocols/http/mod.rs", "protocols/dns/mod.rs"),
            ("protocols/http/mod.rs", "protocols/tls/x509.rs"),
            ("protocols/kit/reader.rs", "protocols/dns/mod.rs"),
            ("output/elasticsearch/mod.rs", "output/redis/mod.rs"),
            ("output/drive.rs", "processors/chain.rs"),
            ("worker.rs", "app/run.rs"),
        ];
        for (from, to) in forbidden {
            assert!(import(from, to).is_some(), "{from} may use {to}");
        }
    }

    #[test]
    fn allowed_imports_pass() {
        let allowed = [
            ("event/mod.rs", "net/peers.rs"),
            ("event/mod.rs", "event/text.rs"),
            ("protocols/http/mod.rs", "protocols/kit/reader.rs"),
            ("protocols/http/mod.rs", "protocols/mod.rs"),
            ("protocols/mod.rs", "protocols/http/mod.rs"),
            ("output/elasticsearch/mod.rs", "output/http.rs"),
            ("output/drive.rs", "processors/condition.rs"),
            ("main.rs", "app/mod.rs"),
        ];
        for (from, to) in allowed {
            assert_eq!(import(from, to), None);
        }
    }

    #[test]
    fn confined_crates_and_unsafe_are_found() {
        let complaints = |file: &str, text: &str| {
            let mut wrong = vec![];
            check_text(file, text, &mut wrong);
            wrong
        };
        assert_eq!(complaints("stream/mod.rs", "let x = tokio::spawn(async {});").len(), 1);
        assert_eq!(complaints("stream/mod.rs", "unsafe { x() }").len(), 1);
        assert_eq!(complaints("capture/libpcap.rs", "use pcap::Capture; use crate::time::Timestamp;"), Vec::<String>::new());
        assert_eq!(complaints("stream/mod.rs", "// unsafe { tokio::x }"), Vec::<String>::new());
    }

    #[test]
    fn the_lists_contain_no_cycle() {
        let order = |module: &str| MAY_USE.iter().find(|(name, _)| name.trim_end_matches('/').trim_end_matches(".rs") == module);
        for (start, _) in MAY_USE {
            let own = start.split('/').next().unwrap_or_default();
            let (mut left, mut seen) = (vec![own.to_owned()], vec![]);
            while let Some(at) = left.pop() {
                for next in order(&at).map(|(_, uses)| *uses).unwrap_or_default() {
                    let next = next.split("::").next().unwrap_or_default().to_owned();
                    assert_ne!(next, own, "{start} may use itself through {at}");
                    if !seen.contains(&next) {
                        seen.push(next.clone());
                        left.push(next);
                    }
                }
            }
        }
    }
}
