//! Files of a package, and tar archives of them that are the same for every build: sorted, with fixed owners and one time.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};

/// A file or a folder of a package.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The permissions.
    pub mode: u32,
    /// The content; `None` for a folder.
    pub content: Option<Vec<u8>>,
    /// Whether an administrator edits the file, so that an upgrade keeps it.
    pub config: bool,
}

/// The files of a package by their path, without a slash in front. A folder above a file need not be listed.
#[derive(Clone, Debug, Default)]
pub struct Files(pub BTreeMap<String, Entry>);

impl Files {
    /// Adds a file that all users can read.
    pub fn add(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.add_with_mode(path, 0o644, content);
    }

    /// Adds a file with these permissions.
    pub fn add_with_mode(&mut self, path: impl Into<String>, mode: u32, content: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), Entry { mode, content: Some(content.into()), config: false });
    }

    /// Adds a configuration file. Only root and the group of the service can read it, because it may contain passwords.
    pub fn add_config(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), Entry { mode: 0o640, content: Some(content.into()), config: true });
    }

    /// All files and folders, also those above a file.
    pub fn with_folders(&self) -> BTreeMap<String, Entry> {
        let folder = Entry { mode: 0o755, content: None, config: false };
        let above = |path: &str| Path::new(path).ancestors().skip(1).map(|p| p.to_string_lossy().into_owned()).collect::<Vec<_>>();
        let folders = self.0.keys().flat_map(|path| above(path)).filter(|path| !path.is_empty());
        let mut all: BTreeMap<_, _> = folders.map(|path| (path, folder.clone())).collect();
        all.extend(self.0.clone());
        all
    }

    /// A tar archive. `prefix`: what stands before every path. `time`: of every file, in seconds since 1970.
    ///
    /// # Errors
    /// When a path is too long for the format.
    pub fn tar(&self, prefix: &str, time: u64) -> io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, entry) in self.with_folders() {
            let mut header = tar::Header::new_gnu();
            let content = entry.content.unwrap_or_default();
            let is_folder = self.0.get(&path).is_none_or(|entry| entry.content.is_none());
            header.set_entry_type(if is_folder { tar::EntryType::Directory } else { tar::EntryType::Regular });
            header.set_mode(entry.mode);
            header.set_mtime(time);
            header.set_size(content.len() as u64);
            header.set_uid(0);
            header.set_gid(0);
            header.set_username("root")?;
            header.set_groupname("root")?;
            let slash = if is_folder { "/" } else { "" };
            archive.append_data(&mut header, format!("{prefix}{path}{slash}"), content.as_slice())?;
        }
        archive.into_inner()
    }
}

/// Compresses with the command `gzip`: a library in a development build takes minutes for the program. The header has neither a time nor a
/// name, so that the result depends on the content only.
///
/// # Errors
/// When `gzip` does not exist or fails.
pub fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut child = Command::new("gzip").args(["--no-name", "-6"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take();
    let (written, output) = thread::scope(|scope| {
        let writer = scope.spawn(move || stdin.map_or(Ok(()), |mut stdin| stdin.write_all(content)));
        // The output is read while the thread writes: gzip stops when its output is not read.
        let output = child.wait_with_output();
        (writer.join(), output)
    });
    written.unwrap_or_else(|_| Err(io::Error::other("the thread that writes to gzip panicked")))?;
    let output = output?;
    if output.status.success() { Ok(output.stdout) } else { Err(io::Error::other("gzip failed")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn an_archive_is_sorted_and_has_the_folders_above_each_file() {
        let (mut one, mut other) = (Files::default(), Files::default());
        one.add("usr/bin/b", "1");
        one.add_config("etc/a", "22");
        other.add_config("etc/a", "22");
        other.add("usr/bin/b", "1");
        let bytes = one.tar("./", 7).unwrap();
        assert_eq!(bytes, other.tar("./", 7).unwrap(), "the order in which files are added has no effect");
        let mut archive = tar::Archive::new(bytes.as_slice());
        let found: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                let header = entry.header();
                assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (7, 0));
                (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap(), text)
            })
            .collect();
        let wanted = [("etc/", 0o755, ""), ("etc/a", 0o640, "22"), ("usr/", 0o755, ""), ("usr/bin/", 0o755, ""), ("usr/bin/b", 0o644, "1")];
        let found: Vec<_> = found.iter().map(|(path, mode, text)| (path.trim_start_matches("./"), *mode, text.as_str())).collect();
        assert_eq!(found, wanted);
        assert_eq!(gzip(&bytes).unwrap(), gzip(&bytes).unwrap());
    }
}
