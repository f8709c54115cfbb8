//! Creates the objects that Elasticsearch needs before the first event: lifecycle policy, index template and data stream. This module sends
//! the same requests in the same order as Packetbeat, so that the same privileges suffice.

use super::{
    Shared,
    template::{self, Settings},
};
use crate::{
    config::{self, Node},
    event::Field,
    output::{
        Error,
        http::{self, Answer},
        shapes::{self, Scalar},
    },
};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::atomic::Ordering;

/// The index template and lifecycle policy that `setup.template` and `setup.ilm` describe.
#[derive(Clone, Debug)]
pub struct Setup {
    template: Option<Template>,
    policy: Option<Policy>,
}

#[derive(Clone, Debug)]
struct Template {
    name: String,
    overwrite: bool,
    body: Value,
    data_stream: bool,
}

#[derive(Clone, Debug)]
struct Policy {
    name: String,
    check_exists: bool,
    overwrite: bool,
    body: Value,
}

#[derive(Deserialize)]
#[serde(default)]
struct TemplateOptions {
    enabled: bool,
    name: Option<Scalar>,
    pattern: Option<Scalar>,
    overwrite: bool,
    priority: u64,
    settings: IndexSettings,
    append_fields: Vec<Append>,
    json: Json,
}

impl Default for TemplateOptions {
    fn default() -> Self {
        let (settings, append_fields, json) = (IndexSettings::default(), Vec::new(), Json::default());
        Self { enabled: true, name: None, pattern: None, overwrite: false, priority: 150, settings, append_fields, json }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct IndexSettings {
    index: Map<String, Value>,
    _source: Map<String, Value>,
}

#[derive(Deserialize)]
struct Append {
    name: String,
    #[serde(default = "keyword", rename = "type")]
    kind: String,
}

fn keyword() -> String {
    "keyword".into()
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Json {
    enabled: bool,
    path: String,
    name: String,
    data_stream: bool,
}

#[derive(Deserialize)]
#[serde(default)]
struct IlmOptions {
    enabled: Scalar,
    policy_name: Option<Scalar>,
    policy_file: Option<String>,
    check_exists: bool,
    overwrite: bool,
}

impl Default for IlmOptions {
    fn default() -> Self {
        Self { enabled: Scalar("auto".into()), policy_name: None, policy_file: None, check_exists: true, overwrite: false }
    }
}

impl Setup {
    /// Reads `setup.*`. `index` is the user's `output.elasticsearch.index`; `known` are the fields that format strings may use; `fields`
    /// are those that documents can have.
    ///
    /// # Errors
    /// When a value is wrong, a named file cannot be read, or an index is configured without a template name and pattern for it.
    pub fn read(
        root: &Node,
        index: Option<&str>,
        known: &[(&str, &str)],
        version: &'static str,
        fields: &[Field],
    ) -> Result<Self, config::Error> {
        let below = |path: &str| shapes::at(root, path);
        let options: TemplateOptions = below("setup.template").map_or_else(|| Ok(TemplateOptions::default()), |node| node.read())?;
        let ilm: IlmOptions = below("setup.ilm").map_or_else(|| Ok(IlmOptions::default()), |node| node.read())?;
        let named = |given: &Option<Scalar>, default: &str| -> Result<String, config::Error> {
            let text = given.as_ref().map_or(default, |text| &text.0);
            let format = crate::output::format::Format::parse(text).map_err(|why| root.error(format!("setup: {why}")))?.fold(known);
            format.constant().map(str::to_lowercase).ok_or_else(|| root.error(format!("setup: '{text}' must be the same for every event")))
        };
        if options.enabled && index.is_some() && (options.name.is_none() || options.pattern.is_none()) {
            let node = root.get("output.elasticsearch.index");
            return Err(node.error("setup.template.name and setup.template.pattern have to be set if index name is modified"));
        }
        let default = format!("packetbeat-{version}");
        let (name, pattern) = (named(&options.name, &default)?, named(&options.pattern, &default)?);
        let policy = if ilm.enabled.0 == "false" {
            None
        } else {
            let body = match &ilm.policy_file {
                None => template::policy(),
                Some(path) => file(root, "setup.ilm.policy_file", path)?,
            };
            Some(Policy { name: named(&ilm.policy_name, "packetbeat")?, check_exists: ilm.check_exists, overwrite: ilm.overwrite, body })
        };
        let settings = Settings {
            pattern,
            priority: options.priority,
            index: options.settings.index,
            source: options.settings._source,
            append: options.append_fields.into_iter().map(|field| (field.name, field.kind)).collect(),
            policy: policy.as_ref().map(|policy| policy.name.clone()),
            data_stream: true,
            version,
        };
        let template = if !options.enabled {
            None
        } else if options.json.enabled {
            let body = file(root, "setup.template.json.path", &options.json.path)?;
            let name = if options.json.name.is_empty() { name } else { options.json.name };
            Some(Template { name, overwrite: options.overwrite, body, data_stream: options.json.data_stream })
        } else {
            Some(Template { name, overwrite: options.overwrite, body: template::template(&settings, fields), data_stream: true })
        };
        Ok(Self { template, policy })
    }

    /// This setup without the lifecycle policy.
    #[must_use]
    pub fn without_policy(mut self) -> Self {
        self.policy = None;
        if let Some(template) = &mut self.template
            && let Some(index) = template.body.pointer_mut("/template/settings/index").and_then(Value::as_object_mut)
        {
            index.remove("lifecycle");
        }
        self
    }

    /// Whether a lifecycle policy that exists stays as it is.
    pub(super) fn keeps_policy(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.check_exists && !policy.overwrite)
    }

    /// `export template`: the index template as JSON; empty when `setup.template.enabled` is `false`.
    pub fn template_text(&self) -> String {
        self.template.as_ref().map(|template| pretty(&template.body)).unwrap_or_default()
    }

    /// `export ilm-policy`: the lifecycle policy as JSON.
    pub fn policy_text(&self) -> String {
        pretty(&self.policy.as_ref().map_or_else(template::policy, |policy| policy.body.clone()))
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn file(root: &Node, key: &str, path: &str) -> Result<Value, config::Error> {
    let text = std::fs::read(path).map_err(|e| root.error(format!("{key}: {path}: {e}")))?;
    serde_json::from_slice(&text).map_err(|e| root.error(format!("{key}: {path}: {e}")))
}

/// The response to `GET /`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub(super) struct Server {
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub cluster_uuid: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Version {
    pub number: String,
    pub build_flavor: String,
    /// The name of the distribution: `opensearch`. Elasticsearch does not send this key.
    pub distribution: String,
}

impl Server {
    fn is_serverless(&self) -> bool {
        self.version.build_flavor == "serverless"
    }

    fn is_opensearch(&self) -> bool {
        !self.version.distribution.is_empty()
    }

    /// Whether the server lacks Elastic's licensed modules.
    fn is_open_source(&self) -> bool {
        self.is_opensearch() || self.version.build_flavor == "oss"
    }
}

impl Template {
    /// Returns the template without the parts that the server does not support.
    fn body_for(&self, server: &Server, has_lifecycle: bool) -> Value {
        let mut body = self.body.clone();
        if let Some(index) = body.pointer_mut("/template/settings/index").and_then(Value::as_object_mut) {
            if !has_lifecycle {
                index.remove("lifecycle");
            }
            if server.is_serverless() {
                for key in ["codec", "number_of_shards", "number_of_replicas"] {
                    index.remove(key);
                }
            }
        }
        if server.is_open_source() {
            template::for_open_source(&mut body);
        }
        body
    }
}

impl Shared {
    /// Requests version and distribution of the server (`GET /`).
    pub(super) async fn server(&self, host: usize) -> Result<Server, Error> {
        let answer = self.ask(host, Method::GET, "", None).await?;
        if !answer.status.is_success() {
            return Err(Error::Unreachable(answer.why("GET /")));
        }
        serde_json::from_slice(&answer.body).map_err(|e| Error::Unreachable(format!("GET /: this is no Elasticsearch: {e}").into()))
    }

    /// Returns an error when the server is older than this program's version, unless `allow_older_versions` is set.
    pub(super) fn check_version(&self, server: &Server) -> Result<(), Error> {
        let parts = |text: &str| text.split(['.', '-']).map_while(|part| part.parse::<u32>().ok()).collect::<Vec<_>>();
        let (theirs, ours) = (parts(&server.version.number), parts(super::VERSION));
        if self.allow_older_versions || theirs.iter().take(2).ge(ours.iter().take(2)) {
            return Ok(());
        }
        let number = &server.version.number;
        Err(Error::Unreachable(format!("its version {number} is older than {}, and allow_older_versions is off", super::VERSION).into()))
    }

    /// Creates policy, template and data stream if they are missing. `replace`: a template that exists is replaced.
    pub(super) async fn set_up(&self, host: usize, server: &Server, replace: bool) -> Result<(), Error> {
        // The answer is not used. Packetbeat sends this request, and proxies may expect it.
        let _ = self.ask(host, Method::GET, "_license?human=false", None).await?;
        let has_lifecycle = match &self.setup.policy {
            Some(policy) if !server.is_serverless() => self.set_up_policy(host, server, policy).await?,
            _ => !server.is_serverless() && !server.is_opensearch(),
        };
        let Some(template) = &self.setup.template else { return Ok(()) };
        let path = format!("_index_template/{}", template.name);
        if self.is_missing(host, Method::HEAD, &path).await? || template.overwrite || replace {
            self.put(host, &path, Some(&template.body_for(server, has_lifecycle))).await?;
            log::info!("Index template {} loaded", template.name);
        }
        let path = format!("_data_stream/{}", template.name);
        if template.data_stream && self.is_missing(host, Method::GET, &path).await? {
            match self.put(host, &path, None).await {
                Ok(()) => log::info!("Data stream {} created", template.name),
                // The error is not fatal: the first event also creates the data stream, and another agent may have created it in the
                // meantime.
                Err(why) => log::warn!("Data stream {} was not created: {why}", template.name),
            }
        }
        Ok(())
    }

    /// Creates the policy if it is missing. Returns whether the server has index lifecycle management. OpenSearch says in the answer to
    /// `GET /` that it is OpenSearch; builds of Elasticsearch without `_ilm` refuse the request.
    async fn set_up_policy(&self, host: usize, server: &Server, policy: &Policy) -> Result<bool, Error> {
        if server.is_opensearch() {
            self.say_once(
                "The server is OpenSearch, which has no index lifecycle management (ILM): no policy is set up. An Index State Management policy \
                 for the data stream can roll its indices over and delete them; `setup.ilm.enabled: false` avoids this message",
            );
            return Ok(false);
        }
        if self.no_lifecycle.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let path = format!("_ilm/policy/{}", policy.name);
        let status = if policy.check_exists && !policy.overwrite {
            self.ask(host, Method::GET, &path, None).await?.status
        } else {
            StatusCode::NOT_FOUND
        };
        match status {
            StatusCode::NOT_FOUND => {
                self.put(host, &path, Some(&policy.body)).await?;
                log::info!("Index lifecycle policy {} loaded", policy.name);
                Ok(true)
            }
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::INTERNAL_SERVER_ERROR => {
                self.say_once(
                    "The server has no index lifecycle management (_ilm): no policy is set up; `setup.ilm.enabled: false` avoids this message",
                );
                Ok(false)
            }
            status if status.is_success() => Ok(true),
            status => Err(Error::Unreachable(format!("{path}: {status}").into())),
        }
    }

    /// Logs a warning that the server has no index lifecycle management, but only once.
    fn say_once(&self, warning: &str) {
        if !self.no_lifecycle.swap(true, Ordering::Relaxed) {
            log::warn!("{warning}");
        }
    }

    async fn is_missing(&self, host: usize, method: Method, path: &str) -> Result<bool, Error> {
        let answer = self.ask(host, method, path, None).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(true),
            status if status.is_success() => Ok(false),
            _ => Err(Error::Unreachable(answer.why(path))),
        }
    }

    async fn put(&self, host: usize, path: &str, body: Option<&Value>) -> Result<(), Error> {
        let answer = self.ask(host, Method::PUT, path, body).await?;
        if answer.status.is_success() { Ok(()) } else { Err(Error::Unreachable(answer.why(&format!("PUT {path}")))) }
    }

    async fn ask(&self, host: usize, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Error> {
        let mut request = self.servers.request(host, method, path)?;
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        http::send(request).await
    }
}
