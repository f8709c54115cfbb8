//! How the one-line summary of an event comes out of its fields: what a protocol declares for those who show events to people. Not the
//! summary of one event.

/// The texts of an event's summary, each with the formats that make it.
///
/// A format is text with names of fields in braces. The first format counts whose fields the event has all, none of them empty; without
/// one the text is empty. How the event ended in general (`status`) and its ends, times and sizes need no declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// What kind of request it was.
    pub method: &'static [&'static str],
    /// What the request was about.
    pub resource: &'static [&'static str],
    /// The request in a line.
    pub query: &'static [&'static str],
    /// How it ended in the protocol's own words; empty where `status` says all there is to say.
    pub result: &'static [&'static str],
}

impl Summary {
    /// What the fields of [`super::Head`] say.
    pub const HEAD: Self = Self {
        method: &["{method}"],
        resource: &["{resource}"],
        query: &["{query}", "{event.action}", "{method} {resource}", "{method}", "{resource}"],
        result: &[],
    };

    /// The names of all fields that the formats mention, each once.
    pub fn fields(&self) -> Vec<&'static str> {
        let formats = [self.method, self.resource, self.query, self.result];
        let mut names: Vec<_> = formats.into_iter().flatten().flat_map(|format| parts(format)).filter_map(|(_, field)| field).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Appends to `out` what the first fitting format of `formats` makes of the fields that `value` finds.
pub fn write<'a>(formats: &'static [&'static str], value: impl Fn(&'static str) -> &'a str, out: &mut String) {
    let complete = |format: &&&'static str| parts(format).all(|(_, field)| field.is_none_or(|name| !value(name).is_empty()));
    for (text, field) in formats.iter().find(complete).into_iter().flat_map(|format| parts(format)) {
        out.push_str(text);
        out.push_str(field.map_or("", &value));
    }
}

/// The parts of a format: text, and the field after it.
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
    fn the_first_format_counts_that_has_all_its_fields() {
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
