//! The reference as a configuration file: each option on a line of its own, commented, with its whole key. So any line can be uncommented
//! alone.

use super::{Described, Kind, groups};
use crate::processors::{PROCESSORS, ProcessorKind};

/// The longest line of a comment.
pub(super) const WIDTH: usize = 120;

const HEAD: &str = "\
# Every option of sniffer, with its default. A line that begins with `#` and a key is an option that is not set: remove
# the `#` to set it. sniffer.yml is shorter, and a better start.
#
#   sniffer test config -c FILE     checks a configuration
#
# A key may be written with dots, as here, or as nested maps. `packetbeat.protocols` may also be a list, as in
# sniffer.yml. A change takes effect at the next start. If `reload.enabled` is true, a change of an option that is
# marked (reload) takes effect at once.
";

/// The text of `sniffer.reference.yml`.
pub fn text() -> String {
    let mut text = HEAD.to_owned();
    for group in groups() {
        heading(&mut text, &format!("{} (docs/options/{}.md)", group.title, group.page));
        comment(&mut text, group.about);
        let needed: Vec<String> =
            group.options().filter(|option| option.option.kind == Kind::Needed).map(|option| format!("`{}`", option.name)).collect();
        if !needed.is_empty() {
            comment(&mut text, &format!("The section needs {}.", needed.join(" and ")));
        }
        if group.section.starts_with("output.") && !group.options().any(|option| option.option.kind == Kind::Active) {
            comment(&mut text, "One output is on: remove `output.elasticsearch` if this one is used.");
        }
        for option in group.options() {
            text.push('\n');
            comment(&mut text, &about(&option));
            let sign = if option.option.kind == Kind::Active { "" } else { "#" };
            text += &format!("{sign}{}: {}\n", option.key, option.value);
        }
    }
    heading(&mut text, "Processors");
    comment(&mut text, "They edit documents before these are sent, in this order. Uncomment whole entries.");
    text += "processors:\n";
    PROCESSORS.iter().for_each(|kind| processor(&mut text, kind));
    text
}

/// What the reference says about an option.
fn about(option: &Described) -> String {
    let mut text = option.option.about.to_owned();
    if !option.option.with.is_empty() {
        text += &format!(" With {}.", option.option.with.replace(' ', ", "));
    }
    if option.is_exchanged() {
        text += " (reload)";
    }
    if option.option.kind == Kind::Example {
        text += " Not set; an example:";
    }
    text
}

fn heading(text: &mut String, title: &str) {
    *text += &format!("\n# {} {title} {}\n", "=".repeat(10), "=".repeat(WIDTH.saturating_sub(14 + title.len())));
}

/// A comment in lines of at most [`WIDTH`].
fn comment(text: &mut String, comment: &str) {
    let mut line = "#".to_owned();
    for word in comment.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH && line.len() > 1 {
            *text += &line;
            text.push('\n');
            line = "#".to_owned();
        }
        line.push(' ');
        line += word;
    }
    *text += &line;
    text.push('\n');
}

/// A processor: what it does, its options, and an entry that can be uncommented.
fn processor(text: &mut String, kind: &ProcessorKind) {
    text.push('\n');
    comment(text, &format!("{}: {}", kind.name, kind.about));
    for (path, options) in kind.options {
        for option in *options {
            let (name, default) = (option.plain_name(), option.default_text().unwrap_or_else(|| "required".to_owned()));
            comment(text, &format!("- `{path}{name}` ({}): {}", default.replace('`', ""), option.about.trim()));
        }
    }
    if kind.example.is_empty() {
        *text += &format!("#- {}: {{}}\n", kind.name);
        return;
    }
    *text += &format!("#- {}:\n", kind.name);
    kind.example.lines().for_each(|line| *text += &format!("#    {line}\n"));
}
