//! `decode_csv_fields`: parses texts that are one line of CSV (RFC 4180).

use super::{Decision, Factory, ProcessorKind, Shared, kit, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::{Object, Tree},
    opening::Opening,
};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "decode_csv_fields",
    about: "Parses texts that are values separated by commas, and writes the values as a list. Of several lines, only the first is read. An \
            error undoes all changes of the processor, unless `fail_on_error` is false; it is only in the debug log.",
    example: "fields: {message: csv}\nseparator: ';'\nignore_missing: true",
    options: &[("", DecodeCsv::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct DecodeCsv {
        /// The fields with the texts, each with the field for the list.
        fields: Object,
        /// The character between values.
        separator: Separator = Separator(','),
        /// Removes spaces before a value.
        trim_leading_space: bool = false,
        /// Replaces fields that exist.
        overwrite_keys: bool = false,
        /// A missing field is not an error.
        ignore_missing: bool = false,
        /// If true, the first error undoes the changes. If false, the processor goes on with the next field.
        fail_on_error: bool = true,
    }
}

/// The character between values.
#[derive(Clone, Copy, Debug)]
struct Separator(char);

impl<'de> Deserialize<'de> for Separator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) if !matches!(character, '"' | '\r' | '\n') => Ok(Self(character)),
            _ => Err(de::Error::custom(format_args!("expected one character other than a quote or a line end, got `{text}`"))),
        }
    }
}

#[derive(Debug)]
struct Configured {
    options: DecodeCsv,
    fields: Vec<(String, String)>,
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let options = DecodeCsv::read(opening.node)?;
    let fields = kit::field_pairs(&options.fields).map_err(|error| opening.node.get("fields").error(error))?;
    Ok(shared(Configured { options, fields }))
}

/// The values of the first line that is not empty; `None` if there is none. A quote inside a value without quotes is kept, and a missing
/// closing quote is assumed at the end.
fn parse(text: &str, separator: char, trim: bool) -> Option<Vec<String>> {
    let mut rest = text.trim_start_matches(['\r', '\n']);
    if rest.is_empty() {
        return None;
    }
    let mut values = Vec::new();
    loop {
        if trim {
            rest = rest.trim_start_matches([' ', '\t']);
        }
        let mut value = String::new();
        if let Some(inside) = rest.strip_prefix('"') {
            let mut inside = inside;
            loop {
                let Some((part, behind)) = inside.split_once('"') else {
                    value.push_str(inside);
                    inside = "";
                    break;
                };
                value.push_str(part);
                inside = behind;
                if let Some(behind) = inside.strip_prefix('"') {
                    value.push('"');
                    inside = behind;
                } else if inside.is_empty() || inside.starts_with([separator, '\r', '\n']) {
                    break;
                } else {
                    value.push('"');
                }
            }
            rest = inside;
        } else {
            let end = rest.find([separator, '\n']).unwrap_or(rest.len());
            let (part, behind) = rest.split_at_checked(end)?;
            value.push_str(part.strip_suffix('\r').filter(|_| !behind.starts_with(separator)).unwrap_or(part));
            rest = behind;
        }
        values.push(value);
        match rest.strip_prefix(separator) {
            Some(behind) => rest = behind,
            None => return Some(values),
        }
    }
}

impl Configured {
    fn decode(&self, event: &mut Tree, (from, to): &(String, String)) -> Result<(), String> {
        let DecodeCsv { separator, trim_leading_space, overwrite_keys, ignore_missing, .. } = &self.options;
        let text = match event.fetch(from) {
            Ok(Value::String(text)) => text,
            Ok(_) => return Err(format!("field {from} is not of string type")),
            Err(error) if error.is_missing() && *ignore_missing => return Ok(()),
            Err(error) => return Err(kit::not_fetched(from, error)),
        };
        let values = parse(text, separator.0, *trim_leading_space).ok_or_else(|| format!("field {from} is empty"))?;
        if from != to && !overwrite_keys && event.has(to) {
            return Err(format!("target field {to} already has a value. Set the overwrite_keys flag or drop/rename the field first"));
        }
        event.put(to, values.into()).map_err(|error| format!("failed setting field {to}: {error}"))
    }
}

impl Shared for Configured {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = kit::edit_each(
            event,
            &self.fields,
            self.options.fail_on_error,
            |(from, to)| [from, to],
            |event, pair| self.decode(event, pair),
        );
        kit::keep(event, false, "decode_csv_fields: ", result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split() {
        for (text, separator, trim, expected) in [
            ("a, \"b \"\"q\"\" c\" ,3,,", ',', false, Some(vec!["a", " \"b \"\"q\"\" c\" ", "3", "", ""])),
            ("a, \"b \"\"q\"\" c\",3,,", ',', true, Some(vec!["a", "b \"q\" c", "3", "", ""])),
            ("x,y\nz,w", ',', false, Some(vec!["x", "y"])),
            ("x;y\r\n", ';', false, Some(vec!["x", "y"])),
            ("\"open", ',', false, Some(vec!["open"])),
            ("\"a\"b,c", ',', false, Some(vec!["a\"b,c"])),
            (" lead, trail ", ',', false, Some(vec![" lead", " trail "])),
            ("", ',', false, None),
        ] {
            let expected = expected.map(|values| values.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(parse(text, separator, trim), expected, "{text}");
        }
    }
}
