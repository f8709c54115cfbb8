//! What leaves the screens: exports as new files, and texts for the clipboard of the terminal.

use crate::view::top::export::Export;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{
    fs::OpenOptions,
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Number of names that are tried for a file.
const NAMES: u32 = 1000;

/// Writes an export to a new file in `folder`, which only its owner can read, and returns its name. `time`: the part of the name that says
/// when, such as `20260102-030405`. A file that exists is never changed.
///
/// # Errors
/// When the file cannot be written.
pub fn save(folder: &Path, export: &Export, time: &str) -> io::Result<PathBuf> {
    for number in 0..NAMES {
        let number = if number == 0 { String::new() } else { format!("-{number}") };
        let path = folder.join(format!("sniffer-{}-{time}{number}.{}", export.screen, export.extension));
        // `create_new` neither changes a file nor follows a link that is already there.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                file.write_all(export.text.as_bytes())?;
                return Ok(path);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// The sequence that gives a text to the clipboard of the terminal (OSC 52).
pub fn clipboard(text: &str) -> String {
    format!("\x1b]52;c;{}\x07", STANDARD.encode(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn an_export_is_a_new_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let export = Export { screen: "dns", extension: "csv", rows: 1, text: "new".to_owned() };
        let first = folder.path().join("sniffer-dns-1.csv");
        fs::write(&first, "old").unwrap();
        std::os::unix::fs::symlink(folder.path().join("other"), folder.path().join("sniffer-dns-1-1.csv")).unwrap();
        let path = save(folder.path(), &export, "1").unwrap();
        assert_eq!(path, folder.path().join("sniffer-dns-1-2.csv"));
        assert_eq!((fs::read_to_string(&first).unwrap(), fs::read_to_string(&path).unwrap()), ("old".to_owned(), "new".to_owned()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!folder.path().join("other").exists(), "a link is not followed");
        assert!(save(&folder.path().join("missing"), &export, "1").is_err());
    }

    #[test]
    fn text_for_the_clipboard_is_encoded() {
        assert_eq!(clipboard("a\x1b\x07"), "\x1b]52;c;YRsH\x07");
    }
}
