//! `docs`: checks the links of the documentation and its table of contents, and makes a site of it in `target/docs`. The folder `docs` has the
//! shape that mdBook expects, so that `mdbook build docs` works, too; the site needs only this.

mod page;
mod site;
mod summary;

use crate::{
    Outcome, golden,
    setup::{project, target_folder},
};
use page::Page;
use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

/// Pages outside `docs` whose links are checked, too.
const OUTSIDE: &[&str] = &["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];

/// Checks the documentation and makes the site. `--write` also writes the pages that are made from the program's declarations, and the table
/// of contents.
pub fn docs(args: &[String]) -> Outcome {
    match args {
        [] => {}
        [write] if write == "--write" => {
            golden::write_pages()?;
            summary::write()?;
        }
        _ => return Err("this verb takes no argument other than --write".into()),
    }
    check()?;
    let folder = target_folder().join("docs");
    site::write(&folder)?;
    println!("{}", folder.join("index.html").display());
    Ok(())
}

/// Checks the table of contents and all links within the project.
///
/// # Errors
/// Every dead link with its file and line.
pub fn check() -> Outcome {
    summary::check()?;
    let root = project();
    let mut names: Vec<PathBuf> = pages(&root.join("docs"));
    names.extend(OUTSIDE.iter().map(|name| root.join(name)));
    let mut all = BTreeMap::new();
    for path in names {
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        all.insert(path.strip_prefix(&root).unwrap_or(&path).to_owned(), Page::read(&text));
    }
    let wrong = dead(&all, &|path| root.join(path).exists());
    if wrong.is_empty() { Ok(()) } else { Err(format!("{} dead links:\n  {}", wrong.len(), wrong.join("\n  "))) }
}

/// The pages below a folder, sorted.
pub fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The links to files that do not exist, and to headings that their page does not have. `exists`: whether a file of the project exists.
fn dead(all: &BTreeMap<PathBuf, Page>, exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, page) in all {
        for (line, target) in &page.links {
            // The addresses of other sites can only be checked with a network.
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let at = if file.is_empty() { path.clone() } else { resolved(path, file) };
            let place = format!("{}:{line}: {target}", path.display());
            if !exists(&at) {
                wrong.push(format!("{place}: there is no file {}", at.display()));
            } else if path.starts_with("docs") && !at.starts_with("docs") {
                wrong.push(format!("{place}: is outside docs/, so that it is dead on the site"));
            } else if !heading.is_empty() && !all.get(&at).is_some_and(|page| page.headings.iter().any(|h| h == heading)) {
                wrong.push(format!("{place}: {} has no such heading", at.display()));
            }
        }
    }
    wrong
}

/// The path of `link` on the page `from`, without `..`.
fn resolved(from: &Path, link: &str) -> PathBuf {
    let mut path = from.parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => _ = path.pop(),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_links_are_found() {
        let page = |text| Page::read(text);
        let all = BTreeMap::from([
            (
                PathBuf::from("docs/a.md"),
                page("# A\n[b](sub/b.md#two-words) [x](missing.md)\n[h](#a)\n[h](#none) [web](https://x.invalid)\n"),
            ),
            (PathBuf::from("docs/sub/b.md"), page("# B\n\n## Two words\n[up](../a.md#a) [out](../../README.md) [none](../a.md#nothing)\n")),
            (PathBuf::from("README.md"), page("[a](docs/a.md) `[code](nothing.md)`\n")),
        ]);
        let wrong = dead(&all, &|path| all.contains_key(path));
        assert_eq!(
            wrong,
            [
                "docs/a.md:2: missing.md: there is no file docs/missing.md",
                "docs/a.md:4: #none: docs/a.md has no such heading",
                "docs/sub/b.md:4: ../../README.md: is outside docs/, so that it is dead on the site",
                "docs/sub/b.md:4: ../a.md#nothing: docs/a.md has no such heading",
            ]
        );
    }
}
