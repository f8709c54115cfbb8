//! Converts old forms of the configuration to the current form, so that all other modules see only the current form. The old forms are
//! those of Packetbeat 1.x, which cause a warning that shows the current form, and `protocols` as a map.

use super::{
    error::Place,
    secrets,
    tree::{Raw, Style, Value},
    write,
};
use serde_yaml::Value as Yaml;

/// Keys of Packetbeat 1.x, each with the current key.
const MOVED: &[(&str, &str)] = &[
    ("interfaces", "packetbeat.interfaces"),
    ("procs", "packetbeat.procs"),
    ("flows", "packetbeat.flows"),
    ("shipper.name", "name"),
    ("shipper.tags", "tags"),
    ("shipper.ignore_outgoing", "packetbeat.ignore_outgoing"),
    ("shipper.queue_size", ""),
    ("shipper.refresh_topology_freq", ""),
    ("shipper.topology_expire", ""),
    ("shipper.geoip", ""),
    ("runoptions", ""),
];

/// Keys of outputs in Packetbeat 1.x that were removed (an empty text) or renamed.
const OUTPUT: &[(&str, &str)] = &[("save_topology", ""), ("tls", "ssl"), ("path_format", "")];

/// Converts the 1.x form of one file to the current form. `root` must have nested maps only, no dotted keys.
pub(super) fn one_x(root: &mut Raw, warnings: &mut Vec<String>) {
    for &(old, new) in MOVED {
        let Some(value) = take(root, old) else { continue };
        if new.is_empty() {
            warnings.push(value.place.error(format_args!("{old}: a setting of Packetbeat 1.x that has no replacement, ignored")).0);
        } else {
            warn(warnings, old, &value, &[(new, &value)]);
            root.put(new, value);
        }
    }
    if let Some(protocols) = take(root, "protocols") {
        let list = protocol_list(&protocols);
        warn(warnings, "protocols", &protocols, &[("packetbeat.protocols", &list)]);
        root.put("packetbeat.protocols", list);
    }
    let Some(Value::Map(outputs)) = root.child("output").map(|o| o.value.clone()) else { return };
    for (name, mut output) in outputs {
        let old = output.clone();
        let mut changed = false;
        for &(old, new) in OUTPUT {
            if let Some(value) = output.remove(old) {
                changed = true;
                match new {
                    "" => warnings.push(
                        value
                            .place
                            .error(format_args!("output.{name}.{old}: a setting of Packetbeat 1.x that has no replacement, ignored"))
                            .0,
                    ),
                    _ => output.put(new, tls(value)),
                }
            }
        }
        if let Some(host) = output.remove("host") {
            changed = true;
            let port = output.remove("port");
            if let Some(host_text) = scalar(&host) {
                let text = match port.as_ref().and_then(scalar) {
                    Some(port) => format!("{host_text}:{port}"),
                    None => host_text.to_owned(),
                };
                if output.child("hosts").is_none() {
                    output.put("hosts", Raw::new(Value::List(vec![Raw::new(Value::Scalar(text, Style::Plain), &host.place)]), &host.place));
                }
            }
        }
        if changed {
            warn(warnings, &format!("output.{name}"), &old, &[(&format!("output.{name}"), &output)]);
            if let Some(Raw { value: Value::Map(entries), .. }) = root.find_mut("output")
                && let Some((_, at)) = entries.iter_mut().find(|(k, _)| *k == name)
            {
                *at = output;
            }
        }
    }
}

/// Converts the map `packetbeat.protocols: {http: {…}}` to a list. Elastic's own container configuration has that form, so there is no
/// warning.
pub(super) fn protocols(root: &mut Raw) {
    let Some(old) = root.at("packetbeat.protocols").filter(|p| matches!(p.value, Value::Map(_))) else { return };
    let list = protocol_list(old);
    if let Some(packetbeat) = root.find_mut("packetbeat") {
        let place = list.place.clone();
        *packetbeat.child_mut("protocols", &place) = list;
    }
}

fn protocol_list(map: &Raw) -> Raw {
    let Value::Map(entries) = &map.value else { return map.clone() };
    let item = |(name, options): &(String, Raw)| {
        if name.parse::<usize>().is_ok() {
            // The items of the list form are kept if both forms are used.
            return options.clone();
        }
        let kind = ("type".to_owned(), Raw::new(Value::Scalar(name.clone(), Style::Plain), &options.place));
        let options_of = match &options.value {
            Value::Map(entries) => entries.clone(),
            _ => Vec::new(),
        };
        let rest = options_of.into_iter().filter(|(key, _)| key != "type");
        Raw::new(Value::Map(std::iter::once(kind).chain(rest).collect()), &options.place)
    };
    Raw::new(Value::List(entries.iter().map(item).collect()), &map.place)
}

/// Renames the TLS settings of 1.x.
fn tls(mut old: Raw) -> Raw {
    if let Some(key) = old.remove("certificate_key") {
        old.put("key", key);
    }
    if let Some(insecure) = old.remove("insecure")
        && scalar(&insecure) == Some("true")
    {
        old.put("verification_mode", Raw::text("none", &insecure.place));
    }
    old
}

fn scalar(raw: &Raw) -> Option<&str> {
    match &raw.value {
        Value::Scalar(text, _) => Some(text),
        _ => None,
    }
}

/// Removes and returns the value at a dotted path. Maps that become empty are also removed.
fn take(root: &mut Raw, path: &str) -> Option<Raw> {
    match path.split_once('.') {
        None => root.remove(path),
        Some((first, rest)) => {
            let parent = root.find_mut(first)?;
            let taken = take(parent, rest)?;
            if matches!(&parent.value, Value::Map(entries) if entries.is_empty()) {
                root.remove(first);
            }
            Some(taken)
        }
    }
}

fn warn(warnings: &mut Vec<String>, old: &str, at: &Raw, new: &[(&str, &Raw)]) {
    let mut shown = serde_yaml::Mapping::new();
    for (key, value) in new {
        let mut value = (*value).clone();
        secrets::hide(&mut value, key);
        shown.insert(Yaml::from(*key), write::yaml(&value));
    }
    let shown = serde_yaml::to_string(&shown).unwrap_or_default();
    let place: &Place = &at.place;
    warnings.push(place.error(format_args!("{old}: an old form; it works, but write instead:\n{}", shown.trim_end())).0);
}
