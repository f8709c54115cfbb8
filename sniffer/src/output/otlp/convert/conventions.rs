//! The semantic conventions of OpenTelemetry for transactions: name, kind and status of the span, and the attributes that have other names
//! than the fields of documents. <https://opentelemetry.io/docs/specs/semconv/>

use super::{attributes::Attributes, document::Document};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

/// Maximum length of the name of a span, in bytes.
const LONGEST_NAME: usize = 120;

/// The value of `error.type` and of methods that have no name in the conventions.
const OTHER: &str = "_OTHER";

/// Methods of HTTP that an attribute may have. Others could have any number of values.
const METHODS: [&str; 10] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

/// Fields of all documents that have other names in the conventions.
const RENAMED: [(&str, &str); 12] = [
    ("server.domain", "server.address"),
    ("client.domain", "client.address"),
    ("source.ip", "source.address"),
    ("destination.ip", "destination.address"),
    ("network.protocol", "network.protocol.name"),
    ("http.version", "network.protocol.version"),
    ("http.request.bytes", "http.request.size"),
    ("http.response.bytes", "http.response.size"),
    ("http.request.body.bytes", "http.request.body.size"),
    ("http.response.body.bytes", "http.response.body.size"),
    ("tls.version_protocol", "tls.protocol.name"),
    ("tls.version", "tls.protocol.version"),
];

/// What a span has besides its attributes.
pub(super) struct Described {
    pub name: String,
    pub kind: SpanKind,
    /// The message of the error if the transaction failed.
    pub error: Option<String>,
}

/// A span before its status is known.
struct Draft {
    name: String,
    kind: SpanKind,
    /// The value of `error.type`, if the protocol says one.
    error: Option<String>,
}

/// Takes the fields that have a meaning in the conventions from the document and adds their attributes.
pub(super) fn describe(document: &mut Document, attributes: &mut Attributes) -> Described {
    let protocol = document.text("type").unwrap_or_default().to_owned();
    let is_error = document.text("status").is_some_and(|status| status != "OK");
    let server = server(document);
    let Draft { name, kind, error } = match protocol.as_str() {
        "http" => http(document, attributes),
        "mysql" => database(document, attributes, &server, "mysql", "mysql"),
        "pgsql" => database(document, attributes, &server, "postgresql", "pgsql"),
        "mongodb" => database(document, attributes, &server, "mongodb", "mongodb"),
        "cassandra" => database(document, attributes, &server, "cassandra", "cassandra"),
        "redis" => database(document, attributes, &server, "redis", "redis"),
        "memcache" => database(document, attributes, &server, "memcached", "memcache"),
        "amqp" => amqp(document, attributes),
        "thrift" => thrift(document, attributes),
        "nfs" => nfs(document, attributes),
        _ => other(document, &protocol),
    };
    addresses(document, attributes, kind);
    rename(document, attributes);
    // Whether a status of HTTP is an error depends on the kind of the span.
    let error = if protocol == "http" { error } else { is_error.then(|| error.unwrap_or_else(|| OTHER.to_owned())) };
    let message = error.map(|kind| {
        attributes.add("error.type", kind);
        message(document)
    });
    Described { name: shortened(name), kind, error: message }
}

/// Adds the fields that only have another name.
pub(super) fn rename(document: &mut Document, attributes: &mut Attributes) {
    for (from, to) in RENAMED {
        attributes.add_some(to, document.take(from));
    }
}

/// The server as `ADDRESS:PORT`, for the names of spans.
fn server(document: &Document) -> String {
    let address = document.text("server.domain").or_else(|| document.text("server.ip")).unwrap_or_default();
    match document.get("server.port").and_then(Value::as_u64) {
        Some(port) if address.contains(':') => format!("[{address}]:{port}"),
        Some(port) => format!("{address}:{port}"),
        None => address.to_owned(),
    }
}

/// Adds the addresses of both ends. `network.peer` is the end that the span's own end talks to.
fn addresses(document: &mut Document, attributes: &mut Attributes, kind: SpanKind) {
    let mut end = |name: &str, of: &str| {
        let (ip, port) = (document.take(&format!("{name}.ip")), document.get(&format!("{name}.port")).cloned());
        attributes.add_some(&format!("network.{of}.address"), ip.clone());
        attributes.add_some(&format!("network.{of}.port"), port);
        if document.get(&format!("{name}.domain")).is_none() {
            attributes.add_some(&format!("{name}.address"), ip);
        }
    };
    let is_server = matches!(kind, SpanKind::Server | SpanKind::Consumer);
    end("client", if is_server { "peer" } else { "local" });
    end("server", if is_server { "local" } else { "peer" });
}

/// The text that says why the transaction failed.
fn message(document: &Document) -> String {
    let names = ["error.message", "mysql.error_message", "pgsql.error_message", "mongodb.error", "redis.error", "amqp.reply-text"];
    match names.iter().find_map(|name| document.get(name)) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "),
        _ => String::new(),
    }
}

fn http(document: &mut Document, attributes: &mut Attributes) -> Draft {
    let kind = match document.text("network.direction") {
        Some("egress" | "outbound") => SpanKind::Client,
        _ => SpanKind::Server,
    };
    let method = document.take_text("http.request.method");
    document.take("method");
    let known = method.as_deref().filter(|method| METHODS.contains(method));
    let name = known.unwrap_or("HTTP").to_owned();
    if let Some(method) = &method {
        attributes.add("http.request.method", known.unwrap_or(OTHER));
        if known.is_none() {
            attributes.add("http.request.method_original", method.as_str());
        }
    }
    for (side, to) in [("http.request.headers", "http.request.header"), ("http.response.headers", "http.response.header")] {
        let Some(Value::Object(headers)) = document.take(side) else { continue };
        for (header, value) in headers {
            // The value of a header is a list. Cookies, which are split, are objects.
            let value = if value.is_object() { value } else { Value::Array(vec![text_of(value)]) };
            attributes.add(&format!("{to}.{header}"), value);
        }
    }
    let status = document.get("http.response.status_code").and_then(Value::as_u64);
    let failed = match (status, kind) {
        // A request without a response, or a response that was cut off.
        (None, _) => document.text("status").is_some_and(|status| status != "OK").then(|| OTHER.to_owned()),
        (Some(status), SpanKind::Client) => (status >= 400).then(|| status.to_string()),
        (Some(status), _) => (status >= 500).then(|| status.to_string()),
    };
    Draft { name, kind, error: failed }
}

/// A value as text.
fn text_of(value: Value) -> Value {
    match value {
        Value::String(_) => value,
        other => Value::String(other.to_string()),
    }
}

/// `system`: the name of the database in the conventions. `section`: the object of the protocol's own fields.
fn database(document: &mut Document, attributes: &mut Attributes, server: &str, system: &str, section: &str) -> Draft {
    attributes.add("db.system.name", system);
    let own = |name: &str| format!("{section}.{name}");
    let operation = document
        .take_text("method")
        .or_else(|| document.take_text("cassandra.request.headers.op"))
        .or_else(|| document.text("memcache.request.command").map(str::to_owned))
        .map(|operation| operation.trim().to_owned());
    if let Some(operation) = &operation {
        attributes.add("db.operation.name", operation.as_str());
    }
    attributes.add_some("db.query.text", document.take("query").or_else(|| document.take("cassandra.request.query")));
    let mut target = None;
    if let Some((database, collection)) = document.text("mongodb.fullCollectionName").and_then(|name| name.split_once('.')) {
        attributes.add("db.namespace", database);
        attributes.add("db.collection.name", collection);
        target = Some(collection.to_owned());
    }
    let result = "cassandra.response.result.rows.meta";
    for (from, to) in [("keyspace", "db.namespace"), ("table", "db.collection.name")] {
        if let Some(name) = document.take_text(&format!("{result}.{from}")) {
            attributes.add(to, name.as_str());
            target = Some(name);
        }
    }
    for rows in ["num_rows", "numberReturned"] {
        attributes.add_some("db.response.returned_rows", document.take(&own(rows)));
    }
    attributes.add_some("db.response.returned_rows", document.take("cassandra.response.result.rows.num_rows"));
    let code = document.take(&own("error_code")).or_else(|| document.take("cassandra.response.error.code"));
    let code = code.filter(|code| !code.is_null()).map(text_of);
    attributes.add_some("db.response.status_code", code.clone());
    let target = target.as_deref().unwrap_or(server);
    let name = match operation {
        Some(operation) => format!("{operation} {target}"),
        None => format!("{system} {target}"),
    };
    Draft { name, kind: SpanKind::Client, error: code.and_then(|code| code.as_str().map(str::to_owned)) }
}

fn amqp(document: &mut Document, attributes: &mut Attributes) -> Draft {
    let method = document.take_text("method").unwrap_or_default();
    attributes.add("messaging.system", "rabbitmq");
    attributes.add("messaging.operation.name", method.as_str());
    // The other methods (of connections, channels, exchanges and queues) are no operations on messages.
    let (operation, kind) = match method.as_str() {
        "basic.publish" => (Some("send"), SpanKind::Producer),
        "basic.deliver" | "basic.get" => (Some("receive"), SpanKind::Consumer),
        "basic.ack" | "basic.nack" | "basic.reject" => (Some("settle"), SpanKind::Client),
        _ => (None, SpanKind::Client),
    };
    if let Some(operation) = operation {
        attributes.add("messaging.operation.type", operation);
    }
    let destination = document.take_text("amqp.exchange").or_else(|| document.take_text("amqp.queue"));
    if let Some(destination) = &destination {
        attributes.add("messaging.destination.name", destination.as_str());
    }
    for (from, to) in [
        ("amqp.routing-key", "messaging.rabbitmq.destination.routing_key"),
        ("amqp.delivery-tag", "messaging.rabbitmq.message.delivery_tag"),
        ("amqp.message-id", "messaging.message.id"),
        ("amqp.correlation-id", "messaging.message.conversation_id"),
    ] {
        attributes.add_some(to, document.take(from));
    }
    Draft { name: joined(&method, destination.as_deref()), kind, error: document.get("amqp.reply-code").map(|code| code.to_string()) }
}

fn thrift(document: &mut Document, attributes: &mut Attributes) -> Draft {
    let (method, service) = (document.take_text("method").unwrap_or_default(), document.take_text("thrift.service"));
    attributes.add("rpc.system", "thrift");
    attributes.add("rpc.method", method.as_str());
    let name = match &service {
        Some(service) => format!("{service}/{method}"),
        None => method,
    };
    if let Some(service) = service {
        attributes.add("rpc.service", service);
    }
    Draft { name, kind: SpanKind::Client, error: None }
}

fn nfs(document: &mut Document, attributes: &mut Attributes) -> Draft {
    attributes.add("rpc.system", "onc_rpc");
    attributes.add("onc_rpc.program.name", "nfs");
    attributes.add_some("onc_rpc.version", document.take("nfs.version"));
    let procedure = document.take_text("nfs.opcode").unwrap_or_default();
    attributes.add("onc_rpc.procedure.name", procedure.as_str());
    let status = document.text("nfs.status").map(str::to_owned);
    Draft { name: format!("nfs/{procedure}"), kind: SpanKind::Client, error: status }
}

/// A protocol without conventions of its own. The name has only parts with few values.
fn other(document: &mut Document, protocol: &str) -> Draft {
    let part = |name: &str| document.text(name).map(str::to_owned);
    let (detail, error) = match protocol {
        "dns" => (part("dns.question.type"), part("dns.response_code")),
        "icmp" => (part("icmp.request.message").or_else(|| part("icmp.response.message")), None),
        "sip" => (part("sip.method").or_else(|| part("sip.cseq.method")), document.get("sip.code").map(Value::to_string)),
        "dhcpv4" => (part("dhcpv4.option.message_type"), None),
        "tls" => (Some("handshake".to_owned()), None),
        _ => (part("method"), None),
    };
    Draft { name: joined(&protocol.to_uppercase(), detail.as_deref()), kind: SpanKind::Client, error }
}

fn joined(first: &str, second: Option<&str>) -> String {
    match second {
        Some(second) if first.is_empty() => second.to_owned(),
        Some(second) => format!("{first} {second}"),
        None => first.to_owned(),
    }
}

/// The name in at most [`LONGEST_NAME`] bytes. A span must have a name.
fn shortened(mut name: String) -> String {
    if name.len() > LONGEST_NAME {
        let end = (0..=LONGEST_NAME).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        name.truncate(end);
    }
    if name.is_empty() { "transaction".to_owned() } else { name }
}
