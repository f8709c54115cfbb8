//! Types of settings that are texts.

use serde::Deserialize;

/// One text or a list of texts.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Texts(pub Vec<String>);

/// A text; numbers and booleans are converted to text.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Scalar(pub String);
