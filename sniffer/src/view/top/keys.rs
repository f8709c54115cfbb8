//! What the keys do.

use super::{
    compare::Mark,
    pick,
    place::{Place, TABS, Tab},
    prompts,
    state::{Level, Mode, Outcome, State},
    table::Key as RowKey,
};
use crate::view::model::Range;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// The screens on which a key does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    All,
    /// Tables whose order can be changed.
    Sorted,
    /// All tables.
    Tables,
    /// Transactions, and lists of them.
    Transactions,
    /// Screens whose rows can be selected by a filter.
    Selecting,
}

/// The keys, what they do, and where.
const KEYS: &[(&str, &str, On)] = &[
    ("1 to 7, Tab", "a tab, the next tab", On::All),
    ("j k, Up Down", "the next row, the previous row", On::All),
    ("PgDn PgUp, g G", "a page on or back, the first or the last row", On::All),
    ("Enter, l", "open the selected row", On::Tables),
    ("Esc, h", "back; on a tab: remove the filter", On::All),
    ("/", "filter as you type, such as http status=error slow>100ms", On::All),
    ("f F", "add what is selected to the filter, or exclude it", On::Selecting),
    ("s S", "sort by the next column, reverse the order", On::Sorted),
    ("Space", "freeze what is shown; counting goes on", On::All),
    ("r", "the last 5 minutes, or everything since the start", On::All),
    ("n", "names or addresses of services", On::All),
    ("c", "show and hide columns", On::Tables),
    ("m =", "mark this time; compare what came since with what was before", On::All),
    ("P", "pseudonyms instead of addresses, names and queries", On::All),
    ("e", "export the rows to a file: ndjson, csv, markdown", On::All),
    ("y", "copy: JSON, curl, pcap filter", On::Transactions),
    ("q, Ctrl-C", "quit", On::All),
];

/// The keys of the present screen and what they do.
pub fn of_screen(state: &State) -> impl Iterator<Item = (&'static str, &'static str)> {
    let place = state.level().map(|level| &level.place);
    let is_transaction = matches!(place, Some(Place::Transaction(_)));
    let is_list = state.level().is_some_and(Level::is_list);
    let is_health = matches!(place, Some(Place::Tab(Tab::Health)));
    let is_here = move |on: On| match on {
        On::All => true,
        On::Tables => !is_transaction,
        On::Sorted => !is_transaction && !is_list,
        On::Transactions => is_transaction || is_list,
        On::Selecting => !is_health,
    };
    KEYS.iter().filter(move |(.., on)| is_here(*on)).map(|(key, meaning, _)| (*key, *meaning))
}

/// Serves a key.
pub fn press(state: &mut State, key: KeyEvent) -> Outcome {
    let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if has_control && matches!(key.code, KeyCode::Char('c' | 'd')) {
        return Outcome::Quit;
    }
    state.said = None;
    if state.filtering.is_typed {
        type_filter(state, key.code);
        return Outcome::Draw;
    }
    match state.mode {
        Mode::Screen => {}
        Mode::Keys(first) => {
            // Any key shows the next page of the list, and the last page ends it.
            let next = first + state.page.max(1);
            let has_more = next < of_screen(state).count() && !matches!(key.code, KeyCode::Esc | KeyCode::Char('q'));
            state.mode = if has_more { Mode::Keys(next) } else { Mode::Screen };
            return Outcome::Draw;
        }
        Mode::Export | Mode::Copy | Mode::Columns(_) => return prompts::answer(state, key.code),
    }
    match key.code {
        KeyCode::Char('q' | 'Q') => return Outcome::Quit,
        KeyCode::Char('?') => state.mode = Mode::Keys(0),
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
        KeyCode::Char('e') => prompts::begin_export(state),
        KeyCode::Char('y') => prompts::begin_copy(state),
        KeyCode::Char('c') if state.table().is_some() => state.mode = Mode::Columns(0),
        KeyCode::Char('P') => state.is_redacted = !state.is_redacted,
        KeyCode::Char('m') => mark(state),
        KeyCode::Char('=') => compare(state),
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

fn step(state: &mut State, rows: isize) {
    let Some(present) = state.selected() else { return };
    let last = state.listed.len().saturating_sub(1);
    let next = present.saturating_add_signed(rows).min(last);
    let key = state.listed.get(next).cloned();
    if let Some(level) = state.levels.last_mut() {
        // A list whose last row is selected follows the transactions that come.
        level.selected = if level.is_list() && next == last { None } else { key };
    }
}

fn open(state: &mut State) {
    let Some(key) = state.selected().and_then(|index| state.listed.get(index)).cloned() else { return };
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
    } else if is_escape && !state.filtering.text.is_empty() {
        state.filtering.clear();
        forget_mark(state);
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

/// Marks the present time.
fn mark(state: &mut State) {
    let mark = Mark::new(state.model());
    let time = state.look.time(mark.time()).get(..8).unwrap_or_default().to_owned();
    state.mark = Some(mark);
    state.say(format!("Marked {time}. = compares what comes from now on with what was before."), false);
    forget_sorting(state);
}

/// Compares with the mark, or no longer.
fn compare(state: &mut State) {
    if state.mark.is_none() {
        return state.say("There is no mark yet: m sets one.", true);
    }
    state.compares = !state.compares;
    forget_sorting(state);
    let is_compared = match state.level().map(|level| &level.place) {
        Some(Place::Tab(tab)) => matches!(tab, Tab::Services | Tab::Operations),
        Some(place) => matches!(place, Place::Service(_)),
        None => false,
    };
    if state.compares && !is_compared {
        state.say("Services (1) and operations (2) are compared with the mark.", false);
    }
}

/// A comparison has other columns.
fn forget_sorting(state: &mut State) {
    state.levels.iter_mut().for_each(|level| level.sort = None);
}

/// Adds what is selected to the filter.
fn add_to_filter(state: &mut State, before: &str) {
    let key = state.selected().and_then(|index| state.listed.get(index)).cloned();
    let Some(words) = key.and_then(|key| pick::words(state, &key)) else {
        return state.say("A filter cannot select this.", true);
    };
    let part = if words.contains(' ') || !before.is_empty() { format!("{before}({words})") } else { words };
    let gap = if state.filtering.text.trim().is_empty() { "" } else { " and " };
    state.filtering.text.extend([gap, &part]);
    apply(state);
}

fn type_filter(state: &mut State, code: KeyCode) {
    match code {
        KeyCode::Enter => {
            state.filtering.is_typed = false;
            return;
        }
        KeyCode::Esc => {
            state.filtering.clear();
            return forget_mark(state);
        }
        KeyCode::Backspace => drop(state.filtering.text.pop()),
        KeyCode::Char(c) => state.filtering.text.push(c),
        _ => return,
    }
    apply(state);
}

fn apply(state: &mut State) {
    let State { filtering, live, levels, .. } = state;
    filtering.apply(live);
    let has_changed = filtering.wrong.is_none();
    if let Some(level) = levels.last_mut().filter(|level| !matches!(level.place, Place::Transaction(_))) {
        level.selected = None;
    }
    if has_changed {
        forget_mark(state);
    }
}

/// The counts up to a mark are those of one filter.
fn forget_mark(state: &mut State) {
    if state.mark.take().is_some() {
        state.compares = false;
        forget_sorting(state);
        state.say("The mark is gone, because the filter changed.", false);
    }
}
