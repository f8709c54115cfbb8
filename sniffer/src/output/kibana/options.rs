//! The settings of `setup.kibana` and `setup.dashboards`.

use crate::{
    config::{self, Node, duration},
    output::{
        cloud::cloud,
        hosts, http,
        shapes::{self, Scalar},
    },
};
use reqwest::Url;
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// The default port of Kibana.
const PORT: u16 = 5601;

/// `setup.kibana`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    host: String,
    protocol: String,
    path: String,
    pub space: Space,
    pub username: Option<Scalar>,
    pub password: Option<Scalar>,
    pub api_key: Option<Scalar>,
    pub service_token: Option<Scalar>,
    pub headers: BTreeMap<String, Scalar>,
    /// Connection settings, read from the same node.
    #[serde(skip)]
    pub http: http::Options,
}

/// `setup.kibana.space`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Space {
    pub id: String,
}

impl Options {
    /// Reads `setup.kibana`. Credentials that are not set are those of `cloud.auth`, or those of `output.elasticsearch`.
    pub(super) fn read(root: &Node) -> Result<Self, config::Error> {
        let node = root.get("setup.kibana");
        let mut options: Self = node.read()?;
        options.http = node.read()?;
        let texts = [&mut options.username, &mut options.password, &mut options.api_key, &mut options.service_token];
        // An empty text counts as not set: `password: "${KIBANA_PASSWORD:}"`.
        texts.into_iter().for_each(|text| *text = text.take().filter(|text| !text.0.is_empty()));
        if options.api_key.is_some() && options.username.is_some() {
            return Err(node.get("api_key").error("cannot set both api_key and username/password"));
        }
        if let Some(cloud) = cloud(root)? {
            if let Some(kibana) = cloud.kibana {
                options.host = kibana;
            }
            if let Some((user, password)) = cloud.auth {
                (options.username, options.password) = (Some(Scalar(user)), Some(Scalar(password)));
            }
        }
        if options.username.is_none() && options.api_key.is_none() && options.service_token.is_none() {
            options.take_from_output(root)?;
        }
        Ok(options)
    }

    fn take_from_output(&mut self, root: &Node) -> Result<(), config::Error> {
        let Some(output) = shapes::at(root, "output.elasticsearch").filter(Node::is_map) else { return Ok(()) };
        if output.get("enabled").read::<Option<bool>>()? == Some(false) {
            return Ok(());
        }
        let text = |key: &str| Ok(output.get(key).read::<Option<Scalar>>()?.filter(|text| !text.0.is_empty()));
        (self.username, self.password, self.api_key) = (text("username")?, text("password")?, text("api_key")?);
        Ok(())
    }

    /// The base URL: the address, the path of the Kibana space, and a slash at the end.
    pub(super) fn base(&self) -> Result<Url, String> {
        let scheme = match self.protocol.as_str() {
            "" if self.http.ssl.is_used() => "https",
            "" => "http",
            other => other,
        };
        let host = if self.host.is_empty() { "localhost" } else { &self.host };
        let mut url = hosts::address(host, scheme, &["http", "https"], PORT).map_err(|why| why.trim_start_matches("hosts: ").to_owned())?;
        let path = if url.path() == "/" { self.path.clone() } else { url.path().to_owned() };
        let path = path.trim_matches('/');
        let space = if self.space.id.is_empty() { String::new() } else { format!("s/{}", self.space.id) };
        let parts = [path, &space].into_iter().filter(|part| !part.is_empty());
        let path: String = parts.map(|part| format!("/{part}")).collect();
        url.set_path(&format!("{path}/"));
        Ok(url)
    }
}

/// `setup.dashboards`
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct DashboardOptions {
    pub enabled: bool,
    /// The folder that has the files `7/TYPE/NAME.json`. If it is not set, the folder `kibana` in `path.home` is used. If that does not
    /// exist, the program's own dashboards are used.
    pub directory: Option<String>,
    file: String,
    url: String,
    index: String,
    pub retry: Retry,
    // These settings have no effect, as in Packetbeat 9: Kibana is always reached through its API.
    #[serde(rename = "beat")]
    _beat: serde::de::IgnoredAny,
    #[serde(rename = "kibana_index")]
    _kibana_index: serde::de::IgnoredAny,
    #[serde(rename = "always_kibana")]
    _always_kibana: serde::de::IgnoredAny,
}

/// `setup.dashboards.retry`
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Retry {
    pub enabled: bool,
    #[serde(with = "duration")]
    pub interval: Duration,
    /// Number of further attempts; 0: no limit.
    pub maximum: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { enabled: false, interval: Duration::from_secs(1), maximum: 0 }
    }
}

impl Default for DashboardOptions {
    fn default() -> Self {
        let (directory, file, url, index, retry) = (None, String::new(), String::new(), String::new(), Retry::default());
        let ignored = serde::de::IgnoredAny;
        Self { enabled: false, directory, file, url, index, retry, _beat: ignored, _kibana_index: ignored, _always_kibana: ignored }
    }
}

impl DashboardOptions {
    /// Reads `setup.dashboards`.
    pub(super) fn read(root: &Node) -> Result<Self, config::Error> {
        let node = root.get("setup.dashboards");
        let mut options: Self = node.read()?;
        for (key, value) in [("file", &options.file), ("url", &options.url)] {
            if !value.is_empty() {
                return Err(node
                    .get(key)
                    .error("archives are not supported; unpack it, and write its folder `kibana` in setup.dashboards.directory"));
            }
        }
        options.directory = options.directory.filter(|directory| !directory.is_empty());
        Ok(options)
    }

    /// The indices that dashboards show.
    pub(super) fn index(&self) -> &str {
        if self.index.is_empty() { super::pattern::INDEX } else { &self.index }
    }
}
