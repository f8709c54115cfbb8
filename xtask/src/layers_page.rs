//! Generates the section of `docs/ARCHITECTURE.md` about which modules may use which, from the lists in `layers`.

use crate::{
    Outcome,
    layers::{APART, CONFINED, MAY_USE, MOST_LINES, SHARED, UNSAFE},
    setup::project,
};
use std::fs;

const PAGE: &str = "docs/ARCHITECTURE.md";
const BEGIN: &str = "<!-- made by `cargo xtask layers --write` -->\n";
const END: &str = "<!-- end of what `cargo xtask layers --write` makes -->\n";

/// Compares the section of the page with the lists. With `write` it updates the section.
pub fn check(write: bool) -> Outcome {
    let path = project().join(PAGE);
    let page = fs::read_to_string(&path).map_err(|e| format!("{PAGE}: {e}"))?;
    let wanted = replaced(&page, &section()).ok_or_else(|| format!("{PAGE}: the lines {BEGIN} and {END} are missing"))?;
    if wanted == page {
        return Ok(());
    }
    if write {
        println!("{PAGE}: table written");
        return fs::write(&path, wanted).map_err(|e| format!("{PAGE}: {e}"));
    }
    let differing = page.lines().zip(wanted.lines()).find(|(a, b)| a != b);
    let (is, should) = differing.unwrap_or_default();
    Err(format!(
        "{PAGE} does not say what the lists in xtask/src/layers.rs say; run `cargo xtask layers --write`\n      is      {is}\n      should  {should}"
    ))
}

/// The page with `section` between the marks; `None` if the marks are missing.
fn replaced(page: &str, section: &str) -> Option<String> {
    let begin = page.find(BEGIN)? + BEGIN.len();
    let end = begin + page[begin..].find(END)?;
    Some(format!("{}{section}{}", &page[..begin], &page[end..]))
}

fn section() -> String {
    let code = |name: &&str| format!("`{name}`");
    let list = |names: &[&str]| names.iter().map(code).collect::<Vec<_>>().join(", ");
    let mut text = "| module | may use |\n|---|---|\n".to_owned();
    for (prefix, uses) in MAY_USE {
        let uses = if uses.is_empty() { "nothing".to_owned() } else { list(uses) };
        text += &format!("| `{}` | {uses} |\n", prefix.trim_end_matches('/').trim_end_matches(".rs"));
    }
    text += "| `app` | everything; nothing may use `app` |\n\n";
    let apart = APART.iter().map(|parent| format!("`{parent}/`")).collect::<Vec<_>>().join(" or ");
    text += &format!("A folder in {apart} uses no other folder there, {} apart.\n", list(SHARED));
    text += "The files and folders of a folder form no import cycle; the files of one protocol may.\n";
    text += &format!("No source file is longer than {MOST_LINES} lines.\n\n| confined | to |\n|---|---|\n");
    for (krate, places) in CONFINED {
        text += &format!("| `{krate}` | {} |\n", list(places));
    }
    text += &format!("| `unsafe` | {} |\n", list(UNSAFE));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_between_the_marks_is_replaced() {
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        assert_eq!(replaced(&page, "new\n"), Some(format!("before\n{BEGIN}new\n{END}after\n")));
        assert_eq!(replaced("no marks", "new\n"), None);
    }
}
