//! The settings `logging`.

use super::destination::To;
use crate::{
    config::{self, Node},
    rotate::{self, Rotator},
};
use serde::{Deserialize, Deserializer};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// `service.name` of the records. The value is Packetbeat's name, so that pipelines which collect Packetbeat's log also work with this log.
pub(super) const SERVICE: &str = "packetbeat";

/// The settings `logging`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    pub level: Threshold,
    pub selectors: Vec<String>,
    pub to_stderr: Option<bool>,
    pub to_syslog: Option<bool>,
    pub to_files: Option<bool>,
    pub files: Files,
    pub event_data: EventData,
    pub metrics: crate::monitor::ReportOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            level: Threshold::Info,
            selectors: Vec::new(),
            to_stderr: None,
            to_syslog: None,
            to_files: None,
            files: Files::default(),
            event_data: EventData::default(),
            metrics: crate::monitor::ReportOptions::default(),
        }
    }
}

impl Options {
    /// Reads and checks the settings.
    ///
    /// # Errors
    /// When a value is invalid. The error names file, line and key.
    pub fn read(logging: &Node) -> Result<Self, config::Error> {
        let options: Self = logging.read()?;
        options.files.check(&logging.get("files"))?;
        options.event_data.files.0.check(&logging.get("event_data.files"))?;
        Ok(options)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threshold {
    Debug,
    Info,
    Warning,
    Error,
}

impl<'de> Deserialize<'de> for Threshold {
    /// The level may be in upper or lower case, as in Packetbeat.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.to_lowercase().as_str() {
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warning),
            "error" | "critical" => Ok(Self::Error),
            _ => {
                Err(serde::de::Error::custom(format_args!("expected one of `debug`, `info`, `warning`, `error`, `critical`, got `{text}`")))
            }
        }
    }
}

/// The settings `logging.event_data`: the log of events that are dropped, with their content.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventData {
    to_stderr: Option<bool>,
    to_syslog: Option<bool>,
    to_files: Option<bool>,
    files: EventFiles,
}

impl EventData {
    /// Returns the destination of the log of dropped events. `folder`: the setting `path.logs`.
    pub fn destination(self, folder: &Path) -> To {
        if self.to_stderr == Some(true) {
            To::Stderr
        } else if self.to_syslog == Some(true) {
            To::syslog()
        } else if self.to_files != Some(false) {
            self.files.0.destination(folder)
        } else {
            To::Nowhere
        }
    }
}

/// The settings `logging.files`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Files {
    path: Option<PathBuf>,
    name: String,
    #[serde(deserialize_with = "config::bytes::deserialize")]
    rotateeverybytes: u64,
    keepfiles: usize,
    #[serde(deserialize_with = "bits")]
    permissions: u32,
    #[serde(deserialize_with = "config::duration::deserialize")]
    interval: Duration,
    rotateonstartup: bool,
}

impl Default for Files {
    fn default() -> Self {
        let (path, name, rotateeverybytes, keepfiles) = (None, SERVICE.into(), 10 << 20, 7);
        Self { path, name, rotateeverybytes, keepfiles, permissions: 0o600, interval: Duration::ZERO, rotateonstartup: true }
    }
}

impl Files {
    fn check(&self, node: &Node) -> Result<(), config::Error> {
        if !(2..=1024).contains(&self.keepfiles) {
            return Err(node.get("keepfiles").error(format!("{} is not between 2 and 1024", self.keepfiles)));
        }
        rotate::check_name(&self.name).map_err(|why| node.get("name").error(why))
    }

    /// Returns the files of this log. `folder`: the directory of the files unless `path` names another one.
    pub fn destination(self, folder: &Path) -> To {
        To::Files(Rotator::new(rotate::Options {
            folder: self.path.unwrap_or_else(|| folder.to_owned()),
            name: self.name,
            max_bytes: self.rotateeverybytes.max(1),
            keep: self.keepfiles,
            permissions: self.permissions,
            on_startup: self.rotateonstartup,
            interval: self.interval,
        }))
    }
}

/// The settings `logging.event_data.files`, which have other defaults than `logging.files`.
#[derive(Clone, Debug)]
struct EventFiles(Files);

impl Default for EventFiles {
    fn default() -> Self {
        Self(Files { name: format!("{SERVICE}-events-data"), rotateeverybytes: 5 << 20, keepfiles: 2, ..Files::default() })
    }
}

/// The settings that `logging.event_data.files` can have. A setting that is missing has the default of [`EventFiles`].
#[derive(Default, Deserialize)]
#[serde(default)]
struct GivenFiles {
    path: Option<PathBuf>,
    name: Option<String>,
    #[serde(deserialize_with = "some_bytes")]
    rotateeverybytes: Option<u64>,
    keepfiles: Option<usize>,
    #[serde(deserialize_with = "some_bits")]
    permissions: Option<u32>,
    #[serde(deserialize_with = "config::duration::deserialize")]
    interval: Duration,
    rotateonstartup: Option<bool>,
}

impl<'de> Deserialize<'de> for EventFiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = GivenFiles::deserialize(deserializer)?;
        let Self(defaults) = Self::default();
        Ok(Self(Files {
            path: given.path,
            name: given.name.unwrap_or(defaults.name),
            rotateeverybytes: given.rotateeverybytes.unwrap_or(defaults.rotateeverybytes),
            keepfiles: given.keepfiles.unwrap_or(defaults.keepfiles),
            permissions: given.permissions.unwrap_or(defaults.permissions),
            interval: given.interval,
            rotateonstartup: given.rotateonstartup.unwrap_or(defaults.rotateonstartup),
        }))
    }
}

fn bits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let text = String::deserialize(deserializer)?;
    rotate::permissions(&text).ok_or_else(|| serde::de::Error::custom("expected permission bits such as 0600"))
}

fn some_bits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    bits(deserializer).map(Some)
}

fn some_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    config::bytes::deserialize(deserializer).map(Some)
}
