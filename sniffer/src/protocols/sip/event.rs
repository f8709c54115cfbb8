//! Reports a message as a document. Requests and responses are not paired.

use super::{
    Sip,
    wire::{self, Address, Headers, Start, Uri},
};
use crate::{
    event::{Head, Status, Text},
    net::{Direction, Peers, Transport},
    protocols::Context,
    time::Timestamp,
};
use serde::{Serialize, Serializer, ser::SerializeSeq};
use std::net::IpAddr;

#[derive(Serialize)]
struct Body<'a> {
    sip: Fields<'a>,
    #[serde(skip_serializing_if = "User::is_empty")]
    user: User<'a>,
}

#[derive(Serialize)]
struct User<'a> {
    name: Text<'a>,
}

impl User<'_> {
    fn is_empty(&self) -> bool {
        self.name.is_empty()
    }
}

#[derive(Default, Serialize)]
struct Fields<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    status: Text<'a>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    version: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<UriFields<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    accept: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    supported: Vec<String>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    call_id: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_length: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    content_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_forwards: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Original<Text<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<Original<Distinct<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cseq: Option<CSeq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Party<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Party<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<Party<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private: Option<Private<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<Auth<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdp: Option<Sdp<'a>>,
}

#[derive(Serialize)]
struct Original<T> {
    original: T,
}

struct Distinct<'a>(Vec<&'a [u8]>);

impl Serialize for Distinct<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for (i, value) in self.0.iter().enumerate() {
            if !self.0[..i].contains(value) {
                seq.serialize_element(&Text(value))?;
            }
        }
        seq.end()
    }
}

#[derive(Serialize)]
struct CSeq {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: String,
}

#[derive(Serialize)]
struct UriFields<'a> {
    #[serde(skip_serializing_if = "Text::is_empty")]
    original: Text<'a>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    scheme: Text<'a>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    username: Text<'a>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    host: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

impl<'a> UriFields<'a> {
    fn new(uri: &Uri<'a>) -> Self {
        let port = Some(uri.port).filter(|p| *p != 0);
        Self { original: Text(uri.original), scheme: Text(uri.scheme), username: Text(uri.username), host: Text(uri.host), port }
    }
}

#[derive(Serialize)]
struct Party<'a> {
    #[serde(skip_serializing_if = "Text::is_empty")]
    display_info: Text<'a>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    tag: Text<'a>,
    uri: UriFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    q: Option<f64>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    line: Text<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    transport: String,
}

impl<'a> Party<'a> {
    /// The fields of a `From` or `To` header, which may have a tag.
    fn tagged(address: &Address<'a>) -> Self {
        let tag = wire::parameter(address.parameters, b';', "tag").unwrap_or_default();
        Self {
            display_info: Text(address.display),
            tag: Text(tag),
            uri: UriFields::new(&address.uri),
            expires: None,
            q: None,
            line: Text(b""),
            transport: String::new(),
        }
    }

    /// The fields of a `Contact` header, which may have an expiry and a priority. `line` and `transport` may also be
    /// parameters of the URI.
    fn contact(address: &Address<'a>) -> Self {
        let of = |name| wire::parameter(address.parameters, b';', name).or_else(|| wire::parameter(address.uri.parameters, b';', name));
        let q = of("q").and_then(|q| std::str::from_utf8(q).ok()).and_then(|q| q.parse::<f64>().ok());
        Self {
            expires: of("expires").and_then(wire::number).filter(|n| *n != 0),
            q: q.filter(|q| q.is_finite() && *q != 0.0),
            line: Text(of("line").unwrap_or_default()),
            transport: lower(of("transport").unwrap_or_default()),
            tag: Text(b""),
            ..Self::tagged(address)
        }
    }
}

#[derive(Serialize)]
struct Private<'a> {
    uri: UriFields<'a>,
}

#[derive(Serialize)]
struct Auth<'a> {
    #[serde(skip_serializing_if = "Text::is_empty")]
    scheme: Text<'a>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    realm: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<UriFields<'a>>,
}

#[derive(Serialize)]
struct Sdp<'a> {
    #[serde(skip_serializing_if = "Text::is_empty")]
    version: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<User<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<Connection<'a>>,
    body: Original<Text<'a>>,
}

#[derive(Serialize)]
struct Owner<'a> {
    #[serde(skip_serializing_if = "Text::is_empty")]
    username: Text<'a>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    session_id: Text<'a>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    version: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
}

#[derive(Serialize)]
struct Connection<'a> {
    info: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    /// The address or name, for `related.hosts`.
    #[serde(skip)]
    host: Text<'a>,
}

fn lower(text: &[u8]) -> String {
    Text(text).to_str().to_ascii_lowercase()
}

fn upper(text: &[u8]) -> String {
    Text(text).to_str().to_ascii_uppercase()
}

/// The host name. The names `-` and a space mean that there is none, and become empty.
fn named(name: &[u8]) -> &[u8] {
    if matches!(name, b"-" | b" ") { b"" } else { name }
}

fn list(headers: &Headers<'_>, name: &'static str) -> Vec<String> {
    headers
        .all(name)
        .flat_map(|value| value.split(|b| *b == b','))
        .map(|item| lower(item.trim_ascii()))
        .filter(|item| !item.is_empty())
        .collect()
}

/// The address in the text. `None` for a host name, because the fields have the type `ip`.
fn ip(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn sdp<'a>(headers: &Headers<'_>, body: &'a [u8]) -> Option<Sdp<'a>> {
    headers.get("content-length")?;
    if headers.get("content-type") != Some(b"application/sdp") || headers.get("content-encoding").is_some() || body.is_empty() {
        return None;
    }
    let line = |kind| wire::sdp_line(body, kind);
    let owner = line(b'o').map(|line| {
        let wire::SdpOwner { username, session_id, version, address } = wire::sdp_owner(line);
        Owner { username: Text(named(username)), session_id: Text(session_id), version: Text(version), ip: ip(address) }
    });
    let name = line(b's').map_or(&b""[..], named);
    let connection = line(b'c').map(|info| {
        let host = wire::sdp_connection(info);
        Connection { info: Text(info), address: ip(host), host: Text(host) }
    });
    Some(Sdp {
        version: Text(line(b'v').unwrap_or_default()),
        owner,
        session: (!name.is_empty()).then_some(User { name: Text(name) }),
        connection,
        body: Original { original: Text(body) },
    })
}

/// A captured message.
pub struct Found<'a> {
    /// The direction of the message.
    pub dir: Direction,
    /// All bytes of the message.
    pub raw: &'a [u8],
    /// Offset of the body in `raw`.
    pub body: usize,
    /// Packet time of the message's first byte.
    pub time: Timestamp,
}

/// Reports a message if it is valid.
pub fn emit(found: &Found<'_>, sip: &Sip, cx: &mut Context<'_>) {
    let head = wire::unfold(&found.raw[..found.body]);
    let body = &found.raw[found.body..];
    let line_end = memchr::memchr(b'\n', &head).map_or(head.len(), |at| at + 1);
    let Some(start) = wire::start_line(head[..line_end].trim_ascii_end()) else { return cx.count("malformed") };
    let headers = Headers::parse(&head[line_end..]);
    let address = |name| headers.get(name).map(Address::parse);
    let (from, to, contact) = (address("from"), address("to"), address("contact"));
    let private = address("p-associated-uri");
    let authorization =
        if sip.options.parse_authorization { headers.get("authorization").or_else(|| headers.get("proxy-authorization")) } else { None };
    let (scheme, credentials) = authorization.map(|a| a.split_at(memchr::memchr(b' ', a).unwrap_or(a.len()))).unwrap_or_default();
    let credential = |name| wire::parameter(credentials, b',', name).unwrap_or_default();
    let cseq = headers.get("cseq").map(|value| {
        let (code, method) = value.split_at(value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len()));
        CSeq { code: wire::number(code), method: upper(method.trim_ascii()) }
    });
    let (mut fields, request_uri) = match start {
        Start::Request { method, uri, version } => {
            let uri = Uri::parse(uri);
            let fields = Fields {
                kind: "request",
                method: upper(method),
                version: Text(version),
                uri: Some(UriFields::new(&uri)),
                ..Fields::default()
            };
            (fields, Some(uri))
        }
        Start::Response { version, code, phrase } => {
            (Fields { kind: "response", code: Some(code), status: Text(phrase), version: Text(version), ..Fields::default() }, None)
        }
    };
    let code = fields.code.unwrap_or(0);
    let asked = if fields.method.is_empty() { cseq.as_ref().map_or("", |c| c.method.as_str()) } else { fields.method.as_str() };
    let action = format!("sip-{}", asked.to_ascii_lowercase());
    let vias: Vec<&[u8]> = headers.all("via").collect();
    fields.accept = lower(headers.get("accept").unwrap_or_default());
    fields.allow = list(&headers, "allow");
    fields.supported = list(&headers, "supported");
    fields.call_id = Text(headers.get("call-id").unwrap_or_default());
    fields.content_length = headers.number("content-length").filter(|n| *n != 0);
    fields.content_type = lower(headers.get("content-type").unwrap_or_default());
    fields.max_forwards = headers.number("max-forwards").filter(|n| *n != 0);
    fields.user_agent = headers.get("user-agent").map(|agent| Original { original: Text(agent) });
    fields.via = (!vias.is_empty()).then_some(Original { original: Distinct(vias) });
    fields.from = from.as_ref().map(Party::tagged);
    fields.to = to.as_ref().map(Party::tagged);
    fields.contact = contact.as_ref().filter(|c| c.uri.original != b"*").map(Party::contact);
    fields.private = private.as_ref().map(|p| Private { uri: UriFields::new(&p.uri) });
    fields.auth = authorization.map(|_| Auth {
        scheme: Text(scheme),
        realm: Text(credential("realm")),
        uri: Some(UriFields::new(&Uri { username: b"", ..Uri::parse(credential("uri")) })).filter(|u| !u.original.is_empty()),
    });
    fields.sdp = if sip.options.parse_body { sdp(&headers, body) } else { None };
    let sequence = cseq.as_ref().and_then(|c| c.code);
    fields.cseq = cseq;

    let uris = [request_uri, private.map(|a| a.uri), from.map(|a| a.uri), to.map(|a| a.uri), contact.map(|a| a.uri)];
    let mut hosts: Vec<Text<'_>> = uris.iter().flatten().map(|uri| Text(uri.host)).collect();
    hosts.extend(fields.sdp.iter().filter_map(|sdp| sdp.connection.as_ref()).map(|c| c.host));
    let user = Text(named(credential("username")));
    let mut users: Vec<Text<'_>> = uris.iter().flatten().map(|uri| Text(named(uri.username))).collect();
    users.push(user);
    let owner = fields.sdp.as_ref().and_then(|sdp| sdp.owner.as_ref());
    users.extend(owner.map(|owner| owner.username));
    let owner = owner.and_then(|owner| owner.ip);

    let transport = cx.peers().transport;
    let peers = Peers::new(cx.peers().sender(found.dir), cx.peers().receiver(found.dir), transport).with_realm(cx.peers().realm);
    let head = Head {
        status: if code >= 400 { Status::Error } else { Status::OK },
        start: Some(found.time),
        end: Some(found.time),
        categories: if authorization.is_some() { &["network", "authentication"] } else { &["network"] },
        types: &["info", "protocol"],
        action: &action,
        outcome: match code {
            200..=299 => "success",
            300.. => "failure",
            _ => "",
        },
        reason: fields.status,
        sequence: sequence.filter(|n| *n != 0),
        original: sip.options.keep_original.then_some(Text(found.raw)),
        application: "sip",
        iana_number: if transport == Transport::Tcp { "6" } else { "17" },
        related_ips_first: owner.as_slice(),
        related_hosts: &hosts,
        related_users: &users,
        names_user: !user.is_empty(),
        ..Head::new("sip")
    };
    cx.emit_for(&peers, &head, &Body { sip: fields, user: User { name: user } });
}
