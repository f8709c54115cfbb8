//! A filter that the user gives, and the model of what it selects. Everything is counted whatever the filter; a new filter is applied to
//! the transactions that are kept.

use crate::{
    net::FlowRecord,
    process::Ends,
    time::Timestamp,
    view::{
        filter::{Filter, Wrong},
        inbox::Item,
        model::{Model, Record},
    },
};
use std::sync::Arc;

/// The text, the last valid filter, and the model of what it selects.
#[derive(Debug, Default)]
pub struct Filtering {
    /// The text as typed.
    pub text: String,
    /// Whether keys go to the text.
    pub is_typed: bool,
    /// Why the text is no filter. The last valid filter stays.
    pub wrong: Option<Wrong>,
    protocols: Vec<&'static str>,
    filter: Filter,
    model: Option<Box<Model>>,
}

impl Filtering {
    /// Makes a filter for events that come from now on.
    pub fn new(text: &str, protocols: Vec<&'static str>) -> Self {
        let mut filtering = Self { text: text.to_owned(), protocols, ..Self::default() };
        filtering.apply(&Model::default());
        filtering
    }

    /// Reads the text again, after it was changed.
    pub fn apply(&mut self, all: &Model) {
        match Filter::parse(&self.text, &self.protocols) {
            Err(wrong) => self.wrong = Some(wrong),
            Ok(filter) => {
                self.wrong = None;
                self.model = (!filter.is_empty()).then(|| Box::new(all.selected(&filter)));
                self.filter = filter;
            }
        }
    }

    /// The last valid filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Removes the filter.
    pub fn clear(&mut self) {
        *self = Self { protocols: std::mem::take(&mut self.protocols), ..Self::default() };
    }

    /// What the filter selects; `None` without a filter.
    pub fn model(&self) -> Option<&Model> {
        self.model.as_deref()
    }

    /// Counts a transaction if the filter selects it.
    fn add(&mut self, record: &Arc<Record>) {
        if let Some(model) = &mut self.model
            && record.with(|of| self.filter.selects(of))
        {
            model.add(record.clone());
        }
    }

    /// Counts a flow if the filter selects it.
    fn add_flow(&mut self, of: &FlowRecord, ends: &Ends) {
        if let Some(model) = &mut self.model
            && self.filter.selects_flow(of, ends)
        {
            model.add_flow(of, ends);
        }
    }

    /// Sets the time to that of all events.
    fn advance(&mut self, all: &Model) {
        if let Some(model) = &mut self.model {
            model.follow(all);
        }
    }
}

/// Counts what the workers reported: everything in `all`, and in the model of each filter what it selects. `now`: the present time of a live
/// source; `None` for a file.
pub fn count(items: &mut Vec<Item>, all: &mut Model, filters: &mut [Filtering], now: Option<Timestamp>) {
    for item in items.drain(..) {
        match item {
            Item::Transaction(record) => {
                filters.iter_mut().for_each(|filtering| filtering.add(&record));
                all.add(record);
            }
            Item::Flow(flow) => {
                let (flow, ends) = *flow;
                filters.iter_mut().for_each(|filtering| filtering.add_flow(&flow, &ends));
                all.add_flow(&flow, &ends);
            }
        }
    }
    if let Some(now) = now {
        all.advance(now);
    }
    filters.iter_mut().for_each(|filtering| filtering.advance(all));
}
