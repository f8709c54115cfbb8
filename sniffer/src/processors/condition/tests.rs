//! Tests of conditions: which values each kind accepts, which configurations are refused and with which line, and which
//! results are known without an event.

use super::*;
use crate::{config::Node, event::tree::Tree};
use serde_json::json;

fn read(condition: &Value) -> Condition {
    Node::parse(&condition.to_string()).unwrap().read().unwrap_or_else(|error| panic!("{condition}: {error}"))
}

fn holds(condition: &Value) -> bool {
    let event = json!({
        "type": "http", "tags": ["a", "forwarded"], "http": {"response": {"code": 404, "text": "12.5"}}, "ok": true, "event.action": "x",
        "client": {"ip": "10.1.2.3"}, "related": {"ip": ["8.8.8.8", "192.168.0.1"]}, "neg": -5, "message": "hello world"
    });
    read(condition).holds(&Tree::from(event.as_object().unwrap().clone())).unwrap()
}

#[test]
fn each_kind() {
    for (condition, expected) in [
        (json!({"equals": {"type": "http", "http.response.code": 404, "ok": true}}), true),
        (json!({"equals": {"type": "http", "http.response.code": 200}}), false),
        (json!({"equals": {"http.response.code": "404"}}), false),
        (json!({"equals": {"neg": -5}}), true),
        (json!({"equals": {"event.action": "x"}}), true),
        (json!({"equals": {"missing": "x"}}), false),
        (json!({"contains": {"message": "lo wo"}}), true),
        (json!({"contains": {"tags": "forw"}}), true),
        (json!({"contains.tags": "b"}), false),
        (json!({"contains": {"http.response.code": "4"}}), false),
        (json!({"regexp": {"message": "^hel+o"}}), true),
        (json!({"regexp": {"message": "^world"}}), false),
        (json!({"range": {"http.response.code.gte": 400, "http.response.code.lt": 500}}), true),
        (json!({"range": {"http.response.code": {"gt": 404}}}), false),
        (json!({"range": {"http.response.text.gt": 12}}), true),
        (json!({"range": {"message.gt": 12}}), false),
        (json!({"has_fields": ["type", "http.response"]}), true),
        (json!({"has_fields": ["type", "missing"]}), false),
        (json!({"network": {"client.ip": "private"}}), true),
        (json!({"network": {"client.ip": ["192.0.2.0/24", "10.0.0.0/8"]}}), true),
        (json!({"network": {"client.ip": "public"}}), false),
        (json!({"network": {"related.ip": "public"}}), true),
        (json!({"network": {"message": "public"}}), false),
        (json!({"or": [{"equals.type": "dns"}, {"equals.type": "http"}]}), true),
        (json!({"and": [{"equals.type": "dns"}, {"equals.type": "http"}]}), false),
        (json!({"not": {"equals.type": "dns"}}), true),
        (json!({"not": {"equals.missing": "x"}}), true),
        // Only the first kind takes effect.
        (json!({"equals.type": "http", "not": {"equals.type": "http"}}), true),
    ] {
        assert_eq!(holds(&condition), expected, "{condition}");
    }
}

#[test]
fn errors_name_line_and_key_and_say_what_is_allowed() {
    for (yaml, message) in [
        ("when: {}", "line 1: when: a condition is missing; the conditions are equals, contains"),
        ("when: {equals: ~}", "line 1: when: a condition is missing"),
        ("when: text", "line 1: when: expected a map (`key: value`), got `text`"),
        ("when:\n  equals: {a: 1}\n  equal: {}", "line 3: when.equal: there is no condition `equal`; the conditions are equals, contains"),
        ("when:\n  equals:\n    b: 1\n    a: 1.5", "line 4: when.equals.a: `equals` of `a` needs a string, an integer,"),
        ("when.equals.a.b: {}", "line 1: when.equals.a.b: `equals` of `a.b` needs"),
        ("when.contains.a: 4", "line 1: when.contains.a: `contains` of `a` needs a string (write numbers in quotes), not `4`"),
        ("when.regexp.a: '('", "line 1: when.regexp.a: `regexp` of `a`: regex parse error"),
        ("when.range:\n  b.gt: 1\n  a: 1", "line 3: when.range.a: `range` needs a bound"),
        ("when.range.a.gte: x", "line 1: when.range.a.gte: `range` needs a bound"),
        ("when.network.a: prviate", "line 1: when.network.a: `prviate` is no network"),
        ("when.equals: [a]", "line 1: when.equals: `equals` needs a map of field names and values"),
        ("when.and: []", "line 1: when.and: invalid length 0, expected a list of conditions"),
        ("when.or: {equals.a: 1}", "line 1: when.or: expected a list of conditions, got map"),
        ("when.or:\n- equals.a: 1\n- not:\n    equals.b: ~", "line 4: when.or.1.not.equals.b: `equals` of `b` needs"),
    ] {
        let error = Node::parse(yaml).unwrap().get("when").read::<Condition>().map(drop).unwrap_err().to_string();
        assert!(error.starts_with(message), "{yaml}\nwant: {message}\ngot:  {error}");
    }
}

#[test]
fn errors_of_kinds_without_effect_are_ignored() {
    for yaml in ["{equals.a: 1, contains.b: 2}", "{contains.b: 2, equals.a: 1}", "{equals.a: 1, not: ~}"] {
        let condition: Condition = Node::parse(yaml).unwrap().read().unwrap();
        assert_eq!(condition.holds(&Tree::from(json!({"a": 1}).as_object().unwrap().clone())), Some(true), "{yaml}");
    }
}

struct Nothing;
impl Fields for Nothing {
    fn field(&self, name: &str) -> Known<'_> {
        match name {
            "absent" => Known::Absent,
            _ => Known::Unknown,
        }
    }
}

#[test]
fn some_conditions_are_decided_without_an_event() {
    for (condition, expected) in [
        (json!({"equals": {"absent": 1, "a": 1}}), Some(false)),
        (json!({"equals": {"a": 1}}), None),
        (json!({"or": [{"equals": {"a": 1}}, {"not": {"has_fields": ["absent"]}}]}), Some(true)),
        (json!({"and": [{"equals": {"a": 1}}, {"not": {"has_fields": ["absent"]}}]}), None),
        (json!({"not": {"equals": {"a": 1}}}), None),
    ] {
        assert_eq!(read(&condition).holds(&Nothing), expected, "{condition}");
    }
}
