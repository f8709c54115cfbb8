//! Words of the filter language for given values.

/// A field with a value; `None` if the filter language cannot say the value.
pub fn word(field: &str, value: &str) -> Option<String> {
    let is_plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.*/".contains(&byte));
    if is_plain { Some(format!("{field}={value}")) } else { Some(format!("{field}={}", quoted(value)?)) }
}

/// A text in quotes; `None` if it contains both kinds of quotes or has no text.
pub fn quoted(text: &str) -> Option<String> {
    let quote = ['"', '\''].into_iter().find(|quote| !text.contains(*quote))?;
    (!text.is_empty()).then(|| format!("{quote}{text}{quote}"))
}
