//! The files of a migration: where Packetbeat's data and keystore are, the files that a configuration names, and the files that are written.

use super::super::Error;
use crate::config::Node;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

/// Where Packetbeat's packages keep data and logs.
pub(super) const PACKAGE_DATA: &str = "/var/lib/packetbeat";
pub(super) const PACKAGE_LOGS: &str = "/var/log/packetbeat";
/// The name of the keystore in the data folder.
pub(super) const KEYSTORE: &str = "packetbeat.keystore";
/// The user of the service that the package of this program makes.
const USER: &str = "sniffer";
/// Settings whose values name files. Relative names belong to `path.config`.
const FILE_SETTINGS: &[&str] = &["certificate", "key", "certificate_authorities", "idl_files", "file", "files", "policy_file"];

/// The settings that name a file beside the configuration by a relative path, each with its key and the absolute path.
pub(super) fn relative_files(root: &Node, folder: &Path) -> Vec<(String, PathBuf)> {
    let is_name = |part: &str| !part.bytes().all(|byte| byte.is_ascii_digit());
    let names_file = |key: &str| {
        let last = key.split('.').rfind(|part| is_name(part)).unwrap_or_default();
        // `key` is also a setting of Kafka and Redis.
        let is_tls = key.contains(".ssl.") || key.contains(".tls.");
        FILE_SETTINGS.contains(&last) && (last != "key" || is_tls) || key.ends_with("template.json.path")
    };
    let nodes = root.below();
    let named = nodes.iter().filter(|node| names_file(node.key())).filter_map(|node| Some((node.key().to_owned(), node.as_str()?)));
    named
        .filter(|(_, value)| !value.is_empty() && Path::new(value).is_relative())
        .map(|(key, value)| (key, folder.join(value)))
        .filter(|(_, path)| path.is_file())
        .collect()
}

/// Refuses a file that exists, unless `force` is set.
///
/// # Errors
/// When the file must not be written.
pub(super) fn may_write(path: &Path, force: bool) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => Err(format!("{}: is a directory; name a file with --output", path.display()).into()),
        Ok(_) if !force => {
            Err(format!("{}: exists already; name another file with --output, or replace it with --force", path.display()).into())
        }
        _ => Ok(()),
    }
}

/// Writes a file that the service may read: if the folder belongs to a group, the group may read a file that is not `private`. The folder is
/// made if it does not exist. Returns what the user has to do so that the service can read it.
///
/// # Errors
/// When the folder or the file cannot be written.
pub(super) fn write(path: &Path, content: &[u8], private: bool) -> Result<Option<String>, Error> {
    let failed =
        |what: &str, path: &Path, error: io::Error| format!("{}: {what}: {error}; name another file with --output", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o750).create(folder).map_err(|e| failed("the folder cannot be made", folder, e))?;
    // A new file replaces the old one, so that a crash leaves one of them, and a link is not followed.
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        let advice = hand_over(&file, folder, private, path)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        Ok(advice)
    })();
    result.map_err(|error| {
        // The error of writing is the one to report.
        let _ = fs::remove_file(&temporary);
        failed("cannot be written", path, error).into()
    })
}

/// Gives the file to the service: the user of the service owns a private file, and the group of the folder may read another one.
fn hand_over(file: &File, folder: &Path, private: bool, path: &Path) -> io::Result<Option<String>> {
    if private {
        let Some(user) = user_id(&fs::read_to_string("/etc/passwd").unwrap_or_default(), USER) else { return Ok(None) };
        let is_done = fchown(file, Some(user), None).is_ok();
        return Ok((!is_done).then(|| format!("sudo chown {USER} {}", path.display())));
    }
    let group = fs::metadata(folder)?.gid();
    if group != 0 && fchown(file, None, Some(group)).is_ok() {
        file.set_permissions(fs::Permissions::from_mode(0o640))?;
    }
    Ok(None)
}

/// The number of a user in the text of passwd(5).
fn user_id(passwd: &str, name: &str) -> Option<u32> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_names_of_files_that_exist_are_found() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["ca.crt", "client.key", "t.json", "other"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let yaml = "output.elasticsearch.ssl: {certificate_authorities: [ca.crt, /abs, gone.crt], key: client.key}\n\
                    setup.template.json.path: t.json\nname: other\noutput.redis.key: other\n";
        let found = relative_files(&Node::parse(yaml).unwrap(), folder.path());
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(
            keys,
            ["output.elasticsearch.ssl.certificate_authorities.0", "output.elasticsearch.ssl.key", "setup.template.json.path"],
            "{found:?}"
        );
    }

    #[test]
    fn existing_files_are_kept_and_new_ones_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/sniffer.yml");
        assert!(may_write(&path, false).is_ok());
        write(&path, b"a: 1\n", false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o137, 0, "others may not read it");
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o750);
        let error = may_write(&path, false).unwrap_err().to_string();
        assert!(error.contains("exists already") && error.contains("--force"), "{error}");
        assert!(may_write(&path, true).is_ok());
        write(&path, b"b: 2\n", true).unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap(), fs::metadata(&path).unwrap().mode() & 0o777), ("b: 2\n".to_owned(), 0o600));
        assert!(may_write(folder.path(), true).unwrap_err().to_string().contains("is a directory"));
        assert_eq!(user_id("root:x:0:0::/:/bin/sh\nsniffer:x:995:990::/:/no\n", USER), Some(995));
    }
}
