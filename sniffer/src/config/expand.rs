//! Replaces variables: `${NAME}`, `${NAME:default}`, `${NAME:+alternative}` (used when the variable is set), `${NAME:?message}` (an error
//! when the variable is not set). A name is looked up first among the other settings, then in the keystore and in the environment ([`Outside`]). In every
//! text `$$` stands for `$`, and `$}` for `}`.
//!
//! The syntax is read by `template`; this module looks up names and decides the kind of the result.

use super::{
    error::Error,
    overrides,
    template::{self, Choice, Piece},
    tree::{Raw, Style, Value},
};

/// Maximum depth of settings that refer to settings. The limit stops circular references; one or two levels are usual.
const MAX_REFERENCES: usize = 16;
/// Maximum number of bytes of all replaced variables together. Without a bound, references to references could double the size at each
/// level.
const MAX_EXPANDED: usize = 1 << 20;
/// Maximum number of references that are resolved in one configuration. References inside a referenced setting count each time.
const MAX_RESOLVED: usize = 100_000;

/// The source of values that are not settings.
pub(super) struct Outside<'a> {
    /// The value of a secret or of an environment variable.
    pub value: &'a dyn Fn(&str) -> Option<String>,
    /// Whether the value comes from the keystore.
    pub is_secret: &'a dyn Fn(&str) -> bool,
}

/// Replaces the variables and escape sequences in all scalars. A variable that cannot be resolved becomes [`Value::Broken`], an error only
/// for the module that reads it.
///
/// # Errors
/// When one of the limits above is exceeded.
pub(super) fn expand(root: &mut Raw, outside: &Outside<'_>) -> Result<(), Error> {
    let before = root.clone();
    let mut all = Expander { root: &before, outside, bytes: 0, resolved: 0 };
    all.walk(root, 0);
    if all.bytes > MAX_EXPANDED || all.resolved > MAX_RESOLVED {
        return Err(Error(format!(
            "the variables of the configuration expand to more than {MAX_EXPANDED} bytes, or {MAX_RESOLVED} values"
        )));
    }
    Ok(())
}

struct Expander<'a> {
    root: &'a Raw,
    outside: &'a Outside<'a>,
    bytes: usize,
    resolved: usize,
}

impl Expander<'_> {
    fn walk(&mut self, raw: &mut Raw, depth: usize) {
        match &mut raw.value {
            Value::List(items) => items.iter_mut().for_each(|item| self.walk(item, depth)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| self.walk(value, depth)),
            Value::Scalar(text, style) if text.contains('$') => {
                raw.value = self.scalar(text, *style, depth).unwrap_or_else(Value::Broken);
            }
            _ => {}
        }
    }

    fn scalar(&mut self, text: &str, style: Style, depth: usize) -> Result<Value, String> {
        let pieces = template::parse(text)?;
        if let [] | [Piece::Text(_)] = pieces.as_slice() {
            return Ok(Value::Scalar(self.text(&pieces, depth)?, style));
        }
        self.resolved += 1;
        if depth > MAX_REFERENCES {
            return Err(format!("the variables refer to each other in a circle, or through more than {MAX_REFERENCES} settings"));
        }
        if self.bytes > MAX_EXPANDED || self.resolved > MAX_RESOLVED {
            return Err("too many variables".into());
        }
        let mut style = Style::Given;
        if let [Piece::Variable { name, choice }] = pieces.as_slice() {
            // The value consists of one reference, so it may be replaced by a list or a map.
            let name = self.text(name, depth)?;
            if !matches!(choice, Some(Choice::Alternative(_)))
                && let Some(found) = self.setting(&name, depth)
            {
                return Ok(found);
            }
            if !matches!(choice, Some(Choice::Alternative(_))) && self.is_set_outside(&name) {
                style = if (self.outside.is_secret)(&name) { Style::Secret } else { Style::Variable };
            }
        }
        let text = self.text(&pieces, depth)?;
        Ok(match overrides::whole_quoted(&text) {
            Some(inner) if style != Style::Secret => Value::Scalar(inner, Style::Quoted),
            _ if text.trim() == "null" => Value::Null,
            _ => Value::Scalar(text.trim().to_owned(), style),
        })
    }

    /// Whether the keystore or the environment has a value that is not empty.
    fn is_set_outside(&self, name: &str) -> bool {
        (self.outside.value)(name).is_some_and(|value| !value.is_empty())
    }

    /// The value of another setting, with its own variables replaced.
    fn setting(&mut self, name: &str, depth: usize) -> Option<Value> {
        let mut found = self.root.at(name).filter(|raw| raw.value != Value::Null)?.clone();
        self.walk(&mut found, depth + 1);
        self.bytes = self.bytes.saturating_add(size(&found));
        Some(found.value)
    }

    fn text(&mut self, pieces: &[Piece], depth: usize) -> Result<String, String> {
        if depth > MAX_REFERENCES {
            return Err(format!("variables are nested more than {MAX_REFERENCES} levels deep"));
        }
        let mut out = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Variable { name, choice } => {
                    let value = self.variable(name, choice.as_ref(), depth)?;
                    self.bytes = self.bytes.saturating_add(value.len());
                    if self.bytes > MAX_EXPANDED {
                        return Err("too many variables".into());
                    }
                    out.push_str(&value);
                }
            }
        }
        Ok(out)
    }

    fn variable(&mut self, name: &[Piece], choice: Option<&Choice>, depth: usize) -> Result<String, String> {
        // The name itself may contain references: `${${WHICH}}`.
        let name = self.text(name, depth + 1)?;
        if name.is_empty() {
            return Err("a variable without a name: `${}`".into());
        }
        let outside = (self.outside.value)(&name);
        if let Some(Choice::Alternative(pieces)) = choice {
            let is_set = self.root.at(&name).is_some_and(|raw| raw.value != Value::Null) || outside.is_some_and(|value| !value.is_empty());
            return if is_set { self.text(pieces, depth + 1) } else { Ok(String::new()) };
        }
        match self.setting(&name, depth) {
            Some(Value::Scalar(text, _)) => return Ok(text),
            Some(Value::Broken(message)) => return Err(message),
            Some(_) => return Err(format!("`${{{name}}}` is a list or a map, and cannot be part of a text")),
            None => {}
        }
        match (outside, choice) {
            (Some(value), _) if !value.is_empty() => Ok(value),
            // As in Packetbeat, the default or the error message also applies when the value of the variable is empty.
            (_, Some(Choice::Default(pieces))) => self.text(pieces, depth + 1),
            (_, Some(Choice::Message(message))) if message.is_empty() => Err(format!("the variable `{name}` must be set, and is not")),
            (_, Some(Choice::Message(message))) => Err(format!("the variable `{name}` is not set: {message}")),
            (Some(empty), _) => Ok(empty),
            (None, _) => Err(format!("the variable `{name}` is not set, and no setting has that name; `${{{name}:…}}` gives a default")),
        }
    }
}

fn size(raw: &Raw) -> usize {
    match &raw.value {
        Value::Scalar(text, _) => text.len(),
        Value::List(items) => items.iter().map(size).fold(1, usize::saturating_add),
        Value::Map(entries) => entries.iter().map(|(k, v)| k.len() + size(v)).fold(1, usize::saturating_add),
        _ => 1,
    }
}
