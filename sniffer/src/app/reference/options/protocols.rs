//! Options of protocols. The ports are those of `PROTOCOLS`.

use super::super::{Group, Setting, active, default, example};
use super::shared::{LABELS, PROCESSORS};

/// A protocol whose page in `docs/protocols` has more about it.
const fn protocol(title: &'static str, section: &'static str, lists: &'static [(&'static str, &'static [Setting])]) -> Group {
    let about = "Written as an entry of a list, `type` is the name of the protocol: `- type: dns`.";
    Group { page: "protocols", title, section, about, lists }
}

#[rustfmt::skip]
pub(super) const GROUPS: &[Group] = &[
    protocol("icmp", "packetbeat.protocols.icmp", &[("", ICMP), ("", LABELS), ("", PROCESSORS)]),
    protocol("amqp", "packetbeat.protocols.amqp", &[("", COMMON), ("", TRANSACTIONS), ("", AMQP), ("", LABELS), ("", PROCESSORS)]),
    protocol("cassandra", "packetbeat.protocols.cassandra", &[("", COMMON), ("", CASSANDRA), ("", LABELS), ("", PROCESSORS)]),
    protocol("dhcpv4", "packetbeat.protocols.dhcpv4", &[("", COMMON), ("", WITHOUT_EFFECT), ("", LABELS), ("", PROCESSORS)]),
    protocol("dns", "packetbeat.protocols.dns", &[("", COMMON), ("", TRANSACTIONS), ("", DNS), ("", LABELS), ("", PROCESSORS)]),
    protocol("http", "packetbeat.protocols.http", &[("", COMMON), ("", TRANSACTIONS), ("", HTTP), ("", LABELS), ("", PROCESSORS)]),
    protocol("memcache", "packetbeat.protocols.memcache", &[("", COMMON), ("", TRANSACTIONS), ("", MEMCACHE), ("", LABELS), ("", PROCESSORS)]),
    protocol("mysql", "packetbeat.protocols.mysql", &[("", COMMON), ("", TRANSACTIONS), ("", MYSQL), ("", LABELS), ("", PROCESSORS)]),
    protocol("pgsql", "packetbeat.protocols.pgsql", &[("", COMMON), ("", TRANSACTIONS), ("", PGSQL), ("", LABELS), ("", PROCESSORS)]),
    protocol("redis", "packetbeat.protocols.redis", &[("", COMMON), ("", TRANSACTIONS), ("", REDIS), ("", LABELS), ("", PROCESSORS)]),
    protocol("thrift", "packetbeat.protocols.thrift", &[("", COMMON), ("", TRANSACTIONS), ("", THRIFT), ("", LABELS), ("", PROCESSORS)]),
    protocol("mongodb", "packetbeat.protocols.mongodb", &[("", COMMON), ("", TRANSACTIONS), ("", MONGODB), ("", LABELS), ("", PROCESSORS)]),
    protocol("nfs", "packetbeat.protocols.nfs", &[("", COMMON), ("", NFS), ("", LABELS), ("", PROCESSORS)]),
    protocol("tls", "packetbeat.protocols.tls", &[("", COMMON), ("", TRANSACTIONS), ("", TLS), ("", LABELS), ("", PROCESSORS)]),
    protocol("sip", "packetbeat.protocols.sip", &[("", COMMON), ("", SIP), ("", LABELS), ("", PROCESSORS)]),
];

const COMMON: &[Setting] = &[
    active("ports", "", "Ports, ranges (`8000-8100`), or `any`, which recognises the protocol on every port."),
    default("enabled", "true", "Analyses this protocol."),
    example("interface.device", "eth0", "Analyses the protocol only on this device of `packetbeat.interfaces`."),
];

const ICMP: &[Setting] = &[
    active("enabled", "true", "Analyses this protocol."),
    example("ports", "[]", "Without effect: ICMP has no ports."),
    example("interface.device", "eth0", "Analyses the protocol only on this device of `packetbeat.interfaces`."),
    default("send_request", "false", "Without effect."),
    default("send_response", "false", "Without effect."),
    default("transaction_timeout", "10s", "How long a request waits for its response, in packet time."),
];

const TRANSACTIONS: &[Setting] = &[
    default("send_request", "false", "Adds the text of the request to the document (`request`)."),
    default("send_response", "false", "Adds the text of the response to the document (`response`)."),
    default("transaction_timeout", "10s", "How long a request waits for its response, in packet time."),
];

const WITHOUT_EFFECT: &[Setting] = &[
    default("send_request", "false", "Without effect: every message is a document."),
    default("send_response", "false", "Without effect: every message is a document."),
    default("transaction_timeout", "10s", "Without effect: every message is a document."),
];

const AMQP: &[Setting] = &[
    default("parse_headers", "true", "Shows the properties of messages; without them no body is recognised as text."),
    default("parse_arguments", "true", "Shows the table `arguments` of declarations."),
    default("max_body_length", "1000", "Most bytes of a message's body that are shown, at most 4MiB."),
    default(
        "hide_connection_information",
        "true",
        "Leaves out methods that open, close and limit connections and channels, if they succeed.",
    ),
];

const CASSANDRA: &[Setting] = &[
    default("send_request", "true", "Reports `cassandra.request`."),
    default("send_response", "true", "Reports `cassandra.response`."),
    default("send_request_header", "true", "Reports `cassandra.request.headers`."),
    default("send_response_header", "true", "Reports `cassandra.response.headers`."),
    default("transaction_timeout", "10s", "How long a request waits for its response, in packet time."),
    example("compressor", "snappy", "`snappy` or `lz4`: the compression of connections whose start was not captured (versions 3 and 4)."),
    default("ignored_ops", "[]", "Operations that are not reported, as in `cassandra.request.headers.op`: `[OPTIONS, STARTUP]`."),
];

const DNS: &[Setting] = &[
    default("include_authorities", "false", "Shows the authority section (`dns.authorities`)."),
    default("include_additionals", "false", "Shows the additional section (`dns.additionals`)."),
];

const HTTP: &[Setting] = &[
    default("hide_keywords", "[]", "Parameters of queries and forms whose values become `xxxxx`: `[password, token]`."),
    default("redact_authorization", "false", "The headers `authorization` and `proxy-authorization` become `*`."),
    default("redact_headers", "[]", "Headers whose values become `REDACTED`."),
    default("send_headers", "[]", "Headers that are reported besides `content-length` and `content-type`."),
    default("send_all_headers", "false", "Reports all headers."),
    default("split_cookie", "false", "Reports the headers `cookie` and `set-cookie` as maps."),
    example("real_ip_header", "X-Forwarded-For", "The header with the address of the client, which becomes `network.forwarded_ip`."),
    default("include_body_for", "[]", "Bodies are reported whose content type contains one of these texts: `[text/html]`."),
    default("include_request_body_for", "[]", "The same for bodies of requests only."),
    default("include_response_body_for", "[]", "The same for bodies of responses only."),
    default("decode_body", "true", "Decodes bodies with gzip, deflate or zstd."),
    default("max_message_size", "10485760", "Most bytes of a body that are kept; a longer body is counted in full."),
];

const MEMCACHE: &[Setting] = &[
    default("parseunknown", "false", "Reports unknown commands."),
    default("maxvalues", "0", "Number of values of a message that are shown; a negative number: all."),
    default("maxbytespervalue", "0", "Most bytes of a value that are shown; 0 or a negative number: all."),
    default("udptransactiontimeout", "10s", "How long a request over UDP waits for its response, in packet time."),
];

const MYSQL: &[Setting] = &[
    default("max_rows", "10", "Most rows of a result in `response`."),
    default("max_row_length", "1024", "Most bytes of a row in `response`."),
    default("statement_timeout", "1h", "How long an unused prepared statement is remembered, in packet time."),
];

const PGSQL: &[Setting] = &[
    default("max_rows", "10", "Most rows of a result in `response`."),
    default("max_row_length", "1024", "Most bytes of a row in `response`."),
];

const REDIS: &[Setting] = &[
    default("queue_max_bytes", "1MiB", "Most bytes of waiting commands of a connection; no text is kept of further ones."),
    default("queue_max_messages", "20000", "Most commands of a connection that wait for their replies."),
];

const THRIFT: &[Setting] = &[
    default("transport_type", "socket", "`socket`, `framed` or `header`; the transport is recognised whatever the value."),
    default("protocol_type", "binary", "`binary` or `compact`; the protocol is recognised whatever the value."),
    example("idl_files", "[/etc/sniffer/service.thrift]", "Interface definitions, which give methods, fields and exceptions their names."),
    default("string_max_size", "200", "Most bytes of a text that are shown."),
    default("collection_max_size", "15", "Most elements of a list, set or map that are shown."),
    default("capture_reply", "true", "Shows replies."),
    default("obfuscate_strings", "false", "Texts become `*`."),
    default("drop_after_n_struct_fields", "500", "Most fields of a struct that are read."),
];

const MONGODB: &[Setting] = &[
    default("max_docs", "10", "Most documents of a reply that are shown; 0: all."),
    default("max_doc_length", "5000", "Most bytes of each document that are shown; 0: all."),
];

const NFS: &[Setting] = &[
    default("transaction_timeout", "60s", "How long a call waits for its reply, in packet time."),
    default("send_request", "false", "Without effect."),
    default("send_response", "false", "Without effect."),
];

const TLS: &[Setting] = &[
    default("send_certificates", "true", "Shows certificates in detail."),
    default("include_raw_certificates", "false", "Shows certificates as PEM."),
    default("include_detailed_fields", "true", "Shows `tls.detailed` and `x509`."),
    default("fingerprints", "[sha1]", "Digests of certificates to report: `md5`, `sha1`, `sha256`."),
];

const SIP: &[Setting] = &[
    default("transport_protocol", "udp", "Accepted without effect: the transport is that of the packet."),
    default("parse_authorization", "true", "Shows the header `authorization` in parts."),
    default("parse_body", "true", "Shows the body (SDP) in parts."),
    default("keep_original", "true", "Shows the message as it was sent (`event.original`)."),
];
