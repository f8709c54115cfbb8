//! Reads saved objects from a folder with the layout of Packetbeat's packages and of `export dashboard`: `7/TYPE/NAME.json`, where 7 is a
//! version of Kibana.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Names of the folders of versions, below the configured folder. The first one that exists is used.
const VERSIONS: &[&str] = &["7", "8", "9"];
/// Maximum number of files that are imported.
const MOST_FILES: usize = 10_000;
/// Maximum size of a file, in bytes.
const LARGEST: u64 = 16 << 20;

/// One file of saved objects.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    /// The name of the file without its extension.
    pub name: String,
    /// The saved objects, one JSON object per line.
    pub objects: String,
}

/// Whether a folder has saved objects.
pub(super) fn has_objects(directory: &Path) -> bool {
    version(directory).is_some()
}

fn version(directory: &Path) -> Option<PathBuf> {
    VERSIONS.iter().map(|version| directory.join(version)).find(|folder| folder.is_dir())
}

/// Reads the files of a folder. Dashboards come last, because they refer to the others. The indices `packetbeat-*` become `index`.
pub(super) fn read(directory: &Path, index: &str) -> Result<Vec<File>, String> {
    let Some(folder) = version(directory) else {
        return Err(format!("No directory {}/7", directory.display()));
    };
    let mut kinds = sorted(&folder)?;
    kinds.retain(|path| path.is_dir());
    // Searches come first, because visualizations refer to them. Dashboards come last, because they refer to both.
    kinds.sort_by_key(|path| match path.file_name().and_then(|name| name.to_str()) {
        Some("search") => 0,
        Some("dashboard") => 2,
        _ => 1,
    });
    let mut files = Vec::new();
    for path in kinds.iter().map(|kind| sorted(kind)).collect::<Result<Vec<_>, _>>()?.concat() {
        if path.extension().is_some_and(|extension| extension == "json") {
            if files.len() >= MOST_FILES {
                return Err(format!("{}: more than {MOST_FILES} files", folder.display()));
            }
            files.push(one(&path, index).map_err(|why| format!("{}: {why}", path.display()))?);
        }
    }
    if files.is_empty() {
        return Err(format!("{}: there are no files TYPE/NAME.json in it", folder.display()));
    }
    Ok(files)
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries =
        fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn one(path: &Path, index: &str) -> Result<File, String> {
    let length = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if length > LARGEST {
        return Err(format!("{length} bytes are more than the limit of {LARGEST}"));
    }
    let text = fs::read(path).map_err(|e| e.to_string())?;
    let mut object: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    if !object.is_object() {
        return Err("expected a saved object".into());
    }
    encode(&mut object);
    of_index(&mut object, index);
    let name = path.file_stem().unwrap_or_default().to_string_lossy().replace(['"', '\r', '\n'], "_");
    Ok(File { name, objects: object.to_string() })
}

/// Replaces the indices of Packetbeat by `index` in all texts of a saved object.
pub(super) fn of_index(value: &mut Value, index: &str) {
    match value {
        Value::String(text) if index != super::pattern::INDEX => *text = text.replace(super::pattern::INDEX, index),
        Value::Array(list) => list.iter_mut().for_each(|value| of_index(value, index)),
        Value::Object(map) => map.values_mut().for_each(|value| of_index(value, index)),
        _ => {}
    }
}

/// Whether the value of this key is a text that contains JSON.
fn is_embedded(key: &str) -> bool {
    key.ends_with("JSON") || key == "visState"
}

/// Converts the values that Kibana keeps as a text with JSON to such texts. Files have them as objects, so that people can read them.
pub(super) fn encode(object: &mut Value) {
    each_embedded(object, &|value| {
        if value.is_object() || value.is_array() {
            *value = Value::String(value.to_string());
        }
    });
}

/// Converts the texts that [`encode`] makes back to objects.
pub(super) fn decode(object: &mut Value) {
    each_embedded(object, &|value| {
        if let Some(inner) = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()) {
            *value = inner;
        }
    });
}

fn each_embedded(value: &mut Value, change: &dyn Fn(&mut Value)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if is_embedded(key) { change(value) } else { each_embedded(value, change) }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| each_embedded(value, change)),
        _ => {}
    }
}
