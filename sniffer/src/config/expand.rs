//! Replaces variables: `${NAME}`, `${NAME:default}`, `${NAME:?message}`. A name is looked up among the other settings first, then with
//! `lookup` (keystore, environment). `$${` stands for a literal `${`.

use super::{
    error::Error,
    tree::{Raw, Style, Value},
};

/// Greatest depth of settings that refer to settings. Ends circular references; one or two levels are usual.
const MAX_REFERENCES: usize = 16;
/// Most bytes of all replaced variables together. Without a bound, references to references could double the size at each level.
const MAX_EXPANDED: usize = 1 << 20;
/// Most references that are resolved in one configuration. References inside a referenced setting count each time.
const MAX_RESOLVED: usize = 100_000;

/// Replaces the variables in all scalars. A variable that cannot be resolved becomes [`Value::Broken`], an error only for the module that
/// reads it.
///
/// # Errors
/// When one of the limits above is exceeded.
pub(super) fn expand(root: &mut Raw, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), Error> {
    let before = root.clone();
    let mut all = Expander { root: &before, lookup, bytes: 0, resolved: 0 };
    all.walk(root, 0);
    if all.bytes > MAX_EXPANDED || all.resolved > MAX_RESOLVED {
        return Err(Error(format!("the variables of the configuration come to more than {MAX_EXPANDED} bytes, or {MAX_RESOLVED} values")));
    }
    Ok(())
}

struct Expander<'a> {
    root: &'a Raw,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    bytes: usize,
    resolved: usize,
}

impl Expander<'_> {
    fn walk(&mut self, raw: &mut Raw, depth: usize) {
        match &mut raw.value {
            Value::List(items) => items.iter_mut().for_each(|item| self.walk(item, depth)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| self.walk(value, depth)),
            Value::Scalar(text, _) if text.contains("${") => {
                raw.value = self.scalar(text, depth).unwrap_or_else(Value::Broken);
            }
            _ => {}
        }
    }

    fn scalar(&mut self, text: &str, depth: usize) -> Result<Value, String> {
        self.resolved += 1;
        if depth > MAX_REFERENCES {
            return Err(format!("the variables refer to each other in a circle, or through more than {MAX_REFERENCES} settings"));
        }
        if self.bytes > MAX_EXPANDED || self.resolved > MAX_RESOLVED {
            return Err("too many variables".into());
        }
        // The value consists of one reference, so it may be replaced by a list or a map.
        if let Some((inner, "")) = text.strip_prefix("${").and_then(closing)
            && let Some(found) = self.setting(inner.split_once(':').map_or(inner, |(name, _)| name), depth)
        {
            return Ok(found);
        }
        self.text(text, depth).map(|text| Value::Scalar(text, Style::Given))
    }

    /// The value of another setting, with its own variables replaced.
    fn setting(&mut self, name: &str, depth: usize) -> Option<Value> {
        let mut found = self.root.at(name).filter(|raw| raw.value != Value::Null)?.clone();
        self.walk(&mut found, depth + 1);
        self.bytes = self.bytes.saturating_add(size(&found));
        Some(found.value)
    }

    fn text(&mut self, text: &str, depth: usize) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
            let inside = from.get(2..).unwrap_or_default();
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = inside;
                continue;
            }
            out.push_str(before);
            let (inner, after) =
                closing(inside).ok_or_else(|| format!("the `}}` of a `${{` is missing in `{text}`; `$${{` stands for itself"))?;
            let value = self.variable(inner, depth)?;
            self.bytes = self.bytes.saturating_add(value.len());
            if self.bytes > MAX_EXPANDED {
                return Err("too many variables".into());
            }
            out.push_str(&value);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn variable(&mut self, inner: &str, depth: usize) -> Result<String, String> {
        if depth > MAX_REFERENCES {
            return Err(format!("variables in variables, more than {MAX_REFERENCES} levels deep"));
        }
        let (name, default) = inner.split_once(':').map_or((inner, None), |(name, default)| (name, Some(default)));
        // The name itself may contain references: `${${WHICH}}`.
        let name = if name.contains("${") { self.text(name, depth + 1)? } else { name.to_owned() };
        if name.is_empty() {
            return Err("a variable without a name: `${}`".into());
        }
        match self.setting(&name, depth) {
            Some(Value::Scalar(text, _)) => return Ok(text),
            Some(Value::Broken(message)) => return Err(message),
            Some(_) => return Err(format!("`${{{name}}}` is a list or a map, and cannot be part of a text")),
            None => {}
        }
        // As in Packetbeat, a variable with an empty value counts as not set.
        if let Some(value) = (self.lookup)(&name).filter(|v| !v.is_empty()) {
            return Ok(value);
        }
        match default {
            Some(default) => match default.strip_prefix('?') {
                Some("") => Err(format!("the variable `{name}` must be set, and is not")),
                Some(message) => Err(format!("the variable `{name}` is not set: {message}")),
                None => self.text(default, depth + 1),
            },
            None => Err(format!("the variable `{name}` is not set, and no setting has that name; `${{{name}:…}}` gives a default")),
        }
    }
}

/// The text before the matching `}`, and the text after it.
pub(super) fn closing(text: &str) -> Option<(&str, &str)> {
    let mut open = 0_usize;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            '}' => open -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

fn size(raw: &Raw) -> usize {
    match &raw.value {
        Value::Scalar(text, _) => text.len(),
        Value::List(items) => items.iter().map(size).fold(1, usize::saturating_add),
        Value::Map(entries) => entries.iter().map(|(k, v)| k.len() + size(v)).fold(1, usize::saturating_add),
        _ => 1,
    }
}
