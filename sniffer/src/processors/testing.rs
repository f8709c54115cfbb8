//! Runs processors of a configuration on events, for tests.

use super::{Chain, Facts, Instances, Lists, Step};
use crate::{
    config::Node,
    enrich::HostData,
    event::{
        constants::Constants,
        tree::{Object, Tree},
    },
    opening::{Opening, testing::opening},
    time::Timestamp,
};
use serde_json::Value;

/// Processors that were opened from a list in YAML, with the state that they keep between events.
pub(super) struct Running {
    chain: Chain,
    instances: Instances,
    host_data: HostData,
}

/// The errors of a list of processors; `None` if it can be opened.
pub(super) fn errors(yaml: &str) -> Option<String> {
    let mut lists = Lists::default();
    lists.open(&opening(&Node::parse(yaml).unwrap()));
    lists.finish().err().map(|error| error.to_string())
}

impl Running {
    /// Opens a list of processors.
    pub(super) fn open(yaml: &str) -> Self {
        Self::open_with(yaml, true)
    }

    /// Opens a list of processors for live capture or for capture files.
    pub(super) fn open_with(yaml: &str, live: bool) -> Self {
        let host_data = HostData::gather();
        let mut lists = Lists::default();
        let steps = lists.open(&Opening { live, ..opening(&Node::parse(yaml).unwrap_or_else(|error| panic!("{yaml}\n{error}"))) });
        lists.finish().unwrap_or_else(|error| panic!("{yaml}\n{error}"));
        // A chain applies its first processors only once, at start, if they need no event. After this step, which needs an event, all
        // processors run on every event.
        let first = [Step::Add(Constants::default())];
        let chain = Chain::build(&Facts::default(), &host_data).processors(&first).processors(&steps).finish(true).unwrap();
        Self { chain, instances: Instances::default(), host_data }
    }

    /// Processes one event; `None` if it is dropped. The text of `@timestamp` in the event becomes its time.
    pub(super) fn run(&mut self, event: &Value) -> Option<Value> {
        let fields: Object = event.as_object().unwrap().clone();
        let time = fields.get("@timestamp").and_then(Value::as_str).and_then(Timestamp::parse).unwrap_or_default();
        let mut tree = Tree::new(fields, time, 3);
        self.chain.run(&mut tree, &self.host_data, &mut self.instances)?;
        serde_json::to_value(tree.finish()).ok()
    }
}
