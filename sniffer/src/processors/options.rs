//! The options of processors. [`options!`] declares the options, from which the code that reads them and the pages in `docs/processors` are
//! made.

use crate::config::{Error, Errors, Node};
use serde::de::{self, DeserializeOwned};

/// The documentation of one option.
#[derive(Clone, Copy, Debug)]
pub struct OptionInfo {
    /// The name in the configuration.
    pub name: &'static str,
    /// The default, as Rust writes it; `None` if the option is required.
    pub default: Option<&'static str>,
    /// The meaning of the option.
    pub about: &'static str,
}

impl OptionInfo {
    /// The name as the configuration has it.
    pub fn plain_name(&self) -> &'static str {
        plain(self.name)
    }

    /// The default as the pages show it, in Markdown; `None` if the option is required.
    pub fn default_text(&self) -> Option<String> {
        self.default.map(default)
    }
}

/// A default of the declaration as the configuration writes it, in Markdown.
fn default(rust: &str) -> String {
    let plain = rust.trim_end_matches(".to_owned()").trim();
    let quoted = plain.trim_matches('"');
    match plain {
        "None"
        | "String::new()"
        | "Value::Null"
        | "Location(String::new())"
        | "Entries"
        | "Texts::default()"
        | "tls::Options::default()" => "not set".to_owned(),
        "Vec::new()" => "`[]`".to_owned(),
        "Zone::local()" => "`Local`".to_owned(),
        "Zone(jiff::tz::TimeZone::UTC)" => "`UTC`".to_owned(),
        "Separator(',')" => "`,`".to_owned(),
        "Depth(1)" => "`1`".to_owned(),
        text if text.starts_with('"') => format!("`{quoted}`"),
        // A group of options, whose own defaults are listed.
        text if text.contains(" { ") => "see below".to_owned(),
        text => match duration(text) {
            Some(text) => format!("`{text}`"),
            None if text.contains("::") => match text.rsplit_once("::") {
                // A variant of an enum is written in lower case; another constant is a group of options, whose own defaults are listed.
                Some((_, variant)) if variant.chars().skip(1).any(char::is_lowercase) && !variant.contains('(') => {
                    format!("`{}`", snake(variant))
                }
                _ => "see below".to_owned(),
            },
            None => format!("`{text}`"),
        },
    }
}

/// Writes a duration of the declaration as the configuration does: `Span(Duration::from_secs(5))` becomes `5s`.
fn duration(rust: &str) -> Option<String> {
    let inner = rust.strip_prefix("Span(Duration::from_")?.strip_suffix("))")?;
    let (unit, number) = inner.split_once('(')?;
    Some(format!("{}{}", number.replace('_', ""), if unit == "secs" { "s" } else { "ms" }))
}

/// Writes the name of a variant as the configuration does: `TokenBucket` becomes `token_bucket`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for (at, c) in name.chars().enumerate() {
        if c.is_uppercase() && at > 0 {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}

/// Declares a struct of options. An option with `= …` has that default; the others are required. A null value is an option that is not set.
/// `NAME::OPTIONS` lists the options, and `NAME::read` reads them from a [`Node`] and reports all errors at once.
macro_rules! options {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident {
        $($(#[doc = $about:literal])+ $option:ident: $type:ty $(= $default:expr)?,)*
    }) => {
        $(#[$attribute])*
        $visibility struct $name {
            $($(#[doc = $about])+ pub(super) $option: $type,)*
        }

        impl $name {
            /// All options, for the documentation.
            pub(super) const OPTIONS: &'static [$crate::processors::options::OptionInfo] = &[
                $($crate::processors::options::OptionInfo {
                    name: stringify!($option),
                    default: $crate::processors::options::options!(@text $($default)?),
                    about: concat!($($about),+),
                },)*
            ];

            /// Reads the options. Names every invalid option.
            #[allow(dead_code, reason = "structs of options inside other options are read by serde")]
            pub(super) fn read(node: &$crate::config::Node) -> Result<Self, $crate::config::Error> {
                node.read().map_err(|error| {
                    #[allow(unused_mut, reason = "a struct without options has nothing to check")]
                    let mut reading = $crate::processors::options::Reading::new(node, Self::OPTIONS);
                    $(reading.check::<Option<$type>>(stringify!($option));)*
                    reading.errors_or(error)
                })
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Raw {
                    $(#[serde(default = "Option::default")] $option: Option<$type>,)*
                }
                let _raw = Raw::deserialize(deserializer)?;
                Ok(Self {
                    $($option: $crate::processors::options::options!(@value _raw.$option, stringify!($option) $(, $default)?),)*
                })
            }
        }
    };
    (@text) => { None };
    (@text $default:expr) => { Some(stringify!($default)) };
    (@value $value:expr, $name:expr) => { $crate::processors::options::required($value, $name)? };
    (@value $value:expr, $name:expr, $default:expr) => { $value.unwrap_or_else(|| $default) };
}
pub(super) use options;

/// The value of a required option.
pub(super) fn required<T, E: de::Error>(value: Option<T>, name: &str) -> Result<T, E> {
    value.ok_or_else(|| E::custom(format_args!("`{}` is missing", plain(name))))
}

/// The name of an option without the prefix that Rust needs where the name is a keyword.
pub(super) fn plain(name: &str) -> &str {
    name.trim_start_matches("r#")
}

/// Reads options one by one, so that all errors are found and not only the first.
pub(super) struct Reading<'a> {
    node: &'a Node,
    errors: Errors,
    any: bool,
}

impl<'a> Reading<'a> {
    /// Begins with the errors for options that do not exist.
    pub(super) fn new(node: &'a Node, known: &[OptionInfo]) -> Self {
        let mut reading = Self { node, errors: Errors::default(), any: false };
        let names: Vec<String> = known.iter().map(|option| format!("`{}`", plain(option.name))).collect();
        for (key, value) in node.entries() {
            if !known.iter().any(|option| plain(option.name) == key) {
                let expected = if names.is_empty() { "none".to_owned() } else { format!("one of {}", names.join(", ")) };
                reading.add(Err(value.error(format!("unknown setting `{key}`, expected {expected}"))));
            }
        }
        reading
    }

    /// Reads one option.
    pub(super) fn check<T: DeserializeOwned>(&mut self, name: &str) {
        let result = self.node.get(plain(name)).read::<T>().map(drop);
        self.add(result);
    }

    fn add(&mut self, result: Result<(), Error>) {
        self.any |= result.is_err();
        self.errors.take(result);
    }

    /// Returns all errors that were found. If every option is valid by itself, returns `first`.
    pub(super) fn errors_or(self, first: Error) -> Error {
        if !self.any || !self.node.is_map() {
            return first;
        }
        self.errors.finish().err().unwrap_or(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    options! {
        #[derive(Debug)]
        struct Sample {
            /// The name.
            name: String,
            /// How many.
            /// A second line.
            count: u64 = 3,
            /// The kind.
            r#type: Option<String> = None,
        }
    }

    #[test]
    fn defaults_and_declarations() {
        let sample = Sample::read(&Node::parse("{name: a, count: ~}").unwrap()).unwrap();
        assert_eq!((sample.name.as_str(), sample.count, sample.r#type), ("a", 3, None));
        let sample = Sample::read(&Node::parse("{name: a, count: 7, type: x}").unwrap()).unwrap();
        assert_eq!((sample.count, sample.r#type.as_deref()), (7, Some("x")));
        let of = |info: &OptionInfo| (plain(info.name), info.default, info.about);
        let wanted =
            [("name", None, " The name."), ("count", Some("3"), " How many. A second line."), ("type", Some("None"), " The kind.")];
        assert_eq!(Sample::OPTIONS.iter().map(of).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn all_errors_are_named() {
        for (yaml, wanted) in [
            ("count: 1", "line 1: `name` is missing"),
            (
                "name: a\ncount: many\nnmae: b\ntype: {a: b}",
                "line 3: nmae: unknown setting `nmae`, expected one of `name`, `count`, `type`\n\
                 line 2: count: expected a whole number, got `many`\nline 4: type: expected a text, got a map",
            ),
            ("text", "line 1: expected a map (`key: value`), got `text`"),
        ] {
            assert_eq!(Sample::read(&Node::parse(yaml).unwrap()).unwrap_err().to_string(), wanted, "{yaml}");
        }
    }
}
