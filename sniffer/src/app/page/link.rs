//! The link to the page, which contains the token, and the file by which `sniffer web --url` finds the link of the running service.

use super::Error;
use crate::{endpoint::Listener, web::Token};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The name of the file in the data path.
const NAME: &str = "web.link";
/// Only the user of the program may read the file.
const MODE: u32 = 0o600;

/// A link to the page. Whoever has it can read what the page shows.
#[derive(Clone)]
pub struct Link {
    address: String,
    token: Token,
    filter: String,
    /// What to know about the socket; empty for TCP.
    note: String,
}

impl Link {
    /// The link to the page on a listener.
    pub fn new(listener: &Listener, token: &Token) -> Self {
        let is_unix = listener.addresses().is_empty();
        let (address, note) = match is_unix {
            true => ("localhost".to_owned(), format!("  (on the Unix socket {listener})")),
            false => (listener.to_string(), String::new()),
        };
        Self { address, token: token.clone(), filter: String::new(), note }
    }

    /// The link that begins with a filter.
    #[must_use]
    pub fn with_filter(&self, filter: &str) -> Self {
        Self { filter: utf8_percent_encode(filter, NON_ALPHANUMERIC).to_string(), ..self.clone() }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filter = if self.filter.is_empty() { "" } else { "&filter=" };
        write!(f, "http://{}/#token={}{filter}{}{}", self.address, self.token.text(), self.filter, self.note)
    }
}

/// The file with the link, which is removed when the last clone is dropped.
#[derive(Clone)]
pub struct File(Arc<Removed>);

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // An error is ignored: if the file is already gone, there is nothing to remove.
        let _ = fs::remove_file(&self.0);
    }
}

impl File {
    /// The file in the data path. It is not written yet.
    pub fn new(data: &Path) -> Self {
        Self(Arc::new(Removed(data.join(NAME))))
    }

    /// Writes the link. If this fails, only `sniffer web --url` does not work.
    pub fn write(&self, link: &Link) {
        let path = &self.0.0;
        match write(path, link) {
            Ok(()) => log::info!("Page: `sniffer web --url` prints the link, which is in {}", path.display()),
            Err(error) => log::error!("Page: the link cannot be written to {}: {error}", path.display()),
        }
    }
}

fn write(path: &Path, link: &Link) -> io::Result<()> {
    // A file that a killed process left behind has perhaps another mode or owner.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    writeln!(file, "{link}")
}

/// Reads the link of the running service.
///
/// # Errors
/// When there is none, or this user may not read it.
pub fn read(data: &Path) -> Result<String, Error> {
    let path = data.join(NAME);
    let shown = path.display();
    let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!(
            "{shown} does not exist: no service with `web.enabled: true` runs with this data path; -c FILE and --path.data choose another one, \
             and `sniffer web` serves the page without a service"
        ),
        io::ErrorKind::PermissionDenied => format!("{shown}: {error}; only the user of the service may read the link, try it with sudo"),
        _ => format!("{shown}: {error}"),
    })?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_user_of_the_service_reads_the_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, "left behind").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let token = Token::random().unwrap();
        let link = Link { address: "localhost:5067".into(), token: token.clone(), filter: String::new(), note: String::new() };
        let file = File::new(folder.path());
        file.write(&link);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(read(folder.path()).unwrap(), format!("http://localhost:5067/#token={}", token.text()));
        assert!(link.with_filter("a b&c").to_string().ends_with("&filter=a%20b%26c"));
        drop(file);
        assert!(!path.exists() && read(folder.path()).unwrap_err().to_string().contains("web.enabled"));
    }
}
