//! The processor instances of one worker.

use super::{Factory, Processor, list::Step};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

/// One instance per configured processor that the worker's chains use. All publishers of the worker share it.
#[derive(Default)]
pub struct Instances(HashMap<usize, Instance>);

/// One processor instance. It holds its factory, so that no new factory gets the same address while the instance exists.
struct Instance {
    _factory: Arc<dyn Factory>,
    processor: Box<dyn Processor>,
}

/// The address of the factory, which identifies a configured processor.
fn address(factory: &Arc<dyn Factory>) -> usize {
    Arc::as_ptr(factory).cast::<()>().addr()
}

impl Instances {
    /// Makes the instances that `steps` need, so that none is made while a packet is processed. Existing instances keep
    /// their state, also when a chain is compiled again because the [`crate::enrich::HostData`] has changed.
    pub(super) fn prepare(&mut self, steps: &[Step]) {
        for_each(steps, &mut |factory| _ = self.of(factory));
    }

    /// Drops the instances whose factories `steps` do not contain.
    pub(super) fn retain<'a>(&mut self, steps: impl Iterator<Item = &'a [Step]>) {
        let mut used = HashSet::new();
        steps.for_each(|steps| for_each(steps, &mut |factory| _ = used.insert(address(factory))));
        self.0.retain(|address, _| used.contains(address));
    }

    /// The worker's instance of a configured processor.
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
