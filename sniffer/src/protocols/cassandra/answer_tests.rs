//! Tests of the parsed bodies of responses: results, errors, logins, and hostile lengths.

use super::*;
use serde_json::{Value, json};

fn read(version: u8, op: Op, body: &[u8]) -> Value {
    let header = Header { version, response: true, flags: 0, stream: 1, op, length: body.len() as u32 };
    serde_json::to_value(Answer::read(&header, body)).unwrap()
}

#[test]
fn rows_are_counted_after_the_columns() {
    // The result has two columns: a list of maps from int to a tuple of a custom type and a text, and a UDT with a
    // field.
    let columns = b"\0\x01l\0\x20\0\x21\0\x09\0\x31\0\x02\0\0\0\x01C\0\x0d\0\x01u\0\x30\0\x01k\0\x01n\0\x01\0\x01f\0\x09";
    let mut body = b"\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\x02ks\0\x01t".to_vec();
    body.extend(columns);
    body.extend(b"\0\0\0\x07");
    let meta = json!({"flags": "GlobalTableSpec", "col_count": 2, "keyspace": "ks", "table": "t"});
    assert_eq!(read(4, Op::RESULT, &body), json!({"result": {"type": "rows", "rows": {"meta": meta, "num_rows": 7}}}));
    let short = read(4, Op::RESULT, &body[..body.len() - 6]);
    assert_eq!(short, json!({"result": {"type": "rows", "rows": {"meta": meta}}}));
    // The result names a table for each column, has more pages, and has changed metadata (v5).
    let body = b"\0\0\0\x02\0\0\0\x0a\0\0\0\x01\0\0\0\x02\xab\xcd\0\x01m\0\x02ks\0\x01t\0\x01c\0\x09\0\0\0\x03";
    let meta = json!({"flags": "FLAG_10", "col_count": 1, "paging_state": "ABCD"});
    assert_eq!(read(5, Op::RESULT, body), json!({"result": {"type": "rows", "rows": {"meta": meta, "num_rows": 3}}}));
    let body = b"\0\0\0\x02\0\0\0\x04\0\0\0\x02\0\0\0\x05";
    let meta = json!({"flags": "NoMetaData", "col_count": 2});
    assert_eq!(read(3, Op::RESULT, body), json!({"result": {"type": "rows", "rows": {"meta": meta, "num_rows": 5}}}));
}

#[test]
fn hostile_columns() {
    let many = b"\0\0\0\x02\0\0\0\x01\x7f\xff\xff\xff\0\0\0\0".as_slice();
    assert_eq!(read(4, Op::RESULT, many)["result"]["rows"]["num_rows"], Value::Null);
    let mut deep = b"\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\0\0\0\0\x01c".to_vec();
    deep.extend(b"\0\x20".repeat(100_000));
    assert_eq!(read(4, Op::RESULT, &deep)["result"]["rows"]["num_rows"], Value::Null);
    // Nested tuple types that announce 65535 elements each are parsed in at most as many steps as there are bytes.
    let mut wide = b"\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\0\0\0\0\x01c".to_vec();
    wide.extend(b"\0\x31\xff\xff".repeat(31));
    assert_eq!(read(4, Op::RESULT, &wide)["result"]["rows"]["num_rows"], Value::Null);
}

#[test]
fn prepared_statements() {
    let want = json!({"result": {"type": "prepared", "prepared": {
        "prepared_id": "01020304-0506-0708-090a-0b0c0d0e0f10",
        "req_meta": {"flags": "GlobalTableSpec", "col_count": 1, "pkey_columns": [0], "keyspace": "k", "table": "t"},
        "resp_meta": {"flags": "NoMetaData", "col_count": 0},
    }}});
    let mut v4 = b"\0\0\0\x04\0\x10".to_vec();
    v4.extend(1..=16);
    v4.extend(b"\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0"); // flags, columns, keys, the column of the key
    v4.extend(b"\0\x01k\0\x01t\0\x01c\0\x09\0\0\0\x04\0\0\0\0");
    assert_eq!(read(4, Op::RESULT, &v4), want);
    let mut v5 = v4.clone();
    v5.splice(22..22, *b"\0\x02zz");
    assert_eq!(read(5, Op::RESULT, &v5), want);
    let v3 = b"\0\0\0\x04\0\x01\x01\0\0\0\x04\0\0\0\0\0\0\0\x04\0\0\0\x02";
    assert_eq!(
        read(3, Op::RESULT, v3)["result"]["prepared"],
        json!({"prepared_id": "00000000-0000-0000-0000-000000000000", "req_meta": {"flags": "NoMetaData", "col_count": 0},
               "resp_meta": {"flags": "NoMetaData", "col_count": 2}})
    );
}

#[test]
fn schema_changes_and_events() {
    let change = b"\0\x07CREATED\0\x08FUNCTION\0\x01k\0\x01f\0\x02\0\x03int\0\x04text";
    let want = json!({"change": "CREATED", "target": "FUNCTION", "keyspace": "k", "name": "f", "args": ["int", "text"]});
    assert_eq!(
        read(4, Op::RESULT, &[b"\0\0\0\x05", &change[..]].concat()),
        json!({"result": {"type": "schemaChanged", "schema_change": want}})
    );
    assert_eq!(
        read(4, Op::EVENT, &[b"\0\x0dSCHEMA_CHANGE", &change[..]].concat()),
        json!({"event": {"type": "SCHEMA_CHANGE", "schema_change": want}})
    );
    let up = b"\0\x0dSTATUS_CHANGE\0\x02UP\x04\x0a\0\0\x01\0\0\x23\x52";
    assert_eq!(read(4, Op::EVENT, up), json!({"event": {"type": "STATUS_CHANGE", "change": "UP", "host": "10.0.0.1", "port": 9042}}));
    assert_eq!(read(4, Op::EVENT, b"\0\x03NEW"), json!({"event": {"type": "NEW"}}));
    let keyspace = b"\0\0\0\x03\0\x04shop";
    assert_eq!(read(4, Op::RESULT, keyspace), json!({"result": {"type": "set_keyspace", "keyspace": "shop"}}));
}

#[test]
fn errors_with_their_details() {
    let error =
        |version, code: u32, rest: &[u8]| read(version, Op::ERROR, &[&code.to_be_bytes()[..], b"\0\x02no", rest].concat())["error"].clone();
    assert_eq!(error(4, 0x2000, b""), json!({"code": 0x2000, "msg": "no", "type": "errSyntax"}));
    assert_eq!(
        error(4, 0x1000, b"\0\x08\0\0\0\x02\0\0\0\x01")["details"],
        json!({"read_consistency": "UNKNOWN_CONS_0x8", "required": 2, "alive": 1})
    );
    assert_eq!(
        error(4, 0x1100, b"\0\x0a\0\0\0\x01\0\0\0\x02\0\x06SIMPLE")["details"],
        json!({"read_consistency": "LOCAL_ONE", "received": 1, "blockfor": 2, "write_type": "SIMPLE"})
    );
    let failed = json!({"read_consistency": "QUORUM", "received": 1, "blockfor": 2, "data_present": true});
    assert_eq!(error(4, 0x1300, b"\0\x04\0\0\0\x01\0\0\0\x02\0\0\0\x01\x01")["details"], failed);
    assert_eq!(error(5, 0x1300, b"\0\x04\0\0\0\x01\0\0\0\x02\0\0\0\x01\x04\x0a\0\0\x01\0\0\x01")["details"], failed);
    assert_eq!(
        error(5, 0x1500, b"\0\x04\0\0\0\x01\0\0\0\x02\0\0\0\x01\x04\x0a\0\0\x01\0\0\0\x03CAS")["details"],
        json!({"read_consistency": "QUORUM", "received": 1, "blockfor": 2, "num_failures": 1, "write_type": "CAS"})
    );
    assert_eq!(error(4, 0x2500, b"\0\x02\x01\xff")["details"], json!({"stmt_id": [1, 255]}));
    assert_eq!(error(4, 0x2400, b"\0\x01k\0\0")["details"], json!({"keyspace": "k", "table": ""}));
    assert_eq!(error(4, 0x7777, b""), json!({"code": 0x7777, "msg": "no", "type": "ErrUnknown"}));
    assert_eq!(
        error(4, 0x1400, b"\0\x01k\0\x01f\0\x01\0\x03int")["details"],
        json!({"keyspace": "k", "function": "f", "arg_types": ["int"]})
    );
}

#[test]
fn logins() {
    let class = read(4, Op::AUTHENTICATE, b"\0\x01A");
    assert_eq!(class, json!({"authentication": {"class": "A"}}));
    let data = read(4, Op::AUTH_CHALLENGE, b"\0\0\0\x06a\"\n\x01\xff\xc3");
    assert_eq!(data, json!({"authentication": {"data": "\"a\\\"\\n\\x01\\xff\\xc3\""}}));
    assert_eq!(read(4, Op::AUTH_SUCCESS, b"\xff\xff\xff\xff"), json!({"authentication": {"data": "\"\""}}));
}

#[test]
fn tracing_warnings_and_payload_before_a_message() {
    let header = Header { version: 4, response: true, flags: TRACING | WARNING | PAYLOAD, stream: 1, op: Op::RESULT, length: 100 };
    let body = [&[7; 16][..], b"\0\x01\0\x04slow", b"\0\x01\0\x01k\0\0\0\x01v", b"\0\0\0\x01"].concat();
    let got = serde_json::to_value(Answer::read(&header, &body)).unwrap();
    assert_eq!(got, json!({"warnings": ["slow"], "result": {"type": "void"}}));
}
