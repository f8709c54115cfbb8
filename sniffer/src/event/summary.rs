//! The declaration of the formats by which an event of a protocol is summarised in one line for people. This module does not contain the
//! summaries themselves.

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
    /// The names of the fields that views show for this protocol in particular.
    pub details: Details<'static>,
}

/// What views show of one protocol in particular: the names of the fields in a [`Summary`], the values in the summary of an event. A value
/// is empty if the event does not have the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Details<'a> {
    /// Nothing.
    #[default]
    None,
    /// A request of HTTP.
    Http {
        /// The host that the client asked for: a name or an address, without a port.
        host: &'a str,
    },
    /// A DNS query.
    Dns {
        /// The name that was asked for.
        name: &'a str,
        /// The type of the wanted records: `A`, `AAAA`, …
        kind: &'a str,
        /// The response code: `NOERROR`, `NXDOMAIN`, …
        code: &'a str,
        /// The first addresses of the answer, with blanks between them.
        addresses: &'a str,
    },
    /// A TLS handshake.
    Tls {
        /// The name of the server that the client asked for (SNI, RFC 6066).
        server_name: &'a str,
        /// The version of TLS or SSL as a number: `1.2`.
        version: &'a str,
        /// The name of the cipher suite.
        cipher: &'a str,
        /// The time at which the server's certificate ends, in the form of RFC 3339.
        certificate_end: &'a str,
    },
}

impl<'a> Details<'a> {
    /// Replaces each text by what `of` returns for it.
    pub fn map<'b>(self, of: impl Fn(&'a str) -> &'b str) -> Details<'b> {
        match self {
            Self::None => Details::None,
            Self::Http { host } => Details::Http { host: of(host) },
            Self::Dns { name, kind, code, addresses } => {
                Details::Dns { name: of(name), kind: of(kind), code: of(code), addresses: of(addresses) }
            }
            Self::Tls { server_name, version, cipher, certificate_end } => Details::Tls {
                server_name: of(server_name),
                version: of(version),
                cipher: of(cipher),
                certificate_end: of(certificate_end),
            },
        }
    }

    /// All texts in the order of declaration. A missing text is empty.
    pub fn texts(self) -> [&'a str; 4] {
        match self {
            Self::None => [""; 4],
            Self::Http { host } => [host, "", "", ""],
            Self::Dns { name, kind, code, addresses } => [name, kind, code, addresses],
            Self::Tls { server_name, version, cipher, certificate_end } => [server_name, version, cipher, certificate_end],
        }
    }
}

impl Summary {
    /// The default summary, which is taken from the fields of [`super::Head`].
    pub const HEAD: Self = Self {
        method: &["{method}"],
        resource: &["{resource}"],
        query: &["{query}", "{event.action}", "{method} {resource}", "{method}", "{resource}"],
        result: &[],
        details: Details::None,
    };

    /// The names of all fields in the formats and the details, each once.
    pub fn fields(&self) -> Vec<&'static str> {
        let formats = [self.method, self.resource, self.query, self.result];
        let mut names: Vec<_> = formats.into_iter().flatten().flat_map(|format| parts(format)).filter_map(|(_, field)| field).collect();
        names.extend(self.details.texts().into_iter().filter(|name| !name.is_empty()));
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
