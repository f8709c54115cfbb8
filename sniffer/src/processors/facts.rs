//! What is known of all events of a publisher before there is one: which fields they can have, and which they cannot.

use serde_json::Value;

/// What is known of a publisher's events.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `type` and `event.dataset`
    pub dataset: &'static str,
    /// Whether `http.request.body.content` is ever there.
    pub request_bodies: bool,
    /// Whether `http.response.body.content` is ever there.
    pub response_bodies: bool,
}

/// Top-level fields that only constants and processors write.
const NEVER: [&str; 14] = [
    "@metadata",
    "agent",
    "cloud",
    "container",
    "docker",
    "ecs",
    "fields",
    "geo",
    "host",
    "kubernetes",
    "labels",
    "observer",
    "orchestrator",
    "tags",
];

/// Top-level fields of one protocol alone.
const OWN: [(&str, &str); 19] = [
    ("amqp", "amqp"),
    ("cassandra", "cassandra"),
    ("dhcpv4", "dhcpv4"),
    ("dns", "dns"),
    ("flow", "flow"),
    ("http", "http"),
    ("icmp", "icmp"),
    ("memcache", "memcache"),
    ("mongodb", "mongodb"),
    ("mysql", "mysql"),
    ("nfs", "nfs"),
    ("pgsql", "pgsql"),
    ("redis", "redis"),
    ("rpc", "nfs"),
    ("sip", "sip"),
    ("thrift", "thrift"),
    ("tls", "tls"),
    ("url", "http"),
    ("user_agent", "http"),
];

impl Facts {
    /// Whether no event of the publisher has the field `name` by itself.
    pub fn never(&self, name: &str) -> bool {
        // nfs writes one key with a dot, inside of what is otherwise ours.
        if name == "host.hostname" && self.dataset == "nfs" {
            return false;
        }
        let first = name.split('.').next().unwrap_or_default();
        if NEVER.contains(&first) {
            return true;
        }
        match OWN.iter().find(|(field, _)| *field == first) {
            Some((_, owner)) if *owner != self.dataset => true,
            _ => match name {
                "http.request.body.content" => !self.request_bodies,
                "http.response.body.content" => !self.response_bodies,
                _ => false,
            },
        }
    }

    /// The value that the field has in every event of the publisher.
    pub fn always(&self, name: &str) -> Option<Value> {
        match name {
            "type" | "event.dataset" if !self.dataset.is_empty() => Some(self.dataset.into()),
            "event.kind" => Some("event".into()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_and_other_peoples_fields() {
        let http = Facts { dataset: "http", request_bodies: true, response_bodies: false };
        assert!(!http.never("http.request.body.content") && http.never("http.response.body.content") && http.never("dns.id"));
        let nfs = Facts { dataset: "nfs", ..Facts::default() };
        assert!(nfs.never("http.request.body.content") && !nfs.never("rpc.xid") && !nfs.never("host.hostname") && nfs.never("host.id"));
        assert_eq!(nfs.always("type"), Some("nfs".into()));
    }
}
