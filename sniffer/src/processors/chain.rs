//! The processing of one publisher's events: constant fields that are merged while an event is written, and steps that edit each event as a
//! tree. A chain is compiled once for all workers and contains no processor state; each worker keeps that state in its [`Instances`].
//!
//! Lists of processors are compiled from the front. A processor that needs no event is applied to the constants at start. Such a processor
//! adds or removes constant fields, has a condition with the same result for all events, or does not affect these events. The first
//! processor that needs an event and all processors after it run per event, because they depend on the results of the earlier ones. If a
//! chain has no steps, events are never converted to trees.

use super::{AtStart, Decision, Destination, Factory, Facts, Instances, Step};
use crate::{
    enrich::HostData,
    event::{
        constants::{Constants, Prepared},
        tree::{Fields, Known, Object, Tree},
    },
    processors::condition::Condition,
};
use serde_json::Value;
use std::borrow::Cow;

/// The processing of a publisher's events.
#[derive(Debug, Default)]
pub struct Chain {
    constants: Constants,
    /// The constants, serialized.
    pub prepared: Prepared,
    steps: Vec<Step>,
    /// Whether every event of the publisher is dropped.
    pub drops_all: bool,
    /// The destination of events, unless the steps change it.
    pub destination: Destination,
    metadata: bool,
}

impl Chain {
    /// Starts to compile a chain for events of which `facts` are known.
    pub fn build<'a>(facts: &'a Facts, host_data: &'a HostData) -> Builder<'a> {
        Builder { facts, host_data, constants: Constants::default(), steps: Vec::new(), drops_all: false }
    }

    /// Whether events are written without being converted to trees.
    pub fn is_fast(&self) -> bool {
        self.steps.is_empty()
    }

    /// The constant fields.
    pub fn constants(&self) -> &Constants {
        &self.constants
    }

    /// Drops a worker's instances that none of `chains` uses.
    pub fn retain<'a>(chains: impl Iterator<Item = &'a Self>, instances: &mut Instances) {
        instances.retain(chains.map(|chain| chain.steps.as_slice()));
    }

    /// Makes the processor instances that the steps need and that the worker does not have yet.
    pub fn prepare(&self, instances: &mut Instances) {
        instances.prepare(&self.steps);
    }

    /// Runs the steps on an event, with the worker's instances. Returns its destination, or `None` if the event is dropped.
    pub fn run(&self, event: &mut Tree, host_data: &HostData, instances: &mut Instances) -> Option<Destination> {
        if run(&self.steps, event, host_data, instances) == Decision::Drop {
            return None;
        }
        let destination = self.destination.of(|name| event.get(name).and_then(Value::as_str).map(Cow::Borrowed));
        if !self.metadata {
            event.fields.remove("@metadata");
        }
        Some(destination)
    }
}

fn run(steps: &[Step], event: &mut Tree, host_data: &HostData, instances: &mut Instances) -> Decision {
    for step in steps {
        let decision = match step {
            Step::Run { when: Some(when), .. } if when.holds(event) != Some(true) => Decision::Keep,
            Step::Run { factory, .. } => instances.of(factory).run(event, host_data),
            Step::Branch { condition, then, otherwise } => {
                run(if condition.holds(event) == Some(true) { then } else { otherwise }, event, host_data, instances)
            }
            Step::Add(constants) => {
                constants.apply(&mut event.fields);
                Decision::Keep
            }
        };
        if decision == Decision::Drop {
            return Decision::Drop;
        }
    }
    Decision::Keep
}

/// A chain while it is compiled.
pub struct Builder<'a> {
    facts: &'a Facts,
    host_data: &'a HostData,
    constants: Constants,
    steps: Vec<Step>,
    drops_all: bool,
}

impl Builder<'_> {
    /// Adds constant fields. With `overwrite` they overwrite the event's own fields.
    #[must_use]
    pub fn add(mut self, layer: Object, overwrite: bool) -> Self {
        if self.steps.is_empty() {
            self.constants.add(&layer, overwrite);
        } else if !layer.is_empty() {
            let mut constants = Constants::default();
            constants.add(&layer, overwrite);
            self.steps.push(Step::Add(constants));
        }
        self
    }

    /// Adds a list of processors.
    #[must_use]
    pub fn processors(mut self, steps: &[Step]) -> Self {
        self.add_steps(steps);
        self
    }

    fn add_steps(&mut self, steps: &[Step]) {
        for step in steps {
            if self.drops_all {
                return;
            }
            if self.steps.is_empty() {
                self.compile_step(step);
            } else {
                self.steps.push(step.clone());
            }
        }
    }

    /// Compiles a step. All steps before it need no event. The step is applied now if it needs no event either.
    fn compile_step(&mut self, step: &Step) {
        match step {
            Step::Run { when, factory } => match when.as_ref().map_or(Some(true), |when| self.holds_for_all(when)) {
                Some(false) => {}
                Some(true) => match factory.apply_at_start(&mut self.constants, self.facts, self.host_data) {
                    AtStart::Done => {}
                    AtStart::DropsAll => self.drops_all = true,
                    AtStart::PerEvent => self.steps.push(Step::Run { when: None, factory: factory.clone() }),
                },
                None if self.changes_nothing(factory.as_ref()) => {}
                None => self.steps.push(step.clone()),
            },
            Step::Branch { condition, then, otherwise } => match self.holds_for_all(condition) {
                Some(true) => self.add_steps(then),
                Some(false) => self.add_steps(otherwise),
                None => self.steps.push(step.clone()),
            },
            Step::Add(_) => self.steps.push(step.clone()),
        }
    }

    /// Returns the result of a condition if it is the same for all events of the publisher, otherwise `None`.
    fn holds_for_all(&self, condition: &Condition) -> Option<bool> {
        condition.holds(&KnownFields { facts: self.facts, constants: &self.constants })
    }

    /// Whether the processor changes none of these events, regardless of the result of its condition.
    fn changes_nothing(&self, factory: &dyn Factory) -> bool {
        let mut constants = self.constants.clone();
        factory.apply_at_start(&mut constants, self.facts, self.host_data) == AtStart::Done && constants == self.constants
    }

    /// Finishes the chain. `metadata`: documents contain `@metadata`.
    ///
    /// # Errors
    /// When serialization of the constants fails, which is not known to happen.
    pub fn finish(mut self, metadata: bool) -> Result<Chain, serde_json::Error> {
        let destination = Destination::default().of(|name| self.constants.text(name).map(Cow::from));
        if !metadata && self.steps.is_empty() {
            self.constants.remove("@metadata");
        }
        let prepared = self.constants.prepare()?;
        let Self { constants, steps, drops_all, .. } = self;
        Ok(Chain { constants, prepared, steps, drops_all, destination, metadata })
    }
}

/// The fields of a publisher's events that are known without an event.
struct KnownFields<'a> {
    facts: &'a Facts,
    constants: &'a Constants,
}

impl Fields for KnownFields<'_> {
    fn field(&self, name: &str) -> Known<'_> {
        let absent = self.facts.cannot_have(name);
        match self.constants.get(name) {
            Some((Some(value), overwrite)) if overwrite || absent => Known::Value(Cow::Owned(value)),
            Some((None, true)) => Known::Absent,
            Some(_) => Known::Unknown,
            None if absent => Known::Absent,
            None => self.facts.constant_value(name).map_or(Known::Unknown, |value| Known::Value(Cow::Owned(value))),
        }
    }
}
