//! The `path.*` settings (home, configuration, data, logs), and the data directory with its lock and the agent's identity.

use super::error::Error;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// Absolute paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// `path.home`; by default the directory of the binary.
    pub home: PathBuf,
    /// `path.config`: where configuration files are looked up; by default `home`.
    pub config: PathBuf,
    /// `path.data`: the directory of files that are kept between runs; by default `home/data`.
    pub data: PathBuf,
    /// `path.logs`: log files; by default `home/logs`.
    pub logs: PathBuf,
}

impl Paths {
    /// The default paths for a binary in the directory `home`.
    pub fn below(home: &Path) -> Self {
        PathSettings::default().resolve(home)
    }

    /// The default paths for the running binary.
    pub fn standard() -> Self {
        Self::below(&program_folder())
    }
}

/// The directory of the running binary.
pub(super) fn program_folder() -> PathBuf {
    std::env::current_exe().ok().and_then(|p| p.parent().map(Path::to_owned)).unwrap_or_else(|| PathBuf::from("."))
}

/// The `path.*` settings of one source (command line or file). `None` means that this source does not set the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PathSettings {
    pub home: Option<PathBuf>,
    pub config: Option<PathBuf>,
    pub data: Option<PathBuf>,
    pub logs: Option<PathBuf>,
}

impl PathSettings {
    /// Returns these settings. Settings without a value are taken from `other`.
    pub fn or(&self, other: &Self) -> Self {
        let pick = |a: &Option<PathBuf>, b: &Option<PathBuf>| a.clone().or_else(|| b.clone());
        Self {
            home: pick(&self.home, &other.home),
            config: pick(&self.config, &other.config),
            data: pick(&self.data, &other.data),
            logs: pick(&self.logs, &other.logs),
        }
    }

    /// `program`: the directory of the binary.
    pub fn resolve(&self, program: &Path) -> Paths {
        // `absolute` fails only for an empty path.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let home = absolute(self.home.clone().unwrap_or_else(|| program.to_owned()));
        Paths {
            config: absolute(self.config.clone().unwrap_or_else(|| home.clone())),
            data: absolute(self.data.clone().unwrap_or_else(|| home.join("data"))),
            logs: absolute(self.logs.clone().unwrap_or_else(|| home.join("logs"))),
            home,
        }
    }
}

/// The data directory, locked by this process until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    /// `agent.id`: the same at every start.
    pub agent_id: Uuid,
    /// Holds the lock. The kernel releases it when the file is closed, however the process ends.
    _lock: File,
}

/// The content of `meta.json`, in Packetbeat's format. Keys that this program does not know are preserved.
#[derive(Serialize, Deserialize)]
struct Meta {
    uuid: Uuid,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

impl DataDir {
    /// Creates the directory if needed, locks it, and reads the identity or generates one. `now` (RFC 3339) is stored with a new identity.
    ///
    /// # Errors
    /// When another instance holds the lock, or the directory cannot be written.
    pub fn open(paths: &Paths, now: &str) -> Result<Self, Error> {
        let data = &paths.data;
        let failed = |what: &str, path: &Path, e: std::io::Error| {
            Error(format!("{what} {}: {e}; name another data directory with --path.data", path.display()))
        };
        fs::DirBuilder::new().recursive(true).mode(0o750).create(data).map_err(|e| failed("cannot make the data directory", data, e))?;
        let at = data.join("packetbeat.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&at)
            .map_err(|e| failed("cannot open the lock file", &at, e))?;
        lock.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => Error(format!(
                "data path {} is locked by another instance ({}); stop that one, or give this one its own directory with --path.data",
                data.display(),
                at.display()
            )),
            TryLockError::Error(e) => failed("cannot lock", &at, e),
        })?;
        let at = data.join("meta.json");
        let agent_id = match fs::read(&at) {
            // A file that a crash left incomplete must not prevent the start: generate a new identity.
            Ok(text) => serde_json::from_slice::<Meta>(&text).ok().map(|meta| meta.uuid).filter(|id| !id.is_nil()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(failed("cannot read", &at, e)),
        };
        let agent_id = match agent_id {
            Some(id) => id,
            None => {
                let id = Uuid::new_v4();
                let rest = [("first_start".to_owned(), now.into())].into_iter().collect();
                write_anew(&at, &Meta { uuid: id, rest }).map_err(|e| failed("cannot write", &at, e))?;
                id
            }
        };
        Ok(Self { agent_id, _lock: lock })
    }
}

/// Writes to a temporary file and renames it, so that a crash leaves either the old content or the new.
fn write_anew(path: &Path, meta: &Meta) -> std::io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    serde_json::to_writer(&mut file, meta)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::{DataDir, PathSettings, Paths};
    use std::path::{Path, PathBuf};

    #[test]
    fn defaults_follow_home() {
        let settings = PathSettings { home: Some("/h".into()), logs: Some("/l".into()), ..PathSettings::default() };
        let other = PathSettings { home: Some("/no".into()), data: Some("/d".into()), ..PathSettings::default() };
        let p = |s: &str| PathBuf::from(s);
        assert_eq!(settings.resolve(Path::new("/bin")), Paths { home: p("/h"), config: p("/h"), data: p("/h/data"), logs: p("/l") });
        assert_eq!(settings.or(&other).resolve(Path::new("/bin")), Paths { home: p("/h"), config: p("/h"), data: p("/d"), logs: p("/l") });
        assert_eq!(PathSettings::default().resolve(Path::new("/bin")).home, p("/bin"));
    }

    #[test]
    fn one_instance_and_one_identity() {
        let home = std::env::temp_dir().join(format!("sniffer-paths-{}", std::process::id()));
        let paths = PathSettings { home: Some(home.clone()), ..PathSettings::default() }.resolve(Path::new("/"));
        let first = DataDir::open(&paths, "2026-01-01T00:00:00Z").unwrap();
        let second = DataDir::open(&paths, "").unwrap_err().0;
        assert!(second.contains("is locked by another instance") && second.contains("--path.data"), "{second}");
        let id = first.agent_id;
        drop(first);
        assert_eq!(DataDir::open(&paths, "").unwrap().agent_id, id);
        let meta = std::fs::read_to_string(home.join("data/meta.json")).unwrap();
        assert_eq!(meta, format!("{{\"uuid\":\"{id}\",\"first_start\":\"2026-01-01T00:00:00Z\"}}\n"));
        std::fs::write(home.join("data/meta.json"), "{\"uu").unwrap();
        assert_ne!(DataDir::open(&paths, "").unwrap().agent_id, id);
        std::fs::remove_dir_all(&home).unwrap();
    }
}
