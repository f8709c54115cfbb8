//! `web`: checks the files of the page of `sniffer web`, which are served as they lie in `sniffer/web`. The page has no libraries and no build: what
//! is checked here is what a bundler and a linter would check. How the page behaves is checked by `test-web`.

use crate::{Outcome, setup::project};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// The folder with the page.
const PAGE: &str = "sniffer/web";
/// All files together, each compressed with gzip.
const MOST_BYTES: usize = 120 * 1024;
/// Longest file, as in the crates.
const MOST_LINES: usize = 500;

/// Texts that must not be in the page, and why. Texts of the wire are shown only as text nodes; the policy of the page refuses most of the others at run time.
const REFUSED: &[(&str, &str)] = &[
    ("innerHTML", "makes elements of text"),
    ("outerHTML", "makes elements of text"),
    ("insertAdjacentHTML", "makes elements of text"),
    ("document.write", "makes elements of text"),
    ("DOMParser", "makes elements of text"),
    ("createContextualFragment", "makes elements of text"),
    ("setHTMLUnsafe", "makes elements of text"),
    (".srcdoc", "makes a document of text"),
    ("eval(", "runs text"),
    ("new Function", "runs text"),
    ("createPolicy", "the page has no policy of trusted types"),
    ("document.cookie", "the token is sent as Authorization only"),
    ("WebSocket", "the page asks, so that there is no second way to secure"),
    ("https://", "the page asks no other host"),
    ("\" style=\"", "the policy refuses style attributes"),
];

/// Checks the page and prints what each file weighs.
pub fn web(args: &[String]) -> Outcome {
    if args.iter().any(|arg| arg != "--check") {
        return Err("this verb takes no arguments but --check, which prints nothing if all is well".into());
    }
    let files = files(&project().join(PAGE))?;
    let found = wrong(&files);
    if !found.is_empty() {
        return Err(format!("{PAGE}:\n  {}", found.join("\n  ")));
    }
    let mut total = 0;
    for (name, bytes) in &files {
        let size = compressed(bytes)?;
        total += size;
        if args.is_empty() {
            println!("{size:>7} {name}");
        }
    }
    if args.is_empty() {
        println!("{total:>7} bytes compressed, of {MOST_BYTES}");
    }
    if total > MOST_BYTES { Err(format!("the page has {total} bytes compressed; the limit is {MOST_BYTES}")) } else { Ok(()) }
}

/// The files below a folder by their path in it, without documentation, which is not served.
fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(each) = folders.pop() {
        for entry in fs::read_dir(&each).map_err(|e| format!("{}: {e}", each.display()))?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|e| e != "md") {
                let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                let name = path.strip_prefix(folder).map_err(|e| e.to_string())?;
                found.insert(name.to_string_lossy().into_owned(), bytes);
            }
        }
    }
    Ok(found)
}

/// What is wrong with the files.
fn wrong(files: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let mut found = Vec::new();
    let mut used = BTreeSet::from(["index.html".to_owned()]);
    for (name, bytes) in files {
        if name.ends_with(".png") || name.ends_with(".woff2") {
            continue;
        }
        let Ok(text) = str::from_utf8(bytes) else {
            found.push(format!("{name}: is not UTF-8"));
            continue;
        };
        let lines = text.lines().count();
        if lines > MOST_LINES {
            found.push(format!("{name}: {lines} lines; the limit is {MOST_LINES}"));
        }
        for (number, line) in text.lines().enumerate() {
            for (word, why) in REFUSED.iter().filter(|(word, _)| line.contains(word)) {
                found.push(format!("{name}:{}: `{}` {why}", number + 1, word.trim()));
            }
        }
        for path in references(name, text) {
            if !files.contains_key(&path) {
                found.push(format!("{name}: {path} does not exist"));
            }
            used.insert(path);
        }
    }
    found
        .extend(files.keys().filter(|name| !used.contains(*name)).map(|name| format!("{name}: is not used by any other file of the page")));
    found
}

/// The files that a file refers to: modules that it imports (also those of types in comments), and what an HTML or CSS file loads.
fn references(name: &str, text: &str) -> Vec<String> {
    let marks: &[&str] = if Path::new(name).extension().is_some_and(|e| e == "js") {
        &["from '", "import '", "import('", "new Worker('"]
    } else {
        &["src=\"", "href=\"", "url("]
    };
    let mut found = Vec::new();
    for mark in marks {
        for after in text.split(mark).skip(1) {
            let target = after.split(['\'', '"', ')', '\n']).next().unwrap_or_default();
            // Fragments of SVG and addresses of data are not files, and `from '` can be in a sentence.
            if target.starts_with('/') || target.starts_with("./") || target.starts_with("../") {
                found.push(resolved(name, target));
            }
        }
    }
    found
}

/// The path of `target`, as written in the file `name`.
fn resolved(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = if target.starts_with('/') { Vec::new() } else { name.split('/').collect() };
    if !target.starts_with('/') {
        parts.pop();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The size of the bytes after compression with gzip.
fn compressed(bytes: &[u8]) -> Result<usize, String> {
    let failed = |e: std::io::Error| format!("gzip: {e}");
    let mut gzip = Command::new("gzip").args(["-9", "-c", "-n"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let input = gzip.stdin.take();
    // A thread, because gzip may wait for its output to be read before it reads on.
    std::thread::scope(|scope| {
        scope.spawn(move || input.map(|mut input| input.write_all(bytes)));
        gzip.wait_with_output().map(|output| output.stdout.len()).map_err(failed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_keeps_its_rules() {
        let files = files(&project().join(PAGE)).unwrap();
        assert!(!files.is_empty());
        let found = wrong(&files);
        assert!(found.is_empty(), "{PAGE}:\n  {}", found.join("\n  "));
    }

    #[test]
    fn what_is_refused_is_found() {
        let page = |more: &[(&str, &str)]| {
            let all =
                [("index.html", "<script type=\"module\" src=\"/app/a.js\"></script>"), ("app/a.js", "import { b } from './b/c.js';\n")];
            all.iter().chain(more).map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect::<BTreeMap<_, _>>()
        };
        for (more, expected) in [
            (&[("app/b/c.js", "export const b = 1;\n")][..], &[][..]),
            (&[], &["app/a.js: app/b/c.js does not exist"]),
            (
                &[("app/b/c.js", "/** @type {import('../a.js').A} */\n"), ("app/d.js", "")],
                &["app/d.js: is not used by any other file of the page"],
            ),
            (&[("app/b/c.js", "\nx.innerHTML = y;\n")], &["app/b/c.js:2: `innerHTML` makes elements of text"]),
            (&[("app/b/c.js", "fetch('https://example.org');\n")], &["app/b/c.js:1: `https://` the page asks no other host"]),
        ] {
            assert_eq!(wrong(&page(more)), expected, "{more:?}");
        }
    }
}
