//! The messages about wrong command lines.

use super::{Root, Stop, usage};
use clap::{
    CommandFactory,
    error::{ContextKind, ErrorKind},
};

/// Chooses the text of an error: Packetbeat's wording for errors that Packetbeat reports too, clap's wording for all others. The exit
/// code is 1, not clap's 2.
pub(super) fn stop(error: &clap::Error) -> Stop {
    let rendered = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::DisplayVersion) {
        return Stop { text: rendered, ok: true };
    }
    let (first, rest) = rendered.split_once('\n').unwrap_or((&rendered, ""));
    let what = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let first = match error.kind() {
        ErrorKind::UnknownArgument => format!("unknown flag: {}", what(ContextKind::InvalidArg)),
        ErrorKind::InvalidSubcommand => format!("unknown command \"{}\" for \"sniffer\"", what(ContextKind::InvalidSubcommand)),
        _ => first.strip_prefix("error: ").unwrap_or(first).to_owned(),
    };
    let mut text = format!("Error: {first}\n{}", rest.trim_end());
    if error.kind() == ErrorKind::UnknownArgument
        && !text.contains("tip:")
        && let Some(command) = command_with(&what(ContextKind::InvalidArg))
    {
        text = format!("Error: {first}\n\n  tip: it is a flag of a command: `sniffer {command} {}`\n", what(ContextKind::InvalidArg));
    }
    if !text.contains("Usage:") {
        text = format!("{text}\n\n{}", usage());
    }
    Stop { text, ok: false }
}

/// The first command that has this flag (`-i`, `--json`), if the flag is not one of all commands.
fn command_with(flag: &str) -> Option<String> {
    let name = flag.trim_start_matches('-');
    let is_it = |arg: &clap::Arg| match flag.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| name.starts_with(short)),
    };
    let root = Root::command();
    let found = root.get_subcommands().find(|command| command.get_arguments().any(is_it))?;
    Some(found.get_name().to_owned())
}
