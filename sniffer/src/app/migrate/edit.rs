//! Changes single settings in the text of a configuration, and keeps everything else, comments and order included. Every change is proved: the
//! changed text is parsed again, and must have the same settings except for the changed one.

use crate::config::Node;
use std::collections::BTreeMap;

/// The text of a configuration.
pub(super) struct Text {
    text: String,
    /// Whether settings were added at the end.
    has_added: bool,
}

/// A new value.
#[derive(Clone, Copy)]
pub(super) enum NewValue<'a> {
    Text(&'a str),
    Number(u64),
}

impl NewValue<'_> {
    /// The value as YAML.
    fn yaml(self) -> String {
        match self {
            // A JSON string is a YAML string.
            Self::Text(text) => serde_json::Value::from(text).to_string(),
            Self::Number(number) => number.to_string(),
        }
    }

    /// The value as the parser returns it.
    fn plain(self) -> String {
        match self {
            Self::Text(text) => text.to_owned(),
            Self::Number(number) => number.to_string(),
        }
    }
}

impl Text {
    pub fn new(text: &str) -> Self {
        Self { text: text.trim_start_matches('\u{feff}').to_owned(), has_added: false }
    }

    /// The text with `comment` as its first line.
    pub fn with_head(&self, comment: &str) -> String {
        format!("# {comment}\n{}", self.text)
    }

    /// Sets the setting with this dotted key. Returns whether that was possible.
    pub fn set(&mut self, key: &str, value: NewValue<'_>) -> bool {
        let Ok(root) = Node::parse(&self.text) else { return false };
        let mut wanted = content(&root);
        wanted.insert(key.to_owned(), Some(value.plain()));
        // A new setting makes maps on the way to it, and replaces an empty value by a map.
        for above in key.match_indices('.').filter_map(|(at, _)| key.get(..at)) {
            if wanted.insert(above.to_owned(), None).flatten().is_some() {
                // A value would be lost.
                return false;
            }
        }
        let is_proved = |text: &str| Node::parse(text).is_ok_and(|root| content(&root) == wanted);
        let mut candidates: Vec<(String, bool)> = Vec::new();
        if let Some(node) = root.below().into_iter().find(|node| node.key() == key)
            && let Some(old) = node.as_str()
        {
            candidates.extend(self.replaced(node.line(), old, &value.yaml()).into_iter().map(|text| (text, false)));
        }
        candidates.extend(self.added(key, &value.yaml()).into_iter().map(|text| (text, true)));
        let Some((text, is_added)) = candidates.into_iter().find(|(text, _)| is_proved(text)) else { return false };
        self.text = text;
        self.has_added |= is_added;
        true
    }

    /// The text with each place in a line where the old value may be written replaced by `new`.
    fn replaced(&self, line: usize, old: &str, new: &str) -> Vec<String> {
        let Some(index) = line.checked_sub(1) else { return Vec::new() };
        let lines: Vec<&str> = self.text.split_inclusive('\n').collect();
        let Some(this) = lines.get(index) else { return Vec::new() };
        let forms =
            [serde_json::Value::from(old).to_string(), format!("'{}'", old.replace('\'', "''")), format!("\"{old}\""), old.to_owned()];
        let places = forms.iter().flat_map(|form| this.match_indices(form.as_str()).map(move |(at, _)| (at, form.len())));
        places
            .filter_map(|(at, len)| {
                let changed = format!("{}{new}{}", this.get(..at)?, this.get(at + len..)?);
                let (before, after) = (lines.get(..index)?.concat(), lines.get(index + 1..)?.concat());
                Some(format!("{before}{changed}{after}"))
            })
            .collect()
    }

    /// The text with a new setting at its end, and at its beginning.
    fn added(&self, key: &str, value: &str) -> Vec<String> {
        let is_setting = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with(['#', '%']) && !line.starts_with("---");
        let first = self.text.lines().find(is_setting).unwrap_or_default();
        let indent: String = first.chars().take_while(|c| *c == ' ').collect();
        let comment = if self.has_added { "" } else { "\n# Added by `sniffer migrate`:\n" };
        let line_end = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
        let at_the_end = format!("{}{line_end}{comment}{indent}{key}: {value}\n", self.text);
        let start = self.text.lines().position(|line| is_setting(&line)).unwrap_or(0);
        let lines: Vec<&str> = self.text.split_inclusive('\n').collect();
        let (before, after) = lines.split_at(start.min(lines.len()));
        vec![at_the_end, format!("{}{indent}{key}: {value}\n{}", before.concat(), after.concat())]
    }
}

/// The settings of a tree: every key with its text, `None` for maps, lists and empty values.
fn content(root: &Node) -> BTreeMap<String, Option<String>> {
    root.below().iter().map(|node| (node.key().to_owned(), node.as_str().map(str::to_owned))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, key: &str, value: &str) -> Option<String> {
        let mut edited = Text::new(text);
        edited.set(key, NewValue::Text(value)).then_some(edited.text)
    }

    #[test]
    fn only_the_value_changes() {
        for (text, key, expected) in [
            ("a: x # x\nb: x\n", "a", "a: \"N\" # x\nb: x\n"),
            ("x: x\n", "x", "x: \"N\"\n"),
            ("a:\n  b: 'it''s'   # why\n  c: 1\n", "a.b", "a:\n  b: \"N\"   # why\n  c: 1\n"),
            ("a.b: \"q\"\n", "a.b", "a.b: \"N\"\n"),
            ("a: {b: x, c: [x, y]}\n", "a.c.1", "a: {b: x, c: [x, \"N\"]}\n"),
            ("a:\n- b: x\n- b: x\n", "a.1.b", "a:\n- b: x\n- b: \"N\"\n"),
            ("a: 1\n", "b.c", "a: 1\n\n# Added by `sniffer migrate`:\nb.c: \"N\"\n"),
            ("a:\n  b: 1", "a.c", "a:\n  b: 1\n\n# Added by `sniffer migrate`:\na.c: \"N\"\n"),
            (" a: 1\n", "b", " a: 1\n\n# Added by `sniffer migrate`:\n b: \"N\"\n"),
            ("# c\n---\na: 1\n...\n", "b", "# c\n---\nb: \"N\"\na: 1\n...\n"),
            ("a: ~\n", "a", "a: \"N\"\n"),
        ] {
            let result = set(text, key, "N");
            // An empty value has no text that could be replaced; the setting is then written again.
            if text.contains('~') {
                assert!(result.is_some_and(|text| text.starts_with("a: ~") && text.ends_with("a: \"N\"\n")), "{text}");
                continue;
            }
            assert_eq!(result.as_deref(), Some(expected), "{key} in\n{text}");
        }
    }

    #[test]
    fn what_cannot_be_proved_is_not_changed() {
        // The alias would change too; the block scalar has several lines; a list cannot grow by a dotted key.
        for (text, key) in [("a: &x v\nb: *x\n", "a.b"), ("a: [1, 2]\n", "a.5"), ("{a: 1}\n", "b"), ("a: [\n", "b")] {
            assert_eq!(set(text, key, "N"), None, "{key} in\n{text}");
        }
        let anchor = set("a: &x v\nb: *x\n", "a", "N");
        assert!(anchor.is_none_or(|text| Node::parse(&text).unwrap().get("b").as_str() == Some("v")));
    }

    #[test]
    fn values_are_quoted_and_numbers_are_not() {
        let mut text = Text::new("a: 1\n");
        assert!(text.set("a", NewValue::Number(5067)) && text.set("b", NewValue::Text("x: \"#'")) && text.set("c", NewValue::Text("y")));
        assert_eq!(text.with_head("from f"), "# from f\na: 5067\n\n# Added by `sniffer migrate`:\nb: \"x: \\\"#'\"\nc: \"y\"\n");
    }
}
