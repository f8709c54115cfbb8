//! Options of the log and of the program's own counters.

use super::super::{Group, Setting, default, example, needed};
use super::shared::{HTTP, HTTP_TIMEOUT, SSL};

pub(super) const GROUPS: &[Group] = &[
    Group {
        page: "logging",
        title: "The log",
        section: "logging",
        about: "The log of the program, in ECS JSON. Started by systemd or with `-e`, it is written to stderr.",
        lists: &[("", LOGGING), ("files.", FILES)],
    },
    Group {
        page: "logging",
        title: "The log of dropped events",
        section: "logging.event_data",
        about: "Events that could not be delivered are written here with their content, which never gets into the other log.",
        lists: &[("", EVENT_DATA)],
    },
    Group {
        page: "http",
        title: "The HTTP endpoint",
        section: "http",
        about: "Counters, metrics for Prometheus, and health.",
        lists: &[("", ENDPOINT)],
    },
    Group {
        page: "web",
        title: "The page",
        section: "web",
        about: "A page for the browser about what is captured; `sniffer web --url` prints the link. Not in Packetbeat.",
        lists: &[("", WEB)],
    },
    Group {
        page: "monitoring",
        title: "Stack Monitoring",
        section: "monitoring",
        about: "Sends the program's own counters to Elasticsearch, for the page Stack Monitoring of Kibana.",
        lists: &[
            ("", MONITORING),
            ("elasticsearch.", CLUSTER),
            ("elasticsearch.", HTTP_TIMEOUT),
            ("elasticsearch.", HTTP),
            ("elasticsearch.ssl.", SSL),
        ],
    },
    Group {
        page: "monitoring",
        title: "OpenTelemetry metrics",
        section: "otlp.metrics",
        about: "Sends counts and durations of transactions to an OpenTelemetry collector. Not in Packetbeat.",
        lists: &[("", METRICS), ("", HTTP), ("ssl.", SSL)],
    },
];

const LOGGING: &[Setting] = &[
    default("level", "info", "`debug`, `info`, `warning` or `error`."),
    default("selectors", "[]", "Parts of the program whose lines of level debug are written; `[\"*\"]`: all."),
    default("to_files", "true", "Writes the log to files."),
    default("to_stderr", "false", "Writes the log to stderr."),
    default("to_syslog", "false", "Writes the log to syslog."),
    default("metrics.enabled", "true", "Writes the counters that have changed to the log."),
    default("metrics.period", "30s", "Time between two such lines."),
];

const FILES: &[Setting] = &[
    example("path", "/var/log/sniffer", "The folder; without it `path.logs`."),
    default("name", "packetbeat", "The beginning of the names; date, number and `.ndjson` follow."),
    default("rotateeverybytes", "10MiB", "Size at which the next file begins."),
    default("keepfiles", "7", "Files that are kept, from 2 to 1024."),
    default("permissions", "0600", "Permissions of new files."),
    default("interval", "0s", "Age at which the next file begins; 0: only the size counts."),
    default("rotateonstartup", "true", "Begins a file at every start."),
];

const EVENT_DATA: &[Setting] = &[
    default("to_files", "true", "Writes the events to files."),
    default("to_stderr", "false", "Writes the events to stderr."),
    default("to_syslog", "false", "Writes the events to syslog."),
    example("files.path", "/var/log/sniffer", "The folder; without it `path.logs`."),
    default("files.name", "packetbeat-events-data", "The beginning of the names."),
    default("files.rotateeverybytes", "5MiB", "Size at which the next file begins."),
    default("files.keepfiles", "2", "Files that are kept, from 2 to 1024."),
    default("files.permissions", "0600", "Permissions of new files."),
    default("files.interval", "0s", "Age at which the next file begins; 0: only the size counts."),
    default("files.rotateonstartup", "true", "Begins a file at every start."),
];

const WEB: &[Setting] = &[
    needed("enabled", "true", "Serves the page; the default is `false`."),
    default("host", "localhost", "A name or address of loopback, or a Unix socket (`unix:///run/sniffer/page.sock`)."),
    default("port", "5067", "The port."),
    example("allowed_hosts", "[sniffer.example.org]", "Further names under which browsers reach the page, through a reverse proxy."),
];

const ENDPOINT: &[Setting] = &[
    needed("enabled", "true", "Opens the endpoint; the default is `false`."),
    default("host", "localhost", "A host name, an address, or a Unix socket (`unix:///run/sniffer/http.sock`)."),
    default("port", "5066", "The port."),
    default(
        "metrics.transactions.enabled",
        "false",
        "Counts and durations of transactions by protocol, server and operation. Not in Packetbeat.",
    ),
    default(
        "metrics.transactions.max_series",
        "500",
        "Most combinations of these; further ones are counted as `other`. Not in Packetbeat.",
    ),
    default("named_pipe.user", "\"\"", "Only an empty text is accepted: named pipes exist only on Windows."),
    default("named_pipe.security_descriptor", "\"\"", "Only an empty text is accepted: named pipes exist only on Windows."),
];

const MONITORING: &[Setting] = &[
    needed("enabled", "true", "Sends the counters; the default is `false`."),
    example(
        "cluster_uuid",
        "gR7wM2sJQ0yKIkGj2vAmgA",
        "The cluster below which Kibana shows the program, for outputs other than Elasticsearch.",
    ),
    example("cloud.id", "\"name:ZXhhbXBsZS5pbyRhYmMka2li\"", "The deployment in Elastic's cloud that gets the counters."),
    example("cloud.auth", "elastic:secret", "User and password of this deployment.").with("cloud.id"),
];

const CLUSTER: &[Setting] = &[
    needed("hosts", "[\"localhost:9200\"]", "Servers; without them those of `output.elasticsearch`, with its other options."),
    default("enabled", "true", "`false` is refused while `monitoring.enabled` is true."),
    default("metrics.period", "10s", "How often counters are sent."),
    default("state.period", "60s", "How often the state is sent."),
    default("tags", "[]", "Tags of these documents."),
    example("protocol", "https", "`http` or `https` for servers without a scheme."),
    example("path", "/elasticsearch", "The path of servers without one."),
    default("parameters", "{}", "Parameters of every request."),
    default("headers", "{}", "Headers of every request."),
    default("username", "beats_system", "The user. Secrets belong in the keystore."),
    example("password", "secret", "The password of `username`."),
    example("api_key", "id:key", "A key of the API, in place of `username` and `password`."),
    default("compression_level", "0", "gzip, from 0 (off) to 9."),
    default("backoff.init", "1s", "The wait after a failure; it doubles at each failure."),
    default("backoff.max", "15s", "The longest wait."),
    default("bulk_max_size", "50", "Accepted without effect: documents are sent one by one."),
    default("buffer_size", "50", "Accepted without effect: what cannot be sent is dropped."),
    default("max_retries", "3", "Accepted without effect: what cannot be sent is dropped."),
    default("loadbalance", "false", "Accepted without effect: one server gets all, another when it fails."),
    default("workers", "1", "Accepted without effect: there is one connection."),
    default("kerberos.enabled", "false", "Only `false` is accepted: Kerberos is not supported."),
];

const METRICS: &[Setting] = &[
    needed("enabled", "true", "Sends the metrics; the default is `false`."),
    default("endpoint", "localhost", "The collector: `HOST`, `HOST:PORT`, or a URL."),
    default("protocol", "http/protobuf", "`http/protobuf` or `grpc`."),
    default("headers", "{}", "Headers of every request."),
    default("compression", "gzip", "`gzip` or `none`."),
    default("service_name", "packetbeat", "The value of `service.name`."),
    default("interval", "60s", "How often metrics are sent, at least 1s."),
    default("max_series", "500", "Most combinations of protocol, server and operation; further ones are counted as `other`."),
    default("timeout", "30s", "Longest time of one request."),
];
