//! Makes the pages in `docs/processors` from the descriptions and options that the processors declare, and compares them with the committed
//! ones.
//!
//! `cargo xtask golden --accept` writes the pages.

use super::{PROCESSORS, ProcessorKind, testing::errors};
use std::{fmt::Write, fs, path::Path};

fn page(kind: &ProcessorKind) -> String {
    let mut page = format!("# {}\n\n{}\n", kind.name, kind.about);
    if !kind.example.is_empty() {
        let _ = write!(page, "\n```yaml\nprocessors:\n- {}:\n", kind.name);
        kind.example.lines().for_each(|line| _ = writeln!(page, "    {line}"));
        page.push_str("```\n");
    }
    page.push_str("\nThe option `when`, a condition, is common to all processors.\n");
    if kind.options.iter().any(|(_, options)| !options.is_empty()) {
        page.push_str("\n| option | default | meaning |\n|---|---|---|\n");
    }
    for (path, options) in kind.options {
        for option in *options {
            let name = option.plain_name();
            let default = option.default_text().unwrap_or_else(|| "required".to_owned());
            let about = option.about.trim().replace('|', "\\|");
            let _ = writeln!(page, "| `{path}{name}` | {default} | {about} |");
        }
    }
    page
}

fn index() -> String {
    let mut index =
        "# Processors\n\nProcessors edit events before they are published. They run in the order of the configuration: first those of \
                     a protocol (or of `packetbeat.flows`), then those of `processors:`. Every processor can have a condition (`when`); \
                     `if`, `then` and `else` choose between lists of processors.\n\n| processor | what it does |\n|---|---|\n"
            .to_owned();
    for kind in PROCESSORS {
        let first = kind.about.split_inclusive(". ").next().unwrap_or_default().trim();
        let _ = writeln!(index, "| [{0}]({0}.md) | {1} |", kind.name, first.replace('|', "\\|"));
    }
    index
}

#[test]
fn pages_show_the_declared_options() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/processors");
    let accept = std::env::var_os("GOLDEN").is_some_and(|value| value == "accept");
    let pages = PROCESSORS.iter().map(|kind| (kind.name, page(kind))).chain([("README", index())]);
    let mut wrong = Vec::new();
    for (name, page) in pages {
        let file = folder.join(name).with_extension("md");
        if accept {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &page).unwrap();
        } else if fs::read_to_string(&file).unwrap_or_default() != page {
            wrong.push(format!("{}: the page is not this one (`cargo xtask golden --accept` writes it):\n{page}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples_can_be_opened() {
    for kind in PROCESSORS.iter().filter(|kind| !kind.example.is_empty()) {
        let yaml = format!("- {}:\n    {}", kind.name, kind.example.replace('\n', "\n    "));
        assert_eq!(errors(&yaml), None, "{yaml}");
    }
}

#[test]
fn processors_are_sorted_by_name() {
    assert!(PROCESSORS.windows(2).all(|pair| pair[0].name < pair[1].name));
}
