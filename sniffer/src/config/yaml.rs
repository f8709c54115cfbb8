//! Parses YAML text to a tree whose values know their line. saphyr-parser delivers the events of YAML 1.2; anchors, aliases and merge keys
//! (`<<`) are resolved here.

use super::{
    error::{Error, Place},
    tree::{MAX_DEPTH, Raw, Style, Value},
};
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::{collections::HashMap, sync::Arc};

/// Most values of a file after its aliases are resolved. Large configurations have some thousands; a few lines of nested aliases could
/// otherwise expand to billions.
const MAX_NODES: usize = 100_000;

/// A list or map that is being parsed.
struct Open {
    raw: Raw,
    /// For a map: the key whose value comes next.
    key: Option<(String, usize)>,
    /// For a map: the place of each key, to find duplicates.
    seen: HashMap<String, usize>,
    /// For a map: the values of its merge keys (`<<`).
    merges: Vec<Raw>,
    anchor: usize,
    nodes: usize,
}

/// Parses the first document of a text, an empty document as an empty map. Also returns warnings.
///
/// # Errors
/// With file and line.
pub(super) fn read(text: &str, file: Option<&str>) -> Result<(Raw, Vec<String>), Error> {
    let file: Option<Arc<str>> = file.map(Arc::from);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        Reader { stack: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None, place: Place { file: file.clone(), line: 0 } };
    let mut warnings = Vec::new();
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|e| {
            let place = Place { file: file.clone(), line: e.marker().line() };
            place.error(format_args!("not YAML: {} (column {})", e.info(), e.marker().col() + 1))
        })?;
        let place = Place { file: file.clone(), line: span.start.line() };
        if matches!(event, Event::DocumentStart(_)) && reader.root.is_some() {
            warnings.push(place.error("a second document (`---`) begins here; only the first is read").0);
            break;
        }
        reader.place = place;
        reader.event(event)?;
    }
    Ok((reader.root.unwrap_or_else(Raw::empty), warnings))
}

struct Reader {
    stack: Vec<Open>,
    anchors: HashMap<usize, (Raw, usize)>,
    nodes: usize,
    root: Option<Raw>,
    place: Place,
}

impl Reader {
    fn event(&mut self, event: Event<'_>) -> Result<(), Error> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none_or(|t| t.suffix != "str");
                if let Some(open) = self.stack.last_mut()
                    && matches!(open.raw.value, Value::Map(_))
                    && open.key.is_none()
                {
                    open.key = Some((text.into_owned(), self.place.line));
                    return Ok(());
                }
                let value = match &*text {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
                    _ => Value::Scalar(text.into_owned(), if plain { Style::Plain } else { Style::Quoted }),
                };
                self.finish(Raw::new(value, &self.place), anchor, 1, 1)
            }
            Event::SequenceStart(anchor, _) => self.open(Value::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => self.open(Value::Map(Vec::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => {
                let (mut raw, nodes) = self.anchors.get(&id).cloned().ok_or_else(|| self.place.error("an alias (`*`) to what holds it"))?;
                raw.place = self.place.clone();
                self.finish(raw, 0, nodes, nodes)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, value: Value, anchor: usize) -> Result<(), Error> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.place.error(format_args!("nested more than {MAX_DEPTH} levels deep")));
        }
        if let Some(open) = self.stack.last()
            && matches!(open.raw.value, Value::Map(_))
            && open.key.is_none()
        {
            return Err(self.place.error("a key must be a word, not a list or a map"));
        }
        let raw = Raw::new(value, &self.place);
        self.stack.push(Open { raw, key: None, seen: HashMap::new(), merges: Vec::new(), anchor, nodes: 1 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(mut open) = self.stack.pop() else { return Ok(()) };
        if let Value::Map(entries) = &mut open.raw.value {
            for merge in std::mem::take(&mut open.merges) {
                let Value::Map(more) = merge.value else { continue };
                for (key, value) in more {
                    if !open.seen.contains_key(&key) {
                        open.seen.insert(key.clone(), 0);
                        entries.push((key, value));
                    }
                }
            }
        }
        self.finish(open.raw, open.anchor, open.nodes, 1)
    }

    /// Adds a complete value to the container that is being parsed. `nodes`: the number of values in it; `new`: how many of those were not
    /// counted against the limit yet.
    fn finish(&mut self, raw: Raw, anchor: usize, nodes: usize, new: usize) -> Result<(), Error> {
        self.nodes = self.nodes.saturating_add(new);
        if self.nodes > MAX_NODES {
            return Err(self.place.error(format_args!("more than {MAX_NODES} values, aliases resolved")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (raw.clone(), nodes));
        }
        let Some(open) = self.stack.last_mut() else {
            self.root.get_or_insert(raw);
            return Ok(());
        };
        open.nodes = open.nodes.saturating_add(nodes);
        match &mut open.raw.value {
            Value::List(items) => items.push(raw),
            Value::Map(entries) => match open.key.take() {
                None => return Err(self.place.error("a key must be a word, not an alias")),
                Some((key, _)) if key == "<<" => match raw.value {
                    Value::Map(_) => open.merges.push(raw),
                    Value::List(items) if items.iter().all(|i| matches!(i.value, Value::Map(_))) => open.merges.extend(items),
                    _ => return Err(self.place.error("`<<` takes a map, or a list of maps")),
                },
                Some((key, line)) => {
                    if let Some(first) = open.seen.insert(key.clone(), line) {
                        let place = Place { line, ..self.place.clone() };
                        return Err(place.error(format_args!("{key}: is there twice, first in line {first}; keep one of them")));
                    }
                    // Use the line of the key: readers look there for a value that is missing or begins on a later line.
                    let place = Place { line, ..raw.place };
                    entries.push((key, Raw { value: raw.value, place }));
                }
            },
            _ => {}
        }
        Ok(())
    }
}
