//! Reads configuration files, and refuses files that other users may have written, because the configuration decides where captured data is
//! sent.

use super::error::Error;
use std::{
    fs::{File, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Reads a configuration file.
///
/// # Errors
/// When the file cannot be read, is too large, or, with `strict`, is owned or writable by another user.
pub(super) fn read(path: &Path, strict: bool) -> Result<String, Error> {
    /// Maximum size of a file. Large configurations have some hundred KiB.
    const MAX_BYTES: u64 = 8 << 20;
    let shown = path.display();
    let file = File::open(path).map_err(|e| Error(format!("{shown}: cannot be read: {e}")))?;
    // The check uses the metadata of the open file, because the file at the path may have been replaced since it was opened.
    let about = file.metadata().map_err(|e| Error(format!("{shown}: cannot be read: {e}")))?;
    if about.is_dir() {
        return Err(Error(format!("{shown}: is a directory, not a configuration file")));
    }
    if strict {
        check(&about, effective_user()).map_err(|(why, mend)| {
            Error(format!("{shown}: {why}; correct it with `{mend} {shown}`, or start with --strict.perms=false"))
        })?;
    }
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_BYTES + 1), &mut text)
        .map_err(|e| Error(format!("{shown}: cannot be read: {e}")))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Error(format!("{shown}: is larger than {} MiB, the limit for a configuration file", MAX_BYTES >> 20)));
    }
    String::from_utf8(text).map_err(|e| {
        let line = e.as_bytes().iter().take(e.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        Error(format!("{shown}:{line}: not UTF-8 text"))
    })
}

fn check(about: &Metadata, user: Option<u32>) -> Result<(), (String, String)> {
    owned(about.uid(), user)?;
    writable(about.mode())
}

/// Refuses a file with secrets that other users may read or write. The error has the reason, and the command that
/// corrects the permissions; the caller appends the name of the file to the command.
pub(super) fn private(about: &Metadata) -> Result<(), (String, String)> {
    if about.mode() & 0o077 != 0 {
        let why = format!("may be read or written by others than its owner (mode {:04o})", about.mode() & 0o7777);
        return Err((why, "chmod go-rwx".into()));
    }
    Ok(())
}

fn owned(owner: u32, user: Option<u32>) -> Result<(), (String, String)> {
    match user {
        Some(user) if owner != 0 && owner != user => Err((
            format!("belongs to user {owner}; it must belong to the user that runs this ({user}) or to root"),
            format!("chown {user}"),
        )),
        _ => Ok(()),
    }
}

fn writable(mode: u32) -> Result<(), (String, String)> {
    if mode & 0o022 != 0 {
        return Err((format!("may be written by others than its owner (mode {:04o})", mode & 0o7777), "chmod go-w".into()));
    }
    Ok(())
}

/// Returns the effective user id, read from /proc to avoid an unsafe call into libc. Returns `None` if there is no /proc.
fn effective_user() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{effective_user, owned, read, writable};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn files_of_other_owners_are_refused() {
        assert!(owned(0, Some(1000)).is_ok(), "root's is good for all");
        assert!(owned(1000, Some(1000)).is_ok());
        let (why, mend) = owned(1000, Some(0)).unwrap_err();
        assert_eq!(why, "belongs to user 1000; it must belong to the user that runs this (0) or to root");
        assert_eq!(mend, "chown 0");
    }

    #[test]
    fn files_that_others_may_write_are_refused() {
        for (mode, good) in [(0o100_600, true), (0o100_644, true), (0o100_664, false), (0o100_602, false), (0o100_777, false)] {
            assert_eq!(writable(mode).is_ok(), good, "{mode:o}");
        }
    }

    #[test]
    fn the_error_has_the_command_that_corrects_the_permissions() {
        let path = std::env::temp_dir().join(format!("sniffer-perms-{}.yml", std::process::id()));
        std::fs::write(&path, "name: x\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let shown = path.display();
        assert_eq!(effective_user(), Some(std::fs::metadata(&path).unwrap().uid()));
        assert_eq!(
            read(&path, true).unwrap_err().0,
            format!(
                "{shown}: may be written by others than its owner (mode 0666); correct it with `chmod go-w {shown}`, or start with --strict.perms=false"
            )
        );
        assert_eq!(read(&path, false).unwrap(), "name: x\n");
        std::fs::remove_file(&path).unwrap();
    }
}
