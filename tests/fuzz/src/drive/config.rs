//! Fuzzes configurations. Input: the text of a file, then settings of the command line (`-E`), each after a NUL byte. The environment
//! variables are those of the process.

use super::Scratch;
use sniffer::{
    capture::options,
    config::{self, General, KnownProtocol, LoadOptions, Node},
    event::{Summary, TRANSACTION},
    opening::{Clock, Opening},
    protocols::PROTOCOLS,
    publish::{Identity, Publisher, PublisherId, Publishers},
    time::Timestamp,
};

/// Maximum length of an error message in bytes. An input is much shorter, and messages quote only parts of it.
const LONGEST_ERROR: usize = 256 << 10;

/// A clock that always returns the same time.
struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
}

/// Checks that the loader and the modules that open nothing accept or refuse the input, and that the output of `export
/// config` can be read again.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split('\0');
    let Some(file) = Scratch::new(parts.next().unwrap_or_default().as_bytes()) else { return };
    let options = LoadOptions {
        files: vec![file.path().to_owned()],
        settings: parts.map(str::to_owned).collect(),
        strict_perms: false,
        ..LoadOptions::default()
    };
    let Some(loaded) = short(config::load(&options)) else { return };
    for show_secrets in [false, true] {
        let Ok(shown) = loaded.export(show_secrets) else { continue };
        Node::parse(&shown).unwrap_or_else(|error| panic!("what was exported cannot be read: {error}\n{shown}"));
    }
    let root = &loaded.root;
    short(General::read(root));
    short(options::read(&root.get("packetbeat.interfaces")));
    let names: Vec<_> = PROTOCOLS.iter().map(|protocol| KnownProtocol { name: protocol.name, once: protocol.ports.is_empty() }).collect();
    let protocols = short(config::read_protocols(root, &names)).map(|(protocols, _)| protocols).unwrap_or_default();
    let publishers: Vec<Publisher> = protocols
        .iter()
        .map(|protocol| Publisher {
            id: PublisherId(1),
            dataset: "dns",
            fields: [TRANSACTION, &[], &[]],
            summary: Summary::HEAD,
            settings: protocol.node.clone(),
        })
        .collect();
    let opening =
        Opening { node: root, root, paths: &loaded.paths, clock: &Epoch, live: true, fields: TRANSACTION, connections: None, shared: None };
    short(Publishers::open(Identity::default(), &opening, &publishers));
    config::leftover(root);
}

/// Returns the value, or `None` for an error. The function checks that the error message is neither empty nor too long.
fn short<T>(result: Result<T, config::Error>) -> Option<T> {
    result.map_err(|error| assert!(!error.0.is_empty() && error.0.len() < LONGEST_ERROR, "an error of {} bytes", error.0.len())).ok()
}
