//! The reference of the configuration: every option with its default and a sentence. `export reference` prints it as a commented
//! configuration, and the pages in `docs/options` are made from it. The descriptions of all options are in [`options`]; this module makes
//! texts from them. It does not read a configuration.

mod file;
mod options;
#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod tests;

pub use file::text;

use super::reload;
use crate::protocols::PROTOCOLS;

/// The description of an option.
#[derive(Clone, Copy, Debug)]
struct Setting {
    /// The name below the section.
    name: &'static str,
    /// The default, or an example, as YAML. Empty for the ports of a protocol, which the protocol declares.
    value: &'static str,
    kind: Kind,
    about: &'static str,
    /// Other options without which this one is refused, separated by spaces: names in the same section, or whole keys.
    with: &'static str,
}

/// What [`Setting::value`] is, and how the reference has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The default.
    Default,
    /// An example: the option has no default value.
    Example,
    /// An example of an option without which its section has no effect, or is refused.
    Needed,
    /// A value that the reference has without a comment sign.
    Active,
}

const fn setting(kind: Kind, name: &'static str, value: &'static str, about: &'static str) -> Setting {
    Setting { name, value, kind, about, with: "" }
}

/// An option with a default.
const fn default(name: &'static str, value: &'static str, about: &'static str) -> Setting {
    setting(Kind::Default, name, value, about)
}

/// An option without a default.
const fn example(name: &'static str, value: &'static str, about: &'static str) -> Setting {
    setting(Kind::Example, name, value, about)
}

/// An option that its section needs.
const fn needed(name: &'static str, value: &'static str, about: &'static str) -> Setting {
    setting(Kind::Needed, name, value, about)
}

/// An option that the reference sets.
const fn active(name: &'static str, value: &'static str, about: &'static str) -> Setting {
    setting(Kind::Active, name, value, about)
}

impl Setting {
    /// The same option, which is refused without these others.
    const fn with(mut self, others: &'static str) -> Self {
        self.with = others;
        self
    }
}

/// A section of the reference.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// The page in `docs/options`, without its extension.
    page: &'static str,
    title: &'static str,
    /// The dotted key of the section; empty for the top level.
    section: &'static str,
    about: &'static str,
    /// Lists of options, each with a prefix for the names.
    lists: &'static [(&'static str, &'static [Setting])],
}

/// An option in its section.
#[derive(Clone, Debug)]
struct Described {
    /// The whole key.
    key: String,
    /// The name below the section.
    name: String,
    value: String,
    option: &'static Setting,
}

impl Described {
    /// Whether a change of the option is applied without a restart.
    fn is_exchanged(&self) -> bool {
        reload::is_exchanged(&self.key)
    }
}

impl Group {
    /// The options of the section.
    fn options(&self) -> impl Iterator<Item = Described> {
        let Self { section, lists, .. } = *self;
        lists.iter().flat_map(move |(prefix, options)| {
            options.iter().map(move |option| {
                let name = format!("{prefix}{}", option.name);
                let key = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
                let value = if option.value.is_empty() { ports(section) } else { option.value.to_owned() };
                Described { key, name, value, option }
            })
        })
    }
}

/// All sections.
fn groups() -> impl Iterator<Item = &'static Group> {
    options::GROUPS.iter().copied().flatten()
}

/// The ports that the shipped configuration has for the protocol of a section.
fn ports(section: &str) -> String {
    let name = section.rsplit('.').next().unwrap_or_default();
    let ports = PROTOCOLS.iter().find(|protocol| protocol.name == name).map(|protocol| protocol.ports).unwrap_or_default();
    format!("{ports:?}")
}
