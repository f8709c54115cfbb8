//! Tests against a fake Kibana, which stores the imported objects and refuses what Kibana refuses.

use super::{load::Loader, *};
use crate::{
    config::{Node, Paths},
    event::TRANSACTION,
    opening::{Opening, testing::opening},
    output::testing::{Fake, Log, request},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

#[derive(Clone, Debug)]
struct Asked {
    line: String,
    headers: String,
    body: String,
}

/// Status, further header lines, and body of an answer.
type Answer = (u16, &'static str, String);

impl Fake<Asked> {
    /// Starts a fake Kibana. `instead` can answer a request in its place. The number is the number of the request.
    async fn start(instead: impl Fn(&Asked, usize) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let instead = Arc::new(instead);
        Self::listen(move |stream, _, log| serve(stream, instead.clone(), log)).await
    }

    /// The saved objects of each import.
    fn imports(&self) -> Vec<Vec<Value>> {
        self.asked().iter().filter(|asked| asked.line.contains("_import")).map(|asked| objects(asked).unwrap()).collect()
    }
}

async fn serve(mut stream: TcpStream, instead: Arc<impl Fn(&Asked, usize) -> Option<Answer>>, log: Log<Asked>) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut buffer).await {
        let (line, headers) = head.split_once("\r\n").unwrap();
        let (headers, body) = (headers.to_lowercase(), String::from_utf8(body).unwrap());
        let asked = Asked { line: line.trim_end_matches(" HTTP/1.1").into(), headers, body };
        let before: Vec<Asked> = log.lock().unwrap().clone();
        log.lock().unwrap().push(asked.clone());
        let (status, more, body) = instead(&asked, before.len()).unwrap_or_else(|| answer(&asked, &before));
        let text = format!("HTTP/1.1 {status} X\r\n{more}content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(text.as_bytes()).await.unwrap();
    }
}

fn answer(asked: &Asked, before: &[Asked]) -> Answer {
    let refused = |status, message: &str| (status, "", json!({"statusCode": status, "message": message}).to_string());
    if asked.line.ends_with("/api/status") {
        return (200, "", json!({"version": {"number": "9.6.0"}, "status": {"overall": {"level": "available"}}}).to_string());
    }
    if !asked.headers.contains("kbn-xsrf: 1\r\n") {
        return refused(400, "Request must contain a kbn-xsrf header.");
    }
    if !asked.line.contains("/api/saved_objects/_import?overwrite=true") {
        return refused(404, "Not Found");
    }
    let imported: Vec<Value> = before.iter().filter_map(|asked| objects(asked).ok()).flatten().collect();
    match objects(asked) {
        Err(why) => refused(400, &why),
        Ok(objects) => {
            let known: Vec<&Value> = imported.iter().chain(&objects).collect();
            let missing = |object: &Value| {
                let references = object["references"].as_array().cloned().unwrap_or_default();
                let is_known = |r: &Value| known.iter().any(|known| known["id"] == r["id"] && known["type"] == r["type"]);
                references.into_iter().filter(|r| !is_known(r)).collect::<Vec<_>>()
            };
            let errors: Vec<Value> = objects
                .iter()
                .filter(|object| !missing(object).is_empty())
                .map(|o| json!({"id": o["id"], "type": o["type"], "error": {"type": "missing_references", "references": missing(o)}}))
                .collect();
            (200, "", json!({"success": errors.is_empty(), "successCount": objects.len() - errors.len(), "errors": errors}).to_string())
        }
    }
}

/// The saved objects of an import request, or what is wrong with it.
fn objects(asked: &Asked) -> Result<Vec<Value>, String> {
    let boundary = asked.headers.lines().find_map(|l| l.strip_prefix("content-type: multipart/form-data; boundary=")).ok_or("no form")?;
    let part = asked.body.strip_prefix(&format!("--{boundary}\r\n")).and_then(|rest| rest.strip_suffix(&format!("\r\n--{boundary}--\r\n")));
    let (head, content) = part.and_then(|part| part.split_once("\r\n\r\n")).ok_or("no part")?;
    if !head.contains("Content-Disposition: form-data; name=\"file\"; filename=\"") || !head.contains(".ndjson\"") {
        return Err(format!("no file: {head}"));
    }
    let object = |line: &str| {
        let object: Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
        let complete = object["id"].is_string() && object["type"].is_string() && object["attributes"]["title"].is_string();
        if complete { Ok(object) } else { Err(format!("not a saved object: {line}")) }
    };
    content.lines().map(object).collect()
}

fn root(port: u16, more: &str) -> Node {
    Node::parse(&format!("setup.kibana.host: 'http://127.0.0.1:{port}'\n{more}")).unwrap()
}

async fn load(root: &Node) -> Result<Outcome, String> {
    let mut said = Vec::new();
    Loader::read(&opening(root), false).unwrap().load(&mut |line: &str| said.push(line.to_owned())).await
}

#[tokio::test]
async fn own_dashboards_are_loaded() {
    let fake = Fake::start(|_, _| None).await;
    let more = "output.elasticsearch: {hosts: ['x:1'], username: u, password: p}\nsetup.kibana.headers: {X-Mine: a}";
    assert_eq!(load(&root(fake.port, more)).await, Ok(Outcome::Loaded(6)));
    let asked = fake.asked();
    assert_eq!(asked[0].line, "GET /api/status");
    assert_eq!(asked.len(), 8);
    for header in ["kbn-xsrf: 1", "elastic-api-version: 2023-10-31", "accept: application/json", "x-mine: a", "authorization: basic dtpw"] {
        assert!(asked.iter().all(|asked| asked.headers.contains(&format!("{header}\r\n"))), "{header} in {}", asked[1].headers);
    }
    assert!(asked.iter().all(|asked| !asked.headers.contains("osd-xsrf")));
    let imports = fake.imports();
    let [pattern] = imports[0].as_slice() else { panic!("{:?}", imports[0]) };
    assert_eq!((&pattern["id"], &pattern["type"], &pattern["version"]), (&json!("packetbeat-*"), &json!("index-pattern"), &json!("9.6.0")));
    let titles: Vec<&str> = imports[1..].iter().map(|import| import.last().unwrap()["attributes"]["title"].as_str().unwrap()).collect();
    let expected = ["Overview", "HTTP", "DNS", "Databases", "Flows", "TLS"].map(|title| format!("[sniffer] {title}"));
    assert_eq!(titles, expected);
}

#[tokio::test]
async fn opensearch_dashboards_have_another_header_and_types_of_all_fields() {
    let status = json!({"version": {"number": "2.11.0"}}).to_string();
    let fake = Fake::start(move |asked, _| {
        let lacks = asked.line.starts_with("POST") && !asked.headers.contains("osd-xsrf: true\r\n");
        let refused = lacks.then(|| (400, "", json!({"message": "Request must contain the osd-xsrf header"}).to_string()));
        refused.or_else(|| asked.line.ends_with("/api/status").then(|| (200, "osd-name: dashboards\r\n", status.clone())))
    })
    .await;
    assert_eq!(load(&root(fake.port, "setup.dashboards.index: 'mine-*'")).await, Ok(Outcome::Loaded(6)));
    let pattern = &fake.imports()[0][0];
    assert_eq!((&pattern["id"], &pattern["version"]), (&json!("mine-*"), &Value::Null));
    let fields: Vec<Value> = serde_json::from_str(pattern["attributes"]["fields"].as_str().unwrap()).unwrap();
    assert!(fields.iter().all(|field| field["type"].is_string()), "OpenSearch Dashboards uses these types");
    let message = fields.iter().find(|field| field["name"] == "message").unwrap();
    assert_eq!((&message["type"], &message["aggregatable"]), (&json!("string"), &json!(false)));
    let later = fake.imports()[1..].concat();
    assert!(later.iter().all(|object| object["migrationVersion"].as_object().unwrap().values().all(|v| v.as_str().unwrap() <= "7.9.3")
        || object["migrationVersion"]["visualization"] == "7.10.0"));
}

#[tokio::test]
async fn the_cause_is_one_sentence() {
    let page = "<!DOCTYPE html><html><body>Please log in</body></html>";
    for (status, more, body, expected) in [
        (200, "", page, "answers with a web page"),
        (502, "", page, "answers with a web page"),
        (302, "location: /login?next=%2F\r\n", "", "redirects to /login instead of answering for Kibana"),
        (301, "", "", "redirects to another address"),
        (401, "", r#"{"message": "unable to authenticate"}"#, "refuses the credentials (401: unable to authenticate)"),
        (403, "", page, "does not permit the status (403)"),
        (404, "", "{}", "there is no Kibana at http://127.0.0.1:"),
        (200, "", "{\"name\": \"es\"}", "is no Kibana"),
        (200, "", r#"{"version": {"number": ""}}"#, "is no Kibana"),
        (500, "", r#"{"message": "line one\nline two"}"#, "(500 Internal Server Error: line one line two)"),
    ] {
        let fake = Fake::start(move |_, _| Some((status, more, body.into()))).await;
        let why = load(&root(fake.port, "")).await.unwrap_err();
        assert!(why.contains(expected), "{status}: {expected:?} is not in {why:?}");
        assert!(!why.contains("log in") && !why.contains('<') && !why.contains('\n'), "{why}");
        assert_eq!(fake.asked().len(), 1, "asked once: {why}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let why = load(&root(nobody, "")).await.unwrap_err();
    assert!(why.starts_with(&format!("Kibana at http://127.0.0.1:{nobody}/ cannot be reached: ")), "{why}");
    let fake = Fake::start(|asked, _| asked.line.starts_with("GET").then(|| (404, "", "{}".into()))).await;
    let why = load(&root(fake.port, "setup.kibana.space.id: ops")).await.unwrap_err();
    assert!(why.contains("/s/ops/ (404)") && why.contains("whether there is a space `ops`"), "{why}");
}

#[tokio::test]
async fn a_kibana_that_is_not_ready_is_awaited() {
    let fake = Fake::start(|_, n| (n < 3).then(|| (503, "", "Kibana server is not ready yet".into()))).await;
    let root = root(fake.port, "setup.dashboards.retry: {enabled: true, interval: 5ms}");
    let mut said = Vec::new();
    let loaded = Loader::read(&opening(&root), false).unwrap().load(&mut |line: &str| said.push(line.to_owned())).await;
    assert_eq!(loaded, Ok(Outcome::Loaded(6)));
    assert_eq!(said, [format!("Kibana at http://127.0.0.1:{}/ is not ready yet; waiting for it", fake.port)]);

    let fake = Fake::start(|_, _| Some((503, "", json!({"message": "License is not available."}).to_string()))).await;
    let why = load(&self::root(fake.port, "setup.dashboards.retry: {enabled: true, interval: 1ms, maximum: 4}")).await.unwrap_err();
    assert!(why.contains("is not ready yet"), "{why}");
    assert_eq!(fake.asked().len(), 5, "one attempt and four more");
}

#[tokio::test]
async fn objects_that_kibana_refuses_are_named() {
    let refused = r#"{"success": false, "successCount": 0, "errors": [
        {"id": "a", "type": "search", "error": {"type": "conflict"}},
        {"id": "b", "type": "dashboard", "error": {"type": "missing_references", "references": [{"type": "search", "id": "c"}]}},
        {"id": "d", "type": "lens", "error": {"type": "unknown", "message": "newer than this Kibana", "statusCode": 422}}]}"#;
    let fake = Fake::start(move |asked, _| asked.line.starts_with("POST").then(|| (200, "", refused.into()))).await;
    assert_eq!(
        load(&root(fake.port, "")).await.unwrap_err(),
        "index-template: Kibana refuses 3 objects: search a (conflict); dashboard b (missing_references: search c); \
         lens d (unknown: newer than this Kibana)"
    );
}

/// A folder with a search, and a dashboard that refers to it.
fn folder(version: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |kind: &str, name: &str, text: &str| {
        let path = folder.path().join(version).join(kind).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let dashboard = r#"{"id": "d", "type": "dashboard",
        "attributes": {"title": "D", "panelsJSON": [{"panelRefName": "p", "title": "of packetbeat-*"}], "optionsJSON": "{}"},
        "references": [{"name": "p", "type": "search", "id": "s"}]}"#;
    write("dashboard", "a.json", dashboard);
    let source = r#"{\"index\": \"packetbeat-*\"}"#;
    let search = format!(
        r#"{{"id": "s", "type": "search", "attributes": {{"title": "S", "kibanaSavedObjectMeta": {{"searchSourceJSON": "{source}"}}}},
        "references": [{{"name": "i", "type": "index-pattern", "id": "packetbeat-*"}}]}}"#
    );
    write("search", "b.json", &search);
    write("search", "README", "no saved object");
    folder
}

#[tokio::test]
async fn the_dashboards_of_a_folder_are_loaded() {
    for version in ["7", "9"] {
        let (fake, folder) = (Fake::start(|_, _| None).await, folder(version));
        let more = format!("setup.dashboards: {{directory: {}, index: 'web-*'}}", folder.path().display());
        assert_eq!(load(&root(fake.port, &more)).await, Ok(Outcome::Loaded(2)));
        let imports = fake.imports();
        assert_eq!(imports[0][0]["id"], "web-*");
        assert_eq!(imports[1][0]["references"][0]["id"], "web-*");
        assert_eq!(imports[1][0]["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"], r#"{"index": "web-*"}"#);
        assert_eq!(imports[2][0]["attributes"]["panelsJSON"], r#"[{"panelRefName":"p","title":"of web-*"}]"#);
        assert!(fake.asked()[2].body.contains("filename=\"b.ndjson\""));
    }
}

#[tokio::test]
async fn a_folder_that_is_missing() {
    let fake = Fake::start(|_, _| None).await;
    let home = tempfile::tempdir().unwrap();
    let paths = Paths::below(home.path());
    let missing = format!("No directory {}/kibana/7", home.path().display());
    let load = async |more: &str, strict: bool| {
        let root = root(fake.port, more);
        let opening = Opening { paths: &paths, ..opening(&root) };
        Loader::read(&opening, strict).unwrap().load(&mut |_: &str| {}).await
    };
    assert_eq!(load("", true).await, Ok(Outcome::Skipped(missing.clone())), "as in Packetbeat");
    assert_eq!(fake.imports().len(), 1, "the index pattern");
    let more = format!("setup.dashboards.directory: {}/kibana", home.path().display());
    assert_eq!(load(&more, true).await, Err(missing.clone()));
    assert_eq!(load(&more, false).await, Err(missing));
    assert_eq!(load("", false).await, Ok(Outcome::Loaded(6)));
    std::fs::create_dir_all(home.path().join("kibana/7/dashboard")).unwrap();
    assert!(load("", false).await.unwrap_err().contains("there are no files TYPE/NAME.json"), "a folder of the package wins");
    std::fs::write(home.path().join("kibana/7/dashboard/a.json"), "{").unwrap();
    assert!(load("", false).await.unwrap_err().contains("kibana/7/dashboard/a.json: EOF"));
}

#[tokio::test]
async fn dashboards_are_exported_and_can_be_loaded_again() {
    let exported = [
        json!({"id": "packetbeat-*", "type": "index-pattern", "attributes": {"title": "packetbeat-*"}, "references": []}),
        json!({"id": "../../s", "type": "search", "attributes": {"title": "S"}, "references": [], "version": "WzE", "updated_at": "t"}),
        json!({"id": "d", "type": "dashboard", "attributes": {"title": "D", "panelsJSON": "[{\"x\":1}]"},
            "references": [{"name": "p", "type": "search", "id": "../../s"}], "managed": false}),
    ];
    let lines: Vec<String> = exported.iter().map(Value::to_string).collect();
    let fake = Fake::start(move |asked, _| {
        let expected = json!({"objects": [{"type": "dashboard", "id": "d"}], "includeReferencesDeep": true, "excludeExportDetails": true});
        let asks = asked.line == "POST /api/saved_objects/_export" && serde_json::from_str::<Value>(&asked.body).unwrap() == expected;
        asks.then(|| (200, "", lines.join("\n")))
    })
    .await;
    let target = tempfile::tempdir().unwrap();
    let list = target.path().join("list.yml");
    std::fs::write(&list, "dashboards: [{id: d, file: mine.json}]").unwrap();
    let root = root(fake.port, "");
    for (wanted, name) in [(Wanted::Id("d".into()), "d.json"), (Wanted::List(list.clone()), "mine.json")] {
        let written = export(&opening(&root), &wanted, target.path(), &mut |_: &str| {}).await.unwrap();
        let folder = target.path().join("_meta/kibana/9");
        assert_eq!(written, [folder.join("search/_.._.._s.json"), folder.join("dashboard").join(name)]);
        let read = |path: &Path| serde_json::from_str::<Value>(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(read(&written[0]), json!({"id": "../../s", "type": "search", "attributes": {"title": "S"}, "references": []}));
        assert_eq!(read(&written[1])["attributes"]["panelsJSON"], json!([{"x": 1}]), "readable");
    }
    let why = export(&opening(&root), &Wanted::Id("no".into()), target.path(), &mut |_: &str| {}).await.unwrap_err();
    assert!(why.starts_with("dashboard no: "), "{why}");
    let again = Fake::start(|_, _| None).await;
    let more = format!("setup.dashboards.directory: {}", target.path().join("_meta/kibana").display());
    std::fs::remove_file(target.path().join("_meta/kibana/9/dashboard/mine.json")).unwrap();
    assert_eq!(load(&self::root(again.port, &more)).await, Ok(Outcome::Loaded(2)));
    assert_eq!(again.imports()[2][0]["attributes"]["panelsJSON"], r#"[{"x":1}]"#);
}

#[test]
fn addresses_and_settings() {
    let base = |yaml: &str| {
        let root = Node::parse(yaml).unwrap();
        Kibana::read(&opening(&root)).map(|kibana| kibana.base.to_string()).map_err(|error| error.to_string())
    };
    let id = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "eu.example.io$es$kb");
    for (yaml, expected) in [
        ("{}", "http://localhost:5601/"),
        ("setup.kibana:", "http://localhost:5601/"),
        ("setup.kibana.host: kibana.example", "http://kibana.example:5601/"),
        ("setup.kibana: {host: 'h:1', protocol: https, path: /base/}", "https://h:1/base/"),
        ("setup.kibana: {host: 'https://h/in-url', path: /base, space.id: ops}", "https://h:5601/in-url/s/ops/"),
        ("setup.kibana: {host: h, space.id: ops}", "http://h:5601/s/ops/"),
        ("setup.kibana: {host: h, ssl.enabled: true}", "https://h:5601/"),
        (&format!("cloud.id: 'x:{id}'"), "https://kb.eu.example.io/"),
    ] {
        assert_eq!(base(yaml).as_deref(), Ok(expected), "{yaml}");
    }
    for (yaml, expected) in [
        ("setup.kibana.host: 'ftp://h'", "line 1: setup.kibana.host: 'ftp://h': the scheme is not one of http, https"),
        ("setup.kibana: {username: u, api_key: 'a:b'}", "setup.kibana.api_key: cannot set both"),
        ("\nsetup.dashboards.url: http://x", "line 2: setup.dashboards.url: archives are not supported"),
        ("setup.dashboards.enabled: maybe", "line 1: setup.dashboards.enabled: "),
    ] {
        let error = base(yaml).unwrap_err();
        assert!(error.contains(expected), "{yaml}: {error}");
    }
    let root = Node::parse("setup.dashboards: {beat: x, kibana_index: y, always_kibana: true, nonsense: 1}").unwrap();
    Kibana::read(&opening(&root)).unwrap();
    let unknown: Vec<String> = root.unknown().iter().map(ToString::to_string).collect();
    assert_eq!(unknown.len(), 1, "{unknown:?}");
}

#[test]
fn the_index_pattern_describes_the_fields() {
    let pattern: Value = serde_json::from_str(&index_pattern(TRANSACTION)).unwrap();
    assert_eq!((&pattern["id"], &pattern["type"], &pattern["version"]), (&json!("packetbeat-*"), &json!("index-pattern"), &json!("")));
    assert_eq!(pattern["attributes"]["timeFieldName"], "@timestamp");
    let embedded = |key: &str| serde_json::from_str::<Value>(pattern["attributes"][key].as_str().unwrap()).unwrap();
    let fields = embedded("fields");
    let fields: BTreeMap<&str, &Value> = fields.as_array().unwrap().iter().map(|field| (field["name"].as_str().unwrap(), field)).collect();
    for (name, kind) in [
        ("bytes_in", json!("number")),
        ("agent.hostname", json!("string")),
        ("source.ip", json!("ip")),
        ("message", Value::Null),
        ("url.full", Value::Null),
        ("url.full.text", Value::Null),
        ("request", json!("string")),
        ("_score", json!("number")),
    ] {
        assert_eq!(fields[name]["type"], kind, "{name}");
    }
    assert_eq!((&fields["request"]["aggregatable"], &fields["event.original"]["doc_values"]), (&json!(false), &json!(false)));
    let formats = embedded("fieldFormatMap");
    assert_eq!(formats["source.bytes"], json!({"id": "bytes"}));
    assert_eq!(formats["event.duration"]["params"]["inputFormat"], "nanoseconds");
}
