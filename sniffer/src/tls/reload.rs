//! Reads certificates, keys and authorities again when their files have changed. The program therefore need not be restarted when the files
//! are replaced.

use super::{Options, client};
use crate::config;
use rustls::ClientConfig;
use serde::Deserialize;
use std::{
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// The settings `ssl.certificate_reload`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Reload {
    enabled: bool,
    #[serde(deserialize_with = "config::duration::deserialize")]
    reload_interval: Duration,
}

impl Default for Reload {
    fn default() -> Self {
        Self { enabled: true, reload_interval: Duration::from_secs(5) }
    }
}

/// The settings `ssl.restart_on_cert_change`, the older name of `ssl.certificate_reload`. The program does not restart.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Restart {
    enabled: bool,
    #[serde(deserialize_with = "config::duration::deserialize")]
    period: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Self { enabled: false, period: Duration::from_secs(60) }
    }
}

impl Options {
    /// The shortest time between two looks at the files; `None`: they are read once.
    fn reload_interval(&self) -> Option<Duration> {
        match (self.restart_on_cert_change, self.certificate_reload) {
            (Restart { enabled: true, period }, _) => Some(period),
            (_, Reload { enabled: true, reload_interval }) => Some(reload_interval),
            _ => None,
        }
    }

    /// The files that the options name.
    fn files(&self) -> impl Iterator<Item = &str> {
        let names = self.certificate_authorities.0.iter().chain([&self.certificate, &self.key]);
        names.map(String::as_str).filter(|text| !text.is_empty() && !text.contains("-----BEGIN"))
    }

    /// The state of the files, which changes when one of them is replaced or written.
    fn versions(&self) -> Vec<Version> {
        let version = |name| {
            let metadata = std::fs::metadata(name).ok()?;
            Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.modified().ok()?))
        };
        self.files().map(version).collect()
    }
}

/// Device, inode, length and time of a file; `None` if there is no such file.
type Version = Option<(u64, u64, u64, SystemTime)>;

/// The TLS configuration of a client.
#[derive(Debug)]
pub struct Reloading {
    options: Options,
    needed: bool,
    protocols: Vec<Vec<u8>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Arc<ClientConfig>,
    checked: Instant,
    versions: Vec<Version>,
}

impl Reloading {
    /// Reads the files. `needed`: whether any connection will use TLS. `protocols`: the application protocols to offer.
    ///
    /// # Errors
    /// When a file cannot be read or an option is wrong.
    pub fn new(options: &Options, needed: bool, protocols: &[&[u8]]) -> Result<Self, String> {
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|name| name.to_vec()).collect();
        let versions = options.versions();
        let config = Arc::new(with_protocols(client(options, needed)?, &protocols));
        let state = Mutex::new(State { config, checked: Instant::now(), versions });
        Ok(Self { options: options.clone(), needed, protocols, state })
    }

    /// The configuration for a new connection. The function reads the files again if they have changed. If they cannot be used, the
    /// previous configuration stays.
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.options.reload_interval().is_none_or(|every| state.checked.elapsed() < every) {
            return state.config.clone();
        }
        state.checked = Instant::now();
        let versions = self.options.versions();
        if versions != state.versions {
            match client(&self.options, self.needed) {
                Ok(config) => {
                    state.config = Arc::new(with_protocols(config, &self.protocols));
                    state.versions = versions;
                    log::info!("Certificates and keys were read again, because their files have changed");
                }
                // The files may be half written, or some may not be replaced yet. The next connection reads them again.
                Err(why) => {
                    log::warn!("The files of certificates have changed and cannot be used; the previous ones stay: {why}")
                }
            }
        }
        state.config.clone()
    }
}

fn with_protocols(mut config: ClientConfig, protocols: &[Vec<u8>]) -> ClientConfig {
    config.alpn_protocols = protocols.to_vec();
    config
}
