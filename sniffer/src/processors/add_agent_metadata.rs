//! `add_agent_metadata`: adds the data that Elastic Agent adds to the events of its inputs.

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
use serde_json::{Value, json};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "add_agent_metadata",
    about: "Adds the fields with which Elastic Agent marks the events of an input: `data_stream`, `elastic_agent`, `event.dataset`, and the ids \
            of input and stream in `@metadata`.",
    example: "input_id: in-1\ndata_stream: {dataset: packets, namespace: default, type: logs}\nelastic_agent: {id: abc, version: 9.6.0}",
    options: &[("", AddAgentMetadata::OPTIONS), ("data_stream.", DataStream::OPTIONS), ("elastic_agent.", ElasticAgent::OPTIONS)],
    open,
};

options! {
    struct AddAgentMetadata {
        /// The id of the input, for `@metadata.input_id`.
        input_id: String = String::new(),
        /// The id of the stream, for `@metadata.stream_id`.
        stream_id: String = String::new(),
        /// The data stream.
        data_stream: DataStream,
        /// The agent.
        elastic_agent: ElasticAgent,
    }
}

options! {
    struct DataStream {
        /// The dataset, also for `event.dataset`.
        dataset: String = String::new(),
        /// The namespace.
        namespace: String = String::new(),
        /// The type.
        r#type: String = String::new(),
    }
}

options! {
    struct ElasticAgent {
        /// The id of the agent.
        id: String = String::new(),
        /// The version of the agent.
        version: String = String::new(),
        /// Whether the agent is a snapshot build.
        snapshot: bool = false,
    }
}

#[derive(Debug)]
struct Metadata(Object);

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let AddAgentMetadata { input_id, stream_id, data_stream, elastic_agent } = AddAgentMetadata::read(opening.node)?;
    let mut fields = Object::new();
    let mut add = |name: &str, parts: Vec<(&str, Value)>| {
        let set: Object = parts.into_iter().filter(|(_, value)| value != "").map(|(key, value)| (key.to_owned(), value)).collect();
        if !set.is_empty() {
            fields.insert(name.to_owned(), set.into());
        }
    };
    add("@metadata", vec![("input_id", json!(input_id)), ("stream_id", json!(stream_id))]);
    add("event", vec![("dataset", json!(data_stream.dataset))]);
    let DataStream { dataset, namespace, r#type } = data_stream;
    add("data_stream", vec![("dataset", json!(dataset)), ("namespace", json!(namespace)), ("type", json!(r#type))]);
    let ElasticAgent { id, version, snapshot } = elastic_agent;
    add("elastic_agent", vec![("id", json!(id)), ("version", json!(version)), ("snapshot", json!(snapshot))]);
    Ok(shared(Metadata(fields)))
}

impl Shared for Metadata {
    fn apply_at_start(&self, constants: &mut Constants, _: &Facts, _: &HostData) -> AtStart {
        constants.add(&self.0, true);
        AtStart::Done
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        event.merge(&self.0);
        Decision::Keep
    }
}
