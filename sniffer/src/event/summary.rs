//! The declaration of how a protocol's events are summarized in one line for people. This module does not hold the summary of an event.

/// The strings of an event's summary, each as a list of formats.
///
/// A format is text with field names in braces. The first format whose fields all exist in the event and are not empty is used; if there is
/// none, the string is empty. `status`, the two ends of the conversation, times and byte counts need no declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The kind of request.
    pub method: &'static [&'static str],
    /// The object of the request.
    pub resource: &'static [&'static str],
    /// The request as one line of text.
    pub query: &'static [&'static str],
    /// The result in the protocol's terms; empty if `status` is sufficient.
    pub result: &'static [&'static str],
}

impl Summary {
    /// The default summary, which is taken from the fields of [`super::Head`].
    pub const HEAD: Self = Self {
        method: &["{method}"],
        resource: &["{resource}"],
        query: &["{query}", "{event.action}", "{method} {resource}", "{method}", "{resource}"],
        result: &[],
    };

    /// The names of all fields in the formats, each once.
    pub fn fields(&self) -> Vec<&'static str> {
        let formats = [self.method, self.resource, self.query, self.result];
        let mut names: Vec<_> = formats.into_iter().flatten().flat_map(|format| parts(format)).filter_map(|(_, field)| field).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Appends to `out` the first format for which `value` returns a non-empty string for each field.
pub fn write<'a>(formats: &'static [&'static str], value: impl Fn(&'static str) -> &'a str, out: &mut String) {
    let complete = |format: &&&'static str| parts(format).all(|(_, field)| field.is_none_or(|name| !value(name).is_empty()));
    for (text, field) in formats.iter().find(complete).into_iter().flat_map(|format| parts(format)) {
        out.push_str(text);
        out.push_str(field.map_or("", &value));
    }
}

/// Divides a format into pairs of text and the field after it.
fn parts(format: &'static str) -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    format.split_inclusive('}').map(|part| match part.strip_suffix('}').and_then(|part| part.split_once('{')) {
        Some((text, field)) => (text, Some(field)),
        None => (part, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_format_with_all_its_fields_is_used() {
        let value = |name: &str| match name {
            "method" => "GET",
            "destination.domain" => "x.org",
            _ => "",
        };
        let made = |formats| {
            let mut out = String::new();
            write(formats, value, &mut out);
            out
        };
        assert_eq!(made(&["{method} {destination.domain}{url.path}", "{method} //{destination.domain}!", "{method}"]), "GET //x.org!");
        assert_eq!(made(&["{url.path}", "nothing"]), "nothing");
        assert_eq!(made(&["{url.path}"]), "");
        assert_eq!(Summary::HEAD.fields(), ["event.action", "method", "query", "resource"]);
    }
}
