//! Loads the configuration: reads the files, merges them with `-E`, and replaces variables.

use super::{
    error::{Error, Place},
    expand::{self, Outside},
    keystore::Location,
    legacy,
    node::Node,
    overrides,
    paths::{PathSettings, Paths, program_folder},
    permissions, secrets,
    tree::{self, Raw, Value},
    write, yaml,
};
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

/// The file that is read when `-c` is not given.
const DEFAULT_FILE: &str = "packetbeat.yml";
/// The keystore in `path.data` that is read when `keystore.path` is not set.
const DEFAULT_KEYSTORE: &str = "packetbeat.keystore";

/// The command line's flags about the configuration.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The files of `-c`, in order. If there are none, `packetbeat.yml` is read, or `built_in`.
    pub files: Vec<PathBuf>,
    /// The configuration that is used if there is no `-c`, in place of `packetbeat.yml`.
    pub built_in: Option<String>,
    /// The settings of `-E`, in order.
    pub settings: Vec<String>,
    /// The flag `--path.home`.
    pub home: Option<PathBuf>,
    /// The flag `--path.config`.
    pub config: Option<PathBuf>,
    /// The flag `--path.data`.
    pub data: Option<PathBuf>,
    /// The flag `--path.logs`.
    pub logs: Option<PathBuf>,
    /// The flag `--strict.perms`.
    pub strict_perms: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            built_in: None,
            settings: Vec::new(),
            home: None,
            config: None,
            data: None,
            logs: None,
            strict_perms: true,
        }
    }
}

/// The configuration after all files and flags are merged.
#[derive(Debug)]
pub struct Loaded {
    /// The root of the merged configuration.
    pub root: Node,
    /// Warnings for the log, in order. A warning may have several lines.
    pub warnings: Vec<String>,
    /// The `path.*` settings.
    pub paths: Paths,
    /// The files that were read: those of the settings, and the keystore if there is one.
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

/// Reads all files, merges them and replaces variables, which are looked up in the keystore and then in the process's environment.
///
/// # Errors
/// When the configuration or the keystore cannot be read or is invalid. The error names file, line and key.
pub fn load(options: &LoadOptions) -> Result<Loaded, Error> {
    load_with(options, &program_folder(), &environment)
}

/// Reads all files, and returns where the keystore is. The keystore itself is not read, and variables in other settings may be undefined.
///
/// # Errors
/// When the configuration cannot be read, or `keystore.path` is invalid.
pub fn keystore_location(options: &LoadOptions) -> Result<Location, Error> {
    Ok(merged(options, &program_folder(), &environment)?.keystore)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The configuration before variables are replaced.
struct Merged {
    root: Raw,
    warnings: Vec<String>,
    paths: Paths,
    files: Vec<PathBuf>,
    keystore: Location,
}

fn load_with(options: &LoadOptions, program: &Path, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Error> {
    let Merged { mut root, warnings, paths, mut files, keystore: location } = merged(options, program, lookup)?;
    let keystore = location.read()?;
    files.extend(keystore.is_some().then_some(location.path));
    let keystore = keystore.unwrap_or_default();
    let unusable = RefCell::new(None);
    let lookup = |name: &str| match keystore.get(name) {
        Some(Ok(value)) => Some(value.to_owned()),
        Some(Err(error)) => {
            unusable.replace(Some(error));
            None
        }
        None => lookup(name),
    };
    let raw = root.clone();
    expand::expand(&mut root, &Outside { value: &lookup, is_secret: &|name| keystore.contains(name) })?;
    if let Some(error) = unusable.into_inner() {
        return Err(error);
    }
    let root = Node::freeze(root, String::new());
    for key in ["home", "config", "data", "logs"] {
        root.get("path").get(key).accept();
    }
    root.get("keystore").get("path").accept();
    Ok(Loaded { root, warnings, paths, files, raw })
}

/// Reads the files, merges them with `-E`, and resolves the paths. `lookup` has the variables that `path` and `keystore` may use.
fn merged(options: &LoadOptions, program: &Path, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Merged, Error> {
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
    let mut root = Raw::empty();
    let named = match &options.built_in {
        Some(text) if options.files.is_empty() => {
            // The user did not write it, so errors about it have no place.
            let mut built_in = file(text, "the built-in configuration", &mut warnings)?;
            built_in.remove_places();
            root.merge(built_in);
            &[]
        }
        _ if options.files.is_empty() => &default[..],
        _ => &options.files[..],
    };
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
    let path = keystore_path(&root, lookup)?.unwrap_or_else(|| paths.data.join(DEFAULT_KEYSTORE));
    let keystore = Location { path, strict: options.strict_perms };
    Ok(Merged { root, warnings, paths, files, keystore })
}

/// `keystore.path`; relative to the working directory, as in Packetbeat.
fn keystore_path(root: &Raw, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Option<PathBuf>, Error> {
    let Some(section) = root.child("keystore") else { return Ok(None) };
    let mut only = Raw::empty();
    only.put("keystore", section.clone());
    // `${path.data}` is a usual part of this setting.
    if let Some(path) = root.child("path") {
        only.put("path", path.clone());
    }
    expand::expand(&mut only, &Outside { value: lookup, is_secret: &|_| false })?;
    let path = Node::freeze(only, String::new()).get("keystore").get("path").read::<Option<PathBuf>>()?;
    Ok(path.filter(|path| !path.as_os_str().is_empty()))
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

/// Whether a configuration without `-c` fails because there is no `packetbeat.yml`.
pub fn default_file_is_missing(options: &LoadOptions) -> bool {
    let flags = PathSettings { home: options.home.clone(), config: options.config.clone(), ..PathSettings::default() };
    options.files.is_empty() && find(Path::new(DEFAULT_FILE), &flags.resolve(&program_folder()).config).is_err()
}

/// The `path.*` settings of a tree, with variables replaced.
fn path_settings(root: &Raw, lookup: &dyn Fn(&str) -> Option<String>) -> Result<PathSettings, Error> {
    let Some(path) = root.child("path") else { return Ok(PathSettings::default()) };
    let mut only = Raw::empty();
    only.put("path", path.clone());
    expand::expand(&mut only, &Outside { value: lookup, is_secret: &|_| false })?;
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
