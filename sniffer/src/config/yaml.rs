//! Parses YAML text to a tree whose values know their line. saphyr-parser delivers the events of YAML 1.2; anchors, aliases and merge keys
//! (`<<`) are resolved here.

use super::{
    error::{Error, Place},
    tree::{self, MAX_DEPTH, Raw, Style, Value},
};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};
use std::{borrow::Cow, collections::HashMap, sync::Arc};

/// Maximum number of values of a file after its aliases are resolved. Large configurations have some thousands; a few lines of nested
/// aliases could otherwise expand to billions.
const MAX_NODES: usize = 100_000;

/// Maximum number of bytes that are parsed again after the indentation of a line was corrected. Each correction parses the file once more.
const MAX_PARSED_AGAIN: usize = 64 << 20;

/// A list or map that is being parsed.
struct Open {
    raw: Raw,
    /// In a map: the key whose value is parsed next.
    key: Option<(String, usize)>,
    /// In a map: the index of each key in the list of entries.
    seen: HashMap<String, usize>,
    /// For a map: the values of its merge keys (`<<`).
    merges: Vec<Raw>,
    anchor: usize,
    nodes: usize,
}

/// Parses the first document of a text, an empty document as an empty map. The function also returns warnings.
///
/// # Errors
/// When the text is not valid YAML or too large. The error names file and line.
pub(super) fn read(text: &str, file: Option<&str>) -> Result<(Raw, Vec<String>), Error> {
    let file: Option<Arc<str>> = file.map(Arc::from);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut text = Cow::Borrowed(text);
    let mut parsed = 0;
    loop {
        match parse(&text, file.as_ref()) {
            Ok(result) => return result,
            Err(error) => {
                parsed += text.len();
                match indented(&text, &error).filter(|_| parsed <= MAX_PARSED_AGAIN) {
                    Some(corrected) => text = Cow::Owned(corrected),
                    None => return Err(syntax_error(&text, &error, file.as_ref())),
                }
            }
        }
    }
}

/// Parses the text once. The outer `Err` is a syntax error. The caller may then correct the text and parse it again.
fn parse(text: &str, file: Option<&Arc<str>>) -> Result<Result<(Raw, Vec<String>), Error>, ScanError> {
    let place = |line| Place { file: file.cloned(), line };
    let mut reader = Reader { stack: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None, place: place(0), warnings: Vec::new() };
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next?;
        let place = place(span.start.line());
        if matches!(event, Event::DocumentStart(_)) && reader.root.is_some() {
            reader.warnings.push(place.error("a second document (`---`) begins here; only the first is read").0);
            break;
        }
        reader.place = place;
        if let Err(error) = reader.event(event) {
            return Ok(Err(error));
        }
    }
    Ok(Ok((reader.root.unwrap_or_else(Raw::empty), reader.warnings)))
}

/// Returns the text with the line of the error indented further. This corrects a line inside `[…]` or `{…}` that begins at the column of
/// its key or before it. YAML 1.2 forbids such a line, but the library that Packetbeat uses accepts it, and people write the closing
/// bracket at the column of the key. Returns `None` for any other error.
fn indented(text: &str, error: &ScanError) -> Option<String> {
    /// An indentation that is deeper than the keys of any configuration.
    const INDENT: &str = "                                                                ";
    if !error.info().starts_with("invalid indentation") {
        return None;
    }
    let at = text.split_inclusive('\n').take(error.marker().line().checked_sub(1)?).map(str::len).sum();
    let (before, line) = text.split_at_checked(at)?;
    // A second correction of the same line would not help.
    (!line.starts_with(INDENT)).then(|| format!("{before}{INDENT}{line}"))
}

/// Returns the error for the user. The parser reports a tab only at the token before or after it, so the error names the line that has the
/// tab.
fn syntax_error(text: &str, error: &ScanError, file: Option<&Arc<str>>) -> Error {
    let place = |line| Place { file: file.cloned(), line };
    let line = error.marker().line();
    let is_tabbed = |text: &str| text.trim_start_matches(' ').starts_with('\t') && !text.trim().is_empty();
    let near = text.lines().enumerate().skip(line.saturating_sub(1)).take(3);
    match near.filter(|(_, text)| is_tabbed(text)).map(|(i, _)| i + 1).next() {
        Some(line) => place(line).error("not YAML: a tab in the indentation; use spaces"),
        None => place(line).error(format_args!("not YAML: {} (column {})", error.info(), error.marker().col() + 1)),
    }
}

struct Reader {
    stack: Vec<Open>,
    anchors: HashMap<usize, (Raw, usize)>,
    nodes: usize,
    root: Option<Raw>,
    place: Place,
    warnings: Vec<String>,
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
                let (mut raw, nodes) = self
                    .anchors
                    .get(&id)
                    .cloned()
                    .ok_or_else(|| self.place.error("an alias (`*`) refers to a value that contains the alias"))?;
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
                        open.seen.insert(key.clone(), entries.len());
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
                    // Use the line of the key, because users look there if the value is missing or begins on a later line.
                    let raw = Raw { value: raw.value, place: Place { line, ..raw.place } };
                    match open.seen.get(&key).and_then(|&index| entries.get_mut(index)) {
                        Some((_, earlier)) => {
                            self.warnings.push(tree::duplicate_warning(&key, &earlier.place, &raw.place));
                            *earlier = raw;
                        }
                        None => {
                            open.seen.insert(key.clone(), entries.len());
                            entries.push((key, raw));
                        }
                    }
                }
            },
            _ => {}
        }
        Ok(())
    }
}
