//! Loads the configuration: reads the files, merges them with `-E`, and replaces variables.

use super::{
    error::{Error, Place},
    expand, legacy,
    node::Node,
    overrides,
    paths::{PathSettings, Paths, program_folder},
    permissions, secrets,
    tree::{self, Raw, Value},
    write, yaml,
};
use std::path::{Path, PathBuf};

/// The file that is read when `-c` is not given.
const DEFAULT_FILE: &str = "packetbeat.yml";

/// The command line's flags about the configuration.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The files of `-c`, in order. If there are none, `packetbeat.yml` is read.
    pub files: Vec<PathBuf>,
    /// The settings of `-E`, in order.
    pub settings: Vec<String>,
    /// `--path.home`
    pub home: Option<PathBuf>,
    /// `--path.config`
    pub config: Option<PathBuf>,
    /// `--path.data`
    pub data: Option<PathBuf>,
    /// `--path.logs`
    pub logs: Option<PathBuf>,
    /// `--strict.perms`
    pub strict_perms: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { files: Vec::new(), settings: Vec::new(), home: None, config: None, data: None, logs: None, strict_perms: true }
    }
}

/// The configuration.
#[derive(Debug)]
pub struct Loaded {
    /// The root of the merged configuration.
    pub root: Node,
    /// Warnings for the log, in order. A warning may have several lines.
    pub warnings: Vec<String>,
    /// The `path.*` settings.
    pub paths: Paths,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// The tree before variables were replaced, for `export config`.
    raw: Raw,
}

impl Loaded {
    /// The merged configuration as YAML, paths resolved, variables as `${NAME}`, and secrets as `***` unless `show_secrets`.
    ///
    /// # Errors
    /// When it cannot be written as YAML.
    pub fn export(&self, show_secrets: bool) -> Result<String, Error> {
        let mut raw = self.raw.clone();
        write::without_defaults(&mut raw);
        if !show_secrets {
            secrets::hide(&mut raw, "");
        }
        serde_yaml::to_string(&write::yaml(&raw)).map_err(|e| Error(e.to_string()))
    }
}

/// Reads all files, merges them and replaces variables, which are looked up in the process's environment.
///
/// # Errors
/// When the configuration cannot be read or is invalid. The error names file, line and key.
pub fn load(options: &LoadOptions) -> Result<Loaded, Error> {
    load_with(options, &program_folder(), &|name| std::env::var(name).ok())
}

fn load_with(options: &LoadOptions, program: &Path, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Error> {
    let mut warnings = Vec::new();
    let mut settings = Raw::empty();
    for setting in &options.settings {
        settings.merge(overrides::setting(setting)?);
    }
    legacy::one_x(&mut settings, &mut warnings);

    let flags =
        PathSettings { home: options.home.clone(), config: options.config.clone(), data: options.data.clone(), logs: options.logs.clone() };
    let given = flags.or(&path_settings(&settings, lookup)?);
    let config = given.resolve(program).config;

    let default = [PathBuf::from(DEFAULT_FILE)];
    let named = if options.files.is_empty() { &default[..] } else { &options.files[..] };
    let mut root = Raw::empty();
    let mut files = Vec::new();
    for name in named {
        let path = find(name, &config)?;
        let text = permissions::read(&path, options.strict_perms)?;
        root.merge(file(&text, &name.display().to_string(), &mut warnings)?);
        files.push(path);
    }
    // Errors about the whole configuration have the place of the root, so it names all files.
    root.place = Place { file: Some(listed(&files).into()), line: 0 };
    root.merge(settings);
    legacy::protocols(&mut root);

    let paths = given.or(&path_settings(&root, lookup)?).resolve(program);
    let place = Place::default();
    for (key, path) in [("home", &paths.home), ("config", &paths.config), ("data", &paths.data), ("logs", &paths.logs)] {
        *root.child_mut("path", &place).child_mut(key, &place) = Raw::text(path.to_string_lossy(), &place);
    }
    let raw = root.clone();
    expand::expand(&mut root, lookup)?;
    let root = Node::freeze(root, String::new());
    for key in ["home", "config", "data", "logs"] {
        root.get("path").get(key).accept();
    }
    Ok(Loaded { root, warnings, paths, files, raw })
}

/// The tree of one file, converted to the current form.
fn file(text: &str, name: &str, warnings: &mut Vec<String>) -> Result<Raw, Error> {
    let (raw, more) = yaml::read(text, Some(name))?;
    warnings.extend(more);
    match raw.value {
        Value::Map(_) => {}
        Value::Null => return Ok(Raw::empty()),
        _ => return Err(raw.place.error("expected settings (`key: value`)")),
    }
    let mut raw = tree::nest(raw, warnings)?;
    legacy::one_x(&mut raw, warnings);
    Ok(raw)
}

/// Resolves a relative name: in `path.config`, else in the current directory.
fn find(name: &Path, config: &Path) -> Result<PathBuf, Error> {
    let there = config.join(name);
    if name.is_absolute() || there.exists() {
        return Ok(there);
    }
    if name.exists() {
        return Ok(name.to_owned());
    }
    Err(Error(format!(
        "no configuration file {}, neither in {} (path.config) nor in the current directory; name one with -c",
        name.display(),
        config.display()
    )))
}

/// The `path.*` settings of a tree, with variables replaced.
fn path_settings(root: &Raw, lookup: &dyn Fn(&str) -> Option<String>) -> Result<PathSettings, Error> {
    let Some(path) = root.child("path") else { return Ok(PathSettings::default()) };
    let mut only = Raw::empty();
    only.put("path", path.clone());
    expand::expand(&mut only, lookup)?;
    let node = Node::freeze(only, String::new());
    let at = |key: &str| Ok(node.get("path").get(key).read::<Option<PathBuf>>()?.filter(|path| !path.as_os_str().is_empty()));
    Ok(PathSettings { home: at("home")?, config: at("config")?, data: at("data")?, logs: at("logs")? })
}

/// The paths of files, as text for the user.
pub fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "forms_tests.rs"]
mod forms;
