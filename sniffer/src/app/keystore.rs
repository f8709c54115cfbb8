//! The `keystore` command: makes the keystore and changes its secrets. The messages are Packetbeat's, because scripts read them.

use super::Error;
use crate::{
    cli::Keystore as Command,
    config::{
        self, LoadOptions,
        keystore::{Location, MAX_SECRET},
    },
};
use std::io::{self, BufRead, IsTerminal, Read, Write};

/// Executes the command.
///
/// # Errors
/// When the keystore or the secret cannot be read, or the keystore cannot be written.
pub fn keystore(options: &LoadOptions, command: &Command, stdout: &mut impl Write) -> Result<(), Error> {
    let location = config::keystore_location(options)?;
    match command {
        Command::Create { force } => create(&location, *force, stdout),
        Command::Add { names, stdin, force } => add(&location, names, *stdin, *force, stdout),
        Command::List => {
            for name in location.read()?.unwrap_or_default().names() {
                writeln!(stdout, "{name}")?;
            }
            Ok(())
        }
        Command::Remove { names } => remove(&location, names, stdout),
    }
}

fn create(location: &Location, force: bool, stdout: &mut impl Write) -> Result<(), Error> {
    if location.exists() && !force && !confirm("A keystore already exists, Overwrite?", "--force", stdout)? {
        writeln!(stdout, "Exiting without creating packetbeat keystore.")?;
        return Ok(());
    }
    location.create()?;
    writeln!(stdout, "Created packetbeat keystore")?;
    Ok(())
}

fn add(location: &Location, names: &[String], stdin: bool, force: bool, stdout: &mut impl Write) -> Result<(), Error> {
    let name = match names {
        [] => return Err("failed to create the secret: no key provided".into()),
        [name] => name.trim(),
        names => return Err(format!("could not create secret for: {names:?}, you can only provide one key per invocation").into()),
    };
    if name.is_empty() {
        return Err("failed to create the secret: the key is empty".into());
    }
    if !location.exists() {
        // With --stdin, standard input has the secret and not the answer.
        if stdin && !force {
            return Err("the keystore doesn't exist. Use the 'create' command to create one, or `--force`".into());
        }
        if !force && !confirm("The keystore does not exist. Do you want to create it?", "--force", stdout)? {
            return Err("exiting without creating keystore.".into());
        }
        location.create()?;
        writeln!(stdout, "Created keystore")?;
    }
    if !force && location.read()?.is_some_and(|keystore| keystore.contains(name)) {
        if stdin {
            return Err(format!("the setting {name} already exists in the keystore; use `--force` to replace it").into());
        }
        if !confirm(&format!("Setting {name} already exists, Overwrite?"), "--force", stdout)? {
            writeln!(stdout, "Exiting without modifying keystore.")?;
            return Ok(());
        }
    }
    let value = if stdin { from_stdin()? } else { from_terminal(name)? };
    if value.len() > MAX_SECRET {
        return Err(format!("the secret is longer than {} KiB, the limit for a value of the keystore", MAX_SECRET >> 10).into());
    }
    location.update(|keystore| {
        keystore.set(name, &value);
        Ok(())
    })?;
    writeln!(stdout, "Successfully updated the keystore")?;
    Ok(())
}

fn remove(location: &Location, names: &[String], stdout: &mut impl Write) -> Result<(), Error> {
    if names.is_empty() {
        return Err("you must supply at least one key to remove".into());
    }
    if !location.exists() {
        return Err("the keystore doesn't exist. Use the 'create' command to create one".into());
    }
    for name in names {
        let name = name.trim();
        location.update(|keystore| {
            if keystore.remove(name) { Ok(()) } else { Err(config::Error(format!("could not find key '{name}' in the keystore"))) }
        })?;
        writeln!(stdout, "successfully removed key: {name}")?;
    }
    Ok(())
}

/// Asks a question that is answered with y or n. An empty answer is n. `flag`: the flag that makes the question unnecessary.
///
/// # Errors
/// When standard input has no answer. The error names `flag`.
fn confirm(question: &str, flag: &str, stdout: &mut impl Write) -> Result<bool, Error> {
    /// Longest answer that is read, in bytes.
    const LONGEST: u64 = 80;
    write!(stdout, "{question} [y/N]: ")?;
    stdout.flush()?;
    let mut answer = String::new();
    if io::stdin().lock().take(LONGEST).read_line(&mut answer)? == 0 {
        return Err(format!("the question has no answer on standard input; use `{flag}`").into());
    }
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Reads a secret from standard input, without the line end at its end.
fn from_stdin() -> Result<String, Error> {
    let mut bytes = Vec::new();
    // The limit is longer by a line end of two bytes, and by one byte that shows that the secret is too long.
    io::stdin().lock().take(MAX_SECRET as u64 + 3).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| "the secret is not UTF-8 text")?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(text.to_owned())
}

/// Asks for a secret on the terminal, which does not show it.
fn from_terminal(name: &str) -> Result<String, Error> {
    if !io::stdin().is_terminal() {
        return Err("the secret cannot be read: standard input is not a terminal; use `--stdin`".into());
    }
    Ok(rpassword::prompt_password(format!("Enter value for {name}: "))?)
}
