//! `new-protocol NAME` creates every part of a new protocol: its folder, its two lines in `protocols/mod.rs`, its line in the descriptions of
//! options, its page, a golden capture with its documents, and a first input for its fuzz target. The created protocol is a small working line protocol that builds and passes
//! all tests. The author then rewrites it for the real protocol.

mod capture;
mod dependencies;

use crate::{
    Outcome, layers,
    setup::{BUILD, cargo, ensure, project, target_folder},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder of all protocols, and the file with the list of them.
const PROTOCOLS: &str = "sniffer/src/protocols";
const LIST: &str = "sniffer/src/protocols/mod.rs";
/// The file with the descriptions of the protocols' options.
const OPTIONS: &str = "sniffer/src/app/reference/options/protocols.rs";

/// The path of each created file and its template. `NAME` in a path stands for the name of the protocol.
const FILES: &[(&str, &str)] = &[
    ("sniffer/src/protocols/NAME/mod.rs", include_str!("template/mod.rs.txt")),
    ("sniffer/src/protocols/NAME/wire.rs", include_str!("template/wire.rs.txt")),
    ("sniffer/src/protocols/NAME/event.rs", include_str!("template/event.rs.txt")),
    ("sniffer/src/protocols/NAME/fields.rs", include_str!("template/fields.rs.txt")),
    ("sniffer/src/protocols/NAME/tests.rs", include_str!("template/tests.rs.txt")),
    ("docs/protocols/NAME.md", include_str!("template/docs.md.txt")),
    ("tests/protocols/NAME/README.md", include_str!("template/README.md.txt")),
    ("tests/protocols/NAME/first.yml", include_str!("template/golden.yml.txt")),
    ("tests/protocols/NAME/first.ndjson", include_str!("template/golden.ndjson.txt")),
];

/// Names that `protocols`, documents or the fuzzer already use for something else.
const TAKEN: &[&str] = &["kit", "testing", "context", "mod", "flow", "decode", "reassembly", "filter", "list"];

/// Creates the protocol. With `--check` it creates one in a copy of the checkout instead, and runs the tests of protocols there.
pub fn new_protocol(args: &[String]) -> Outcome {
    match args {
        [check] if check == "--check" => self::check(),
        [name] => {
            create(&project(), name)?;
            println!("Created the protocol {name}. Check that it passes: cargo xtask lint && cargo test {name}");
            println!(
                "Then rewrite its folder, page and capture for the protocol that you want (CONTRIBUTING.md, \"A protocol\"), describe its"
            );
            println!("own options in {OPTIONS}, and run `cargo xtask docs --write`.");
            Ok(())
        }
        _ => Err("this verb takes one argument: the name of the protocol in the configuration, in lower case".into()),
    }
}

/// Checks that the name can become a protocol of the checkout at `root`.
fn validate(root: &Path, name: &str) -> Outcome {
    let shape = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'));
    if !shape || syn::parse_str::<syn::Ident>(name).is_err() {
        return Err(format!(
            "`{name}` cannot be the name of a protocol: it is also a module name, so it may contain only lower-case letters, digits and _"
        ));
    }
    let folder = root.join(PROTOCOLS).join(name);
    if TAKEN.contains(&name) || folder.exists() || folder.with_extension("rs").exists() {
        return Err(format!("there is already a protocol or module `{name}`"));
    }
    Ok(())
}

fn create(root: &Path, name: &str) -> Outcome {
    validate(root, name)?;
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let (list_path, options_path) = (root.join(LIST), root.join(OPTIONS));
    let list = fs::read_to_string(&list_path).map_err(|e| failed(&list_path, e))?;
    let list = with_protocol(&list, name).ok_or_else(|| format!("{LIST} has no `mod` lines or no list `PROTOCOLS`"))?;
    let options = fs::read_to_string(&options_path).map_err(|e| failed(&options_path, e))?;
    let options = with_options(&options, name).ok_or_else(|| format!("{OPTIONS} has no list `GROUPS`"))?;
    let texts = FILES.iter().map(|(path, text)| (path.replace("NAME", name), filled(text, name).into_bytes()));
    let binaries = [
        (format!("tests/protocols/{name}/first.pcap"), capture::pcap().map_err(|e| e.to_string())?),
        (format!("tests/fuzz/corpus/{name}/first-0"), capture::fuzz_input()),
    ];
    for (path, content) in texts.chain(binaries) {
        let path = root.join(path);
        let folder = path.parent().unwrap_or(root);
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, content)).map_err(|e| failed(&path, e))?;
    }
    fs::write(&list_path, list).map_err(|e| failed(&list_path, e))?;
    fs::write(&options_path, options).map_err(|e| failed(&options_path, e))?;
    // Format the created files, because line breaks depend on the length of the name.
    run(cargo(&["fmt", "--package", "sniffer"]).current_dir(root))
}

/// The template with its placeholders replaced: `__name__` by the name, `__Name__` by the name in the form of a type.
fn filled(template: &str, name: &str) -> String {
    let words = name.split('_').filter(|word| !word.is_empty());
    let capitalised: String = words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect();
    template.replace("__name__", name).replace("__Name__", &capitalised)
}

/// Returns the text of `protocols/mod.rs` with the module added in alphabetical order and its entry added at the end of `PROTOCOLS`.
/// Returns `None` if the text has no list `PROTOCOLS`.
fn with_protocol(text: &str, name: &str) -> Option<String> {
    let module = format!("mod {name};\n");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_module = |line: &str| line.starts_with("mod ") && line.ends_with(";\n");
    let last = lines.iter().rposition(|line| is_module(line))?;
    // An attribute belongs to the module after it, so the new line goes before the attribute.
    let before = lines.iter().position(|line| is_module(line) && **line > *module).unwrap_or(last + 1);
    let before = if before > 0 && lines.get(before - 1).is_some_and(|line| line.starts_with("#[")) { before - 1 } else { before };
    let mut made: String = lines.get(..before)?.concat();
    made += &module;
    made += &lines.get(before..)?.concat();
    with_entry(&made, "pub const PROTOCOLS:", &format!("    &{name}::PROTOCOL,\n"))
}

/// Returns the descriptions of options with those that all protocols have. The author adds the protocol's own ones.
fn with_options(text: &str, name: &str) -> Option<String> {
    let lists = r#"&[("", COMMON), ("", TRANSACTIONS), ("", LABELS), ("", PROCESSORS)]"#;
    let entry = format!("    protocol(\"{name}\", \"packetbeat.protocols.{name}\", {lists}),\n");
    with_entry(text, "pub(super) const GROUPS:", &entry)
}

/// Returns the text with a line added at the end of the list whose first line begins with `list`. Returns `None` if there is no such list.
fn with_entry(text: &str, list: &str, entry: &str) -> Option<String> {
    let start = text.find(&format!("\n{list}"))?;
    let end = start + text.get(start..)?.find("\n];\n")? + 1;
    Some([text.get(..end)?, entry, text.get(end..)?].concat())
}

/// Creates a protocol in a copy of the checkout and runs formatting, layers, clippy and the tests of protocols there.
fn check() -> Outcome {
    ensure(BUILD)?;
    let copy = target_folder().join("new-protocol");
    let _ = fs::remove_dir_all(&copy);
    copy_checkout(&copy)?;
    create(&copy, "demo")?;
    // Build in a separate target folder. If two checkouts share one, cargo confuses their packages.
    let target = target_folder().join("new-protocol-build");
    dependencies::link(&target_folder(), &target)?;
    let in_copy = |args: &[&str]| {
        let mut command = cargo(args);
        command.current_dir(&copy).env("CARGO_TARGET_DIR", &target);
        run(&mut command)
    };
    in_copy(&["fmt", "--all", "--check"])?;
    layers::check(&copy)?;
    in_copy(&["clippy", "--locked", "--package", "sniffer", "--all-targets", "--", "-D", "warnings"])?;
    in_copy(&["test", "--locked", "--package", "sniffer", "--lib", "--", "protocols::", "app::reference::tests"])?;
    in_copy(&["test", "--locked", "--package", "sniffer", "--test", "integration", "--", "golden::", "replay::"])?;
    fs::remove_dir_all(&copy).map_err(|e| format!("{}: {e}", copy.display()))
}

/// Runs a command in its own working folder.
fn run(command: &mut Command) -> Outcome {
    println!("$ {command:?}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} failed ({status})")),
        Err(error) => Err(format!("{command:?} could not be started: {error}")),
    }
}

/// Copies all files that git tracks or would add.
fn copy_checkout(to: &Path) -> Outcome {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(project())
        .output()
        .map_err(|e| format!("git: {e}"))?;
    if !listed.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr)));
    }
    for name in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
        let (from, to): (PathBuf, PathBuf) = (project().join(name), to.join(name));
        // git lists a deleted file until the deletion is staged.
        if !from.is_file() {
            continue;
        }
        let folder = to.parent().unwrap_or(&to);
        fs::create_dir_all(folder).and_then(|()| fs::copy(&from, &to)).map_err(|e| format!("{}: {e}", to.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_validated() {
        for name in ["", "Demo", "9p", "a-b", "a b", "../x", "type", "fn", "http", "kit", "testing", "flow", "_x"] {
            assert!(validate(&project(), name).is_err(), "{name:?} was accepted");
        }
        for name in ["demo", "demo2", "some_name"] {
            assert_eq!(validate(&project(), name), Ok(()));
        }
    }

    #[test]
    fn the_lines_are_inserted_in_the_right_places() {
        let text = "mod amqp;\n#[cfg(test)]\nmod held_tests;\nmod http;\npub mod kit;\nmod tls;\n\npub const PROTOCOLS: &[&Protocol] = &[\n    &http::PROTOCOL,\n];\n";
        let made = with_protocol(text, "demo").unwrap();
        assert_eq!(
            made,
            "mod amqp;\nmod demo;\n#[cfg(test)]\nmod held_tests;\nmod http;\npub mod kit;\nmod tls;\n\npub const PROTOCOLS: &[&Protocol] = &[\n    &http::PROTOCOL,\n    &demo::PROTOCOL,\n];\n"
        );
        assert!(with_protocol(text, "zz").unwrap().contains("mod tls;\nmod zz;\n\n"));
        let real = fs::read_to_string(project().join(LIST)).unwrap();
        let made = with_protocol(&real, "demo").unwrap();
        assert_eq!(made.lines().count(), real.lines().count() + 2);
        let options = fs::read_to_string(project().join(OPTIONS)).unwrap();
        let made = with_options(&options, "demo").unwrap();
        let entry = "    protocol(\"demo\", \"packetbeat.protocols.demo\", &[(\"\", COMMON), ";
        let at = made.find(entry).unwrap();
        assert!(made[at..].lines().nth(1) == Some("];") && made.lines().count() == options.lines().count() + 1, "{}", &made[at..at + 300]);
        assert_eq!(with_options("const OTHER: &[u8] = &[\n];\n", "demo"), None);
    }

    #[test]
    fn templates_are_filled() {
        assert_eq!(filled("struct __Name__; // __name__", "some_name"), "struct SomeName; // some_name");
        for (path, text) in FILES {
            assert!(!filled(text, "demo").contains("__"), "{path} has a placeholder that is not known");
        }
    }
}
