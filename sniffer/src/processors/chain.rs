//! What is done to the events of one publisher: constants that are merged while an event is written, and, only if something is
//! left that must look at each event, steps that edit it as a tree.
//!
//! A list of processors is compiled from the front. As long as each can be told without an event, it is folded into the constants:
//! fields added or taken away, conditions on what is the same in all events, processors that do not concern these events. From the
//! first that cannot, all are run on each event, since what they find depends on what came before.

use super::{Facts, Fold, Processor, Step, Verdict};
use crate::{
    enrich::World,
    event::{
        constants::{Constants, Prepared},
        tree::{Fields, Known, Object, Tree},
    },
    processors::condition::Condition,
};
use serde_json::Value;
use std::{borrow::Cow, sync::Arc};

/// What is done to each event of a publisher.
#[derive(Debug, Default)]
pub struct Chain {
    constants: Constants,
    /// The constants as text.
    pub prepared: Prepared,
    steps: Vec<Step>,
    /// No event of the publisher is published.
    pub drops_all: bool,
    /// Where events go, unless the steps say otherwise.
    pub target: Option<Arc<str>>,
    /// The ingest pipeline, likewise.
    pub pipeline: Option<Arc<str>>,
    metadata: bool,
}

/// Where `@metadata` keeps the target of an event, and its pipeline.
const TARGET: &str = "@metadata.raw_index";
const PIPELINE: &str = "@metadata.pipeline";

impl Chain {
    /// An empty chain for events of which `facts` are known.
    pub fn build<'a>(facts: &'a Facts, world: &'a World) -> Builder<'a> {
        Builder { facts, world, constants: Constants::default(), steps: Vec::new(), drops_all: false }
    }

    /// Whether events are written without becoming a tree.
    pub fn is_fast(&self) -> bool {
        self.steps.is_empty()
    }

    /// The constants.
    pub fn constants(&self) -> &Constants {
        &self.constants
    }

    /// Runs what is left for each event. `None`: it is not published; else its target and pipeline.
    pub fn run(&self, event: &mut Tree, world: &World) -> Option<[Option<Arc<str>>; 2]> {
        if run(&self.steps, event, world) == Verdict::Drop {
            return None;
        }
        let same = |name: &str, known: &Option<Arc<str>>| match (event.get(name).and_then(Value::as_str), known) {
            (Some(text), Some(known)) if text == &**known => Some(known.clone()),
            (text, _) => text.map(Arc::from),
        };
        let route = [same(TARGET, &self.target), same(PIPELINE, &self.pipeline)];
        if !self.metadata {
            event.0.remove("@metadata");
        }
        Some(route)
    }
}

fn run(steps: &[Step], event: &mut Tree, world: &World) -> Verdict {
    for step in steps {
        let verdict = match step {
            Step::Run { when, processor } => match when {
                Some(when) if when.holds(event) != Some(true) => Verdict::Keep,
                _ => processor.run(event, world),
            },
            Step::Branch { condition, then, otherwise } => {
                run(if condition.holds(event) == Some(true) { then } else { otherwise }, event, world)
            }
        };
        if verdict == Verdict::Drop {
            return Verdict::Drop;
        }
    }
    Verdict::Keep
}

/// A chain that is being compiled.
pub struct Builder<'a> {
    facts: &'a Facts,
    world: &'a World,
    constants: Constants,
    steps: Vec<Step>,
    drops_all: bool,
}

impl Builder<'_> {
    /// Adds fields to every event. `wins`: over what it has.
    #[must_use]
    pub fn add(mut self, layer: Object, wins: bool) -> Self {
        if self.steps.is_empty() {
            self.constants.add(&layer, wins);
        } else if !layer.is_empty() {
            self.steps.push(Step::Run { when: None, processor: Arc::new(Add { layer, wins }) });
        }
        self
    }

    /// Adds a list of processors.
    #[must_use]
    pub fn processors(mut self, steps: &[Step]) -> Self {
        self.each(steps);
        self
    }

    fn each(&mut self, steps: &[Step]) {
        for step in steps {
            if self.drops_all {
                return;
            }
            if self.steps.is_empty() {
                self.first(step);
            } else {
                self.steps.push(step.clone());
            }
        }
    }

    /// A step before which everything was told without an event.
    fn first(&mut self, step: &Step) {
        match step {
            Step::Run { when, processor } => match when.as_ref().map_or(Some(true), |when| self.decide(when)) {
                Some(false) => {}
                Some(true) => match processor.fold(&mut self.constants, self.facts, self.world) {
                    Fold::Done => {}
                    Fold::DropsAll => self.drops_all = true,
                    Fold::PerEvent => self.steps.push(Step::Run { when: None, processor: processor.clone() }),
                },
                None if self.is_idle(processor) => {}
                None => self.steps.push(step.clone()),
            },
            Step::Branch { condition, then, otherwise } => match self.decide(condition) {
                Some(true) => self.each(then),
                Some(false) => self.each(otherwise),
                None => self.steps.push(step.clone()),
            },
        }
    }

    fn decide(&self, condition: &Condition) -> Option<bool> {
        condition.holds(&Common { facts: self.facts, constants: &self.constants })
    }

    /// Whether the processor changes nothing, whatever its condition says.
    fn is_idle(&self, processor: &Arc<dyn Processor>) -> bool {
        let mut constants = self.constants.clone();
        processor.fold(&mut constants, self.facts, self.world) == Fold::Done && constants == self.constants
    }

    /// The chain. `metadata`: the documents show `@metadata`.
    ///
    /// # Errors
    /// None that is known; the JSON writer's.
    pub fn finish(mut self, metadata: bool) -> Result<Chain, serde_json::Error> {
        let text = |name: &str| self.constants.text(name).map(Arc::from);
        let (target, pipeline) = (text(TARGET), text(PIPELINE));
        if !metadata && self.steps.is_empty() {
            self.constants.remove("@metadata");
        }
        let prepared = self.constants.prepare()?;
        let Self { constants, steps, drops_all, .. } = self;
        Ok(Chain { constants, prepared, steps, drops_all, metadata, target, pipeline })
    }
}

/// What all events of a publisher have in common.
struct Common<'a> {
    facts: &'a Facts,
    constants: &'a Constants,
}

impl Fields for Common<'_> {
    fn field(&self, name: &str) -> Known<'_> {
        let never = self.facts.never(name);
        match self.constants.get(name) {
            Some((Some(value), wins)) if wins || never => Known::Value(Cow::Owned(value)),
            Some((None, true)) => Known::Absent,
            Some(_) => Known::Unknown,
            None if never => Known::Absent,
            None => self.facts.always(name).map_or(Known::Unknown, |value| Known::Value(Cow::Owned(value))),
        }
    }
}

/// A layer of constants behind a step that looks at each event.
#[derive(Debug)]
struct Add {
    layer: Object,
    wins: bool,
}

impl Processor for Add {
    fn run(&self, event: &mut Tree, _: &World) -> Verdict {
        let mut constants = Constants::default();
        constants.add(&self.layer, self.wins);
        constants.apply(&mut event.0);
        Verdict::Keep
    }
}
