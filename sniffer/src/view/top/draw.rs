//! Draws the present screen.

use super::{
    detail, empty, keys,
    look::{Look, Tone},
    place::{Place, TABS},
    prompts,
    redact::Kind,
    rows::{operation_text, share_text},
    state::{Mode, State},
    table::{Key, Row, Table, Value, rate_text},
};
use crate::view::{
    model::{Range, Record},
    units::{Grouped, Latency},
};
use ratatui::{buffer::Buffer, layout::Rect};

/// The smallest terminal that has a screen: columns and rows.
const SMALLEST: (u16, u16) = (40, 10);
/// From this number of rows on, the screen of a service names its callers.
const ENOUGH_FOR_NEIGHBOURS: u16 = 16;

/// Draws the present screen in `area`.
pub fn draw(state: &mut State, area: Rect, buffer: &mut Buffer) {
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("{}x{} is too small: {}x{} needed. Counting goes on.", area.width, area.height, SMALLEST.0, SMALLEST.1);
        line(buffer, area, 0, &[(text, Tone::Plain)], &state.look);
        return;
    }
    header(state, area, buffer);
    tabs(state, area, buffer);
    let body = Rect { y: area.y + 2, height: area.height - 3, ..area };
    if let Mode::Keys(first) = state.mode {
        list_keys(state, first, body, buffer);
    } else if let Mode::Columns(selected) = state.mode {
        choose_columns(state, selected, body, buffer);
    } else if let Some(Place::Transaction(record)) = state.level().map(|level| level.place.clone()) {
        transaction(state, &record, body, buffer);
    } else {
        table(state, body, buffer);
    }
    footer(state, area, buffer);
}

/// Writes texts behind one another, escaped and cut at the right edge.
fn line(buffer: &mut Buffer, area: Rect, row: u16, parts: &[(String, Tone)], look: &Look) {
    let mut x = 0;
    for (text, tone) in parts {
        let room = usize::from(area.width).saturating_sub(x);
        let mut shown = String::new();
        let used = look.push(&mut shown, text, room);
        if room > 0 && row < area.height {
            buffer.set_stringn(area.x + x as u16, area.y + row, &shown, room, look.style(*tone));
        }
        x += used;
    }
}

/// The first line: where one is, how much happens, and the time. The parts with the greatest number are left out first.
fn header(state: &State, area: Rect, buffer: &mut Buffer) {
    let model = state.model();
    let all = model.stats.over(state.range, model.now());
    let rate = model.rate(&model.stats, state.range);
    let shown = state.shown();
    let mut way = shown.hide(Kind::Name, &state.source.host);
    for level in state.levels.iter().skip(1) {
        let part = match &level.place {
            Place::Service(id) => id.find(model).map(|(_, service)| {
                let process = service
                    .process
                    .as_ref()
                    .map_or_else(String::new, |process| format!(", {}[{}]", shown.hide(Kind::Name, &process.name), process.pid));
                format!("{} ({}{process})", shown.service_name(service), service.protocol)
            }),
            Place::Operation(_, name) => Some(operation_text(&shown, name)),
            Place::Transaction(_) => Some("transaction".to_owned()),
            Place::Tab(_) => None,
        };
        way = part.map_or(way.clone(), |part| format!("{way} > {part}"));
    }
    let covered = Latency(model.covered());
    let mode = match (&state.frozen, state.source.is_live) {
        (Some(frozen), _) => {
            let since = state.filtering.model().unwrap_or(&state.live).kept.added().saturating_sub(frozen.kept.added());
            (format!("FROZEN +{} since", Grouped(since)), Tone::Accent)
        }
        (None, true) if !state.has_ended => (format!("LIVE {covered}"), Tone::Bold),
        (None, true) => (format!("ENDED {covered}"), Tone::Bold),
        (None, false) if state.has_ended => (format!("FILE {covered}"), Tone::Bold),
        (None, false) => ("READING".to_owned(), Tone::Bold),
    };
    let errors = (format!("{} errors", share_text(all.error_percent())), if all.errors > 0 { Tone::Plain } else { Tone::Dim });
    let lost = match state.health.lost + state.health.skipped {
        0 => ("lost 0".to_owned(), Tone::Plain),
        lost => (format!("!lost {}", Grouped(lost)), Tone::Error),
    };
    let range = match (state.compared(), state.range) {
        (Some(mark), _) => format!("since {}", state.look.time(mark.time()).get(..8).unwrap_or_default()),
        (None, Range::All) => "since the start".to_owned(),
        (None, Range::Minutes) => "range 5m".to_owned(),
    };
    let is_tab = state.levels.len() == 1;
    let capture = match &state.source {
        _ if !is_tab => String::new(),
        source if source.is_live => source.capture.clone(),
        // The name of the file.
        source => shown.hide(Kind::Name, &source.capture),
    };
    let time = state.look.time(model.now()).get(..8).unwrap_or_default().to_owned();
    // Each part with its order of leaving; 0 stays.
    let mut parts = vec![
        (0, (way, Tone::Bold)),
        (4, (capture, Tone::Dim)),
        (0, mode),
        (0, (format!("{}/s", rate_text(rate)), Tone::Plain)),
        (2, errors),
        (1, lost),
        (if state.compared().is_some() { 2 } else { 5 }, (range, Tone::Dim)),
        (3, (time, Tone::Plain)),
    ];
    parts.retain(|(_, (text, _))| !text.is_empty());
    let length = |parts: &[(u8, (String, Tone))]| parts.iter().map(|(_, (text, _))| text.chars().count() + 2).sum::<usize>() - 2;
    while length(&parts) > usize::from(area.width)
        && let Some((place, _)) = parts.iter().enumerate().max_by_key(|(_, (order, _))| *order).filter(|(_, (order, _))| *order > 0)
    {
        parts.remove(place);
    }
    // If the rest is too long, the way is cut, and the numbers stay.
    let over = length(&parts).saturating_sub(usize::from(area.width));
    if let Some((_, (way, _))) = parts.first_mut().filter(|_| over > 0) {
        let mut cut = String::new();
        state.look.push(&mut cut, way, way.chars().count().saturating_sub(over));
        *way = cut;
    }
    let texts: Vec<(String, Tone)> = parts.into_iter().flat_map(|(_, part)| [part, ("  ".to_owned(), Tone::Plain)]).collect();
    line(buffer, area, 0, &texts, &state.look);
}

/// The second line: the tabs, and the filter.
fn tabs(state: &State, area: Rect, buffer: &mut Buffer) {
    let present = match state.levels.first().map(|level| &level.place) {
        Some(Place::Tab(tab)) => Some(*tab),
        _ => None,
    };
    let filter = filter_text(state);
    let full: usize = TABS.iter().map(|(_, name)| name.len() + 3).sum::<usize>() + 1;
    let is_full = full + filter.0.len().min(12) + 2 <= usize::from(area.width);
    let mut parts = Vec::new();
    for (index, (tab, name)) in TABS.iter().enumerate() {
        let number = index + 1;
        parts.push(match (present == Some(*tab), is_full) {
            (true, _) => (format!("[{number} {name}]"), Tone::Accent),
            (false, true) => (format!("{number} {name}"), Tone::Plain),
            (false, false) => (number.to_string(), Tone::Plain),
        });
        parts.push((" ".to_owned(), Tone::Plain));
    }
    parts.push(("  ".to_owned(), Tone::Plain));
    parts.push(filter);
    line(buffer, area, 1, &parts, &state.look);
}

/// The filter, what it hides, and what is wrong with it.
fn filter_text(state: &State) -> (String, Tone) {
    let filtering = &state.filtering;
    let text = if state.is_redacted && !filtering.is_typed && !filtering.text.is_empty() { "(redacted)" } else { &filtering.text };
    let hidden = || {
        let rate = |model: &crate::view::model::Model| model.rate(&model.stats, state.range);
        let rate = filtering.model().map_or(0.0, |shown| rate(&state.live) - rate(shown));
        format!("  (hides {}/s)", rate_text(rate))
    };
    match (&filtering.wrong, filtering.is_typed) {
        (Some(wrong), is_typed) => (format!("/ {text}{}  !{}", if is_typed { "_" } else { "" }, wrong.message), Tone::Error),
        (None, true) => (format!("/ {}_", filtering.text), Tone::Accent),
        (None, false) if filtering.text.trim().is_empty() => ("/ no filter".to_owned(), Tone::Dim),
        (None, false) => (format!("/ {text}{}", hidden()), Tone::Accent),
    }
}

/// The last line: the most important keys, as many as there is room for.
fn footer(state: &State, area: Rect, buffer: &mut Buffer) {
    let is_tab = state.levels.len() == 1;
    let is_transaction = state.level().is_some_and(|level| matches!(level.place, Place::Transaction(_)));
    let all: &[&str] = match (state.filtering.is_typed, is_tab) {
        (true, _) => &["Enter keep the filter", "Esc remove it", "http dns  status=error  slow>100ms  port 443  path=/pay*  \"text\""],
        (false, true) => &["q quit", "? all keys", "Enter open", "/ filter", "s sort", "Space freeze", "e export", "r range", "n names"],
        (false, false) if is_transaction => &["q quit", "? all keys", "Esc back", "y copy", "e export", "f F filter by this line"],
        (false, false) => &["q quit", "? all keys", "Esc back", "Enter open", "/ filter", "s sort", "Space freeze", "r range"],
    };
    let last = area.height - 1;
    if let Some(question) = prompts::question(state) {
        return line(buffer, area, last, &[(question, Tone::Accent)], &state.look);
    }
    if let Some((said, is_error)) = state.said.as_ref().filter(|_| !state.filtering.is_typed) {
        let (mark, tone) = if *is_error { ("!", Tone::Error) } else { ("", Tone::Accent) };
        return line(buffer, area, last, &[(format!("{mark}{said}"), tone)], &state.look);
    }
    if let Some(notice) = state.notice.as_ref().filter(|_| !state.filtering.is_typed) {
        return line(buffer, area, last, &[(notice_text(state, notice), Tone::Error)], &state.look);
    }
    let mut text = String::new();
    for key in all {
        let gap = if text.is_empty() { "" } else { "  " };
        if text.len() + gap.len() + key.len() > usize::from(area.width) {
            break;
        }
        text.extend([gap, key]);
    }
    line(buffer, area, area.height - 1, &[(text, Tone::Dim)], &state.look);
}

/// A warning of the program, which can contain addresses and names.
fn notice_text(state: &State, notice: &str) -> String {
    if state.is_redacted { "!There is a warning; P shows it.".to_owned() } else { format!("!{notice}") }
}

/// The keys of the screen, from the one with the number `first` on.
fn list_keys(state: &mut State, first: usize, body: Rect, buffer: &mut Buffer) {
    let all = keys::of_screen(state).count();
    let mut room = usize::from(body.height);
    if all > room {
        room -= 1;
        let last = (first + room).min(all);
        let text = format!(" {}-{last} of {all}; any key for {}", first + 1, if last < all { "more" } else { "the screen" });
        line(buffer, body, body.height - 1, &[(text, Tone::Dim)], &state.look);
    }
    for (row, (key, meaning)) in keys::of_screen(state).skip(first).take(room).enumerate() {
        line(buffer, body, row as u16, &[(format!(" {key:<16}"), Tone::Accent), (meaning.to_owned(), Tone::Plain)], &state.look);
    }
    state.page = room;
}

/// The columns of the table, of which one is selected.
fn choose_columns(state: &State, selected: usize, body: Rect, buffer: &mut Buffer) {
    let first = (selected + 1).saturating_sub(usize::from(body.height));
    for (row, (index, (title, is_shown))) in prompts::columns(state).into_iter().enumerate().skip(first).enumerate() {
        let (mark, tone) = if index == selected { (">", Tone::Accent) } else { (" ", Tone::Plain) };
        let text = format!("{mark}[{}] {title}", if is_shown { 'x' } else { ' ' });
        line(buffer, body, row as u16, &[(text, tone)], &state.look);
    }
}

/// The lines of a transaction, of which one is selected.
fn transaction(state: &mut State, record: &Record, body: Rect, buffer: &mut Buffer) {
    let lines = detail::lines(state, record);
    state.listed = (0..lines.len()).map(Key::Row).collect();
    state.page = usize::from(body.height);
    let Some(level) = state.levels.last_mut() else { return };
    let selected = match level.selected {
        Some(Key::Row(index)) => index.min(lines.len().saturating_sub(1)),
        _ => 0,
    };
    level.first = level.first.min(selected).max((selected + 1).saturating_sub(state.page));
    let first = level.first;
    for (row, (index, of)) in lines.into_iter().enumerate().skip(first).take(state.page).enumerate() {
        let mark = if index == selected { ">" } else { " " };
        line(buffer, body, row as u16, &[(mark.to_owned(), Tone::Accent), (of.text, of.tone)], &state.look);
    }
}

/// The table of the present screen, or what an empty screen says.
fn table(state: &mut State, mut body: Rect, buffer: &mut Buffer) {
    let Some(table) = state.table() else { return };
    state.listed = table.rows.iter().map(|row| row.key.clone()).collect();
    if table.rows.is_empty() {
        let lines = empty::lines(state).into_iter().flat_map(|text| wrapped(&text, usize::from(body.width)));
        for (row, text) in lines.enumerate() {
            line(buffer, body, row as u16, &[(text, Tone::Plain)], &state.look);
        }
        return;
    }
    if let Some(Place::Service(id)) = state.level().map(|level| level.place.clone())
        && body.height >= ENOUGH_FOR_NEIGHBOURS
    {
        let neighbours = state.shown().neighbours(&id);
        let texts: Vec<String> = neighbours.into_iter().filter(|text| !text.is_empty()).collect();
        for text in texts.into_iter().rev() {
            body.height -= 1;
            line(buffer, Rect { height: body.height + 1, ..body }, body.height, &[(text, Tone::Plain)], &state.look);
        }
    }
    let all_room = usize::from(body.height.saturating_sub(1));
    let has_more = table.rows.len() > all_room;
    let room = all_room - usize::from(has_more);
    state.page = room;
    let Some(level) = state.levels.last_mut() else { return };
    let place = level.selected.as_ref().and_then(|key| state.listed.iter().position(|listed| listed == key));
    let last = table.rows.len() - 1;
    let selected = place.unwrap_or(if level.is_list() { last } else { 0 });
    level.first = level.first.min(selected).max((selected + 1).saturating_sub(room)).min(table.rows.len().saturating_sub(room));
    let first = level.first;
    let key: Option<Key> = state.listed.get(selected).cloned();
    let height = body.height - u16::from(has_more);
    table.draw(Rect { height, ..body }, first, key.as_ref(), &state.look, buffer);
    if has_more {
        more(&table, first, room, Rect { y: body.y + height, height: 1, ..body }, buffer, &state.look);
    }
}

/// The line about the rows above and below those that are drawn.
fn more(table: &Table, first: usize, room: usize, area: Rect, buffer: &mut Buffer, look: &Look) {
    let hidden = |row: &(usize, &Row)| row.0 < first || row.0 >= first + room;
    let rates = table
        .rows
        .iter()
        .enumerate()
        .filter(hidden)
        .filter_map(|(_, row)| row.values.iter().find_map(|value| if let Value::Rate(rate) = value { Some(*rate) } else { None }));
    let rates: Vec<f64> = rates.collect();
    let rate = if rates.is_empty() { String::new() } else { format!("  {}/s", rate_text(rates.iter().sum())) };
    let number = table.rows.len() - room;
    let place = format!("{}-{} of {}", first + 1, (first + room).min(table.rows.len()), table.rows.len());
    line(buffer, area, 0, &[(format!(" +{number} more{rate}  ({place})"), Tone::Dim)], look);
}

/// The text in lines of at most `width` characters, divided between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(last) = lines.last_mut() else { break };
        let gap = usize::from(!last.is_empty());
        if !last.is_empty() && last.chars().count() + gap + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if gap > 0 {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}
