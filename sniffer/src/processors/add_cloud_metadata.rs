//! `add_cloud_metadata`: adds the cloud provider of this host, if the firmware of the host identifies it. This processor does not query
//! metadata services, so it sends no traffic and does not delay the start. The options about metadata services are accepted without effect.

use super::{AtStart, Decision, Factory, Facts, Shared, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{
        constants::Constants,
        tree::{Object, Tree, merge},
    },
    opening::Opening,
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AddCloudMetadata {
    /// Whether to overwrite an existing `cloud.provider`.
    overwrite: bool,
    /// Providers to detect; empty means all.
    providers: Vec<String>,
    #[serde(rename = "timeout")]
    _timeout: Value,
    #[serde(rename = "ssl")]
    _ssl: Value,
}

pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(opening.node.read::<AddCloudMetadata>()?))
}

impl AddCloudMetadata {
    fn layer(&self, host_data: &HostData) -> Option<Object> {
        let provider = host_data.cloud.get("provider")?.as_str()?;
        // Some providers have two names in the configuration.
        let also = match provider {
            "aws" => "ec2",
            "ecs" => "alibaba",
            "azure" => "azurevm",
            _ => provider,
        };
        let wanted = self.providers.is_empty() || self.providers.iter().any(|p| p == provider || p == also);
        wanted.then(|| Object::from_iter([("cloud".to_owned(), host_data.cloud.clone().into())]))
    }
}

impl Shared for AddCloudMetadata {
    fn apply_at_start(&self, constants: &mut Constants, _: &Facts, host_data: &HostData) -> AtStart {
        if let Some(layer) = self.layer(host_data)
            && (self.overwrite || constants.get("cloud.provider").is_none())
        {
            constants.add(&layer, true);
        }
        AtStart::Done
    }

    fn run(&self, event: &mut Tree, host_data: &HostData) -> Decision {
        if let Some(layer) = self.layer(host_data)
            && (self.overwrite || !event.has("cloud.provider"))
        {
            merge(&mut event.0, &layer);
        }
        Decision::Keep
    }
}
