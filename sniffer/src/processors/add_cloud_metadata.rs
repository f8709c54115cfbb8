//! `add_cloud_metadata`: adds the cloud provider of this host, if the firmware of the host identifies it. This processor does not query
//! metadata services, so it sends no traffic and does not delay the start. The options about metadata services are accepted without effect.

use super::{AtStart, Decision, Factory, Facts, ProcessorKind, Shared, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{
        constants::Constants,
        tree::{Object, Tree},
    },
    opening::Opening,
};
use serde_json::Value;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_cloud_metadata",
    about: "Adds the cloud provider of this host to `cloud`, if the firmware of the host identifies it. No metadata service is asked, so the \
            processor sends no traffic and does not delay the start.",
    example: "overwrite: true\nproviders: [aws, gcp]",
    options: &[("", AddCloudMetadata::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct AddCloudMetadata {
        /// Replaces a `cloud.provider` of the event.
        overwrite: bool = false,
        /// The providers to detect; all of them if the list is empty.
        providers: Vec<String> = Vec::new(),
        /// Accepted without effect: no metadata service is asked.
        timeout: Value = Value::Null,
        /// Accepted without effect: no metadata service is asked.
        ssl: Value = Value::Null,
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = AddCloudMetadata::read(opening.node)?;
    let _ = (&options.timeout, &options.ssl);
    Ok(shared(options))
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
            event.merge(&layer);
        }
        Decision::Keep
    }
}
