//! `migrate`: makes a configuration of this program from one of Packetbeat, and says what will be the same, what will be different, and what
//! is refused. The text is Packetbeat's, comments and order included; only settings that have to change are changed.

mod beside;
mod edit;
mod files;

use super::{Checked, Error, all_errors, check, opening, plan::Plan};
use crate::{
    cli::{Invocation, MigrateFlags},
    config::{self, LoadOptions, Loaded, Node},
    output,
};
use beside::Change;
use edit::{NewValue, Text};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// What the messages about variables have in common that are not set now, and may be set when the service starts.
const NOT_SET: [&str; 3] = ["the variable `", "` is not set", "` must be set, and is not"];

/// What is known about a configuration.
#[derive(Default)]
struct Findings {
    same: Vec<String>,
    different: Vec<String>,
    /// Errors about variables that are not set.
    variables: Vec<String>,
    refused: Vec<String>,
}

/// Reports about Packetbeat's configuration, and writes one for this program. Returns whether it was written.
///
/// # Errors
/// When the configuration cannot be read, a file exists, or a file cannot be written.
pub fn migrate(invocation: &Invocation, flags: &MigrateFlags, stdout: &mut impl Write) -> Result<bool, Error> {
    let file = std::path::absolute(&flags.file)?;
    let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
    if fs::canonicalize(&file).is_ok_and(|file| fs::canonicalize(&flags.output).is_ok_and(|output| file == output)) {
        return Err(
            format!("{}: is the file that would be read and written; name another one with --output", flags.output.display()).into()
        );
    }
    files::may_write(&flags.output, flags.force)?;
    let load = LoadOptions { files: vec![file.clone()], ..invocation.load.clone() };
    let mut loaded = config::load(&load)?;
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let (mut edited, written) = (Text::new(&text), Node::parse(&text)?);
    let data = data_folder(&load, &loaded, &written, &folder);
    let keystore = keystore(&loaded, &data, &folder);
    if let Some(path) = keystore.as_ref().filter(|path| !loaded.files.contains(path)) {
        // The folder of Packetbeat's data is not the one of this program, so this program does not find the keystore by itself.
        let setting = format!("keystore.path={}", serde_json::Value::from(path.to_string_lossy()));
        loaded = config::load(&LoadOptions { settings: load.settings.iter().cloned().chain([setting]).collect(), ..load.clone() })?;
    }
    let mut findings = findings(&loaded, &file);
    let mut unchanged: Vec<String> = Vec::new();
    for (key, path) in files::relative_files(&written, &folder) {
        if edited.set(&key, NewValue::Text(&path.to_string_lossy())) {
            findings.different.push(format!("{key}: the file is named with its whole path, {}", path.display()));
        } else {
            unchanged.push(format!("{key}: write {}", path.display()));
        }
    }
    if flags.beside {
        let name = output::open(&opening(&loaded.root, &loaded.paths)).map(|output| output.name()).unwrap_or_default();
        let logs = written.get("path.logs").as_str().map_or_else(|| PathBuf::from(files::PACKAGE_LOGS), PathBuf::from);
        for change in beside::changes(&loaded.root, name, &data, &logs) {
            let (key, value, is_set) = match &change {
                Change::Text { key, value } => (key, value.clone(), edited.set(key, NewValue::Text(value))),
                Change::Number { key, value } => (key, value.to_string(), edited.set(key, NewValue::Number(*value))),
            };
            if is_set { &mut findings.different } else { &mut unchanged }.push(format!("{key}: {value}"));
        }
    } else {
        findings.different.push(format!("agent.id: a new one, unless {}/meta.json is copied to the data folder", data.display()));
    }
    let copied = flags.output.with_file_name(files::KEYSTORE);
    if let Some(from) = &keystore {
        files::may_write(&copied, flags.force)?;
        let to = std::path::absolute(&copied)?;
        if edited.set("keystore.path", NewValue::Text(&to.to_string_lossy())) {
            findings.different.push(format!("keystore.path: {}, a copy of {}", to.display(), from.display()));
        } else {
            unchanged.push(format!("keystore.path: {}", to.display()));
        }
    }
    findings
        .refused
        .extend(unchanged.iter().map(|change| format!("{change} (this setting cannot be changed safely: change it in the file by hand)")));
    let may_write = findings.refused.is_empty();
    write!(stdout, "{} -> {}\n{}", file.display(), flags.output.display(), findings.text())?;
    if !may_write {
        writeln!(stdout, "\nNothing was written. Correct these settings in a copy of the file, and migrate the copy.")?;
        return Ok(false);
    }
    let mut to_do: Vec<String> = Vec::new();
    if let Some(from) = &keystore {
        let content = fs::read(from).map_err(|error| format!("{}: {error}", from.display()))?;
        to_do.extend(files::write(&copied, &content, true)?);
    }
    let head = format!("Made by `sniffer migrate` from {}.", file.display());
    to_do.extend(files::write(&flags.output, edited.with_head(&head).as_bytes(), false)?);
    let output = flags.output.display();
    to_do.extend([
        format!("sniffer test config -c {output}"),
        format!("sniffer test output -c {output}"),
        format!("sniffer doctor -c {output}"),
    ]);
    if !flags.beside {
        to_do.push("sudo systemctl disable --now packetbeat".to_owned());
    }
    writeln!(stdout, "\nWritten. What to do next")?;
    to_do.iter().try_for_each(|command| writeln!(stdout, "  {command}"))?;
    Ok(true)
}

/// What is the same, different and refused.
fn findings(loaded: &Loaded, file: &Path) -> Findings {
    let mut findings = Findings::default();
    let short = |line: &str| line.replace(&format!("{}:", file.display()), "line ");
    // A warning about an old form shows the new form in further lines.
    let first =
        |warning: &String| short(warning.lines().next().unwrap_or_default()).replace("; it works, but write instead:", "; it works");
    findings.different.extend(loaded.warnings.iter().map(first));
    match check(loaded) {
        Ok(Checked { warnings, .. }) => {
            findings.different.extend(warnings.iter().map(first));
        }
        Err(error) => {
            let all = all_errors::with_others(&error, &loaded.root, &loaded.paths).to_string();
            let is_variable = |line: &&str| line.contains(NOT_SET[0]) && (line.contains(NOT_SET[1]) || line.contains(NOT_SET[2]));
            let (variables, refused): (Vec<&str>, Vec<&str>) = all.lines().partition(is_variable);
            findings.variables = variables.into_iter().map(short).collect();
            findings.refused = refused.into_iter().map(short).collect();
            findings.different.extend(config::leftover(&loaded.root).iter().map(first));
        }
    }
    findings.same = same(loaded);
    findings
}

/// What this program captures and reports as Packetbeat does.
fn same(loaded: &Loaded) -> Vec<String> {
    let root = &loaded.root;
    let mut same = Vec::new();
    if let Ok(plan) = Plan::read(root, None, None) {
        same.extend(plan.watched(true).lines().map(|line| line.trim_end().to_owned()));
    }
    if root.get("packetbeat").contains("flows") {
        same.push("flows".to_owned());
    }
    if let Ok(output) = output::open(&opening(root, &loaded.paths)) {
        let hosts = root.get(&format!("output.{}.hosts", output.name())).items();
        let hosts: Vec<&str> = hosts.iter().filter_map(Node::as_str).collect();
        same.push(format!("output {}{}{}", output.name(), if hosts.is_empty() { "" } else { ": " }, hosts.join(", ")));
    }
    let mut processors: Vec<String> = Vec::new();
    for (name, _) in root.get("processors").items().iter().flat_map(Node::keys) {
        let name = if matches!(name.as_str(), "if" | "then" | "else") { "if/then".to_owned() } else { name };
        if name != "when" && !processors.contains(&name) {
            processors.push(name);
        }
    }
    if !processors.is_empty() {
        same.push(format!("processors {}", processors.join(", ")));
    }
    same
}

impl Findings {
    fn text(&self) -> String {
        let parts = [
            ("The same", &self.same),
            ("Different", &self.different),
            ("Variables that must be set when it starts", &self.variables),
            ("Refused", &self.refused),
        ];
        let mut text = String::new();
        for (title, lines) in parts.into_iter().filter(|(_, lines)| !lines.is_empty()) {
            text.push_str(&format!("\n{title}\n"));
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
        text
    }
}

/// The data folder that Packetbeat uses: of the flag, of the setting, of the package, or beside the configuration.
fn data_folder(load: &LoadOptions, loaded: &Loaded, written: &Node, folder: &Path) -> PathBuf {
    if load.data.is_some()
        || load.home.is_some()
        || written.get("path.data").as_str().is_some()
        || written.get("path.home").as_str().is_some()
    {
        return loaded.paths.data.clone();
    }
    let beside = folder.join("data");
    if beside.is_dir() { beside } else { PathBuf::from(files::PACKAGE_DATA) }
}

/// Packetbeat's keystore, if there is one.
fn keystore(loaded: &Loaded, data: &Path, folder: &Path) -> Option<PathBuf> {
    let set = loaded.root.get("keystore.path").as_str().filter(|path| !path.is_empty()).map(PathBuf::from);
    let places = set.into_iter().chain([data.join(files::KEYSTORE), folder.join(files::KEYSTORE)]);
    places.into_iter().find(|path| path.is_file())
}
