//! Options that several sections have.

use super::super::{Setting, default, example};

/// Fields and tags of the documents of one protocol, or of flows.
pub(super) const LABELS: &[Setting] = &[
    default("tags", "[]", "Further tags of these documents."),
    default("fields", "{}", "Further fields of these documents, below `fields`."),
    default("fields_under_root", "false", "Puts `fields` at the top of the document."),
    example("index", "packetbeat-%{+yyyy.MM.dd}", "The index of these documents in Elasticsearch, in place of the output's."),
    example("pipeline", "geo", "The ingest pipeline of these documents in Elasticsearch."),
    default("keep_null", "false", "Accepted without effect: no document has a field without a value."),
];

pub(super) const PROCESSORS: &[Setting] = &[default("processors", "[]", "Processors of these documents, before those of the top level.")];

/// TLS of connections that the program makes. The sections add the prefix `ssl.`.
pub(super) const SSL: &[Setting] = &[
    example("enabled", "true", "`false` switches TLS off, `true` on, for servers without a scheme."),
    default(
        "verification_mode",
        "full",
        "`full` and `strict` verify chain and name of the server, `certificate` the chain, `none` nothing.",
    ),
    example(
        "certificate_authorities",
        "[\"/etc/sniffer/ca.pem\"]",
        "Authorities of servers, files or PEM text; without it those of the system.",
    ),
    example("certificate", "\"/etc/sniffer/client.pem\"", "The program's own certificate, a file or PEM text.").with("key"),
    example("key", "\"/etc/sniffer/client.key\"", "The key of `certificate`, a file or PEM text.").with("certificate"),
    default("key_passphrase", "\"\"", "The passphrase of an encrypted key (PKCS#8 with PBES2)."),
    default("key_passphrase_path", "\"\"", "A file with this passphrase."),
    default("supported_protocols", "[TLSv1.2, TLSv1.3]", "Versions of TLS."),
    default("cipher_suites", "[]", "Cipher suites of TLS 1.2 by their names; `[]`: all that are secure."),
    default("curve_types", "[]", "`P-256`, `P-384`, `X25519`; `[]`: all."),
    default("ca_sha256", "[]", "Digests of public keys, one of which must be in the server's chain."),
    example(
        "ca_trusted_fingerprint",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "SHA-256 of an authority's certificate, which is then trusted.",
    ),
    default("renegotiation", "never", "Other values are refused: renegotiation is not supported."),
    default("certificate_reload.enabled", "true", "Reads files again that were replaced."),
    default("certificate_reload.reload_interval", "5s", "The files are compared at most so often."),
    default("restart_on_cert_change.enabled", "false", "The older name of `certificate_reload`; nothing is restarted."),
    default("restart_on_cert_change.period", "60s", "The interval of `restart_on_cert_change`."),
];

/// Connections that speak HTTP.
pub(super) const HTTP: &[Setting] = &[
    default("idle_connection_timeout", "3s", "An idle connection is closed after this time."),
    example("proxy_url", "\"http://proxy.example:3128\"", "The proxy; without it the one of the environment (`HTTPS_PROXY`)."),
    default("proxy_disable", "false", "Uses no proxy, not even that of the environment."),
    default("proxy_headers", "{}", "Headers for the proxy."),
];

/// The time-out of HTTP requests to Elasticsearch and Kibana.
pub(super) const HTTP_TIMEOUT: &[Setting] = &[default("timeout", "90s", "Longest time of one request.")];

/// Connections without HTTP.
pub(super) const SOCKS: &[Setting] = &[
    example("proxy_url", "\"socks5://user:password@proxy.example:1080\"", "A SOCKS5 proxy."),
    default("proxy_use_local_resolver", "false", "Names are resolved here and not by the proxy."),
];

/// Batches of an output.
pub(super) const DELIVERY: &[Setting] = &[
    default("bulk_max_size", "2048", "Most events of one batch; 0: as many as the queue hands out."),
    default(
        "max_retries",
        "3",
        "How often an event that the server refused is sent again before it is dropped; a negative number: always.",
    ),
    default("backoff.init", "1s", "The wait after a failure; it doubles at each failure."),
    default("backoff.max", "15s", "The longest wait."),
];

/// What every output has.
pub(super) const ANY_OUTPUT: &[Setting] = &[
    default("enabled", "true", "`false` switches the output off. One output is on."),
    example("queue", "{mem: {events: 3200}}", "The queue of this output, in place of the section `queue`, with the same options."),
];

/// Servers and threads.
pub(super) const WORKERS: &[Setting] = &[default("workers", "1", "Connections to each server. The older name is `worker`.")];

/// How events are written.
pub(super) const CODEC: &[Setting] = &[
    default("codec.json.pretty", "false", "Several lines for a document."),
    default("codec.json.escape_html", "false", "Writes `<`, `>` and `&` as escape sequences. Also `escapehtml`."),
    default("codec.json.localtime", "false", "Writes `@timestamp` in the local time zone, with its offset."),
    example("codec.format.string", "'%{[@timestamp]} %{[type]}'", "A format string in place of JSON."),
];
