//! The command `setup`: sets Elasticsearch up without sending events.

use super::Elasticsearch;
use crate::{
    config,
    opening::Opening,
    output::{Error, selected::selected},
};

/// The configured Elasticsearch, for `setup`.
pub struct Preparation(Elasticsearch);

impl Preparation {
    /// Reads the settings of the output. `None` if another output is configured.
    ///
    /// # Errors
    /// When no output is configured, or a setting is wrong.
    pub fn read(opening: &Opening<'_>) -> Result<Option<Self>, config::Error> {
        let (kind, node) = selected(opening.root)?;
        if kind.name != super::OUTPUT.name {
            return Ok(None);
        }
        Elasticsearch::read(&opening.at(&node)).map(|output| Some(Self(output)))
    }

    /// Whether a lifecycle policy that exists stays as it is.
    pub fn keeps_policy(&self) -> bool {
        self.0.shared.setup.keeps_policy()
    }

    /// Connects to the first host that answers. With `index_management` loads the policy and the template, replacing a template that
    /// exists, and creates the data stream.
    ///
    /// # Errors
    /// The reason of each host, if none can be used.
    pub async fn run(&self, index_management: bool) -> Result<(), String> {
        let mut reasons = Vec::new();
        for host in 0..self.0.shared.servers.hosts.len() {
            match self.on(host, index_management).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    reasons.push(format!("{}: {}", self.0.shared.servers.url(host), error.reason()));
                }
            }
        }
        Err(format!("Elasticsearch cannot be set up: {}", reasons.join("; ")))
    }

    async fn on(&self, host: usize, index_management: bool) -> Result<(), Error> {
        let shared = &self.0.shared;
        let server = shared.server(host).await?;
        shared.check_version(&server)?;
        if index_management { shared.set_up(host, &server, true).await } else { Ok(()) }
    }
}
