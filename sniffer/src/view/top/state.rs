//! The state of the screens: the models, where the user is, and what is selected.

use super::{
    compare::Mark,
    export::Export,
    look::Look,
    place::{Place, Tab},
    redact::Redaction,
    rows::Shown,
    table::{Key, Table},
};
use crate::{
    time::Timestamp,
    view::{
        filtering::{self, Filtering},
        inbox::Item,
        model::{Model, Range},
    },
};
use std::slice;

/// Where the events come from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The name of this host, or of the file.
    pub host: String,
    /// The device and the way of capturing, as soon as they are known.
    pub capture: String,
    /// The number of protocols and ports.
    pub watched: String,
    /// Whether the source is a live capture.
    pub is_live: bool,
    /// What [`Health::seen`] counts: `packet` or `line`.
    pub unit: &'static str,
    /// A command that makes a request that is seen, for a user who sees nothing.
    pub example: String,
}

/// The counters of the capture.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Packets that were seen.
    pub seen: u64,
    /// Packets that the capture filter selected.
    pub matched: u64,
    /// Packets that were lost.
    pub lost: u64,
    /// Transactions and flows that the views had no room for.
    pub skipped: u64,
    /// All counters with their totals.
    pub counters: Vec<(String, u64)>,
}

/// One screen of the way from a tab to what is shown.
#[derive(Clone, Debug)]
pub struct Level {
    /// The screen.
    pub place: Place,
    /// The key of the selected row; `None`: the first row, or the last one of a list of transactions.
    pub selected: Option<Key>,
    /// The index of the first row that is drawn.
    pub first: usize,
    /// The column by which the rows are sorted, and whether the order is reversed. `None`: as the screen begins.
    pub sort: Option<(usize, bool)>,
}

impl Level {
    pub(super) fn new(place: Place) -> Self {
        Self { place, selected: None, first: 0, sort: None }
    }

    /// Whether the newest row is the last one, and the screen follows it.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.place, Place::Tab(Tab::Tail) | Place::Operation(..))
    }
}

/// What keys are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The screen.
    #[default]
    Screen,
    /// The list of keys is shown. The number is the index of its first shown key.
    Keys(usize),
    /// The user chooses the format of an export.
    Export,
    /// The user chooses what is copied.
    Copy,
    /// The user shows and hides columns. The number is the index of the selected column.
    Columns(usize),
}

/// What follows from a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The screen has to be drawn again.
    Draw,
    /// The user wants to quit.
    Quit,
    /// The rows have to be written to a new file.
    Export(Export),
    /// The text has to be given to the clipboard.
    Copy(String),
}

/// The state of the screens.
#[derive(Debug)]
pub struct State {
    /// Everything that was counted.
    pub(super) live: Model,
    /// What the filter selects of it.
    pub(super) filtering: Filtering,
    /// The model that is shown while the screen is frozen.
    pub(super) frozen: Option<Box<Model>>,
    /// The way to the present screen; it is never empty.
    pub(super) levels: Vec<Level>,
    pub(super) range: Range,
    pub(super) with_names: bool,
    /// What keys are for.
    pub(super) mode: Mode,
    /// The columns that the user has hidden: the title of the table's first column, and that of the column.
    pub(super) hidden: Vec<(&'static str, &'static str)>,
    /// The pseudonyms of this run, and whether they are shown.
    pub(super) redaction: Redaction,
    pub(super) is_redacted: bool,
    /// The counts up to a mark, and whether they are compared with those since.
    pub(super) mark: Option<Mark>,
    pub(super) compares: bool,
    /// What the last key did, if the screen does not show it; and whether it failed. It is shown until the next key.
    pub(super) said: Option<(String, bool)>,
    /// The keys of the rows of the last drawn table.
    pub(super) listed: Vec<Key>,
    /// Number of rows that the last drawn table had room for.
    pub(super) page: usize,
    pub(super) look: Look,
    /// Where the events come from.
    pub source: Source,
    /// The counters of the capture.
    pub health: Health,
    /// The last warning of the program.
    pub notice: Option<String>,
    /// Whether the source has ended.
    pub(super) has_ended: bool,
}

impl State {
    /// Makes the state of a run. `filter`: the text of the filter and `protocols` the names that it can contain.
    pub fn new(source: Source, look: Look, filter: &str, protocols: Vec<&'static str>) -> Self {
        Self {
            live: Model::default(),
            filtering: Filtering::new(filter, protocols),
            frozen: None,
            levels: vec![Level::new(Place::Tab(Tab::Services))],
            range: if source.is_live { Range::Minutes } else { Range::All },
            with_names: true,
            mode: Mode::default(),
            hidden: Vec::new(),
            redaction: Redaction::default(),
            is_redacted: false,
            mark: None,
            compares: false,
            said: None,
            listed: Vec::new(),
            page: 1,
            look,
            source,
            health: Health::default(),
            notice: None,
            has_ended: false,
        }
    }

    /// Counts what the workers reported. `now`: the present time of a live source; `None` for a file.
    pub fn take(&mut self, items: &mut Vec<Item>, now: Option<Timestamp>) {
        let now = now.filter(|_| !self.has_ended);
        filtering::count(items, &mut self.live, slice::from_mut(&mut self.filtering), now);
    }

    /// Says that no more events come.
    pub fn end(&mut self) {
        self.has_ended = true;
    }

    /// The model that is shown.
    pub(super) fn model(&self) -> &Model {
        self.frozen.as_deref().or(self.filtering.model()).unwrap_or(&self.live)
    }

    /// The model with everything, whatever the filter.
    pub fn everything(&self) -> &Model {
        &self.live
    }

    /// What rows are made from.
    pub fn shown(&self) -> Shown<'_> {
        let (range, with_names, look) = (self.range, self.with_names, self.look);
        let redaction = self.is_redacted.then_some(&self.redaction);
        Shown { model: self.model(), range, with_names, look, counters: &self.health.counters, redaction }
    }

    /// The mark, if the screens compare with it.
    pub(super) fn compared(&self) -> Option<&Mark> {
        self.mark.as_ref().filter(|_| self.compares)
    }

    /// Shows a sentence until the next key. `is_error`: whether it says that something failed.
    pub fn say(&mut self, text: impl Into<String>, is_error: bool) {
        self.said = Some((text.into(), is_error));
    }

    /// The present screen.
    pub(super) fn level(&self) -> Option<&Level> {
        self.levels.last()
    }

    /// The index in the drawn table of the selected row.
    pub(super) fn selected(&self) -> Option<usize> {
        let level = self.level()?;
        let last = self.listed.len().checked_sub(1)?;
        let default = if level.is_list() { last } else { 0 };
        Some(level.selected.as_ref().and_then(|key| self.listed.iter().position(|listed| listed == key)).unwrap_or(default))
    }

    /// The rows of the present screen, sorted. `None` for a transaction.
    pub(super) fn table(&self) -> Option<Table> {
        let level = self.level()?;
        let shown = self.shown();
        let compared = self.compared().and_then(|mark| mark.table(&shown, &level.place));
        let mut table = compared.or_else(|| shown.table(&level.place))?;
        if level.sort.is_some() {
            table.sort = level.sort;
        }
        let of_table = self.hidden.iter().filter(|(first, _)| table.columns.first().is_some_and(|column| column.title == *first));
        table.hidden = of_table.map(|(_, title)| *title).collect();
        table.sort();
        Some(table)
    }
}
