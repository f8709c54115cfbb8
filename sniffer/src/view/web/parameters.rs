//! The parameters of a request, and why one is refused.

use crate::view::{
    filter::{Filter, Wrong},
    model::Range,
};
use serde::Serialize;
use std::ops::RangeInclusive;

/// Maximum number of parameters that are read. Further ones have no effect.
const MOST_PARAMETERS: usize = 32;

/// Why a request is not answered. It is the body of the response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The status of HTTP.
    #[serde(skip)]
    pub status: u16,
    /// What is wrong, and what to write.
    pub error: String,
    /// The parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<&'static str>,
    /// The position in a filter, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl Refused {
    /// An answer that is about no parameter.
    pub fn new(status: u16, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), parameter: None, column: None }
    }

    /// A wrong parameter.
    pub(super) fn parameter(name: &'static str, error: impl Into<String>) -> Self {
        Self { parameter: Some(name), ..Self::new(400, error) }
    }

    /// A wrong filter.
    pub(super) fn filter(wrong: &Wrong) -> Self {
        Self { column: Some(wrong.column), ..Self::parameter("filter", format!("{}: {}", wrong.word, wrong.message)) }
    }

    /// What was asked for is not known.
    pub(super) fn unknown(name: &'static str, error: impl Into<String>) -> Self {
        Self { status: 404, ..Self::parameter(name, error) }
    }
}

/// The parameters of a request. The first one counts if a name is repeated. Unknown names have no effect.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads the query of a URL, in which `+` stands for a blank.
    pub fn read(query: &str) -> Self {
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pair = |pair: &str| {
            pair.split_once('=').map_or_else(|| (decoded(pair), String::new()), |(name, value)| (decoded(name), decoded(value)))
        };
        Self(query.split('&').filter(|pair| !pair.is_empty()).take(MOST_PARAMETERS).map(pair).collect())
    }

    /// The value of a parameter that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A number within limits.
    ///
    /// # Errors
    /// When the value is another one.
    pub(super) fn number(&self, name: &'static str, within: RangeInclusive<u64>, default: u64) -> Result<u64, Refused> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let wrong = || Refused::parameter(name, format!("`{text}` is no number from {} to {}", within.start(), within.end()));
        text.parse().ok().filter(|number| within.contains(number)).ok_or_else(wrong)
    }

    /// The parameter `limit`.
    ///
    /// # Errors
    /// When the value is wrong.
    pub(super) fn limit(&self, most: u64, default: u64) -> Result<usize, Refused> {
        Ok(usize::try_from(self.number("limit", 1..=most, default)?).unwrap_or(usize::MAX))
    }

    /// The parameter `range`.
    ///
    /// # Errors
    /// When the value is wrong.
    pub(super) fn range(&self, is_live: bool) -> Result<Range, Refused> {
        match self.get("range") {
            Some("5m") => Ok(Range::Minutes),
            Some("all") => Ok(Range::All),
            Some(other) => Err(Refused::parameter("range", format!("`{other}` is no range; write 5m or all"))),
            None if is_live => Ok(Range::Minutes),
            None => Ok(Range::All),
        }
    }

    /// The parameter `filter`.
    ///
    /// # Errors
    /// When the value is no filter.
    pub(super) fn filter(&self, protocols: &[&str]) -> Result<Filter, Refused> {
        Filter::parse(self.get("filter").unwrap_or_default(), protocols).map_err(|wrong| Refused::filter(&wrong))
    }

    /// How long a request for new transactions is held while there are none, in milliseconds.
    ///
    /// # Errors
    /// When the value is wrong.
    pub fn wait_ms(&self) -> Result<u64, Refused> {
        self.number("wait_ms", 0..=10_000, 0)
    }
}
