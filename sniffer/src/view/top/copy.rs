//! A transaction as text for the clipboard: JSON, a command of curl, a filter of libpcap.

use super::redact::{Kind, Redaction};
use crate::{
    net::Transport,
    process::Process,
    publish::observer::{Details, Transaction},
    view::{model::record, naming::nanos},
};
use serde_json::{Map, Value as Json, json};
use std::{net::SocketAddr, sync::Arc};

/// The transaction as a document with fields of ECS. Fields without a value are left out.
pub fn document(of: &Transaction<'_>, redaction: Option<&Redaction>) -> Json {
    let hide = |kind, text: &str| redaction.map_or_else(|| text.to_owned(), |redaction| redaction.of(kind, text));
    let end = |socket: Option<SocketAddr>, bytes: u64, domain: &str, process: Option<&Arc<Process>>| {
        let process = process.map(|process| json!({"name": hide(Kind::Name, &process.name), "pid": process.pid}));
        json!({
            "ip": socket.map(|socket| hide(Kind::Address, &socket.ip().to_string())),
            "port": socket.map(|socket| socket.port()).filter(|port| *port > 0),
            "bytes": bytes,
            "domain": hide(Kind::Name, domain),
            "process": process,
        })
    };
    let time = |time: Option<crate::time::Timestamp>| time.map(|time| time.text(9).as_str().to_owned());
    let mut host = "";
    let (mut dns, mut tls, mut http) = (Json::Null, Json::Null, Json::Null);
    match of.details {
        Details::None => {}
        Details::Http { host: name } => {
            host = name;
            http = json!({"request": {"method": of.method}, "response": {"status_code": of.result.parse::<u16>().ok()}});
        }
        Details::Dns { name, kind, code, addresses } => {
            let addresses: Vec<String> = addresses.split_whitespace().map(|address| hide(Kind::Address, address)).collect();
            let question = json!({"name": hide(Kind::Name, name), "type": kind});
            dns = json!({"question": question, "response_code": code, "resolved_ip": addresses});
        }
        Details::Tls { server_name, version, cipher, certificate_end } => {
            let client = json!({"server_name": hide(Kind::Name, server_name)});
            tls = json!({"client": client, "version": version, "cipher": cipher, "server": {"not_after": certificate_end}});
        }
    }
    let notes: Vec<String> = of.notes.iter().map(|note| hide(Kind::Query, note)).collect();
    let transport = match of.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Sctp => "sctp",
        Transport::Icmp => "icmp",
        Transport::Icmp6 => "ipv6-icmp",
    };
    let mut document = json!({
        "@timestamp": time(Some(of.time)),
        "type": of.protocol,
        "status": of.status,
        "method": of.method,
        "resource": hide(Kind::Query, of.resource),
        "query": hide(Kind::Query, of.query),
        "source": end(of.source, of.source_bytes, "", of.processes.source.as_ref()),
        "destination": end(of.destination, of.destination_bytes, host, of.processes.destination.as_ref()),
        "network": {"transport": transport},
        "event": {"start": time(of.start), "end": time(of.end), "duration": of.duration.map(nanos)},
        "http": http,
        "dns": dns,
        "tls": tls,
        "error": {"message": notes},
    });
    prune(&mut document);
    document
}

/// Removes empty texts, lists and objects.
fn prune(of: &mut Json) {
    let is_empty = |value: &Json| match value {
        Json::Null => true,
        Json::String(text) => text.is_empty(),
        Json::Array(list) => list.is_empty(),
        Json::Object(object) => object.is_empty(),
        _ => false,
    };
    if let Json::Object(object) = of {
        object.values_mut().for_each(prune);
        *object = std::mem::take(object).into_iter().filter(|(_, value)| !is_empty(value)).collect::<Map<_, _>>();
    }
}

/// A command that sends the HTTP request again, without its headers and its body, which are not kept. `None` if the transaction is not HTTP
/// or its method is no word.
pub fn curl(of: &Transaction<'_>) -> Option<String> {
    let Details::Http { host } = of.details else { return None };
    let is_word = !of.method.is_empty() && of.method.bytes().all(|byte| byte.is_ascii_alphabetic());
    let server = record::server(of).0?;
    let target = of.query.strip_prefix(of.method)?.trim_start();
    let path = target.find("://").map_or(target, |scheme| {
        // A request to a proxy has the whole URL.
        let rest = target.get(scheme + 3..).unwrap_or_default();
        rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/")
    });
    let path = path.find('/').and_then(|slash| path.get(slash..)).unwrap_or("/");
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let url = format!("http://{}{}", if is_name { format!("{host}:{}", server.port()) } else { server.to_string() }, encoded(path));
    // curl asks the name server for the name; the request went to this address.
    let connect = if is_name { format!(" --connect-to '::{server}'") } else { String::new() };
    let method = match of.method {
        "HEAD" => " --head".to_owned(),
        "GET" => String::new(),
        method => format!(" -X {method}"),
    };
    is_word.then(|| format!("curl --globoff{method}{connect} '{url}'"))
}

/// A path in which no character has a meaning for a shell in single quotes, or for a terminal.
fn encoded(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'!'..=b'~' if !b"'\"<>\\^`{|}".contains(&byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A filter of libpcap that selects the packets of the connection. `None` if an end is not known.
pub fn pcap_filter(of: &Transaction<'_>) -> Option<String> {
    let (source, destination) = (of.source?, of.destination?);
    let protocol = match of.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Sctp => "sctp",
        Transport::Icmp => "icmp",
        Transport::Icmp6 => "icmp6",
    };
    let ports = [source.port(), destination.port()].into_iter().filter(|port| *port > 0);
    let ports: String = ports.map(|port| format!(" and port {port}")).collect();
    Some(format!("{protocol} and host {} and host {}{ports}", source.ip(), destination.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::transaction;

    #[test]
    fn a_document_has_the_fields_that_have_a_value() {
        let of = transaction();
        let document = document(&of, None);
        assert_eq!(document["destination"], json!({"ip": "10.0.0.9", "port": 8080, "bytes": 900, "domain": "api.shop"}));
        assert_eq!(document["event"]["duration"], 2_000_000);
        assert_eq!(document["http"], json!({"request": {"method": "GET"}, "response": {"status_code": 200}}));
        assert!(document.get("dns").is_none() && document.get("error").is_none(), "{document}");
        let redacted = super::document(&of, Some(&Redaction::default())).to_string();
        assert!(!["10.0.0", "api.shop", "orders"].iter().any(|text| redacted.contains(text)), "{redacted}");
    }

    #[test]
    fn a_command_cannot_be_broken_by_the_request() {
        let curl = |query, method, host| curl(&Transaction { query, method, details: Details::Http { host }, ..transaction() });
        let expected = "curl --globoff --connect-to '::10.0.0.9:8080' 'http://api.shop:8080/orders?a=1&b=$x'";
        assert_eq!(curl("GET /orders?a=1&b=$x", "GET", "api.shop").as_deref(), Some(expected));
        let expected = "curl --globoff -X POST 'http://10.0.0.9:8080/a%27%3B%20rm%0A%1B%5B2J%E2%80%AE'";
        let hostile = curl("POST /a'; rm\n\u{1b}[2J\u{202e}", "POST", "x';reboot").unwrap();
        assert_eq!(hostile.replace("%3B", ";"), expected.replace("%3B", ";").replace("%5B", "["));
        assert_eq!(curl("GET; /", "GET;", "api.shop"), None);
        assert_eq!(super::curl(&Transaction { details: Details::None, ..transaction() }), None);
        let proxied = curl("GET http://other/x?y", "GET", "").unwrap();
        assert_eq!(proxied, "curl --globoff 'http://10.0.0.9:8080/x?y'");
    }

    #[test]
    fn a_filter_of_the_connection() {
        let of = transaction();
        assert_eq!(pcap_filter(&of).unwrap(), "tcp and host 10.0.0.7 and host 10.0.0.9 and port 40000 and port 8080");
        let ping = Transaction {
            transport: Transport::Icmp6,
            source: Some("[fd00::1]:0".parse().unwrap()),
            destination: Some("[fd00::2]:0".parse().unwrap()),
            ..of
        };
        assert_eq!(pcap_filter(&ping).unwrap(), "icmp6 and host fd00::1 and host fd00::2");
        assert_eq!(pcap_filter(&Transaction { source: None, ..of }), None);
    }
}
