//! The processors of one worker.

use super::{Factory, Processor, list::Step};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

/// A worker's instance of each processor that its chains run. All publishers of the worker share the instance of an entry.
#[derive(Default)]
pub struct Instances(HashMap<usize, Instance>);

/// The factory is kept, so that no other one can come to have its address.
struct Instance {
    _factory: Arc<dyn Factory>,
    processor: Box<dyn Processor>,
}

/// What tells an entry of the configuration from all others.
fn address(factory: &Arc<dyn Factory>) -> usize {
    Arc::as_ptr(factory).cast::<()>().addr()
}

impl Instances {
    /// Makes the instances that `steps` need, so that none is made while packets wait. Those that are there stay, with their state:
    /// a chain that is compiled anew, because the [`crate::enrich::World`] has changed, loses nothing.
    pub(super) fn prepare(&mut self, steps: &[Step]) {
        for_each(steps, &mut |factory| _ = self.of(factory));
    }

    /// Drops the instances of all factories that `steps` do not use.
    pub(super) fn retain<'a>(&mut self, steps: impl Iterator<Item = &'a [Step]>) {
        let mut used = HashSet::new();
        steps.for_each(|steps| for_each(steps, &mut |factory| _ = used.insert(address(factory))));
        self.0.retain(|address, _| used.contains(address));
    }

    /// The worker's instance of an entry.
    pub(super) fn of(&mut self, factory: &Arc<dyn Factory>) -> &mut dyn Processor {
        let new = || Instance { _factory: factory.clone(), processor: factory.instance() };
        self.0.entry(address(factory)).or_insert_with(new).processor.as_mut()
    }
}

fn for_each(steps: &[Step], each: &mut dyn FnMut(&Arc<dyn Factory>)) {
    for step in steps {
        match step {
            Step::Run { factory, .. } => each(factory),
            Step::Branch { then, otherwise, .. } => {
                for_each(then, each);
                for_each(otherwise, each);
            }
            Step::Add(_) => {}
        }
    }
}
