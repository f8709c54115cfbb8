//! The names of this host's users, from passwd(5). Other sources of names (LDAP, SSSD) would have to be waited for.

use std::{
    collections::HashMap,
    fs::{self, Metadata},
    io::Read,
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

/// Maximum number of bytes of the file that are read.
const MAX_FILE: u64 = 1 << 20;

/// The names of users by id.
#[derive(Debug)]
pub struct Users {
    file: PathBuf,
    /// What identifies the content that was read: inode number, time of the change and length.
    version: Option<(u64, i64, i64, u64)>,
    names: HashMap<u32, String>,
}

impl Users {
    /// Makes the users that `file` lists. It is read when a name is wanted, and again when it has changed.
    pub fn new(file: PathBuf) -> Self {
        Self { file, version: None, names: HashMap::new() }
    }

    /// The name of a user; empty if the file does not list the user.
    pub fn name(&mut self, id: u32) -> String {
        let version = fs::metadata(&self.file).ok().map(|data: Metadata| (data.ino(), data.mtime(), data.mtime_nsec(), data.len()));
        if version != self.version {
            self.version = version;
            self.names = self.read();
        }
        self.names.get(&id).cloned().unwrap_or_default()
    }

    fn read(&self) -> HashMap<u32, String> {
        let mut bytes = Vec::new();
        if let Ok(file) = fs::File::open(&self.file) {
            // Of a file that cannot be read to its end, the beginning is used.
            let _ = file.take(MAX_FILE).read_to_end(&mut bytes);
        }
        let mut names = HashMap::new();
        for line in String::from_utf8_lossy(&bytes).lines() {
            let mut parts = line.split(':');
            let (name, id) = (parts.next().unwrap_or_default(), parts.nth(1).and_then(|id| id.parse().ok()));
            if let Some(id) = id.filter(|_| !name.is_empty()) {
                // If several lines have the same id, the first one counts, as for getpwuid(3).
                names.entry(id).or_insert_with(|| name.to_owned());
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwd");
        let mut users = Users::new(file.clone());
        assert_eq!(users.name(0), "", "no file");
        fs::write(&file, "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:\n# comment\nbroken:x\n:x:5:5::/:\nweb:x:33:33::/:\n").unwrap();
        assert_eq!([0, 33, 5, 7].map(|id| users.name(id)), ["root", "web", "", ""]);
        fs::write(folder.path().join("new"), "root:x:0:0::/:\nother:x:33:33::/:\n").unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
        assert_eq!(users.name(33), "other");
        fs::remove_file(&file).unwrap();
        assert_eq!(users.name(33), "");
    }
}
