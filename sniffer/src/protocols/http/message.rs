//! The parts of a message that are kept until its event: the fields of the event in one buffer, and the body if it is
//! needed.

use super::{
    Settings, body, url,
    wire::{Head, Line},
};
use crate::{protocols::kit::held::Held, time::Timestamp};
use std::net::IpAddr;

/// The range of a field in the text of a [`Message`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

/// Why a body is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// The body is not kept.
    #[default]
    No,
    /// The body is a form, and its parameters are reported.
    Form,
    /// The body is part of the document.
    Send,
}

/// How the end of a body is determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The message has no body.
    None,
    /// The body has this number of bytes.
    Length(u64),
    /// The body ends with an empty chunk.
    Chunked,
    /// The body ends with the connection.
    UntilClose,
}

/// An HTTP request or response.
#[derive(Debug, Default)]
pub struct Message {
    text: Vec<u8>,
    /// The header section as captured, if `request` or `response` is reported.
    pub raw: Span,
    /// Packet time of the first byte.
    pub start: Timestamp,
    /// The HTTP version, for example `1.1`.
    pub version: &'static str,
    /// The method of a request.
    pub method: Span,
    /// The target of a request.
    pub target: Span,
    /// The status code of a response.
    pub status: u16,
    /// The reason phrase of a response, in lower case.
    pub phrase: Span,
    /// The value of the header `host`.
    pub host: Span,
    /// The value of the header `referer`.
    pub referer: Span,
    /// The value of the header `user-agent`.
    pub user_agent: Span,
    /// The value of the header `authorization`, if it may be shown.
    pub authorization: Span,
    /// The first value of the `real_ip_header`, if it is an address.
    pub real_ip: Option<IpAddr>,
    has_real_ip: bool,
    /// The value of the header `content-type`.
    pub content_type: Span,
    content_encoding: Span,
    transfer_encoding: Span,
    /// Headers that are reported: names in lower case, and values.
    pub headers: Vec<(Span, Span)>,
    /// The value of the header `content-length`.
    pub length: Option<u64>,
    chunked: bool,
    /// The message requests another protocol.
    pub upgrade: bool,
    /// The client waits for the server's consent before it sends the body (`Expect: 100-continue`).
    pub expects: bool,
    /// Bytes on the wire, including the header section.
    pub bytes: u64,
    /// Bytes of the body on the wire, without chunk framing.
    pub body_bytes: u64,
    /// Why the body is kept.
    pub keep: Keep,
    /// The kept part of the body.
    pub body: Vec<u8>,
    /// The body is longer than the part that is kept.
    pub too_large: bool,
    /// The connection ended before the end of the message.
    pub cut_off: bool,
    /// A part of the message was missing in the capture.
    pub lost: bool,
    /// The reason why the body could not be decoded.
    pub failure: Option<String>,
}

impl Message {
    /// The bytes of a field.
    pub fn get(&self, span: Span) -> &[u8] {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// Clears the message, but keeps its buffers.
    pub fn clear(&mut self) {
        let (mut text, mut headers) = (std::mem::take(&mut self.text), std::mem::take(&mut self.headers));
        text.clear();
        headers.clear();
        *self = Self { text, headers, ..Self::default() };
    }

    fn put(&mut self, bytes: &[u8]) -> Span {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(bytes);
        Span { start, end: self.text.len() as u32 }
    }

    fn put_lower(&mut self, bytes: &[u8]) -> Span {
        let span = self.put(bytes);
        if let Some(text) = self.text.get_mut(span.start as usize..) {
            text.make_ascii_lowercase();
        }
        span
    }

    /// Adds a value to a comma-separated list.
    fn put_more(&mut self, list: Span, value: &[u8]) -> Span {
        let earlier = self.get(list).to_vec();
        if earlier.is_empty() {
            return self.put_lower(value);
        }
        // Longer lists occur only in hostile input, so their further values are left out.
        if earlier.len() > 256 { list } else { self.put_lower(&[&earlier[..], b",", value].concat()) }
    }

    /// Keeps the fields of a header section that the event needs.
    pub fn read(&mut self, head: &Head<'_, '_>, start: Timestamp, settings: &Settings) {
        self.start = start;
        self.bytes = head.raw.len() as u64;
        let of_request = match head.line {
            Line::Request { method, target, version } => {
                self.version = version;
                self.method = self.put(method);
                self.target = self.put(target);
                true
            }
            Line::Response { status, phrase } => {
                self.status = status;
                self.phrase = self.put_lower(phrase);
                false
            }
        };
        for header in head.headers {
            self.read_header(header.name.as_bytes(), header.value, of_request, settings);
        }
        if if of_request { settings.common.send_request } else { settings.common.send_response } {
            let start = self.text.len() as u32;
            write_raw(&mut self.text, head.raw, of_request, settings);
            self.raw = Span { start, end: self.text.len() as u32 };
        }
        self.keep = self.wanted(of_request, settings);
    }

    fn read_header(&mut self, name: &[u8], value: &[u8], of_request: bool, settings: &Settings) {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        let options = &settings.options;
        let mut masked = Vec::new();
        if settings.hides_any() && memchr::memchr(b'?', value).is_some() {
            url::write_masked_urls(&mut masked, value, false, |name| settings.hides(name));
        }
        let shown = || match () {
            () if settings.redacts(name) => &b"REDACTED"[..],
            () if masked.is_empty() => value,
            () => &masked,
        };
        match name.len() {
            4 if is("host") && of_request => self.host = self.put(value),
            6 if is("expect") => self.expects = value.eq_ignore_ascii_case(b"100-continue"),
            7 if is("referer") && of_request => self.referer = self.put(shown()),
            7 if is("upgrade") => self.upgrade = true,
            10 if is("user-agent") && of_request => self.user_agent = self.put(shown()),
            12 if is("content-type") => self.content_type = self.put(value),
            13 if is("authorization") && of_request && !options.redact_authorization && !settings.redacts(name) && settings.sends(name) => {
                self.authorization = self.put(value);
            }
            // Several Content-Length headers must be equal, otherwise the message is malformed. Values above i64::MAX
            // are invalid.
            14 if is("content-length") && self.length.is_none() => {
                let first = value.split(|&b| b == b',').next().unwrap_or_default();
                self.length =
                    std::str::from_utf8(first.trim_ascii()).ok().and_then(|n| n.parse().ok()).filter(|&n| i64::try_from(n).is_ok());
            }
            16 if is("content-encoding") => self.content_encoding = self.put_more(self.content_encoding, value),
            17 if is("transfer-encoding") => {
                self.transfer_encoding = self.put_more(self.transfer_encoding, value);
                let last = self.get(self.transfer_encoding).rsplit(|&b| b == b',').next().unwrap_or_default();
                self.chunked = last.trim_ascii() == b"chunked";
            }
            _ => {}
        }
        if of_request && !options.real_ip_header.is_empty() && is(&options.real_ip_header) && !self.has_real_ip {
            let mut values = value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
            if let Some(first) = values.find(|value| !value.is_empty()) {
                (self.has_real_ip, self.real_ip) = (true, url::forwarded_address(first));
            }
        }
        if settings.sends(name) && !is("content-length") && !is("content-type") {
            let hidden = options.redact_authorization && of_request && (is("authorization") || is("proxy-authorization"));
            let name = self.put_lower(name);
            let value = self.put(if hidden { b"*" } else { shown() });
            self.headers.push((name, value));
        }
    }

    fn wanted(&self, of_request: bool, settings: &Settings) -> Keep {
        let content_type = self.get(self.content_type);
        let mentions = |part: &str| {
            let finds = |text: &[u8]| memchr::memmem::find(text, part.as_bytes()).is_some();
            finds(content_type) || finds(&content_type.to_ascii_lowercase())
        };
        if content_type.is_empty() {
            Keep::No
        } else if settings.bodies[usize::from(!of_request)].iter().any(|part| mentions(part)) {
            Keep::Send
        } else if of_request && mentions("urlencoded") {
            Keep::Form
        } else {
            Keep::No
        }
    }

    /// How the end of the body is determined (RFC 9112, 6.3). `head` is set if the message is the response to a HEAD.
    pub fn framing(&self, head: bool) -> Framing {
        let response = self.status != 0;
        match self.status {
            100..=199 | 204 | 304 => Framing::None,
            _ if head => Framing::None,
            _ if self.chunked => Framing::Chunked,
            _ if response && !self.get(self.transfer_encoding).is_empty() => Framing::UntilClose,
            _ => match self.length {
                Some(0) => Framing::None,
                Some(n) => Framing::Length(n),
                None if response => Framing::UntilClose,
                None => Framing::None,
            },
        }
    }

    /// Counts a part of the body. If the body is kept, appends the part, up to a total of `most` bytes.
    pub fn take_body(&mut self, part: &[u8], most: usize) {
        self.bytes = self.bytes.saturating_add(part.len() as u64);
        self.body_bytes = self.body_bytes.saturating_add(part.len() as u64);
        if self.keep == Keep::No || self.too_large {
            return;
        }
        let room = most.saturating_sub(self.body.len());
        self.too_large = part.len() > room;
        self.body.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// Counts bytes of the body and of its framing that were skipped.
    pub fn skip(&mut self, body: u64, frame: u64) {
        self.bytes = self.bytes.saturating_add(body).saturating_add(frame);
        self.body_bytes = self.body_bytes.saturating_add(body);
    }

    /// Whether more of the body should be kept.
    pub fn collects(&self) -> bool {
        self.keep != Keep::No && !self.too_large
    }

    /// Decodes the body of a complete message.
    pub fn decode(&mut self, settings: &Settings) {
        if self.keep == Keep::No || !settings.options.decode_body || (self.body.is_empty() && !self.too_large) {
            return;
        }
        let text = |span| String::from_utf8_lossy(self.get(span)).into_owned();
        let (content, transfer) = (text(self.content_encoding), text(self.transfer_encoding));
        let codings =
            content.split(',').chain(transfer.split(',').filter(|c| c.trim() != "chunked")).map(str::trim).filter(|c| !c.is_empty());
        let most = settings.options.max_message_size;
        // The coding listed last was applied last, so it is removed first.
        for coding in codings.collect::<Vec<_>>().into_iter().rev().take(MOST_CODINGS) {
            let mut failure = match body::decode(coding, &self.body, most) {
                Ok(Some(decoded)) => {
                    self.body = decoded;
                    continue;
                }
                Ok(None) => continue,
                Err(failure) => failure,
            };
            if self.too_large {
                failure.reason = "body truncated due to size limitation".into();
            }
            self.body = failure.partial;
            self.failure = Some(format!("unable to decode body using {coding} encoding: {}", failure.reason));
            break;
        }
    }
}

impl Held for Message {
    fn held(&self) -> usize {
        self.text.held() + self.body.held() + self.headers.held() + self.failure.held()
    }
}

/// Maximum number of codings of a body; more than two are not used in practice.
const MOST_CODINGS: usize = 5;

/// Writes the header section for `request` or `response`, with hidden values masked.
fn write_raw(out: &mut Vec<u8>, raw: &[u8], of_request: bool, settings: &Settings) {
    let options = &settings.options;
    let hides_parameters = settings.hides_any();
    if !hides_parameters && options.redact_headers.is_empty() && !(of_request && options.redact_authorization) {
        out.extend_from_slice(raw);
        return;
    }
    let mut hidden = None; // whether the header to which a folded line belongs is hidden
    let mut in_query = false;
    for (i, line) in raw.split_inclusive(|&b| b == b'\n').enumerate() {
        let end = line.trim_ascii_end().len();
        let colon = memchr::memchr(b':', line);
        if i == 0 {
            let query = memchr::memchr(b'?', line).filter(|_| hides_parameters && of_request);
            if let Some(query) = query {
                let stop = memchr::memrchr(b' ', line).filter(|&stop| stop > query).unwrap_or(end.max(query + 1));
                out.extend_from_slice(&line[..=query]);
                url::write_masked(out, &line[query + 1..stop], |name| settings.hides(name));
                out.extend_from_slice(&line[stop..]);
            } else {
                out.extend_from_slice(line);
            }
            continue;
        }
        let from = if matches!(line, [b' ' | b'\t', ..]) {
            0
        } else {
            let name = line[..colon.unwrap_or(0)].trim_ascii_end();
            let authorization = [&b"authorization"[..], b"proxy-authorization"].iter().any(|n| name.eq_ignore_ascii_case(n));
            hidden = match () {
                () if of_request && options.redact_authorization && authorization => Some(true),
                () if settings.redacts(name) => Some(false),
                () => None,
            };
            in_query = false;
            colon.map_or(0, |n| n + 1)
        };
        match hidden {
            Some(stars) if end > from => {
                out.extend_from_slice(&line[..from]);
                if stars {
                    out.resize(out.len() + end - from, b'*');
                } else {
                    out.extend_from_slice(b" REDACTED");
                }
                out.extend_from_slice(&line[end..]);
            }
            _ if hides_parameters => {
                out.extend_from_slice(&line[..from]);
                in_query = url::write_masked_urls(out, &line[from..], in_query, |name| settings.hides(name));
            }
            _ => out.extend_from_slice(line),
        }
    }
}
