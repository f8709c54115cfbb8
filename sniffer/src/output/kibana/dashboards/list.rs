//! The content of the dashboards. The reports of a flow repeat its counts. Therefore panels that add up bytes or packets use only the last
//! report of each flow (`flow.final`).

use super::{
    Dashboard,
    panel::{
        Group, Metric,
        Of::{Count, Different, Largest, Median, Percentiles, Slow, Smallest, Sum},
        Panel, Shows,
    },
};

/// The dashboards, in the order in which they are loaded.
pub(super) const DASHBOARDS: &[Dashboard] = &[OVERVIEW, HTTP, DNS, DATABASES, FLOWS, TLS];

const TRANSACTIONS: &str = "not type: flow";
/// Transactions whose status says that they failed. A transaction without a response has the status `Error`.
const FAILURES: &str = "not type: flow and (status: Error or status: \"Client Error\" or status: \"Server Error\")";
const FINAL_FLOWS: &str = "type: flow and flow.final: true";
const OF_HTTP: &str = "type: http";
const OF_DNS: &str = "type: dns";
const OF_TLS: &str = "type: tls";
const OF_DATABASES: &str = "type: (cassandra or memcache or mongodb or mysql or pgsql or redis or thrift)";

const EVENTS: Metric = metric("Transactions", Count);
const DURATION: Metric = metric("Response time", Percentiles("event.duration"));
const MEDIAN: Metric = metric("Median time", Median("event.duration"));
const SLOW: Metric = metric("95 % within", Slow("event.duration"));
const FLOWS_ENDED: Metric = metric("Flows", Count);
const BYTES: Metric = metric("Bytes", Sum("network.bytes"));
const PACKETS: Metric = metric("Packets", Sum("network.packets"));

const TYPE: Group = group("type", "Protocol", 15);
const CLIENT: Group = group("client.ip", "Client", 20);
const SERVER: Group = group("server.ip", "Server", 20);
const SERVER_PORT: Group = group("server.port", "Port", 5);
const SOURCE: Group = group("source.ip", "Source", 20);
const DESTINATION: Group = group("destination.ip", "Destination", 20);
const DESTINATION_PORT: Group = group("destination.port", "Port", 5);

const fn metric(label: &'static str, of: super::panel::Of) -> Metric {
    Metric { label, of }
}

const fn group(field: &'static str, label: &'static str, size: u32) -> Group {
    Group { field, label, size }
}

/// A panel of a third of the width.
const fn third(id: &'static str, title: &'static str, filter: &'static str, shows: Shows) -> Panel {
    Panel { id, title, filter, shows, width: 16, height: 14 }
}

/// A panel of half the width.
const fn half(id: &'static str, title: &'static str, filter: &'static str, shows: Shows) -> Panel {
    Panel { id, title, filter, shows, width: 24, height: 14 }
}

/// A low panel of the whole width.
const fn band(id: &'static str, title: &'static str, filter: &'static str, shows: Shows) -> Panel {
    Panel { id, title, filter, shows, width: 48, height: 6 }
}

/// A panel of the whole width.
const fn whole(id: &'static str, title: &'static str, filter: &'static str, shows: Shows) -> Panel {
    Panel { id, title, filter, shows, width: 48, height: 16 }
}

const fn stacked(metric: Metric, by: Group) -> Shows {
    Shows::OverTime { metric, by: Some(by), stacked: true }
}

const fn line(metric: Metric) -> Shows {
    Shows::OverTime { metric, by: None, stacked: false }
}

const OVERVIEW: Dashboard = Dashboard {
    id: "overview",
    title: "Overview",
    description: "All protocols: how much there is, what fails, and what is slow",
    panels: &[
        band(
            "numbers",
            "Totals",
            TRANSACTIONS,
            Shows::Numbers(&[EVENTS, metric("Clients", Different("client.ip")), metric("Servers", Different("server.ip")), SLOW]),
        ),
        half("transactions", "Transactions", TRANSACTIONS, stacked(EVENTS, TYPE)),
        half("failures", "Failed transactions", FAILURES, stacked(EVENTS, TYPE)),
        half("duration", "Response times", TRANSACTIONS, line(DURATION)),
        half("traffic", "Bytes of flows that ended", FINAL_FLOWS, stacked(BYTES, group("network.transport", "Transport", 5))),
        half("protocols", "Protocols", TRANSACTIONS, Shows::Table { metrics: &[EVENTS, MEDIAN, SLOW], by: &[TYPE] }),
        half("servers", "Servers", TRANSACTIONS, Shows::Table { metrics: &[EVENTS, MEDIAN, SLOW], by: &[SERVER, SERVER_PORT, TYPE] }),
        half("clients", "Clients", TRANSACTIONS, Shows::Table { metrics: &[EVENTS], by: &[CLIENT, TYPE] }),
        half(
            "failing",
            "Servers with failures",
            FAILURES,
            Shows::Table { metrics: &[EVENTS], by: &[SERVER, TYPE, group("status", "Status", 3)] },
        ),
        whole(
            "newest",
            "Newest failures",
            FAILURES,
            Shows::Events(&["type", "status", "client.ip", "server.ip", "server.port", "method", "resource", "error.message"]),
        ),
    ],
};

const CODE: Group = group("http.response.status_code", "Status", 10);
const HOST: Group = group("url.domain", "Host", 10);
const PATH: Group = group("url.path", "Path", 20);
const HTTP_FAILURES: &str = "type: http and http.response.status_code >= 400";

const HTTP: Dashboard = Dashboard {
    id: "http",
    title: "HTTP",
    description: "Requests by status, host and path, their response times and sizes",
    panels: &[
        half("status", "Requests by status", OF_HTTP, stacked(metric("Requests", Count), CODE)),
        half("duration", "Response times", OF_HTTP, line(DURATION)),
        third(
            "methods",
            "Methods",
            OF_HTTP,
            Shows::Shares { metric: metric("Requests", Count), by: group("http.request.method", "Method", 8) },
        ),
        third("codes", "Status codes", OF_HTTP, Shows::Shares { metric: metric("Requests", Count), by: CODE }),
        third(
            "versions",
            "HTTP versions",
            OF_HTTP,
            Shows::Shares { metric: metric("Requests", Count), by: group("http.version", "Version", 5) },
        ),
        half(
            "hosts",
            "Hosts",
            OF_HTTP,
            Shows::Table {
                metrics: &[metric("Requests", Count), MEDIAN, SLOW, metric("Bytes sent", Sum("http.response.bytes"))],
                by: &[HOST],
            },
        ),
        half(
            "servers",
            "Servers",
            OF_HTTP,
            Shows::Table { metrics: &[metric("Requests", Count), MEDIAN, SLOW], by: &[SERVER, SERVER_PORT] },
        ),
        half("slowest", "Slowest paths", OF_HTTP, Shows::Table { metrics: &[SLOW, MEDIAN, metric("Requests", Count)], by: &[HOST, PATH] }),
        half("failing", "Paths with errors", HTTP_FAILURES, Shows::Table { metrics: &[metric("Errors", Count)], by: &[HOST, PATH, CODE] }),
        half(
            "largest",
            "Largest responses",
            OF_HTTP,
            Shows::Table {
                metrics: &[metric("Largest", Largest("http.response.body.bytes")), metric("Requests", Count)],
                by: &[HOST, PATH],
            },
        ),
        half(
            "agents",
            "User agents",
            OF_HTTP,
            Shows::Table { metrics: &[metric("Requests", Count)], by: &[group("user_agent.original", "User agent", 50)] },
        ),
        whole(
            "newest",
            "Newest errors",
            HTTP_FAILURES,
            Shows::Events(&["client.ip", "server.ip", "http.request.method", "url.full", "http.response.status_code", "event.duration"]),
        ),
    ],
};

const QUERIES: Metric = metric("Queries", Count);
const RCODE: Group = group("dns.response_code", "Answer", 8);
const NAME: Group = group("dns.question.name", "Name", 50);
const DNS_FAILURES: &str = "type: dns and dns.response_code: * and not dns.response_code: NOERROR";
/// Without a response there is no response code.
const DNS_UNANSWERED: &str = "type: dns and not dns.response_code: *";

const DNS: Dashboard = Dashboard {
    id: "dns",
    title: "DNS",
    description: "Queries by name, type and answer, queries without an answer, and domains with unusually many names",
    panels: &[
        half("answers", "Queries by answer", OF_DNS, stacked(QUERIES, RCODE)),
        half("duration", "Response times", OF_DNS, line(DURATION)),
        third("types", "Types", OF_DNS, Shows::Shares { metric: QUERIES, by: group("dns.question.type", "Type", 10) }),
        third("unanswered", "Queries without an answer", DNS_UNANSWERED, stacked(QUERIES, SERVER)),
        third("transports", "Transports", OF_DNS, Shows::Shares { metric: QUERIES, by: group("network.transport", "Transport", 3) }),
        half("names", "Names", OF_DNS, Shows::Table { metrics: &[QUERIES, MEDIAN], by: &[NAME] }),
        half("failing", "Names with failures", DNS_FAILURES, Shows::Table { metrics: &[QUERIES], by: &[NAME, RCODE] }),
        half(
            "tunnels",
            "Domains with most different names",
            OF_DNS,
            Shows::Table {
                metrics: &[metric("Names", Different("dns.question.name")), QUERIES, metric("Bytes", Sum("client.bytes"))],
                by: &[group("dns.question.registered_domain", "Domain", 30)],
            },
        ),
        half(
            "clients",
            "Clients",
            OF_DNS,
            Shows::Table { metrics: &[QUERIES, metric("Names", Different("dns.question.name"))], by: &[CLIENT] },
        ),
        half("servers", "Servers", OF_DNS, Shows::Table { metrics: &[QUERIES, MEDIAN, SLOW], by: &[SERVER] }),
        half(
            "addresses",
            "Addresses in answers",
            OF_DNS,
            Shows::Table { metrics: &[QUERIES], by: &[group("dns.resolved_ip", "Address", 30), NAME] },
        ),
    ],
};

const STATEMENTS: Metric = metric("Statements", Count);
const DATABASE_FAILURES: &str = "type: (cassandra or memcache or mongodb or mysql or pgsql or redis or thrift) and (status: Error or status: \"Client Error\" or status: \"Server Error\")";

const DATABASES: Dashboard = Dashboard {
    id: "databases",
    title: "Databases",
    description: "Cassandra, Memcache, MongoDB, MySQL, PostgreSQL, Redis and Thrift: statements, failures, and what is slow",
    panels: &[
        half("statements", "Statements", OF_DATABASES, stacked(STATEMENTS, TYPE)),
        half("failures", "Failed statements", DATABASE_FAILURES, stacked(STATEMENTS, TYPE)),
        half("duration", "Response times", OF_DATABASES, line(DURATION)),
        half("slow", "Slow statements by protocol", OF_DATABASES, Shows::OverTime { metric: SLOW, by: Some(TYPE), stacked: false }),
        half(
            "methods",
            "Methods",
            OF_DATABASES,
            Shows::Table { metrics: &[STATEMENTS, MEDIAN, SLOW], by: &[TYPE, group("method", "Method", 15)] },
        ),
        half("servers", "Servers", OF_DATABASES, Shows::Table { metrics: &[STATEMENTS, MEDIAN, SLOW], by: &[SERVER, SERVER_PORT, TYPE] }),
        whole(
            "slowest",
            "Slowest statements",
            OF_DATABASES,
            Shows::Table {
                metrics: &[metric("Longest", Largest("event.duration")), MEDIAN, STATEMENTS],
                by: &[TYPE, group("query", "Statement", 20)],
            },
        ),
        half(
            "frequent",
            "Most frequent statements",
            OF_DATABASES,
            Shows::Table { metrics: &[STATEMENTS, SLOW], by: &[TYPE, group("query", "Statement", 20)] },
        ),
        half(
            "resources",
            "Tables, collections and keys",
            OF_DATABASES,
            Shows::Table { metrics: &[STATEMENTS, SLOW], by: &[TYPE, group("resource", "Resource", 20)] },
        ),
        third(
            "mysql",
            "MySQL errors",
            "type: mysql",
            Shows::Table {
                metrics: &[STATEMENTS],
                by: &[group("mysql.error_code", "Code", 10), group("mysql.error_message", "Message", 3)],
            },
        ),
        third(
            "pgsql",
            "PostgreSQL errors",
            "type: pgsql",
            Shows::Table {
                metrics: &[STATEMENTS],
                by: &[group("pgsql.error_code", "Code", 10), group("pgsql.error_message", "Message", 3)],
            },
        ),
        third(
            "others",
            "MongoDB, Redis and Cassandra errors",
            DATABASE_FAILURES,
            Shows::Table { metrics: &[STATEMENTS], by: &[TYPE, group("method", "Method", 10)] },
        ),
        whole(
            "newest",
            "Newest failures",
            DATABASE_FAILURES,
            Shows::Events(&[
                "type",
                "client.ip",
                "server.ip",
                "method",
                "query",
                "status",
                "mongodb.error",
                "redis.error",
                "cassandra.response.error.msg",
            ]),
        ),
    ],
};

const FLOWS: Dashboard = Dashboard {
    id: "flows",
    title: "Flows",
    description: "Who talks to whom, and how much. Flows count when they end; a long one appears at its end",
    panels: &[
        band("numbers", "Totals", FINAL_FLOWS, Shows::Numbers(&[FLOWS_ENDED, BYTES, PACKETS, metric("Sources", Different("source.ip"))])),
        half("bytes", "Bytes by transport", FINAL_FLOWS, stacked(BYTES, group("network.transport", "Transport", 5))),
        half("flows", "Flows that ended, by transport", FINAL_FLOWS, stacked(FLOWS_ENDED, group("network.transport", "Transport", 5))),
        half(
            "sources",
            "Sources",
            FINAL_FLOWS,
            Shows::Table { metrics: &[BYTES, FLOWS_ENDED, metric("Destinations", Different("destination.ip"))], by: &[SOURCE] },
        ),
        half(
            "destinations",
            "Destinations",
            FINAL_FLOWS,
            Shows::Table { metrics: &[BYTES, FLOWS_ENDED, metric("Sources", Different("source.ip"))], by: &[DESTINATION] },
        ),
        half(
            "ports",
            "Destination ports",
            FINAL_FLOWS,
            Shows::Table {
                metrics: &[BYTES, FLOWS_ENDED],
                by: &[group("destination.port", "Port", 30), group("network.transport", "Transport", 3)],
            },
        ),
        half(
            "scans",
            "Sources with most destination ports",
            FINAL_FLOWS,
            Shows::Table {
                metrics: &[
                    metric("Ports", Different("destination.port")),
                    metric("Destinations", Different("destination.ip")),
                    FLOWS_ENDED,
                ],
                by: &[SOURCE],
            },
        ),
        whole(
            "pairs",
            "Pairs of hosts",
            FINAL_FLOWS,
            Shows::Table {
                metrics: &[
                    BYTES,
                    PACKETS,
                    metric("Sent by source", Sum("source.bytes")),
                    metric("Sent by destination", Sum("destination.bytes")),
                    FLOWS_ENDED,
                ],
                by: &[SOURCE, DESTINATION, DESTINATION_PORT],
            },
        ),
        whole(
            "longest",
            "Longest flows",
            FINAL_FLOWS,
            Shows::Table { metrics: &[metric("Duration", Largest("event.duration")), BYTES], by: &[SOURCE, DESTINATION, DESTINATION_PORT] },
        ),
    ],
};

const SESSIONS: Metric = metric("Sessions", Count);
const VERSION: Group = group("tls.version", "Version", 6);
const SERVER_NAME: Group = group("tls.client.server_name", "Server name", 30);
const TLS_FAILURES: &str = "type: tls and tls.established: false";

const TLS: Dashboard = Dashboard {
    id: "tls",
    title: "TLS",
    description: "Sessions by version, cipher and name, handshakes that fail, and certificates that expire",
    panels: &[
        half("versions", "Sessions by version", OF_TLS, stacked(SESSIONS, VERSION)),
        half("failures", "Handshakes that failed", TLS_FAILURES, stacked(SESSIONS, group("server.ip", "Server", 10))),
        third("ciphers", "Ciphers", OF_TLS, Shows::Shares { metric: SESSIONS, by: group("tls.cipher", "Cipher", 15) }),
        third("resumed", "Resumed sessions", OF_TLS, Shows::Shares { metric: SESSIONS, by: group("tls.resumed", "Resumed", 2) }),
        third("protocols", "Protocols inside", OF_TLS, Shows::Shares { metric: SESSIONS, by: group("tls.next_protocol", "Protocol", 10) }),
        half(
            "names",
            "Server names",
            OF_TLS,
            Shows::Table { metrics: &[SESSIONS, metric("Clients", Different("client.ip")), SLOW], by: &[SERVER_NAME] },
        ),
        half("old", "Servers and versions", OF_TLS, Shows::Table { metrics: &[SESSIONS], by: &[SERVER, SERVER_PORT, VERSION] }),
        whole(
            "certificates",
            "Server certificates, the first to expire on top",
            OF_TLS,
            Shows::Table {
                metrics: &[metric("Expires", Smallest("tls.server.not_after")), SESSIONS],
                by: &[
                    group("tls.server.x509.subject.common_name", "Subject", 30),
                    group("tls.server.x509.issuer.common_name", "Issuer", 3),
                    group("tls.server.x509.public_key_size", "Key bits", 3),
                ],
            },
        ),
        half(
            "ja3",
            "Clients by JA3",
            OF_TLS,
            Shows::Table { metrics: &[SESSIONS, metric("Clients", Different("client.ip"))], by: &[group("tls.client.ja3", "JA3", 30)] },
        ),
        half(
            "ja4",
            "Clients by JA4",
            OF_TLS,
            Shows::Table { metrics: &[SESSIONS, metric("Clients", Different("client.ip"))], by: &[group("tls.client.ja4", "JA4", 30)] },
        ),
        half(
            "alerts",
            "Alerts",
            OF_TLS,
            Shows::Table { metrics: &[SESSIONS], by: &[group("tls.detailed.alert_types", "Alert", 20), SERVER] },
        ),
        whole(
            "newest",
            "Newest handshakes that failed",
            TLS_FAILURES,
            Shows::Events(&["client.ip", "server.ip", "server.port", "tls.client.server_name", "tls.version", "tls.detailed.alert_types"]),
        ),
    ],
};
