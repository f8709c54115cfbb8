//! Writes a configuration tree as YAML: for `export config`, and for warnings that show the current form of an old setting.

use super::{
    expand::closing,
    tree::{Raw, Style, Value},
};
use serde_yaml::Value as Yaml;

/// The tree as YAML. `hide`: values of keys that look like passwords are replaced.
pub(super) fn yaml(raw: &Raw, hide: bool) -> Yaml {
    match &raw.value {
        Value::Null | Value::Broken(_) => Yaml::Null,
        Value::Scalar(text, Style::Quoted) => Yaml::from(text.as_str()),
        Value::Scalar(text, _) => serde_yaml::from_str::<Yaml>(text)
            // Unquoted only when YAML would read it as the same value: `010` and `a: b` stay strings.
            .ok()
            .filter(|v| matches!(v, Yaml::Bool(_)) || (v.is_number() && !(text.len() > 1 && text.starts_with('0') && !text.contains('.'))))
            .unwrap_or_else(|| Yaml::from(text.as_str())),
        Value::List(items) => Yaml::Sequence(items.iter().map(|item| yaml(item, hide)).collect()),
        Value::Map(entries) => Yaml::Mapping(
            entries
                .iter()
                .map(|(key, value)| {
                    let secret = hide && ["password", "passphrase", "api_key"].iter().any(|word| key.contains(word));
                    (Yaml::from(key.as_str()), if secret { Yaml::from("xxxxx") } else { yaml(value, hide) })
                })
                .collect(),
        ),
    }
}

/// Removes the defaults of all variables: `${NAME:default}` becomes `${NAME}`, as in Packetbeat's `export config`.
pub(super) fn without_defaults(raw: &mut Raw) {
    match &mut raw.value {
        Value::List(items) => items.iter_mut().for_each(without_defaults),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| without_defaults(value)),
        Value::Scalar(text, _) if text.contains("${") => *text = bare(text),
        _ => {}
    }
}

fn bare(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        let inside = from.get(2..).unwrap_or_default();
        out.push_str(before);
        out.push_str("${");
        match closing(inside) {
            Some((inner, after)) if !before.ends_with('$') => {
                out.push_str(inner.split_once(':').map_or(inner, |(name, _)| name));
                out.push('}');
                rest = after;
            }
            _ => rest = inside,
        }
    }
    out + rest
}
