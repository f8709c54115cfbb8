//! The table of contents, `docs/SUMMARY.md`. Pages in folders are found; every other page has a place in [`CHAPTERS`].
//!
//! The tests of the program make sure that every protocol, output and processor has a page in its folder.

use super::page::Page;
use crate::{Outcome, setup::project};
use std::fs;

/// The chapters with their pages, in the order of reading. A page that ends with `/` is a folder.
const CHAPTERS: &[(&str, &[&str])] = &[
    ("Begin", &["index.md", "install.md", "packetbeat.md", "cookbook.md", "watch.md", "top.md", "web.md"]),
    ("Run", &["doctor.md", "migrate.md", "setup.md", "keystore.md", "reload.md", "security.md", "performance.md", "troubleshooting.md"]),
    ("Observe", &["endpoint.md", "monitoring.md", "processes.md"]),
    ("Options", &["options/"]),
    ("Protocols", &["protocols/"]),
    ("Outputs", &["outputs/"]),
    ("Processors", &["processors/README.md", "processors/"]),
    ("Background", &["differences.md", "ARCHITECTURE.md", "web-api.md"]),
];

const FILE: &str = "SUMMARY.md";

/// Checks that the table of contents is the one that [`write()`] makes, and that no page is missing in it.
pub fn check() -> Outcome {
    let wanted = text()?;
    let is = fs::read_to_string(project().join("docs").join(FILE)).unwrap_or_default();
    if is == wanted { Ok(()) } else { Err(format!("docs/{FILE} is not up to date; run `cargo xtask docs --write`")) }
}

/// Writes the table of contents.
pub fn write() -> Outcome {
    fs::write(project().join("docs").join(FILE), text()?).map_err(|e| format!("docs/{FILE}: {e}"))
}

/// A chapter: its title, and the names and titles of its pages.
pub type Chapter = (&'static str, Vec<(String, String)>);

/// The chapters with their pages.
///
/// # Errors
/// When a page cannot be read, or has no place.
pub fn chapters() -> Result<Vec<Chapter>, String> {
    let docs = project().join("docs");
    let found: Vec<String> = super::pages(&docs)
        .iter()
        .map(|path| path.strip_prefix(&docs).unwrap_or(path).display().to_string())
        .filter(|name| name != FILE)
        .collect();
    let is_listed = |name: &str| CHAPTERS.iter().any(|(_, pages)| pages.contains(&name));
    let is_in = |name: &str, place: &str| name == place || (place.ends_with('/') && name.starts_with(place) && !is_listed(name));
    let lost: Vec<_> =
        found.iter().filter(|name| !CHAPTERS.iter().any(|(_, pages)| pages.iter().any(|place| is_in(name, place)))).collect();
    if !lost.is_empty() {
        return Err(format!("these pages of docs/ are in no chapter; add them to CHAPTERS in xtask/src/docs/summary.rs: {lost:?}"));
    }
    let title = |name: &String| {
        let text = fs::read_to_string(docs.join(name)).map_err(|e| format!("docs/{name}: {e}"))?;
        Ok((name.clone(), Page::read(&text).title))
    };
    let chapter = |(chapter, places): &(&'static str, &[&str])| {
        let mut pages = Vec::new();
        for place in *places {
            let before = pages.len();
            pages.extend(found.iter().filter(|name| is_in(name, place)).map(title).collect::<Result<Vec<_>, String>>()?);
            if pages.len() == before {
                return Err(format!("docs/{place} of the chapter {chapter} does not exist"));
            }
        }
        Ok((*chapter, pages))
    };
    CHAPTERS.iter().map(chapter).collect()
}

fn text() -> Result<String, String> {
    let mut text = "# Summary\n".to_owned();
    for (chapter, pages) in chapters()? {
        text += &format!("\n# {chapter}\n\n");
        pages.iter().for_each(|(name, title)| text += &format!("- [{title}]({name})\n"));
    }
    Ok(text)
}
