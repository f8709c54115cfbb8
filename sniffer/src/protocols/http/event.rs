//! Reports a request and its response as a document.

use super::{
    Settings, body, form_data,
    message::{Keep, Message, Span},
    url::{self, Target, host_port, unescaped},
};
use crate::{
    event::{Head, Status, Text},
    protocols::Context,
    publish::{SHORTENED, TooLarge},
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use smallvec::SmallVec;
use std::{borrow::Cow, net::IpAddr};

/// Maximum number of cookies of one header that are split.
const MOST_COOKIES: usize = 200;

/// A request, its response, or both.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The request; `None` if it was not captured.
    pub request: Option<&'a Message>,
    /// The response; `None` if it was not captured.
    pub response: Option<&'a Message>,
    /// The response, or its beginning, was missing in the capture.
    pub response_missing: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    http: Http<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<Url<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<UserAgent<'a>>,
    #[serde(rename = "user.name", skip_serializing_if = "Text::is_empty")]
    user_name: Text<'a>,
}

#[derive(Serialize)]
struct Http<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Side<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Side<'a>>,
}

#[derive(Serialize)]
struct UserAgent<'a> {
    original: Text<'a>,
}

#[derive(Serialize)]
struct Url<'a> {
    #[serde(skip_serializing_if = "Text::is_empty")]
    full: Text<'a>,
    scheme: &'static str,
    #[serde(skip_serializing_if = "Text::is_empty")]
    domain: Text<'a>,
    #[serde(skip_serializing_if = "is_default_port")]
    port: u16,
    #[serde(skip_serializing_if = "Text::is_empty")]
    path: Text<'a>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    query: Text<'a>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    extension: Text<'a>,
}

// serde requires this signature.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_default_port(port: &u16) -> bool {
    *port == 80
}

/// The object `http.request` or `http.response`.
struct Side<'a> {
    message: &'a Message,
    settings: &'a Settings,
    /// See [`write`].
    most: usize,
}

impl Serialize for Side<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let m = self.message;
        let mut map = serializer.serialize_map(None)?;
        if m.status == 0 {
            map.serialize_entry("method", &Text(m.get(m.method)))?;
            let referer = Text(m.get(m.referer));
            if !referer.is_empty() {
                map.serialize_entry("referrer", &referer)?;
            }
        } else {
            map.serialize_entry("status_code", &m.status)?;
            let phrase = Text(m.get(m.phrase));
            if !phrase.is_empty() {
                map.serialize_entry("status_phrase", &phrase)?;
            }
        }
        map.serialize_entry("bytes", &m.bytes)?;
        let kept = if m.keep == Keep::No { 0 } else { m.body.len() as u64 };
        let bytes = if kept == 0 || m.too_large { m.body_bytes } else { kept };
        if bytes > 0 {
            let content = if m.keep == Keep::Send { shown_body(m, self.settings, self.most) } else { Cow::default() };
            map.serialize_entry("body", &Content { bytes, content: Text(&content) })?;
        }
        map.serialize_entry("headers", &Headers(self))?;
        map.end()
    }
}

#[derive(Serialize)]
struct Content<'a> {
    bytes: u64,
    #[serde(skip_serializing_if = "Text::is_empty")]
    content: Text<'a>,
}

struct Headers<'a>(&'a Side<'a>);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (m, settings) = (self.0.message, self.0.settings);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("content-length", &m.length.unwrap_or(m.body_bytes))?;
        let content_type = Text(m.get(m.content_type));
        if !content_type.is_empty() {
            map.serialize_entry("content-type", &content_type)?;
        }
        for (i, &(name, value)) in m.headers.iter().enumerate() {
            let same = |other: &&(Span, Span)| m.get(other.0) == m.get(name);
            if m.headers.iter().take(i).any(|other| same(&other)) {
                continue;
            }
            let values = || m.headers.iter().skip(i).filter(same).map(|&(_, value)| m.get(value));
            let key = Text(m.get(name));
            if settings.options.split_cookie && key.0 == if m.status == 0 { &b"cookie"[..] } else { b"set-cookie" } {
                map.serialize_entry(&key, &Cookies(values().collect()))?;
            } else if values().nth(1).is_some() {
                map.serialize_entry(&key, &Text(&values().collect::<Vec<_>>().join(&b", "[..])))?;
            } else {
                map.serialize_entry(&key, &Text(m.get(value)))?;
            }
        }
        map.end()
    }
}

struct Cookies<'a>(Vec<&'a [u8]>);

impl Serialize for Cookies<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut cookies: Vec<(Vec<u8>, &[u8])> = Vec::new();
        for part in self.0.iter().flat_map(|value| value.split(|&b| b == b';')).take(MOST_COOKIES) {
            let Some(n) = memchr::memchr(b'=', part) else { continue };
            let (name, value) = (part[..n].trim_ascii().to_ascii_lowercase(), part[n + 1..].trim_ascii());
            let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
            match cookies.iter_mut().find(|c| c.0 == name) {
                Some(earlier) => earlier.1 = value,
                None => cookies.push((name, value)),
            }
        }
        serializer.collect_map(cookies.iter().map(|(name, value)| (Text(name), Text(value))))
    }
}

/// The address in a header value, without port and brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let possible = matches!(text, [b'0'..=b'9', ..]) || text.contains(&b':');
    possible.then_some(())?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The user name of Basic credentials.
fn user(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = authorization.split_at_checked(6)?;
    scheme.eq_ignore_ascii_case(b"basic ").then_some(())?;
    let engine = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new().with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    let mut plain = base64::Engine::decode(&engine, rest.trim_ascii()).ok()?;
    plain.truncate(memchr::memchr(b':', &plain)?);
    Some(plain)
}

/// Appends the text of a message for `request` or `response`, at most `most` bytes of JSON text.
fn write_message(out: &mut Vec<u8>, m: &Message, settings: &Settings, most: usize) {
    let from = out.len();
    out.extend_from_slice(m.get(m.raw));
    if m.keep == Keep::Send {
        out.extend_from_slice(&shown_body(m, settings, most));
    }
    let shown = body::shown(out.get(from..).unwrap_or_default(), most).len();
    out.truncate(from + shown);
}

/// The limit for the length of a body as JSON text is at least this number of bytes.
const ALWAYS_SHOWN: usize = 1 << 20;

/// The kept body with hidden values masked. A control character takes up to six bytes as JSON text, so the body is
/// cut to `max_message_size` or [`ALWAYS_SHOWN`] bytes of JSON text, whichever is larger, but to at most `most` bytes.
fn shown_body<'a>(m: &'a Message, settings: &Settings, most: usize) -> Cow<'a, [u8]> {
    let most = settings.options.max_message_size.max(ALWAYS_SHOWN).min(most);
    if !settings.hides_any() {
        return body::shown(&m.body, most).into();
    }
    let mut out = Vec::new();
    let content_type = m.get(m.content_type);
    if is_form(m) {
        url::write_masked(&mut out, &m.body, |name| settings.hides(name));
    } else if let Some(boundary) = form_data::boundary(content_type) {
        form_data::write_masked(&mut out, &m.body, &boundary, |name| settings.hides(name));
    } else {
        return body::shown(&m.body, most).into();
    }
    out.truncate(body::shown(&out, most).len());
    out.into()
}

fn is_form(m: &Message) -> bool {
    memchr::memmem::find(&m.get(m.content_type).to_ascii_lowercase(), b"urlencoded").is_some()
}

/// The share of a document that each long text gets if they do not fit together. There are six: the parameters are in
/// two fields, each body in one, and each message in one. Two shares remain for everything else.
const SHARES: usize = 8;

/// Reports the exchange. If the document is too large, long texts are cut to a part of what fits. `scratch` is a buffer
/// for the texts built here.
pub fn emit(exchange: Exchange<'_>, settings: &Settings, scratch: &mut Vec<u8>, cx: &mut Context<'_>) {
    if write(exchange, settings, None, scratch, cx).is_err() {
        cx.count("shortened");
        let most = cx.document_limit() / SHARES;
        // With a limit, the result is always `Ok`.
        let _ = write(exchange, settings, Some(most), scratch, cx);
    }
}

/// Reports the exchange, with at most `limit` bytes of each long text. Without a limit, returns an error if the document is
/// too large; nothing was reported then.
fn write(
    exchange: Exchange<'_>,
    settings: &Settings,
    limit: Option<usize>,
    scratch: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Result<(), TooLarge> {
    let most = limit.unwrap_or(usize::MAX);
    let Exchange { request, response, response_missing } = exchange;
    scratch.clear();
    let port = cx.peers().server.port();
    let mut notes: SmallVec<[&str; 4]> = SmallVec::new();
    let mut head = Head::new("http");
    let failed = response.is_none_or(|m| m.status >= 400 || m.cut_off) || request.is_none();
    head.status = if failed { Status::Error } else { Status::OK };

    let mut ips: SmallVec<[IpAddr; 2]> = SmallVec::new();
    let mut hosts: SmallVec<[Text<'_>; 2]> = SmallVec::new();
    let (mut domain, mut url_port, mut path, mut name) = (&b""[..], port, Cow::default(), None);
    // Ends of the texts in `scratch`, in their order: query, full, parameters, request, response.
    let mut ends = [0usize; 5];
    if let Some(m) = request {
        let method = m.get(m.method);
        let connect = method == b"CONNECT";
        let target = Target::new(m.get(m.target), connect);
        let given = if m.get(m.host).is_empty() { target.authority.unwrap_or_default() } else { m.get(m.host) };
        let (host, host_port) = host_port(given);
        domain = host;
        // A request to a proxy names the server behind the proxy, so the port of this connection is not that server's
        // port.
        let proxied = target.authority.is_some();
        url_port = host_port.unwrap_or(if proxied { 80 } else { port });
        path = unescaped(target.path);

        scratch.extend_from_slice(method);
        scratch.push(b' ');
        scratch.extend_from_slice(if connect { m.get(m.target) } else { &path });
        ends[0] = scratch.len();
        let form = if m.keep != Keep::No && is_form(m) { &m.body[..] } else { &[] };
        url::write_parameters(scratch, target.query, form, |name| settings.hides(name));
        // Parameters are ASCII text without characters that JSON escapes.
        scratch.truncate(ends[0].saturating_add(most));
        ends[1] = scratch.len();
        if !domain.is_empty() {
            url::write_full(scratch, domain, url_port, &path);
            if ends[1] > ends[0] {
                scratch.push(b'?');
                scratch.extend_from_within(ends[0]..ends[1]);
            }
        }
        ends[2] = scratch.len();
        if settings.common.send_request {
            write_message(scratch, m, settings, most);
        }

        match address(domain) {
            Some(ip) => ips.push(ip),
            None => {
                head.destination_domain = Text(domain);
                hosts.push(Text(domain));
            }
        }
        hosts.push(Text(m.get(m.referer)));
        head.forwarded_ip = m.real_ip;
        ips.extend(m.real_ip);
        name = user(m.get(m.authorization));
        head.start = Some(m.start);
        head.source_bytes = m.bytes;
        head.method = Some(Text(method));

        if m.lost {
            notes.push("Packet loss while capturing the request");
        }
        if response.is_none() {
            notes.push("Unmatched request");
        }
        notes.extend(m.failure.as_deref());
        if !proxied && host_port.is_some_and(|n| n != port) {
            notes.push("Host header port number mismatch");
        }
    }
    ends[3] = scratch.len();
    if let Some(m) = response {
        head.end = Some(m.start);
        head.destination_bytes = m.bytes;
        if settings.common.send_response {
            write_message(scratch, m, settings, most);
        }
        if m.lost {
            notes.push("Packet loss while capturing the response");
        }
        if request.is_none() {
            notes.push("Unmatched response");
        }
        if m.cut_off {
            notes.push("The response was cut off");
        }
        notes.extend(m.failure.as_deref());
    } else if response_missing {
        notes.push("Packet loss while capturing the response");
    }
    ends[4] = scratch.len();
    if limit.is_some() {
        notes.push(SHORTENED);
    }

    let text = |i: usize| Text(scratch.get(if i == 0 { 0 } else { ends[i - 1] }..ends[i]).unwrap_or_default());
    head.query = request.map(|_| text(0));
    head.request = request.filter(|_| settings.common.send_request).map(|_| text(3));
    head.response = response.filter(|_| settings.common.send_response).map(|_| text(4));
    head.notes = &notes;
    head.related_ips = &ips;
    head.related_hosts = &hosts;
    let users = [Text(name.as_deref().unwrap_or_default())];
    head.related_users = &users;
    head.names_user = name.as_ref().is_some_and(|name| !name.is_empty());
    let extension = memchr::memrchr(b'.', &path).and_then(|n| path.get(n + 1..)).unwrap_or_default();
    let agent = request.map(|m| Text(m.get(m.user_agent))).filter(|text| !text.is_empty());
    let body = Body {
        http: Http {
            version: request.map_or("", |m| m.version),
            request: request.map(|message| Side { message, settings, most }),
            response: response.map(|message| Side { message, settings, most }),
        },
        url: request.map(|_| Url {
            full: text(2),
            scheme: "http",
            domain: Text(domain),
            port: url_port,
            path: Text(&path),
            query: text(1),
            extension: Text(extension),
        }),
        user_agent: agent.map(|original| UserAgent { original }),
        user_name: Text(name.as_deref().unwrap_or_default()),
    };
    if limit.is_none() {
        return cx.try_emit(&head, &body);
    }
    cx.emit(&head, &body);
    Ok(())
}
