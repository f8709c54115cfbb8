//! Finds the output that the configuration selects, and reports outputs and settings at the wrong place. This module reads no settings of
//! outputs.

use super::{OUTPUTS, OutputKind};
use crate::config::{self, Node};

/// Finds the enabled output of the configuration: its kind and its settings.
///
/// # Errors
/// When no output or more than one is enabled.
pub(super) fn selected(root: &Node) -> Result<(&'static OutputKind, Node), config::Error> {
    let outputs = root.get("output");
    let mut enabled = enabled(&outputs)?;
    for kind in OUTPUTS {
        if (kind.is_implied)(root)? && enabled.is_empty() {
            enabled.push((kind.name.to_owned(), outputs.get(kind.name)));
        }
    }
    let (name, node) = match enabled.as_slice() {
        [] => return Err(none_defined(root, &outputs)),
        [only] => only,
        several => return Err(several_defined(&outputs, several)),
    };
    let Some(kind) = OUTPUTS.iter().find(|kind| kind.name == name) else {
        let known: Vec<&str> = OUTPUTS.iter().map(|kind| kind.name).collect();
        return Err(node.error(format!("output type {name} undefined; there are {}", known.join(", "))));
    };
    misplaced_settings(root, &outputs, node)?;
    // Outputs that are switched off are not read.
    outputs.entries().filter(|(other, _)| other != name).for_each(|(_, other)| other.accept());
    Ok((kind, node.clone()))
}

/// Returns the enabled outputs. If any output has settings, these are the outputs with settings; otherwise those of which only the name is
/// written (`output.console:`).
fn enabled(outputs: &Node) -> Result<Vec<(String, Node)>, config::Error> {
    if !outputs.is_unset() && !outputs.is_map() {
        return Err(outputs.error("expected the name of an output and its settings, for example `output.elasticsearch.hosts`"));
    }
    let (mut enabled, mut empty) = (Vec::new(), Vec::new());
    for (name, node) in outputs.entries() {
        if node.is_unset() {
            empty.push((name.to_owned(), node.clone()));
        } else if !is_output(name) && !node.is_map() {
            // A setting next to the output is not an output, see `misplaced_settings`.
        } else if node.get("enabled").read::<Option<bool>>()?.unwrap_or(true) {
            enabled.push((name.to_owned(), node.clone()));
        }
    }
    if enabled.is_empty() {
        empty.retain(|(name, _)| is_output(name));
        enabled = empty;
    }
    Ok(enabled)
}

fn is_output(name: &str) -> bool {
    OUTPUTS.iter().any(|kind| kind.name == name)
}

fn several_defined(outputs: &Node, several: &[(String, Node)]) -> config::Error {
    let names: Vec<String> = several.iter().map(|(name, node)| format!("{name} ({})", node.place())).collect();
    let at = several.last().map_or(outputs, |(_, node)| node);
    at.error(format!(
        "more than one namespace configured accessing 'output': {}; keep one, or switch the others off with `enabled: false`",
        names.join(", ")
    ))
}

/// Returns the error for the case that no output is switched on. The error names a setting that looks like an output at the wrong path.
fn none_defined(root: &Node, outputs: &Node) -> config::Error {
    let message = "no outputs are defined, please define one under the output section";
    let below = [root.get("packetbeat.output"), root.get("packetbeat.outputs"), root.get("outputs")];
    let misplaced = below.into_iter().find(|node| !node.is_null());
    if let Some(node) = misplaced {
        let name = node.entries().next().map_or("console", |(name, _)| name).to_owned();
        return node.error(format!("{message}: outputs belong below `output` at the top level; write `output.{name}`"));
    }
    if let Some(kind) = OUTPUTS.iter().find(|kind| root.contains(kind.name)) {
        let node = root.get(kind.name);
        return node.error(format!("{message}: an output belongs below `output`; write `output.{}`", kind.name));
    }
    if let Some((name, node)) = outputs.entries().find(|(name, node)| !is_output(name) && !node.is_map() && !node.is_null()) {
        return node
            .error(format!("{message}: `{name}` is a setting of an output; write `output.NAME.{name}`, with the name of the output"));
    }
    match outputs.entries().next() {
        Some((name, node)) => node.error(format!("{message}: output.{name} is switched off")),
        None => root.error(message),
    }
}

/// Refuses settings that are next to the output instead of below it, if there are no settings below the output.
/// Otherwise a wrong indentation would send events to the default host.
fn misplaced_settings(root: &Node, outputs: &Node, output: &Node) -> Result<(), config::Error> {
    if !output.is_unset() {
        return Ok(());
    }
    let key = output.key();
    let beside = outputs.entries().find(|(name, node)| *name != "enabled" && !is_output(name) && !node.is_map() && !node.is_null());
    let wrong = |name: &str, node: &Node| Err(node.error(format!("`{name}` belongs below `{key}`; indent it, or write `{key}.{name}`")));
    if let Some((name, node)) = beside {
        return wrong(name, node);
    }
    match ["hosts", "path"].into_iter().find(|name| root.contains(name) && !root.get(name).is_map()) {
        Some(name) => wrong(name, &root.get(name)),
        None => Ok(()),
    }
}
