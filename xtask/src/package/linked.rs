//! The crates that are linked into the program, read from `cargo metadata`, and the notices that their licences require.

use crate::setup::{cargo, project};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A crate that is linked into the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, an SPDX expression.
    pub license: String,
    /// Its folder in cargo's cache.
    pub folder: PathBuf,
    /// The crates that it uses, as `NAME VERSION`.
    pub uses: BTreeSet<String>,
    /// Whether it is part of this project.
    pub own: bool,
}

/// How deep below the folder of a crate licences are searched. Crates that contain C sources have their licence in a folder of these.
const MAX_DEPTH: usize = 3;

/// The crates of the program and of the eBPF programs in it, sorted, without those that only run at build time.
///
/// # Errors
/// When cargo fails, or its answer has another form than expected.
pub fn crates() -> Result<Vec<Crate>, String> {
    let mut all = of(&metadata("Cargo.toml")?, "sniffer")?;
    all.extend(of(&metadata("sniffer-ebpf/Cargo.toml")?, "sniffer-ebpf")?);
    all.sort();
    all.dedup_by(|a, b| (&a.name, &a.version) == (&b.name, &b.version));
    Ok(all)
}

fn metadata(manifest: &str) -> Result<Value, String> {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", env!("TARGET_OF_XTASK"), "--manifest-path"];
    let output = cargo(&arguments).arg(manifest).current_dir(project()).output().map_err(|e| format!("cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata of {manifest} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata of {manifest}: {e}"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The crate `root` and all that it uses at run time.
fn of(metadata: &Value, root: &str) -> Result<Vec<Crate>, String> {
    let packages: BTreeMap<&str, &Value> = list(metadata, "packages").iter().map(|package| (text(package, "id"), package)).collect();
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"], "nodes").iter().map(|node| (text(node, "id"), node)).collect();
    let is_macro = |id: &str| list(packages[id], "targets").iter().any(|t| list(t, "kind").iter().any(|kind| kind == "proc-macro"));
    let uses = |id: &str| -> Vec<&str> {
        let deps = nodes.get(id).map(|node| list(node, "deps")).unwrap_or_default();
        let at_run_time = |dep: &&Value| list(dep, "dep_kinds").iter().any(|kind| kind["kind"].is_null());
        deps.iter().filter(at_run_time).map(|dep| text(dep, "pkg")).filter(|id| packages.contains_key(id) && !is_macro(id)).collect()
    };
    let start = packages.iter().find(|(_, package)| text(package, "name") == root).map(|(id, _)| *id);
    let mut left = vec![start.ok_or_else(|| format!("cargo metadata does not list {root}"))?];
    let mut seen = BTreeSet::new();
    while let Some(id) = left.pop() {
        if seen.insert(id) {
            left.extend(uses(id));
        }
    }
    let label = |id: &str| format!("{} {}", text(packages[id], "name"), text(packages[id], "version"));
    let made = seen.iter().map(|id| {
        let package = packages[id];
        Crate {
            name: text(package, "name").to_owned(),
            version: text(package, "version").to_owned(),
            license: text(package, "license").replace('/', " OR "),
            folder: Path::new(text(package, "manifest_path")).parent().map(Path::to_owned).unwrap_or_default(),
            uses: uses(id).into_iter().map(label).collect(),
            own: package["source"].is_null(),
        }
    });
    Ok(made.collect())
}

/// The notices of all crates: who is linked in, under which licence, and every licence text once.
pub fn notices(crates: &[Crate]) -> String {
    let mut page = "The program contains these libraries. The texts of their licences follow the list.\n\n".to_owned();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in crates.iter().filter(|one| !one.own) {
        let label = format!("{} {}", one.name, one.version);
        page += &format!("{label}: {}\n", one.license);
        for text in licence_texts(&one.folder, MAX_DEPTH) {
            texts.entry(text).or_default().push(label.clone());
        }
    }
    let mut sections: Vec<_> = texts.into_iter().map(|(text, users)| (users, text)).collect();
    sections.sort();
    for (users, text) in sections {
        page += &format!("\n{}\n{}\n\n{text}\n", "-".repeat(80), users.join(", "));
    }
    page
}

/// The texts of the licence files in a folder and in the folders below it.
fn licence_texts(folder: &Path, depth: usize) -> Vec<String> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        let is_licence = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"].iter().any(|begin| name.starts_with(begin));
        if path.is_dir() && depth > 0 {
            texts.extend(licence_texts(&path, depth - 1));
        } else if is_licence && path.is_file() && !name.ends_with(".RS") {
            texts.extend(fs::read_to_string(&path).map(|text| text.replace("\r\n", "\n").trim_end().to_owned()));
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_is_linked_in() {
        let crates = crates().unwrap();
        let has = |name: &str| crates.iter().any(|one| one.name == name);
        for linked in ["clap", "serde_json", "aya", "aya-ebpf", "rquickjs-sys", "sniffer-common"] {
            assert!(has(linked), "{linked} is linked in");
        }
        for not in ["cc", "serde_derive", "divan", "pulldown-cmark"] {
            assert!(!has(not), "{not} runs at build time, in a test, or in a development task");
        }
        let without: Vec<_> = crates.iter().filter(|one| one.license.is_empty()).map(|one| &one.name).collect();
        assert!(without.is_empty(), "no licence: {without:?}");
        let notices = notices(&crates);
        assert!(notices.contains("Fabrice Bellard"), "the licence of the C sources in rquickjs-sys is not there");
    }
}
