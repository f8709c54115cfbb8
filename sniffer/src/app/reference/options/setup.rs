//! Options of what is set up in Elasticsearch and Kibana.

use super::super::{Group, Setting, default, example};
use super::shared::{HTTP, HTTP_TIMEOUT, SSL};

pub(super) const GROUPS: &[Group] = &[
    Group {
        page: "setup",
        title: "Index template",
        section: "setup.template",
        about: "The index template, which is loaded before the first document.",
        lists: &[("", TEMPLATE)],
    },
    Group {
        page: "setup",
        title: "Index lifecycle",
        section: "setup.ilm",
        about: "The lifecycle policy of the data stream.",
        lists: &[("", ILM)],
    },
    Group {
        page: "setup",
        title: "Kibana",
        section: "setup.kibana",
        about: "The server into which dashboards are loaded. Without credentials those of `output.elasticsearch` apply.",
        lists: &[("", KIBANA), ("", HTTP_TIMEOUT), ("", HTTP), ("ssl.", SSL)],
    },
    Group {
        page: "setup",
        title: "Dashboards",
        section: "setup.dashboards",
        about: "The dashboards of Kibana; `sniffer setup --dashboards` loads them, too.",
        lists: &[("", DASHBOARDS)],
    },
];

const TEMPLATE: &[Setting] = &[
    default("enabled", "true", "Loads the index template."),
    example("name", "packetbeat", "The name of the template; without it `packetbeat-VERSION`."),
    example("pattern", "packetbeat*", "The indices to which the template applies; without it `packetbeat-VERSION`."),
    default("overwrite", "false", "Replaces a template that exists."),
    default("priority", "150", "The priority among templates with overlapping patterns."),
    default("settings.index", "{}", "Settings of the index: `{number_of_shards: 1}`."),
    default("settings._source", "{}", "Settings of `_source`."),
    default("append_fields", "[]", "Further fields of the template, each with `name` and `type`."),
    default("json.enabled", "false", "Loads the template from a file.").with("json.path"),
    example("json.path", "/etc/sniffer/template.json", "The file with the template."),
    default("json.name", "\"\"", "The name of this template; without it `setup.template.name`."),
    default("json.data_stream", "false", "The template of the file is for data streams."),
];

const ILM: &[Setting] = &[
    default("enabled", "auto", "`false`: no policy. Other values load it."),
    default("policy_name", "packetbeat", "The name of the policy."),
    example("policy_file", "/etc/sniffer/policy.json", "A file with the policy, in place of the built-in one."),
    default("check_exists", "true", "Looks whether the policy exists before it is written."),
    default("overwrite", "false", "Replaces a policy that exists."),
];

const KIBANA: &[Setting] = &[
    default("host", "\"localhost:5601\"", "`HOST`, `HOST:PORT`, or a URL, also with a path."),
    default("protocol", "http", "`http` or `https` for a `host` without a scheme."),
    default("path", "\"\"", "The path below which the server serves Kibana."),
    default("space.id", "\"\"", "The space of Kibana into which dashboards are loaded."),
    example("username", "elastic", "The user. Secrets belong in the keystore."),
    example("password", "secret", "The password of `username`."),
    example("api_key", "id:key", "A key of the API, in place of `username` and `password`."),
    example("service_token", "token", "A token of a service account, in place of `username` and `password`."),
    default("headers", "{}", "Headers of every request."),
];

const DASHBOARDS: &[Setting] = &[
    default("enabled", "false", "Loads the dashboards at the start of a run, too."),
    example("directory", "/etc/sniffer/kibana", "A folder with files `7/TYPE/NAME.json`, in place of the program's own dashboards."),
    default("index", "packetbeat-*", "The indices that the dashboards show."),
    default("file", "\"\"", "Only an empty text is accepted: unpack the archive, and use `directory`."),
    default("url", "\"\"", "Only an empty text is accepted: unpack the archive, and use `directory`."),
    default("retry.enabled", "false", "Tries again while Kibana is not reachable."),
    default("retry.interval", "1s", "Time between two attempts."),
    default("retry.maximum", "0", "Number of further attempts; 0: no limit."),
    default("beat", "packetbeat", "Accepted without effect."),
    default("kibana_index", ".kibana", "Accepted without effect."),
    default("always_kibana", "false", "Accepted without effect."),
];
