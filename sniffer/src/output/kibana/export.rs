//! `export dashboard`: writes dashboards of Kibana to files, from which `setup.dashboards.directory` can load them.

use super::{Failure, Kibana, Say, answer::problem, files, load::built_in};
use crate::{config, opening::Opening};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The properties that saved objects of the same type have in every Kibana. All other properties are left out.
const KEPT: &[&str] = &["attributes", "id", "type", "references", "migrationVersion", "coreMigrationVersion", "typeMigrationVersion"];

/// Which dashboards are exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The dashboard with this identifier.
    Id(String),
    /// The dashboards that a file lists: `dashboards: [{id: ID, file: NAME}]`.
    List(PathBuf),
}

/// Exports dashboards of Kibana to a folder. Returns the files.
///
/// # Errors
/// When the settings are wrong, Kibana refuses the request, or a file cannot be written.
pub async fn export(opening: &Opening<'_>, wanted: &Wanted, folder: &Path, say: Say<'_>) -> Result<Vec<PathBuf>, String> {
    let kibana = Kibana::read(opening).map_err(|error| error.to_string())?;
    let server = kibana.ready(say).await?;
    let mut written = Vec::new();
    for (id, file) in list(wanted)? {
        let objects = kibana.exported(&id, server.is_opensearch).await?;
        let folder = folder.join("_meta/kibana").join(plain(server.major()));
        for mut object in objects {
            let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (kind, own) = (text("type"), text("id"));
            // The index pattern is not exported, because `setup` makes it.
            if kind == "index-pattern" {
                continue;
            }
            let name = if own == id && kind == "dashboard" { file.clone() } else { None };
            let name = name.unwrap_or_else(|| format!("{own}.json"));
            let path = folder.join(plain(&kind)).join(plain(&name));
            if let Some(object) = object.as_object_mut() {
                object.retain(|key, _| KEPT.contains(&key.as_str()));
            }
            files::decode(&mut object);
            write(&path, &object).map_err(|e| format!("{}: {e}", path.display()))?;
            written.push(path);
        }
    }
    Ok(written)
}

/// Returns the program's own dashboards and the index pattern, one saved object per line, for the import page of Kibana or of OpenSearch
/// Dashboards.
///
/// # Errors
/// When `setup.dashboards` is wrong.
pub fn own_dashboards(opening: &Opening<'_>) -> Result<String, config::Error> {
    let options = super::DashboardOptions::read(opening.root)?;
    Ok(built_in(options.index(), opening.fields))
}

/// The identifiers of the dashboards, and the file name of each if one is given.
fn list(wanted: &Wanted) -> Result<Vec<(String, Option<String>)>, String> {
    #[derive(Deserialize)]
    struct List {
        dashboards: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        id: String,
        file: Option<String>,
    }
    match wanted {
        Wanted::Id(id) => Ok(vec![(id.clone(), None)]),
        Wanted::List(path) => {
            let wrong = |why: String| format!("{}: {why}", path.display());
            let text = fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
            let list: List = config::Node::parse(&text).and_then(|node| node.read()).map_err(|e| wrong(e.to_string()))?;
            Ok(list.dashboards.into_iter().map(|entry| (entry.id, entry.file)).collect())
        }
    }
}

/// Makes a file name of a name in Kibana. The name does not lead to another folder.
fn plain(name: &str) -> String {
    let name = name.replace(['/', '\0'], "_");
    if name.is_empty() || name.starts_with('.') { format!("_{name}") } else { name }
}

fn write(path: &Path, object: &Value) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut text = Vec::new();
    let indented = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    object.serialize(&mut serde_json::Serializer::with_formatter(&mut text, indented))?;
    text.push(b'\n');
    fs::write(path, text)
}

impl Kibana {
    /// Reads a dashboard and everything that it refers to from Kibana.
    async fn exported(&self, id: &str, is_opensearch: bool) -> Result<Vec<Value>, String> {
        let body = json!({"objects": [{"type": "dashboard", "id": id}], "includeReferencesDeep": true, "excludeExportDetails": true});
        let json = "application/json".to_owned();
        let answer = self
            .ask(Method::POST, "api/saved_objects/_export", Some((json, body.to_string(), is_opensearch)))
            .await
            .map_err(Failure::text)?;
        let lines = answer.body.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        let objects: Result<Vec<Value>, _> = lines.map(serde_json::from_slice).collect();
        let is_object = |object: &Value| object.get("type").is_some_and(Value::is_string) && object.get("id").is_some_and(Value::is_string);
        match objects {
            Ok(objects) if answer.status.is_success() && !objects.is_empty() && objects.iter().all(is_object) => Ok(objects),
            _ => Err(format!("dashboard {id}: {}", problem("the export", &self.base, &self.space, &answer).text())),
        }
    }
}
