//! The keys that ask something: what is exported, what is copied, which columns are shown.

use super::{
    copy, detail,
    export::{self, Export, Form},
    place::{Place, Tab},
    state::{Mode, Outcome, State},
    table::Key,
};
use crate::view::{
    model::Record,
    units::{Grouped, counted},
};
use crossterm::event::KeyCode;
use std::sync::Arc;

/// What the last line asks in a mode.
pub fn question(state: &State) -> Option<String> {
    match state.mode {
        Mode::Screen | Mode::Keys(_) => None,
        Mode::Export => {
            let rows = state.table().map_or(1, |table| table.rows.len());
            Some(format!("Export {}: n ndjson  c csv  m markdown  Esc", Grouped(rows as u64)))
        }
        Mode::Copy => Some("Copy: j JSON  c curl  p pcap filter  Esc".to_owned()),
        Mode::Columns(_) => Some("Space show or hide  j k select  Esc done".to_owned()),
    }
}

/// Begins an export.
pub fn begin_export(state: &mut State) {
    match state.table() {
        Some(table) if table.rows.is_empty() => state.say("There are no rows to export.", true),
        _ => state.mode = Mode::Export,
    }
}

/// Begins to copy.
pub fn begin_copy(state: &mut State) {
    match transaction(state) {
        None => state.say("Select a transaction first: 3 lists the last ones.", true),
        Some(_) => state.mode = Mode::Copy,
    }
}

/// The shown or selected transaction.
fn transaction(state: &State) -> Option<Arc<Record>> {
    match (&state.level()?.place, state.selected().and_then(|index| state.listed.get(index))) {
        (Place::Transaction(record), _) => Some(record.clone()),
        (_, Some(Key::Record(number))) => state.model().kept.get(*number).cloned(),
        _ => None,
    }
}

/// Serves a key that answers the question of a mode.
pub fn answer(state: &mut State, code: KeyCode) -> Outcome {
    match state.mode {
        Mode::Screen | Mode::Keys(_) => {}
        Mode::Export => {
            state.mode = Mode::Screen;
            let form = match code {
                KeyCode::Char('n' | 'j') => Form::Ndjson,
                KeyCode::Char('c') => Form::Csv,
                KeyCode::Char('m') => Form::Markdown,
                _ => return Outcome::Draw,
            };
            return exported(state, form).map_or(Outcome::Draw, Outcome::Export);
        }
        Mode::Copy => {
            state.mode = Mode::Screen;
            return copied(state, code);
        }
        Mode::Columns(selected) => choose_columns(state, selected, code),
    }
    Outcome::Draw
}

/// The rows of the present screen, as they are shown.
fn exported(state: &State, form: Form) -> Option<Export> {
    let place = &state.level()?.place;
    let screen = match place {
        Place::Tab(Tab::Services) => "services",
        Place::Tab(Tab::Operations) | Place::Service(_) => "operations",
        Place::Tab(Tab::Tail) | Place::Operation(..) => "transactions",
        Place::Tab(Tab::Flows) => "flows",
        Place::Tab(Tab::Dns) => "dns",
        Place::Tab(Tab::Tls) => "tls",
        Place::Tab(Tab::Health) => "health",
        Place::Transaction(_) => "transaction",
    };
    let table = match place {
        Place::Transaction(record) => detail::table(state, record),
        _ => state.table()?,
    };
    let document = |record: &Arc<Record>| document(state, record) + "\n";
    let (rows, text) = match (place, form) {
        (Place::Transaction(record), Form::Ndjson) => (1, document(record)),
        (Place::Tab(Tab::Tail) | Place::Operation(..), Form::Ndjson) => {
            let kept = |key: &Key| if let Key::Record(number) = key { state.model().kept.get(*number) } else { None };
            (table.rows.len(), table.rows.iter().filter_map(|row| kept(&row.key)).map(document).collect())
        }
        _ => (table.rows.len(), export::text(&table, form)),
    };
    Some(Export { screen, extension: form.extension(), rows, text })
}

fn document(state: &State, record: &Record) -> String {
    export::json_text(&record.with(|of| copy::document(of, state.shown().redaction)))
}

fn copied(state: &mut State, code: KeyCode) -> Outcome {
    let Some(record) = transaction(state) else { return Outcome::Draw };
    let (what, text) = match code {
        KeyCode::Char('j' | 'd') => ("JSON", Some(document(state, &record))),
        KeyCode::Char('c' | 'p') if state.is_redacted => {
            state.say("Not copied: it would contain what is redacted. P shows it again.", true);
            return Outcome::Draw;
        }
        KeyCode::Char('c') => ("curl (headers and body are not kept)", record.with(copy::curl)),
        KeyCode::Char('p') => ("pcap filter", record.with(copy::pcap_filter)),
        _ => return Outcome::Draw,
    };
    match text {
        Some(text) => {
            state.say(format!("Copied {}: {what}. The terminal must allow OSC 52.", counted(text.len() as u64, "byte")), false);
            Outcome::Copy(text)
        }
        None => {
            state.say("Not copied: the transaction is no HTTP request, or its addresses are not known.", true);
            Outcome::Draw
        }
    }
}

/// The titles of the columns of the present table, and whether each is shown.
pub fn columns(state: &State) -> Vec<(&'static str, bool)> {
    let table = state.table();
    table
        .map(|table| table.columns.iter().map(|column| (column.title, !table.hidden.contains(&column.title))).collect())
        .unwrap_or_default()
}

fn choose_columns(state: &mut State, selected: usize, code: KeyCode) {
    let columns = columns(state);
    let last = columns.len().saturating_sub(1);
    match code {
        KeyCode::Char('j') | KeyCode::Down => state.mode = Mode::Columns((selected + 1).min(last)),
        KeyCode::Char('k') | KeyCode::Up => state.mode = Mode::Columns(selected.saturating_sub(1)),
        KeyCode::Char(' ' | 'x') | KeyCode::Enter => {
            let (Some((first, _)), Some((title, is_shown))) = (columns.first(), columns.get(selected)) else { return };
            let column = (*first, *title);
            match is_shown {
                false => state.hidden.retain(|hidden| *hidden != column),
                true if columns.iter().filter(|(_, is_shown)| *is_shown).count() > 1 => state.hidden.push(column),
                true => state.say("One column has to stay.", true),
            }
        }
        _ => state.mode = Mode::Screen,
    }
}
