//! Tests of the filter language.

use super::*;
use crate::{
    net::{Count, StoredKey},
    publish::observer::Details,
    time::Timestamp,
    view::testing::transaction,
};
use std::sync::Arc;

const PROTOCOLS: &[&str] = &["http", "dns", "pgsql"];

fn request() -> Transaction<'static> {
    Transaction {
        destination: Some("[2001:db8::1]:8080".parse().unwrap()),
        time: Timestamp(0),
        start: None,
        end: None,
        duration: Some(Duration::from_millis(120)),
        source_bytes: 600,
        destination_bytes: 3000,
        resource: "/orders/4711",
        query: "GET /orders/4711?full=1",
        result: "503",
        status: "Error",
        details: Details::None,
        notes: &["Unmatched response"],
        ..transaction()
    }
}

/// Fails for each text whose outcome is not `wanted`.
fn check(of: &Transaction<'_>, wanted: bool, texts: &[&str]) {
    for text in texts {
        let filter = Filter::parse(text, PROTOCOLS).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
        assert_eq!(filter.selects(of), wanted, "{text}: {filter:?}");
    }
}

#[test]
fn one_word() {
    check(
        &request(),
        true,
        &[
            "",
            "  ",
            "http",
            "HTTP",
            "type=http",
            "type:http",
            "port 8080",
            "port 40000",
            "port=8000-8999",
            "port>8000",
            "port>=8080",
            "port <= 8080",
            "server.port=8080",
            "host 10.0.0.7",
            "host=2001:db8::1",
            "host 2001:db8::1",
            "net 10.0.0.0/8",
            "net=2001:db8::/32",
            "client=10.0.0.7",
            "client 10.0.0.7:40000",
            "client=10.0.0.0/24",
            "server=[2001:db8::1]:8080",
            "source.ip:10.0.0.7",
            "destination.port < 9000",
            "status=error",
            "status:Error",
            "status!=ok",
            "code=503",
            "code>=500",
            "code:5*",
            "code!=404",
            "method=get",
            "path=/orders/*",
            "path='/orders/4711'",
            "query=*full*",
            "slow>100ms",
            "slow>=0.12s",
            "event.duration >= 120000000",
            "bytes>3.5K",
            "source.bytes=600",
            "destination.bytes<1m",
            "error.message=unmatched*",
            "\"orders/47\"",
            "'FULL=1'",
            "~4[0-9]+1",
            "~^unmatched",
            "~'orders/(47|48)11'",
            "~(get|post) (~full=[01]) not (~(a|b)c)",
            "not dns",
            "not not http",
            "not port 53",
        ],
    );
    check(
        &request(),
        false,
        &[
            "dns",
            "flow",
            "port 80",
            "port!=8080",
            "port<8080 server.port<8080",
            "server.port=40000",
            "host 10.0.0.8",
            "host!=10.0.0.7",
            "net 10.1.0.0/16",
            "client=2001:db8::1",
            "server=10.0.0.7",
            "client 10.0.0.7:80",
            "status=ok",
            "status=err",
            "code=404",
            "code<500",
            "rcode=NXDOMAIN",
            "path=orders",
            "slow>1s",
            "slow>1m",
            "bytes>1M",
            "\"orders.47\"",
            "~^orders",
            "not http",
        ],
    );
}

#[test]
fn words_of_one_kind_are_alternatives_and_kinds_must_all_hold() {
    check(&request(), true, &["dns http", "port 80 port 8080 http", "http status=ok status=error", "code=404 code>=500 code<600 code=503"]);
    check(
        &request(),
        false,
        &[
            "http port 80",
            "dns status=error",
            "http dns port 53",
            "code>=500 code<503",
            "\"orders\" \"nothing\"",
            "status!=ok status!=error",
        ],
    );
}

#[test]
fn and_or_not_and_brackets() {
    check(
        &request(),
        true,
        &["dns or http", "http and port 8080", "(dns or http) and not (port 80)", "dns port 53 or http port 8080", "not dns not pgsql"],
    );
    check(
        &request(),
        false,
        &["http and dns", "http and not status=error", "not (dns or http)", "dns and port 53 or pgsql", "path=/a* and path=/orders*"],
    );
}

#[test]
fn a_server_that_sends_first_is_still_the_server() {
    let of = Transaction { from: Direction::ToClient, ..request() };
    check(&of, true, &["client=2001:db8::1", "server.port=40000", "source.ip=10.0.0.7"]);
    check(&of, false, &["client=10.0.0.7", "server.port=8080"]);
}

#[test]
fn little_is_known_of_some_transactions() {
    let of = Transaction { source: None, destination: None, duration: None, result: "", ..request() };
    check(&of, true, &["http", "not port 80", "code!=200"]);
    check(&of, false, &["port 80", "host 10.0.0.7", "slow>0ns", "slow<1h", "code<600"]);
    // An IPv4 address in an IPv6 socket is the IPv4 address.
    let mapped = Transaction { source: Some("[::ffff:10.0.0.7]:1".parse().unwrap()), ..request() };
    check(&mapped, true, &["host 10.0.0.7", "net 10.0.0.0/8"]);
}

#[test]
fn flows() {
    let key = StoredKey::new(&[2, 0, 1, 0, 255, 0, 255, 255, 10, 0, 0, 1, 10, 0, 0, 2, 80, 0, 2, 0]);
    let mut flow = FlowRecord::new(key, true, Timestamp(0));
    flow.add(1, Count { packets: 2, bytes: 200 }, Timestamp(2_000_000), None, None);
    for (text, wanted) in [
        ("flow", true),
        ("http", false),
        ("host 10.0.0.2", true),
        ("client=10.0.0.2", true),
        ("server.port=80", true),
        ("source.bytes=200", true),
        ("bytes>200", false),
        ("slow=2ms", true),
        ("status=error", false),
    ] {
        assert_eq!(Filter::parse(text, PROTOCOLS).unwrap().selects_flow(&flow, &Ends::NONE), wanted, "{text}");
    }
}

#[test]
fn processes_of_either_end() {
    let process = |pid, name: &str, user: &str| Arc::new(Process { pid, name: name.into(), user_name: user.into(), ..Process::default() });
    let ends = Ends { source: Some(process(7, "curl", "root")), destination: Some(process(8, "nginx", "www-data")) };
    let of = Transaction { processes: &ends, ..request() };
    check(
        &of,
        true,
        &["proc=curl", "proc=NGINX", "process.name=ng*", "pid=8", "pid>7", "user=www-data", "proc!=redis", "pid!=9", "container=''"],
    );
    check(
        &of,
        false,
        &["proc=redis", "proc!=curl", "pid=9", "pid!=7", "user=nobody", "container=3f*", "service=nginx", "proc=curl user=nobody"],
    );
    check(&request(), true, &["proc!=curl", "pid!=7"]);
    check(&request(), false, &["proc=curl", "proc=*", "pid>0"]);
}

#[test]
fn errors_name_the_column_and_what_to_write() {
    let deep = "(".repeat(40);
    for (text, column, message) in [
        ("htpp", 1, "htpp: did you mean http?"),
        ("http statsu=error", 6, "statsu: did you mean status?"),
        ("http.response.status_code >= 500", 1, "http.response.status_code: no field of a filter; there are client, "),
        ("nonsense", 1, "nonsense: no word of a filter; there are protocols (http, dns, pgsql), fields (client, "),
        ("status", 1, "status: a value is missing, as in `status=error`"),
        ("status=", 8, "end: the filter ends where a word is expected"),
        ("status>error", 1, "status: its values have no order; use = or !="),
        ("type<http", 1, "type: its values have no order"),
        ("host>10.0.0.1", 1, "host: its values have no order"),
        ("port 99999", 6, "99999: expected a value as in `port 443`"),
        ("port<0", 6, "0: expected a value as in `port 443`"),
        ("port 9-8", 6, "9-8: expected a value as in `port 443`"),
        ("host nosuch", 6, "nosuch: expected a value as in `net 10.0.0.0/8`"),
        ("host=a:b", 6, "a:b: expected"),
        ("slow>fast", 6, "fast: expected a value as in `slow>100ms`"),
        ("slow>-1s", 6, "-1s: expected"),
        ("bytes>1X", 7, "1X: expected a value as in `bytes>1M`"),
        ("proc>a", 1, "proc: its values have no order"),
        ("pid=nginx", 5, "nginx: expected a value as in `pid=4711`"),
        ("status==error", 8, "=: expected a value, as in `status=error`"),
        ("=error", 1, "=: a name is missing in front of it"),
        ("(http", 1, "(: the closing bracket is missing"),
        ("http)", 5, "): there is no opening bracket"),
        (")", 1, "): there is no opening bracket"),
        ("http or", 8, "end: the filter ends where a word is expected"),
        ("not", 4, "end: the filter ends"),
        ("\"open", 1, "\"open: the closing quote is missing"),
        ("~a(b", 1, "~a(b: no regular expression: "),
        ("~[", 1, "~[: no regular expression: "),
        ("~x{9999}{9999}", 1, "~x{9999}{9999}: no regular expression: "),
        (deep.as_str(), 33, "(: a filter has at most 32 brackets"),
    ] {
        let wrong = Filter::parse(text, PROTOCOLS).err().unwrap_or_else(|| panic!("{text} is no error")).to_string();
        assert!(wrong.starts_with(&format!("column {column}: {message}")), "{text}: {wrong}");
    }
    assert!(Filter::parse(&"http ".repeat(1000), PROTOCOLS).unwrap_err().to_string().contains("at most 4096 bytes"));
}
