//! Finds import cycles. The entries of a folder (files and subfolders) must not import each other in a cycle, at any
//! depth.
//!
//! A `mod.rs` represents its folder: imports between it and its own files are not cycles. A name that it re-exports
//! (`pub use table::Table`) counts as a name of the file that defines it.

use super::source::{Path, Source};
use std::collections::{BTreeMap, BTreeSet};

/// The files of a crate, by path below `src`, with their imports outside of tests.
pub type Files = BTreeMap<String, Source>;

/// A use of one file by another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub from: String,
    pub line: usize,
    pub to: String,
}

/// Maximum number of re-exports and renamings that are followed for a name, to stop at circular ones.
const MOST_RENAMINGS: usize = 8;

/// Returns which file uses which other file, with the first line that does so. Files that only tests use are left out.
pub fn imports(files: &Files) -> Vec<Import> {
    let mut imports: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for (file, source) in files.iter().filter(|(file, _)| !is_test(files, file)) {
        for Path { segments, line } in &source.paths {
            if let Some(to) = resolve(files, file, segments, 0).filter(|to| to != file) {
                let first = imports.entry((file, to)).or_insert(*line);
                *first = (*first).min(*line);
            }
        }
    }
    imports.into_iter().map(|((from, to), line)| Import { from: from.to_owned(), line, to }).collect()
}

/// Whether the file, or a folder that contains it, is declared as a module for tests only.
fn is_test(files: &Files, file: &str) -> bool {
    let modules = modules_of(file);
    (0..modules.len()).any(|at| {
        let parent = file_of(files, &modules[..at]).and_then(|parent| files.get(&parent));
        parent.is_some_and(|parent| parent.tests.contains(&modules[at]))
    })
}

/// The module path of a file: `[a, b]` for `a/b.rs` and `a/b/mod.rs`.
fn modules_of(file: &str) -> Vec<String> {
    let mut modules: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(modules.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        modules.pop();
    }
    modules
}

fn file_of(files: &Files, modules: &[String]) -> Option<String> {
    let path = modules.join("/");
    let candidates = if modules.is_empty() { vec!["lib.rs".to_owned()] } else { vec![format!("{path}.rs"), format!("{path}/mod.rs")] };
    candidates.into_iter().find(|name| files.contains_key(name))
}

/// Returns the file that defines the item to which the path `segments` in `file` refers. Returns `None` for items of other crates.
fn resolve(files: &Files, file: &str, segments: &[String], depth: usize) -> Option<String> {
    let own = modules_of(file);
    let (first, mut rest) = segments.split_first()?;
    let mut at = match first.as_str() {
        "crate" => Vec::new(),
        "self" => own,
        "super" => own[..own.len().checked_sub(1)?].to_vec(),
        name => {
            let source = files.get(file)?;
            if source.modules.iter().any(|m| m == name) {
                [own, vec![name.to_owned()]].concat()
            } else if let Some(meant) = source.names.get(name).filter(|m| m.as_slice() != segments && depth < MOST_RENAMINGS) {
                let full: Vec<String> = meant.iter().chain(rest).cloned().collect();
                return resolve(files, file, &full, depth + 1);
            } else {
                return None;
            }
        }
    };
    while let Some((next, after)) = rest.split_first() {
        if next == "super" {
            at.pop()?;
        } else if file_of(files, &[at.as_slice(), std::slice::from_ref(next)].concat()).is_some() {
            at.push(next.clone());
        } else {
            break;
        }
        rest = after;
    }
    let reached = file_of(files, &at)?;
    // For a re-exported name, continue with the file that defines it.
    if let (Some(name), true) = (rest.first(), depth < MOST_RENAMINGS)
        && let Some(meant) = files.get(&reached)?.names.get(name)
        && (reached != file || meant.as_slice() != segments)
        && let Some(source) = resolve(files, &reached, meant, depth + 1)
    {
        return Some(source);
    }
    Some(reached)
}

/// Files and folders of one folder that import each other in a cycle, with the imports between them.
#[derive(Debug, PartialEq, Eq)]
pub struct Cycle {
    /// The folder; empty for `src` itself.
    pub folder: String,
    pub members: Vec<String>,
    pub imports: Vec<Import>,
}

impl std::fmt::Display for Cycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} import each other", if self.folder.is_empty() { "src" } else { &self.folder }, self.members.join(", "))?;
        self.imports.iter().try_for_each(|i| write!(f, "\n      {}:{} uses {}", i.from, i.line, i.to))
    }
}

/// All cycles: one per strongly connected component.
pub fn cycles(imports: &[Import]) -> Vec<Cycle> {
    // For each folder, the imports between its entries.
    let mut folders: BTreeMap<String, Vec<(String, String, &Import)>> = BTreeMap::new();
    for import in imports {
        if let Some((folder, from, to)) = common_folder(&import.from, &import.to) {
            folders.entry(folder).or_default().push((from, to, import));
        }
    }
    let mut found = Vec::new();
    for (folder, edges) in folders {
        let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        edges.iter().for_each(|(from, to, _)| _ = next.entry(from).or_default().insert(to));
        let reach: BTreeMap<&str, BTreeSet<&str>> = next.keys().map(|start| (*start, reachable(&next, start))).collect();
        let mut done = BTreeSet::new();
        for (start, reached) in &reach {
            if !reached.contains(start) || done.contains(start) {
                continue;
            }
            let members: BTreeSet<&str> =
                reached.iter().copied().filter(|m| reach.get(m).is_some_and(|back| back.contains(start))).collect();
            done.extend(members.iter().copied());
            let inside = edges.iter().filter(|(from, to, _)| members.contains(from.as_str()) && members.contains(to.as_str()));
            let imports = inside.map(|(_, _, import)| (*import).clone()).collect();
            found.push(Cycle { folder: folder.clone(), members: members.into_iter().map(str::to_owned).collect(), imports });
        }
    }
    found
}

/// Returns the innermost folder that contains both files, and the two entries of this folder that contain `from` and `to`. Returns `None`
/// if one of these entries is the `mod.rs` of the folder.
fn common_folder(from: &str, to: &str) -> Option<(String, String, String)> {
    let (from, to): (Vec<&str>, Vec<&str>) = (from.split('/').collect(), to.split('/').collect());
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let (a, b) = (from.get(same)?, to.get(same)?);
    let stands_for_folder = |name: &str| matches!(name, "mod.rs" | "lib.rs" | "main.rs");
    (!stands_for_folder(a) && !stands_for_folder(b)).then(|| (from[..same].join("/"), (*a).to_owned(), (*b).to_owned()))
}

fn reachable<'a>(next: &BTreeMap<&'a str, BTreeSet<&'a str>>, start: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&str> = next.get(start).into_iter().flatten().copied().collect();
    while let Some(at) = left.pop() {
        if reached.insert(at) {
            left.extend(next.get(at).into_iter().flatten());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imports::source;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(name, text)| ((*name).to_owned(), source::read(text).unwrap())).collect()
    }

    fn found(list: &[(&str, &str)]) -> Vec<String> {
        cycles(&imports(&files(list))).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn files_of_a_folder() {
        let list = [("lib.rs", "mod a;"), ("a/mod.rs", "mod b; mod c;"), ("a/b.rs", "use super::c::C;"), ("a/c.rs", "\nuse crate::a::b;")];
        assert_eq!(found(&list), ["a: b.rs, c.rs import each other\n      a/b.rs:1 uses a/c.rs\n      a/c.rs:2 uses a/b.rs"]);
    }

    #[test]
    fn folders_through_their_files_and_through_re_exports() {
        let list = [
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod x; mod y; pub use x::X;"),
            ("a/x.rs", "pub struct X;"),
            ("a/y.rs", "use crate::b::B;"),
            ("b.rs", "use crate::a::X;"),
        ];
        assert_eq!(found(&list), ["src: a, b.rs import each other\n      a/y.rs:1 uses b.rs\n      b.rs:1 uses a/x.rs"]);
    }

    #[test]
    fn a_name_that_mod_rs_passes_on_closes_a_cycle() {
        let list =
            [("lib.rs", "mod a;"), ("a/mod.rs", "mod b; mod c; pub use c::C;"), ("a/b.rs", "use super::C;"), ("a/c.rs", "use super::b;")];
        assert_eq!(found(&list).len(), 1, "{:?}", found(&list));
    }

    #[test]
    fn a_module_and_its_own_files_are_no_cycle() {
        let list =
            [("lib.rs", "mod a;"), ("a/mod.rs", "mod b; pub trait T {} fn f() { b::g() }"), ("a/b.rs", "use super::T; use crate::a;")];
        assert_eq!(found(&list), Vec::<String>::new());
    }

    #[test]
    fn modules_for_tests_are_left_out() {
        let list = [("lib.rs", "mod a; #[cfg(test)] mod b;"), ("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")];
        assert_eq!(found(&list), Vec::<String>::new());
    }

    #[test]
    fn names_of_other_crates_are_not_ours() {
        let list = [("lib.rs", "mod a; mod pcap;"), ("a.rs", "use pcap::Capture; use std::fs;"), ("pcap.rs", "use crate::a;")];
        assert_eq!(found(&list), Vec::<String>::new());
    }
}
