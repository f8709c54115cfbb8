//! Options of outputs.

use super::super::{Group, Setting, active, default, example, needed};
use super::shared::{ANY_OUTPUT, CODEC, DELIVERY, HTTP, HTTP_TIMEOUT, SOCKS, SSL, WORKERS};

#[rustfmt::skip]
pub(super) const GROUPS: &[Group] = &[
    Group {
        page: "output-elasticsearch", title: "Elasticsearch", section: "output.elasticsearch",
        about: "Sends documents to Elasticsearch or OpenSearch.",
        lists: &[("", ELASTICSEARCH), ("", ANY_OUTPUT), ("", WORKERS), ("", HTTP_TIMEOUT), ("", HTTP), ("ssl.", SSL)],
    },
    Group {
        page: "output-elasticsearch", title: "Elastic Cloud", section: "cloud",
        about: "The servers of a deployment in Elastic's cloud, in place of `output.elasticsearch.hosts` and `setup.kibana.host`.",
        lists: &[("", CLOUD)],
    },
    Group {
        page: "output-logstash", title: "Logstash", section: "output.logstash",
        about: "Sends documents to Logstash, or to another receiver of the Beats protocol.",
        lists: &[("", LOGSTASH), ("", ANY_OUTPUT), ("", WORKERS), ("", DELIVERY), ("", SOCKS), ("ssl.", SSL)],
    },
    Group {
        page: "output-kafka", title: "Kafka", section: "output.kafka",
        about: "Sends documents to topics of Kafka.",
        lists: &[("", KAFKA), ("", ANY_OUTPUT), ("", WORKERS), ("", DELIVERY), ("", SOCKS), ("", CODEC), ("ssl.", SSL)],
    },
    Group {
        page: "output-redis", title: "Redis", section: "output.redis",
        about: "Appends documents to lists of Redis, or publishes them on channels.",
        lists: &[("", REDIS), ("", ANY_OUTPUT), ("", WORKERS), ("", DELIVERY), ("", SOCKS), ("", CODEC), ("ssl.", SSL)],
    },
    Group {
        page: "output-otlp", title: "OpenTelemetry", section: "output.otlp",
        about: "Sends transactions as spans, and flows as log records, to an OpenTelemetry collector. Not in Packetbeat.",
        lists: &[("", OTLP), ("", ANY_OUTPUT), ("", WORKERS), ("", DELIVERY), ("", OTLP_TIMEOUT), ("", HTTP), ("ssl.", SSL)],
    },
    Group {
        page: "output-file", title: "Files", section: "output.file",
        about: "Writes documents to files.",
        lists: &[("", FILE), ("", ANY_OUTPUT), ("", DELIVERY), ("", CODEC)],
    },
    Group {
        page: "output-console", title: "Standard output", section: "output.console",
        about: "Writes documents to standard output.",
        lists: &[("", CONSOLE), ("", ANY_OUTPUT), ("", DELIVERY), ("", CODEC)],
    },
    Group {
        page: "output-discard", title: "No output", section: "output.discard",
        about: "Drops all documents, for measurements.",
        lists: &[("", ANY_OUTPUT), ("", DELIVERY)],
    },
];

const ELASTICSEARCH: &[Setting] = &[
    active("hosts", "[\"localhost:9200\"]", "Servers: `HOST`, `HOST:PORT`, or URLs, also with credentials and path."),
    example("protocol", "https", "`http` or `https` for servers without a scheme."),
    example("path", "/elasticsearch", "The path of servers without one."),
    default("parameters", "{}", "Parameters of every request."),
    default("headers", "{}", "Headers of every request."),
    example("username", "elastic", "The user. Secrets belong in the keystore."),
    example("password", "secret", "The password of `username`."),
    example("api_key", "id:key", "A key of the API, in place of `username` and `password`."),
    example("index", "packetbeat-%{[agent.version]}", "The data stream or index, a format string.")
        .with("setup.template.name setup.template.pattern"),
    example(
        "indices",
        "[{index: errors, when: {equals: {status: Error}}}]",
        "Rules: the first whose condition `when` applies gives the `index`. `mappings` replaces names, `default` is for those that it lacks.",
    ),
    example("pipeline", "geo", "The ingest pipeline of all documents."),
    example(
        "pipelines",
        "[{pipeline: errors, when: {equals: {status: Error}}}]",
        "Rules as of `indices`, with `pipeline` instead of `index`: `when`, `mappings`, `default`.",
    ),
    default(
        "preset",
        "custom",
        "Values for batches, connections and queue: `balanced`, `throughput`, `scale`, `latency`, or your own (`custom`).",
    ),
    default("bulk_max_size", "1600", "Most events of one request."),
    default("loadbalance", "true", "Every server gets events; `false`: one server, another when it fails."),
    default("compression_level", "1", "gzip, from 0 (off) to 9."),
    default("escape_html", "false", "Writes `<`, `>` and `&` as escape sequences."),
    default(
        "max_retries",
        "3",
        "How often an event that the server refused with 404, 500 or 501 is sent again; a negative number: always.",
    ),
    default("backoff.init", "1s", "The wait after a failure; it doubles at each failure."),
    default("backoff.max", "15s", "The longest wait."),
    default("allow_older_versions", "true", "Accepts servers of an older version."),
    example("non_indexable_policy.drop", "{}", "Events that the server refuses for good are dropped, as without this option."),
    example("non_indexable_policy.dead_letter_index.index", "dead", "Events that the server refuses for good are stored in this index."),
    default("kerberos.enabled", "false", "Only `false` is accepted: Kerberos is not supported."),
];

const CLOUD: &[Setting] = &[
    needed("id", "\"name:ZXhhbXBsZS5pbyRhYmMka2li\"", "The id of the deployment, as the cloud console shows it."),
    example("auth", "elastic:secret", "User and password."),
];

const LOGSTASH: &[Setting] = &[
    needed("hosts", "[\"localhost:5044\"]", "Servers, `HOST` or `HOST:PORT`."),
    default("index", "packetbeat", "The value of `@metadata.beat`."),
    default("loadbalance", "false", "Every server gets events; `false`: one server, another when it fails."),
    default("pipelining", "2", "Batches that are on their way at a time, at most 64."),
    default("compression_level", "3", "zlib, from 0 (off) to 9."),
    default("escape_html", "false", "Writes `<`, `>` and `&` as escape sequences."),
    default("slow_start", "false", "The first batches have 10 events, twice as many after each acknowledgement."),
    default("timeout", "30s", "Limit for connecting, for each 64 KiB written, and for the silence of the server."),
    default("ttl", "0s", "A connection is replaced after this time; 0: never."),
];

const KAFKA: &[Setting] = &[
    needed("hosts", "[\"localhost:9092\"]", "Some of the brokers, `HOST` or `HOST:PORT`."),
    needed("topic", "packetbeat", "The topic, a format string."),
    example(
        "topics",
        "[{topic: errors, when: {equals: {status: Error}}}]",
        "Rules: the first whose condition `when` applies gives the `topic`. `mappings` replaces names, `default` is for those that it lacks.",
    ),
    example("key", "'%{[type]}'", "The key of the message, a format string."),
    default("index", "packetbeat", "The value of `@metadata.beat`."),
    example("partition.hash.hash", "[source.ip]", "Fields whose values determine the partition; without them the key does."),
    default("partition.hash.random", "true", "Events without key and fields get a random partition; `false`: the first one."),
    default("partition.hash.reachable_only", "false", "Uses only partitions that have a leader."),
    default("partition.round_robin.group_events", "1", "So many events go to one partition, then to the next one."),
    default("partition.round_robin.reachable_only", "false", "Uses only partitions that have a leader."),
    default("partition.random.group_events", "1", "So many events go to one random partition, then to another one."),
    default("partition.random.reachable_only", "false", "Uses only partitions that have a leader."),
    example("headers", "[{key: source, value: sniffer}]", "Headers of every message, each with `key` and `value`."),
    default("required_acks", "1", "1: the leader has the event; -1: all replicas have it; 0: no answer, events can be lost."),
    default("compression", "gzip", "`none`, `gzip`, `snappy`, `lz4` or `zstd`."),
    default("compression_level", "4", "The level of gzip, from 0 to 9."),
    default("max_message_bytes", "1000000", "An event that is larger is dropped and counted."),
    default("timeout", "30s", "Limit for connecting, for each 64 KiB written, and for each response."),
    default("broker_timeout", "10s", "How long a broker waits for its replicas."),
    default("client_id", "beats", "The name of this program for the brokers."),
    example("username", "sniffer", "The user. Secrets belong in the keystore."),
    example("password", "secret", "The password of `username`.").with("username"),
    default("sasl.mechanism", "PLAIN", "`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.").with("username"),
    default("metadata.retry.max", "3", "How often a topic that is being created is asked for again before its events wait."),
    default("metadata.retry.backoff", "250ms", "The wait between these attempts."),
    default("metadata.refresh_frequency", "10m", "The leaders of partitions are asked for again after this time; 0: only after errors."),
    default("metadata.full", "false", "Accepted without effect: only the topics in use are asked for."),
    example("version", "2.8.0", "Accepted without effect: brokers say which versions they speak."),
    example("bulk_flush_frequency", "0s", "Accepted without effect."),
    example("channel_buffer_size", "256", "Accepted without effect."),
    example("keep_alive", "0s", "Accepted without effect."),
    default("kerberos.enabled", "false", "Only `false` is accepted: Kerberos is not supported."),
];

const REDIS: &[Setting] = &[
    needed("hosts", "[\"localhost:6379\"]", "Servers: `HOST`, `HOST:PORT`, `redis://…`, or `rediss://…` for TLS."),
    default("key", "packetbeat", "The list or channel, a format string."),
    example(
        "keys",
        "[{key: errors, when: {equals: {status: Error}}}]",
        "Rules: the first whose condition `when` applies gives the `key`. `mappings` replaces names, `default` is for those that it lacks.",
    ),
    default("index", "packetbeat", "The value of `@metadata.beat`."),
    default("datatype", "list", "`list` or `channel`."),
    default("db", "0", "The database."),
    example("username", "sniffer", "The user; without it the password alone is sent."),
    example("password", "secret", "The password. Secrets belong in the keystore."),
    default("loadbalance", "true", "Every server gets events; `false`: one server, another when it fails."),
    default("timeout", "5s", "Limit for connecting, for each 64 KiB written, and for each reply."),
];

const OTLP: &[Setting] = &[
    needed("hosts", "[localhost]", "Collectors: `HOST`, `HOST:PORT`, or URLs. Without a port: 4318, or 4317 with gRPC."),
    default("protocol", "http/protobuf", "`http/protobuf` or `grpc`."),
    default("headers", "{}", "Headers of every request."),
    default("compression", "gzip", "`gzip` or `none`."),
    default("service_name", "packetbeat", "`service.name` of events that do not have this field."),
    default("loadbalance", "true", "Every collector gets events; `false`: one collector, another when it fails."),
];

const OTLP_TIMEOUT: &[Setting] = &[default("timeout", "30s", "Longest time of one request.")];

const FILE: &[Setting] = &[
    needed("path", "/var/lib/sniffer/events", "The folder."),
    default("filename", "packetbeat", "The beginning of the names; date, number and `.ndjson` follow."),
    default("rotate_every_kb", "10240", "Size in KiB at which the next file begins."),
    default("number_of_files", "7", "Files that are kept."),
    default("permissions", "0600", "Permissions of new files."),
    default("rotate_on_startup", "true", "Begins a file at every start."),
];

const CONSOLE: &[Setting] = &[needed("pretty", "false", "Several lines for a document.")];
