//! Tests that a script cannot harm the program: by endless loops, memory, recursion, replaced built-in functions, large
//! integers.

use crate::processors::testing::{Running, errors};
use serde_json::{Value, json};

fn running(source: &str, more: &str) -> Running {
    let source: String = source.lines().map(|line| format!("      {line}\n")).collect();
    Running::open(&format!("- script:\n    lang: javascript\n    timeout: 100ms\n{more}    source: |\n{source}"))
}

fn run(source: &str, event: Value) -> Value {
    running(source, "").run(&event).unwrap_or_default()
}

fn message(event: &Value) -> &str {
    event["error"]["message"].as_str().unwrap_or_default()
}

#[test]
fn endless_loops_are_ended_and_the_next_event_is_processed() {
    for endless in [
        "while (true) {}",
        "for (;;) { try { while (true) {} } catch (e) {} finally { while (true) {} } }",
        "/^(a+)+$/.test('a'.repeat(40) + 'b')",
        "throw { toString() { while (true) {} } }",
        "(function f() { Promise.resolve().then(f); })()",
        "eval('for (;;);')",
    ] {
        let mut script =
            running(&format!("var n = 0; function process(event) {{ if (n++ === 0) {{ {endless}; }} event.Put('n', n); }}"), "");
        let first = script.run(&json!({"a": 1})).unwrap();
        if !endless.contains("Promise") {
            assert_eq!(
                (message(&first), &first["tags"]),
                ("javascript processor execution timeout", &json!(["_js_exception"])),
                "{endless}"
            );
        }
        assert_eq!(script.run(&json!({"a": 1})).unwrap(), json!({"a": 1, "n": 2}), "{endless}");
    }
}

/// QuickJS does not check the time limit inside these functions. Without `bounds.js` they would run for minutes or years.
#[test]
fn built_in_functions_that_the_time_limit_does_not_end_are_bounded() {
    for long in [
        "Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)",
        "new Array(2 ** 32 - 1).lastIndexOf(1)",
        "new Array(2 ** 32 - 1).includes(1)",
        "new Array(2 ** 32 - 1).join('')",
        "new Array(2 ** 32 - 1).toString()",
        "String(new Array(2 ** 32 - 1))",
        "new Array(2 ** 32 - 1).forEach(function () {})",
        "new Array(2 ** 32 - 1).reduce(function () {}, 0)",
        "Array.prototype.reverse.call({length: 2 ** 53 - 1})",
        "Array.prototype.unshift.call({length: 2 ** 52}, 1)",
        "Array.prototype.sort.call({length: 2 ** 53 - 1})",
        "[].concat(new Array(2 ** 32 - 1))",
        "[[new Array(2 ** 32 - 1)]].flat(2)",
        "[1].flatMap(function () { return new Array(2 ** 32 - 1); })",
        "Array.prototype.values.call({length: 2 ** 53 - 1}).drop(2 ** 50).next()",
        "JSON.stringify({}, new Array(2 ** 32 - 1))",
        "Array.from({length: 2 ** 53 - 1})",
        "('a'.repeat(1 << 23)).indexOf('a'.repeat(1 << 22) + 'b')",
        "('a'.repeat(1 << 23)).split('a'.repeat(1 << 22) + 'b')",
        "7n ** (1n << 40n)",
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)",
        "'a'.repeat(2 ** 29)",
        "new Uint8Array(2 ** 31)",
    ] {
        let mut script = running(&format!("var n = 0; function process(event) {{ if (n++ === 0) {{ {long}; }} event.Put('n', n); }}"), "");
        let begun = std::time::Instant::now();
        let first = script.run(&json!({})).unwrap();
        assert!(!message(&first).is_empty(), "{long}: {first}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{long} took {:?}", begun.elapsed());
        // A session that used up its memory is replaced by a new one, in which `n` is 0 again.
        let next = script.run(&json!({})).unwrap();
        assert!(next == json!({"n": 2}) || message(&next).contains("out of memory"), "{long}: {next}");
    }
    let source = "
function process(event) {
    event.Put('a', [[1, [2, 3]], 4].flat().length + [1, [[2]]].flat(Infinity).join() + [1, 2].flatMap(x => [x, [x]]).length);
    event.Put('b', [3, 1, 2].sort().concat([4], 5).map(x => x * 2).filter(x => x > 2).indexOf(8) + 'a-b'.split('-').join('+'));
    event.Put('c', [[].indexOf.name, [].indexOf.length, JSON.stringify({a: 1, b: 2}, ['b']), 'abc'.replace(/b/, '').indexOf('c')]);
}";
    assert_eq!(run(source, json!({})), json!({"a": "31,24", "b": "2a+b", "c": ["indexOf", 1, "{\"b\":2}", 1]}));
}

#[test]
fn memory_stack_and_written_bytes_are_limited() {
    let mut script = running(
        "var kept = []; function process(event) { if (event.Get('bomb')) { for (;;) { kept.push('x'.repeat(1 << 20) + kept.length); } } event.Put('ok', true); }",
        "",
    );
    let bomb = script.run(&json!({"bomb": true})).unwrap();
    assert!(message(&bomb).contains("out of memory") || message(&bomb).contains("timeout"), "{bomb}");
    let deep = run("function process(event) { (function f() { return f() + 1; })(); }", json!({}));
    assert!(message(&deep).contains("call stack"), "{deep}");
    let deep = run("function process(event) { var a = []; for (var i = 0; i < 1e5; i++) a = [a]; event.Put('a', a); }", json!({}));
    assert!(deep.get("a").is_none() && !message(&deep).is_empty(), "{deep}");
    let much =
        run("function process(event) { var s = 'x'.repeat(1 << 20); for (var i = 0; i < 20; i++) event.Put('k' + i, s); }", json!({}));
    assert!(much.get("k8").is_some() && much.get("k11").is_none(), "{}", message(&much));
    let doubled = run("function process(event) { for (var i = 0; i < 64; i++) event.Put('k' + i, event.Get()); }", json!({"a": "b"}));
    assert!(message(&doubled).contains("10 MiB"), "{}", message(&doubled));
}

#[test]
fn integers_that_the_script_does_not_touch_stay_exact() {
    let event = json!({"big": u64::MAX, "in": {"a": 9_007_199_254_740_993_u64, "b": i64::MIN}, "list": [u64::MAX]});
    let got = run(
        "function process(event) { event.Get('in').x = 1; event.Put('copy', event.Get('list')); event.Rename('big', 'large'); }",
        event,
    );
    let wanted =
        json!({"large": u64::MAX, "in": {"a": 9_007_199_254_740_993_u64, "b": i64::MIN, "x": 1}, "list": [u64::MAX], "copy": [u64::MAX]});
    assert_eq!(got, wanted);
}

#[test]
fn replaced_built_in_functions_change_only_the_script() {
    let source = "
Object.prototype.get = function () { throw 'get'; };
Object.prototype.value = 'v';
Array.prototype.push = function () { throw 'push'; };
Function.prototype.call = function () { throw 'call'; };
String = JSON = Date = Proxy = WeakMap = undefined;
function process(event) {
    event.Put('a', {b: event.Get('list')[1]});
    event.Get('map').c = 'd';
    event.Tag('t');
}";
    let got = run(source, json!({"list": [1, 2], "map": {}}));
    assert_eq!(got, json!({"list": [1, 2], "map": {"c": "d"}, "a": {"b": 2}, "tags": ["t"]}));
    let hostile = "function process(event) { throw { get name() { throw 1; }, toString() { throw 2; } }; }";
    assert_eq!(message(&run(hostile, json!({}))), "an exception that has no text");
}

#[test]
fn views_are_those_of_the_event_and_end_with_it() {
    let mut script =
        running("var old; function process(event) { if (old) event.Put('old', old.a === undefined); else old = event.Get('m'); }", "");
    assert_eq!(script.run(&json!({"m": {"a": 1}})).unwrap(), json!({"m": {"a": 1}}));
    assert_eq!(script.run(&json!({"m": {"a": 2}})).unwrap(), json!({"m": {"a": 2}, "old": true}));
    let source = "
function process(event) {
    var list = event.Get('l');
    list.push(3);
    list[0] = {deep: [list.length, list.map(function (x) { return x * 2; }), 'x' in event.fields]};
    for (var key in event.Get('m')) event.AppendTo('keys', key);
    delete event.fields.m.a;
    event.Put('text', '\\ud800');
    event.Put('json', JSON.stringify(event.Get('m')));
}";
    let got = run(source, json!({"l": [1, 2], "m": {"a": 1, "b": {"c": null}}}));
    let wanted = json!({"l": [{"deep": [3, [2, 4, 6], false]}, 2, 3], "m": {"b": {"c": null}}, "keys": ["a", "b"], "text": "\u{fffd}",
        "json": "{\"b\":{\"c\":null}}"});
    assert_eq!(got, wanted);
}

#[test]
fn scripts_are_checked_at_start() {
    for (options, wanted) in [
        ("source: 'function p() {}'", "process function not found"),
        ("source: 'function process(e) {} function test() { throw 7; }'", "7"),
        ("source: 'for (;;);'\n    timeout: 1ms", "javascript processor execution timeout"),
        ("file: none.js", "there is no file"),
        ("files: ['a*.js']", "there is no file"),
        ("source: x\n    file: y", "only one of"),
        ("tag: x", "the script is missing"),
    ] {
        let error = errors(&format!("- script:\n    lang: javascript\n    {options}")).unwrap_or_default();
        assert!(error.contains(wanted), "{options}: {error}");
    }
}
