//! `add_agent_metadata`: adds the data that Elastic Agent adds to the events of its inputs.

use super::{Factory, ProcessorKind, kit::AddConstant, options::options, shared};
use crate::{config::Error, event::tree::Object, opening::Opening};
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
        /// The data stream of the events.
        data_stream: DataStream,
        /// The Elastic Agent that runs the input.
        elastic_agent: ElasticAgent,
    }
}

options! {
    struct DataStream {
        /// The dataset of the data stream, also written to `event.dataset`.
        dataset: String = String::new(),
        /// The namespace of the data stream.
        namespace: String = String::new(),
        /// The type of the data stream.
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
    Ok(shared(AddConstant(fields)))
}
