//! The filters that pages ask for, each with the model of what it selects. A model is made once and then counted on, so that a page that asks
//! each second costs little.

use crate::view::{filter::Wrong, filtering::Filtering, model::Model};

/// Maximum number of filters. A further one takes the place of the one used longest ago.
pub const MOST_FILTERS: usize = 4;
/// A filter that was not used for this number of calls of [`Filters::tick`] is forgotten.
pub const MOST_IDLE: u64 = 600;

/// The filters.
#[derive(Debug, Default)]
pub struct Filters {
    list: Vec<Filtering>,
    /// For each filter of `list`, the tick in which it was used last.
    used: Vec<u64>,
    ticks: u64,
}

impl Filters {
    /// What a filter selects; `None` if it selects everything. A new filter is applied to the transactions that `all` keeps.
    ///
    /// # Errors
    /// When the text is no filter.
    pub fn model(&mut self, text: &str, protocols: &[&'static str], all: &Model) -> Result<Option<&Model>, Wrong> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let place = match self.list.iter().position(|known| known.text == text) {
            Some(place) => place,
            None => {
                let mut filtering = Filtering::new("", protocols.to_vec());
                text.clone_into(&mut filtering.text);
                filtering.apply(all);
                if let Some(wrong) = filtering.wrong.take() {
                    return Err(wrong);
                }
                if self.list.len() >= MOST_FILTERS
                    && let Some(oldest) = (0..self.used.len()).min_by_key(|place| self.used.get(*place))
                {
                    self.remove(oldest);
                }
                self.list.push(filtering);
                self.used.push(self.ticks);
                self.list.len() - 1
            }
        };
        if let Some(used) = self.used.get_mut(place) {
            // Two uses between ticks have an order, too.
            self.ticks += 1;
            *used = self.ticks;
        }
        Ok(self.list.get(place).and_then(Filtering::model))
    }

    /// All filters.
    pub fn list(&mut self) -> &mut [Filtering] {
        &mut self.list
    }

    /// Forgets the filters that nobody uses any more.
    pub fn tick(&mut self) {
        self.ticks += 1;
        while let Some(place) = self.used.iter().position(|used| self.ticks - used > MOST_IDLE) {
            self.remove(place);
        }
    }

    fn remove(&mut self, place: usize) {
        self.list.remove(place);
        self.used.remove(place);
    }
}
