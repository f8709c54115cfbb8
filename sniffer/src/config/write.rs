//! Writes a configuration tree as YAML: for `export config`, and for warnings that show the current form of an old setting.

use super::{
    template,
    tree::{Raw, Style, Value},
};
use serde_yaml::Value as Yaml;

/// The tree as YAML.
pub(super) fn yaml(raw: &Raw) -> Yaml {
    match &raw.value {
        Value::Null | Value::Broken(_) => Yaml::Null,
        Value::Scalar(text, Style::Quoted) => Yaml::from(text.as_str()),
        Value::Scalar(text, _) => serde_yaml::from_str::<Yaml>(text)
            // Leave out the quotes only if YAML reads the text back as the same string: `010` and `a: b` need quotes.
            .ok()
            .filter(|v| matches!(v, Yaml::Bool(_)) || (v.is_number() && !(text.len() > 1 && text.starts_with('0') && !text.contains('.'))))
            .unwrap_or_else(|| Yaml::from(text.as_str())),
        Value::List(items) => Yaml::Sequence(items.iter().map(yaml).collect()),
        Value::Map(entries) => Yaml::Mapping(entries.iter().map(|(key, value)| (Yaml::from(key.as_str()), yaml(value))).collect()),
    }
}

/// Removes the defaults of all variables: `${NAME:default}` becomes `${NAME}`, as in Packetbeat's `export config`.
pub(super) fn without_defaults(raw: &mut Raw) {
    match &mut raw.value {
        Value::List(items) => items.iter_mut().for_each(without_defaults),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| without_defaults(value)),
        Value::Scalar(text, _) if text.contains("${") => *text = template::without_defaults(text),
        _ => {}
    }
}
