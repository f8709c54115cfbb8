//! What the command line of `watch` asks for: the configuration, the device, and the filter of the view.

use super::super::{Error, documents::Input, notices::Notices, plan::Plan};
use crate::{
    capture::{devices, options::Interface},
    cli::SourceFlags,
    config::{self, LoadOptions, Loaded, Node},
    protocols::{PROTOCOLS, Protocol},
    view::filter::Filter,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

/// What `watch` shows, and where it comes from.
pub(in crate::app) struct Asked {
    pub loaded: Loaded,
    /// The output and the queue, which replace those of the configuration.
    pub delivery: Node,
    /// The device that the command line names.
    pub device: Option<String>,
    /// The filter of libpcap that the command line gives.
    pub expression: Option<String>,
    pub filter: Filter,
    /// The text of the filter.
    pub text: String,
}

/// Reduces the interfaces of the configuration to those that the command line names. `device`: the only device to watch. `expression`: the
/// filter of libpcap for all interfaces.
///
/// # Errors
/// When the configuration has several interfaces, and none with this device.
pub(in crate::app) fn narrow(interfaces: &mut Vec<Interface>, device: Option<&str>, expression: Option<&str>) -> Result<(), String> {
    if let Some(device) = device {
        let names: Vec<String> = interfaces.iter().map(|interface| interface.device.clone()).collect();
        match interfaces.as_mut_slice() {
            [one] => {
                device.clone_into(&mut one.device);
                one.typed.device = true;
            }
            several if several.iter().any(|interface| interface.device == device) => {
                interfaces.retain(|interface| interface.device == device)
            }
            _ => return Err(format!("the configuration has no interface with the device {device}; it has {}", names.join(", "))),
        }
    }
    if let Some(expression) = expression {
        for interface in interfaces.iter_mut() {
            interface.bpf_filter = Some(expression.to_owned());
            interface.typed.filter = true;
        }
    }
    Ok(())
}

/// How transactions are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum Form {
    /// Lines.
    Lines,
    /// Documents on standard output.
    Documents,
    /// Screens or a page, whose filter can be changed: all protocols are captured whatever the filter, and flows too.
    Screens,
}

/// Reads the configuration of `-c` and `-E`, or the built-in one: all protocols on their usual ports and those of `-p`, on all interfaces.
pub(in crate::app) fn read(load: &LoadOptions, flags: &SourceFlags, form: Form) -> Result<Asked, Error> {
    let names: Vec<&str> = PROTOCOLS.iter().map(|protocol| protocol.name).collect();
    let (any, flagged): (Vec<&String>, Vec<&String>) = flags.ports.iter().partition(|flag| *flag == "any");
    let added = added_ports(&flagged, &names)?;
    if !flags.ports.is_empty() && !load.files.is_empty() {
        return Err("-p adds ports to the usual ones, and -c FILE names all ports: add the port to the protocol in FILE".into());
    }
    let mut words: Vec<&str> = flags.words.iter().map(String::as_str).collect();
    let mut device = flags.device.clone();
    if flags.file.is_none() && device.is_none() {
        device = take_device(&mut words, &names)?;
    }
    let filter = Filter::parse(&words.join(" "), &names).map_err(|wrong| unknown(&wrong.to_string()))?;
    if form == Form::Documents && !filter.is_empty() {
        return Err("words select lines, and --json prints documents: name protocols with -c FILE, drop documents with the processor \
                    drop_event, or filter them with jq"
            .into());
    }
    // Only the named protocols are captured, if the words are nothing but protocols.
    let is_named = |protocol: &&&Protocol| {
        form == Form::Screens || words.is_empty() || !words.iter().all(|word| names.contains(word)) || words.contains(&protocol.name)
    };
    let protocols: Vec<_> = PROTOCOLS
        .iter()
        .filter(is_named)
        .map(|protocol| {
            let more = added.iter().filter(|(_, name)| *name == protocol.name).map(|(port, _)| *port);
            let ports: BTreeSet<u16> = protocol.ports.iter().copied().chain(more).collect();
            // A protocol without ports, such as ICMP, cannot have `any`.
            let any = any.first().filter(|_| !ports.is_empty()).map(|_| json!("any"));
            let ports: Vec<Value> = ports.into_iter().map(Value::from).chain(any).collect();
            json!({"type": protocol.name, "ports": ports})
        })
        .collect();
    let mut built_in = json!({"packetbeat": {"interfaces": {"device": "any"}, "procs": {"enabled": true}, "protocols": protocols}});
    if form == Form::Screens
        && let Some(packetbeat) = built_in.get_mut("packetbeat")
    {
        packetbeat["flows"] = json!({"timeout": "30s", "period": "5s"});
    }
    let options = LoadOptions { built_in: Some(built_in.to_string()), ..load.clone() };
    let loaded = config::load(&options)?;
    let delivery = if form == Form::Documents {
        json!({"output.console": {}, "queue.mem": {"flush.min_events": 1, "flush.timeout": "100ms"}})
    } else {
        json!({"output.discard": {}})
    };
    let expression = (!flags.expression.is_empty()).then(|| flags.expression.join(" "));
    Ok(Asked { loaded, delivery: Node::parse(&delivery.to_string())?, device, expression, filter, text: words.join(" ") })
}

/// What a view that stays open (`top`, `web`) needs at its start.
pub(in crate::app) struct ForScreens {
    pub asked: Asked,
    pub plan: Plan,
    /// The documents, if the file of `-r` contains documents.
    pub documents: Option<Input>,
    pub notices: Notices,
}

/// Reads configuration and flags for a view that stays open. Warnings become notices; `at_once`: see [`Notices::install`].
pub(in crate::app) fn read_for_screens(load: &LoadOptions, flags: &SourceFlags, at_once: bool) -> Result<ForScreens, Error> {
    let documents = flags.file.as_deref().map(Input::open).transpose()?.flatten();
    let asked = read(load, flags, Form::Screens)?;
    let notices = Notices::install(at_once)?;
    let mut plan = Plan::read(&asked.loaded.root, flags.file.as_deref(), None)?;
    narrow(&mut plan.interfaces, asked.device.as_deref(), asked.expression.as_deref())?;
    for warning in asked.loaded.warnings.iter().chain(&plan.warnings) {
        log::warn!("{warning}");
    }
    if !plan.is_live() {
        // The view of a file stays until the user ends it.
        plan.general.shutdown_timeout = Duration::ZERO;
    }
    Ok(ForScreens { asked, plan, documents, notices })
}

/// The ports and protocols of `-p PORT=PROTOCOL`.
fn added_ports<'a>(flags: &[&'a String], names: &[&str]) -> Result<Vec<(u16, &'a str)>, String> {
    let read = |flag: &&'a String| {
        let (port, name) = flag.split_once('=').ok_or_else(|| format!("-p {flag}: expected PORT=PROTOCOL, such as 8123=http, or any"))?;
        let wrong = || format!("-p {flag}: `{port}` is no port (1 to 65535)");
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        if !names.contains(&name) {
            return Err(format!("-p {flag}: there is no protocol `{name}`; there are {}", names.join(", ")));
        }
        if PROTOCOLS.iter().any(|protocol| protocol.name == name && protocol.ports.is_empty()) {
            return Err(format!("-p {flag}: {name} has no ports; it is watched without -p"));
        }
        Ok((port, name))
    };
    flags.iter().map(read).collect()
}

/// Removes and returns the word that is the name of a device and no word of the filter language.
fn take_device(words: &mut Vec<&str>, names: &[&str]) -> Result<Option<String>, Error> {
    // If all words form a valid filter, none of them is a device.
    if Filter::parse(&words.join(" "), names).is_ok() {
        return Ok(None);
    }
    let devices = devices::list()?;
    let Some(index) = words.iter().position(|word| devices.iter().any(|device| device.name == *word)) else { return Ok(None) };
    Ok(Some(words.remove(index).to_owned()))
}

/// The error of a word, with the devices that it could have been.
fn unknown(wrong: &str) -> String {
    let devices = devices::list().unwrap_or_default();
    let names: Vec<String> = devices.into_iter().map(|device| device.name).collect();
    format!("{wrong}\nThe devices to watch are {}; a filter of libpcap stands behind --", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Error as CaptureError;

    fn asked(flags: SourceFlags) -> Result<Asked, String> {
        read(&LoadOptions::default(), &flags, Form::Lines).map_err(|error| error.to_string())
    }

    fn words(words: &str) -> SourceFlags {
        SourceFlags { words: words.split(' ').map(str::to_owned).collect(), ..SourceFlags::default() }
    }

    /// The interfaces that are watched.
    fn narrowed(asked: &Asked) -> Result<Vec<Interface>, String> {
        let mut interfaces = crate::capture::options::read(&asked.loaded.root.get("packetbeat.interfaces")).unwrap();
        narrow(&mut interfaces, asked.device.as_deref(), asked.expression.as_deref())?;
        Ok(interfaces)
    }

    /// The ports of a protocol in the configuration.
    fn ports(asked: &Asked, name: &str) -> Option<Vec<u16>> {
        let protocols = asked.loaded.root.get("packetbeat.protocols").items();
        let found = protocols.iter().find(|protocol| protocol.get("type").as_str() == Some(name))?;
        Some(found.get("ports").read().unwrap())
    }

    #[test]
    fn all_protocols_on_any_unless_the_words_name_some() {
        let all = asked(SourceFlags::default()).unwrap();
        assert_eq!(all.loaded.root.get("packetbeat.protocols").items().len(), PROTOCOLS.len());
        assert_eq!(all.loaded.root.get("packetbeat.interfaces.device").as_str(), Some("any"));
        assert!(all.filter.is_empty());
        let some = asked(words("http dns")).unwrap();
        assert_eq!(some.loaded.root.get("packetbeat.protocols").items().len(), 2);
        let others = asked(words("http status=error")).unwrap();
        assert_eq!(others.loaded.root.get("packetbeat.protocols").items().len(), PROTOCOLS.len());
        assert!(!others.filter.is_empty());
    }

    #[test]
    fn a_port_is_added_to_a_protocol() {
        let added = SourceFlags { ports: vec!["8123=http".into(), "53=http".into()], ..SourceFlags::default() };
        let http = ports(&asked(added).unwrap(), "http").unwrap();
        assert!(http.contains(&80) && http.contains(&8123) && http.contains(&53), "{http:?}");
        for (flag, message) in [
            ("8123", "-p 8123: expected PORT=PROTOCOL"),
            ("x=http", "-p x=http: `x` is no port"),
            ("99999=http", "-p 99999=http: `99999` is no port"),
            ("0=http", "-p 0=http: `0` is no port"),
            ("7=icmp", "-p 7=icmp: icmp has no ports"),
            ("80=htpp", "-p 80=htpp: there is no protocol `htpp`; there are "),
        ] {
            let error = asked(SourceFlags { ports: vec![flag.into()], ..SourceFlags::default() }).err().unwrap();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn any_port_of_all_protocols() {
        let flags = SourceFlags { ports: vec!["any".into(), "8123=http".into()], ..SourceFlags::default() };
        let asked = asked(flags).unwrap();
        let plan = Plan::read(&asked.loaded.root, None, None).unwrap();
        assert!(plan.is_watched(12345));
        assert_eq!(plan.watched(false), format!("{} protocols on any port (-v lists them)", PROTOCOLS.len()));
    }

    #[test]
    fn a_word_is_a_device_if_it_is_nothing_else() {
        let lo = asked(words("lo http")).unwrap();
        assert_eq!(lo.device.as_deref(), Some("lo"));
        assert_eq!(lo.loaded.root.get("packetbeat.protocols").items().len(), 1);
        let error = asked(words("http nosuchthing")).err().unwrap();
        assert!(error.starts_with("column 6: nosuchthing: no word of a filter; there are protocols (icmp"), "{error}");
        assert!(error.contains("\nThe devices to watch are ") && error.contains("lo"), "{error}");
    }

    #[test]
    fn a_pcap_filter_and_settings_of_the_command_line_count() {
        let flags = SourceFlags {
            device: Some("lo".into()),
            expression: vec!["tcp".into(), "port 99".into()],
            words: vec!["port".into(), "99".into()],
            ..SourceFlags::default()
        };
        let load = LoadOptions {
            settings: vec!["packetbeat.protocols=[{type: redis, ports: [6379]}]".into(), "packetbeat.interfaces.snaplen=100".into()],
            ..LoadOptions::default()
        };
        let asked = read(&load, &flags, Form::Lines).unwrap();
        let interfaces = narrowed(&asked).unwrap();
        let [interface] = interfaces.as_slice() else { panic!("{interfaces:?}") };
        assert_eq!((interface.device.as_str(), interface.bpf_filter.as_deref(), interface.snaplen), ("lo", Some("tcp port 99"), 100));
        assert_eq!(ports(&asked, "redis"), Some(vec![6379]));
        assert_eq!(ports(&asked, "http"), None);
        for setting in ["=", "a..b=1"] {
            let load = LoadOptions { settings: vec![setting.into()], ..LoadOptions::default() };
            let error = read(&load, &SourceFlags::default(), Form::Lines).err().unwrap().to_string();
            assert!(error.contains("expected `key=value`"), "{error}");
        }
    }

    /// The user wrote no configuration, so no error names a place in one.
    #[test]
    fn errors_name_what_was_typed() {
        let flags = SourceFlags { device: Some("lo".into()), expression: vec!["tcp".into(), "prot".into()], ..SourceFlags::default() };
        let planned = |setting: &str| {
            let settings = if setting.is_empty() { Vec::new() } else { vec![setting.to_owned()] };
            let asked = read(&LoadOptions { settings, ..LoadOptions::default() }, &flags, Form::Lines).unwrap();
            let mut plan = Plan::read(&asked.loaded.root, None, None).map_err(|error| error.to_string())?;
            narrow(&mut plan.interfaces, asked.device.as_deref(), asked.expression.as_deref()).unwrap();
            let interface = plan.interfaces[0].clone();
            let missing = CaptureError::Missing { device: "lo".into(), reason: "gone".into() }.at(&interface).to_string();
            let setting = CaptureError::Setting("filter `tcp prot`: wrong".into()).at(&interface).to_string();
            let other = interface.node.error("wrong").to_string();
            Ok::<_, String>([missing, setting, other])
        };
        let [missing, setting, other] = planned("").unwrap();
        assert!(missing == "device lo: gone", "{missing}");
        assert_eq!((setting.as_str(), other.as_str()), ("after --: filter `tcp prot`: wrong", "packetbeat.interfaces: wrong"));
        let error = planned("packetbeat.interfaces.buffer_size_mb=0").unwrap_err();
        assert!(error.contains("buffer_size_mb is 0") && !error.contains("built-in") && !error.contains(":1:"), "{error}");
    }

    #[test]
    fn a_file_replaces_the_built_in_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packetbeat.yml");
        std::fs::write(
            &file,
            "packetbeat.interfaces: [{device: a}, {device: b}]\npacketbeat.protocols: [{type: dns, ports: [5353]}]\noutput.file.path: /x\n",
        )
        .unwrap();
        let load = LoadOptions { files: vec![file], strict_perms: false, ..LoadOptions::default() };
        let on = |device: &str| read(&load, &SourceFlags { device: Some(device.into()), ..SourceFlags::default() }, Form::Lines).unwrap();
        let asked = on("b");
        let interfaces = narrowed(&asked).unwrap();
        assert_eq!(interfaces.iter().map(|interface| interface.device.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(narrowed(&on("c")).unwrap_err(), "the configuration has no interface with the device c; it has a, b");
        assert_eq!(ports(&asked, "dns"), Some(vec![5353]));
        assert_eq!(ports(&asked, "http"), None);
        let error =
            read(&load, &SourceFlags { ports: vec!["1=http".into()], ..SourceFlags::default() }, Form::Lines).err().unwrap().to_string();
        assert!(error.contains("add the port to the protocol in FILE"), "{error}");
        let missing = LoadOptions { files: vec!["nosuch.yml".into()], ..LoadOptions::default() };
        assert!(
            read(&missing, &SourceFlags::default(), Form::Lines).err().unwrap().to_string().contains("no configuration file nosuch.yml")
        );
    }
}
