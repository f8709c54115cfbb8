//! What the definition of the command line is turned into for a package: completions of shells and man pages.

use super::Root;
use clap::CommandFactory;
use std::io;

/// The completion script of a shell, to be put where the shell finds it.
pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Root::command(), "sniffer", &mut script);
    script
}

/// A man page: the name of its file, and its content.
pub type ManPage = (String, Vec<u8>);

/// The man pages in section 1: `sniffer.1`, and one for each command (`sniffer-test-config.1`).
///
/// # Errors
/// When a page cannot be written to memory.
pub fn man_pages() -> io::Result<Vec<ManPage>> {
    let mut root = Root::command().version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    collect(root, &mut pages)?;
    Ok(pages)
}

fn collect(command: clap::Command, pages: &mut Vec<ManPage>) -> io::Result<()> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        collect(inner.clone(), pages)?;
    }
    let man = clap_mangen::Man::new(command).manual("sniffer");
    let mut page = Vec::new();
    man.render(&mut page)?;
    pages.push((man.get_filename(), page));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{completions, man_pages};
    use clap_complete::Shell;

    #[test]
    fn every_command_has_a_man_page_with_its_flags() {
        let pages = man_pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for wanted in ["sniffer.1", "sniffer-run.1", "sniffer-watch.1", "sniffer-test-config.1", "sniffer-keystore-add.1"] {
            assert!(names.contains(&wanted), "{wanted} is not among {names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("help")), "{names:?}");
        let watch = pages.iter().find(|(name, _)| name == "sniffer-watch.1").map(|(_, page)| String::from_utf8_lossy(page)).unwrap();
        for wanted in [".TH sniffer-watch 1", "\\-\\-json", "\\fB\\-c\\fR"] {
            assert!(watch.contains(wanted), "{wanted} is not in\n{watch}");
        }
    }

    #[test]
    fn completions_know_commands_and_flags() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completions(shell)).unwrap();
            for wanted in ["watch", "keystore", "path.config", "index-pattern"] {
                assert!(script.contains(wanted), "{wanted} is not in the script of {shell}");
            }
        }
    }
}
