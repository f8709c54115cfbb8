//! What the keys do.

use super::{
    place::{Place, TABS, Tab},
    state::{Level, State},
    table::Key as RowKey,
};
use crate::view::model::Range;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// The keys and what they do, for the screen that `?` shows and for the documentation.
pub const KEYS: &[(&str, &str)] = &[
    ("1 to 7, Tab", "a tab, the next tab"),
    ("j k, Up Down", "the next row, the previous row"),
    ("PgDn PgUp, g G", "a page on or back, the first or the last row"),
    ("Enter, l", "open the selected row"),
    ("Esc, h", "back; on a tab: remove the filter"),
    ("/", "filter as you type, such as http status=error slow>100ms"),
    ("f F", "add the selected service to the filter, or exclude it"),
    ("s S", "sort by the next column, reverse the order"),
    ("Space", "freeze what is shown; counting goes on"),
    ("r", "the last 5 minutes, or everything since the start"),
    ("n", "names or addresses of services"),
    ("q, Ctrl-C", "quit"),
];

/// What follows from a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The screen has to be drawn again.
    Draw,
    /// The user wants to quit.
    Quit,
}

/// Serves a key.
pub fn press(state: &mut State, key: KeyEvent) -> Outcome {
    let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if has_control && matches!(key.code, KeyCode::Char('c' | 'd')) {
        return Outcome::Quit;
    }
    if state.filtering.is_typed {
        type_filter(state, key.code);
        return Outcome::Draw;
    }
    if state.shows_keys {
        state.shows_keys = false;
        return Outcome::Draw;
    }
    match key.code {
        KeyCode::Char('q' | 'Q') => return Outcome::Quit,
        KeyCode::Char('?') => state.shows_keys = true,
        KeyCode::Char('/') => state.filtering.is_typed = true,
        KeyCode::Char(digit @ '1'..='7') => {
            let index = usize::from(digit as u8 - b'1');
            TABS.get(index).into_iter().for_each(|(tab, _)| go_to(state, *tab));
        }
        KeyCode::Tab => next_tab(state, 1),
        KeyCode::BackTab => next_tab(state, TABS.len() - 1),
        KeyCode::Char('j') | KeyCode::Down => step(state, 1),
        KeyCode::Char('k') | KeyCode::Up => step(state, -1),
        KeyCode::PageDown => step(state, page(state)),
        KeyCode::PageUp => step(state, -page(state)),
        KeyCode::Char('g') | KeyCode::Home => step(state, isize::MIN),
        KeyCode::Char('G') | KeyCode::End => step(state, isize::MAX),
        KeyCode::Enter | KeyCode::Char('l') | KeyCode::Right => open(state),
        KeyCode::Esc | KeyCode::Char('h') | KeyCode::Left | KeyCode::Backspace => back(state, key.code == KeyCode::Esc),
        KeyCode::Char(' ') => freeze(state),
        KeyCode::Char('s') => sort(state),
        KeyCode::Char('S') => reverse(state),
        KeyCode::Char('n') => state.with_names = !state.with_names,
        KeyCode::Char('r') => state.range = if state.range == Range::All { Range::Minutes } else { Range::All },
        KeyCode::Char('f') => add_to_filter(state, ""),
        KeyCode::Char('F') => add_to_filter(state, "not "),
        _ => {}
    }
    Outcome::Draw
}

fn page(state: &State) -> isize {
    isize::try_from(state.page.saturating_sub(1).max(1)).unwrap_or(isize::MAX)
}

fn go_to(state: &mut State, tab: Tab) {
    state.levels = vec![Level::new(Place::Tab(tab))];
}

fn next_tab(state: &mut State, steps: usize) {
    let present = match state.levels.first().map(|level| &level.place) {
        Some(Place::Tab(present)) => TABS.iter().position(|(tab, _)| tab == present).unwrap_or(0),
        _ => 0,
    };
    if let Some((tab, _)) = TABS.get((present + steps) % TABS.len()) {
        go_to(state, *tab);
    }
}

/// The index in the drawn table of the selected row.
fn selected(state: &State) -> Option<usize> {
    let level = state.level()?;
    let last = state.listed.len().checked_sub(1)?;
    let default = if level.is_list() { last } else { 0 };
    Some(level.selected.as_ref().and_then(|key| state.listed.iter().position(|listed| listed == key)).unwrap_or(default))
}

fn step(state: &mut State, rows: isize) {
    let Some(present) = selected(state) else { return };
    let last = state.listed.len().saturating_sub(1);
    let next = present.saturating_add_signed(rows).min(last);
    let key = state.listed.get(next).cloned();
    if let Some(level) = state.levels.last_mut() {
        // A list whose last row is selected follows the transactions that come.
        level.selected = if level.is_list() && next == last { None } else { key };
    }
}

fn open(state: &mut State) {
    let Some(key) = selected(state).and_then(|index| state.listed.get(index)).cloned() else { return };
    let place = match key.clone() {
        RowKey::Service(id) => Place::Service(id),
        RowKey::Operation(id, name) => Place::Operation(id, name),
        RowKey::Record(number) => match state.model().kept.get(number) {
            Some(record) => Place::Transaction(record.clone()),
            None => return,
        },
        RowKey::Row(_) => return,
    };
    if let Some(level) = state.levels.last_mut() {
        level.selected = Some(key);
    }
    state.levels.push(Level::new(place));
}

/// Leaves a screen. On a tab, Escape removes the filter.
fn back(state: &mut State, is_escape: bool) {
    if state.levels.len() > 1 {
        state.levels.pop();
    } else if is_escape {
        state.filtering.clear();
    }
}

fn freeze(state: &mut State) {
    state.frozen = match state.frozen {
        Some(_) => None,
        None => Some(Box::new(state.model().clone())),
    };
}

/// Sorts by the next column.
fn sort(state: &mut State) {
    let Some(table) = state.table() else { return };
    let next = table.sort.map_or(0, |(column, _)| (column + 1) % table.columns.len().max(1));
    if let Some(level) = state.levels.last_mut().filter(|level| !level.is_list()) {
        level.sort = Some((next, false));
        level.selected = None;
    }
}

fn reverse(state: &mut State) {
    let sort = state.table().and_then(|table| table.sort);
    if let Some(level) = state.levels.last_mut() {
        level.sort = sort.map(|(column, is_reversed)| (column, !is_reversed));
        level.selected = None;
    }
}

/// Adds the selected service to the filter.
fn add_to_filter(state: &mut State, before: &str) {
    let key = selected(state).and_then(|index| state.listed.get(index));
    let Some(RowKey::Service(id) | RowKey::Operation(id, _)) = key else { return };
    let address = id.address.map(|address| format!("server={address}"));
    let part = match address {
        Some(address) => format!("{before}({} {address})", id.protocol),
        None => format!("{before}{}", id.protocol),
    };
    let gap = if state.filtering.text.is_empty() { "" } else { " and " };
    state.filtering.text.extend([gap, &part]);
    apply(state);
}

fn type_filter(state: &mut State, code: KeyCode) {
    match code {
        KeyCode::Enter => {
            state.filtering.is_typed = false;
            return;
        }
        KeyCode::Esc => return state.filtering.clear(),
        KeyCode::Backspace => drop(state.filtering.text.pop()),
        KeyCode::Char(c) => state.filtering.text.push(c),
        _ => return,
    }
    apply(state);
}

fn apply(state: &mut State) {
    let State { filtering, live, levels, .. } = state;
    filtering.apply(live);
    if let Some(level) = levels.last_mut() {
        level.selected = None;
    }
}
