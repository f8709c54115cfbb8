//! What a capture file holds, for a file in which no transaction was found: the busiest port, the protocol that its data looks like, and
//! the command that shows it.

use crate::{
    capture::{Error, Frame, Polled, Source, file::FileSource, tally::Tally},
    decode::{Decoder, Layer4, Packet},
    net::{Direction, Transport},
    protocols::{PROTOCOLS, Probe, Protocol},
    view::{
        text::{self, Charset},
        units::{Grouped, counted},
    },
};
use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

/// Number of payloads that are examined for each port.
const MOST_EXAMINED: u32 = 64;

/// The packets of a file.
#[derive(Default)]
pub struct Contents {
    packets: u64,
    /// At most one entry for each transport and port.
    ports: HashMap<(Transport, u16), Port>,
    /// TCP ports to which a connection was opened.
    servers: HashSet<u16>,
}

/// The packets of one server port.
#[derive(Default)]
struct Port {
    packets: u64,
    examined: u32,
    /// For each protocol, how many payloads look like it.
    votes: Vec<(&'static str, u32)>,
}

impl Port {
    /// The protocol that most payloads look like.
    fn looks_like(&self) -> Option<&'static str> {
        self.votes.iter().rev().max_by_key(|(_, votes)| *votes).map(|(name, _)| *name)
    }

    fn examine(&mut self, transport: Transport, dir: Direction, payload: &[u8]) {
        if payload.is_empty() || self.examined >= MOST_EXAMINED {
            return;
        }
        self.examined += 1;
        let is_recognised =
            |protocol: &&&Protocol| protocol.transports.contains(&transport) && (protocol.probe)(dir, payload) == Probe::Yes;
        let Some(protocol) = PROTOCOLS.iter().find(is_recognised) else { return };
        match self.votes.iter_mut().find(|(name, _)| *name == protocol.name) {
            Some((_, votes)) => *votes += 1,
            None => self.votes.push((protocol.name, 1)),
        }
    }
}

impl Contents {
    /// Reads a file.
    ///
    /// # Errors
    /// When the file cannot be opened. A file that cannot be read to its end gives what was read.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let mut source = FileSource::open(file, Arc::new(Tally::default()))?;
        let (mut contents, mut decoder) = (Self::default(), Decoder::new());
        let mut each = |frame: Frame<'_>| {
            contents.packets += 1;
            if let Ok(packet) = decoder.decode(&frame) {
                contents.add(&packet);
            }
        };
        while matches!(source.poll(Duration::ZERO, &mut each), Ok(Polled::Frames(_) | Polled::Idle)) {}
        Ok(contents)
    }

    fn add(&mut self, packet: &Packet<'_>) {
        let (transport, source, destination, opens, payload) = match packet.layer4 {
            Layer4::Tcp(tcp) => (Transport::Tcp, tcp.source, tcp.destination, tcp.flags.syn().then(|| !tcp.flags.ack()), tcp.payload),
            Layer4::Udp(udp) => (Transport::Udp, udp.source, udp.destination, None, udp.payload),
            _ => return,
        };
        let is_server = |port: u16| self.servers.contains(&port);
        let to_server = match (opens, transport) {
            (Some(opens), _) => opens,
            (None, Transport::Tcp) if is_server(destination) != is_server(source) => is_server(destination),
            // Servers have the lower ports.
            _ => destination <= source,
        };
        let (port, dir) = if to_server { (destination, Direction::ToServer) } else { (source, Direction::ToClient) };
        if opens.is_some() {
            self.servers.insert(port);
        }
        let entry = self.ports.entry((transport, port)).or_default();
        entry.packets += 1;
        entry.examine(transport, dir, payload);
    }

    /// Explains why `file` shows nothing, and what to type, in lines that end with a newline. `is_watched`: whether a protocol has the port.
    /// `is_built_in`: whether there is no configuration file, so that -p adds a port.
    pub fn explain(&self, file: &Path, is_built_in: bool, is_watched: impl Fn(u16) -> bool) -> String {
        let name = shown(file);
        let watched: u64 = self.ports.iter().filter(|((_, port), _)| is_watched(*port)).map(|(_, entry)| entry.packets).sum();
        let place = match (self.packets, self.ports.is_empty(), watched) {
            (0, ..) => return format!("{name} holds no packets.\n"),
            (_, true, _) => return format!("{name} holds {}, none of TCP or UDP.\n", counted(self.packets, "packet")),
            (.., 0) => "none on a watched port (-v lists them)".to_owned(),
            (.., n) => format!("{} on watched ports, without a complete transaction", Grouped(n)),
        };
        let mut out = format!("{name} holds {}, {place}.\n", counted(self.packets, "packet"));
        let mut ports: Vec<_> = self.ports.iter().filter(|((_, port), _)| !is_watched(*port)).collect();
        ports.sort_by_key(|((transport, port), entry)| (std::cmp::Reverse(entry.packets), *transport == Transport::Udp, *port));
        let mut recognised = ports.iter().filter_map(|(key, entry)| Some((*key, entry.looks_like()?)));
        if let Some((key, entry)) = ports.first() {
            let looks = match entry.looks_like() {
                Some(protocol) => format!("looks like {protocol}"),
                None => "like no protocol that is known".to_owned(),
            };
            out.push_str(&format!(
                "Busiest port that is not watched: {}, {}, {looks}.\n",
                transport_and_port(**key),
                counted(entry.packets, "packet")
            ));
            // The recognised port with most packets may be another one.
            if let Some((&(transport, port), protocol)) = recognised.next() {
                if (transport, port) != **key {
                    out.push_str(&format!("{} looks like {protocol}.\n", transport_and_port((transport, port))));
                }
                out.push_str(&match is_built_in {
                    true => format!("To see it:   sniffer watch -r {name} -p {port}={protocol}\n"),
                    false => format!("To see it, add this to packetbeat.protocols:   {{type: {protocol}, ports: [{port}]}}\n"),
                });
            }
        }
        out
    }
}

fn transport_and_port((transport, port): (Transport, u16)) -> String {
    format!("{} {port}", if transport == Transport::Udp { "udp" } else { "tcp" })
}

/// The path as a shell understands it, without characters that control the terminal.
fn shown(file: &Path) -> String {
    let path = file.display().to_string();
    let is_plain = path.chars().all(|c| c.is_alphanumeric() || "/._-+,:@=".contains(c));
    let quoted = if is_plain { path } else { format!("'{}'", path.replace('\'', "'\\''")) };
    let mut out = String::new();
    text::push(&mut out, &quoted, usize::MAX, Charset::Utf8);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::PathBuf};

    fn test_file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/protocols").join(name)
    }

    /// A copy of a capture file, in which one TCP port is replaced by another one. Checksums are not verified.
    fn with_port(name: &str, from: u16, to: u16) -> (tempfile::TempDir, PathBuf) {
        let mut bytes = fs::read(test_file(name)).unwrap();
        for place in 0..bytes.len() - 1 {
            if bytes[place..place + 2] == from.to_be_bytes() {
                bytes[place..place + 2].copy_from_slice(&to.to_be_bytes());
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a file.pcap");
        fs::write(&file, bytes).unwrap();
        (folder, file)
    }

    fn explained(file: &Path, watched: &[u16]) -> String {
        let text = Contents::read(file).unwrap().explain(file, true, |port| watched.contains(&port));
        text.replace(&file.parent().unwrap().display().to_string(), "DIR")
    }

    #[test]
    fn redis_on_another_port_is_recognised() {
        let (_folder, file) = with_port("redis/resp2.pcap", 6379, 6390);
        let text = explained(&file, &[6379]);
        assert!(text.contains("Busiest port that is not watched: tcp 63"), "{text}");
        assert!(text.contains(", looks like redis.\n"), "{text}");
        assert!(text.contains("To see it:   sniffer watch -r 'DIR/a file.pcap' -p 63") && text.ends_with("=redis\n"), "{text}");
    }

    #[test]
    fn a_file_without_a_transaction_on_a_watched_port() {
        let file = test_file("redis/resp2.pcap");
        let contents = Contents::read(&file).unwrap();
        let all: Vec<u16> = contents.ports.keys().map(|(_, port)| *port).collect();
        let text = explained(&file, &all);
        assert!(text.contains(" on watched ports, without a complete transaction.\n"), "{text}");
        assert!(!text.contains("Busiest"), "{text}");
    }

    #[test]
    fn files_without_packets() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("empty.pcap");
        fs::write(&file, &fs::read(test_file("redis/resp2.pcap")).unwrap()[..24]).unwrap();
        assert_eq!(explained(&file, &[]), "DIR/empty.pcap holds no packets.\n");
        let contents = Contents { packets: 1, ..Contents::default() };
        assert_eq!(contents.explain(Path::new("a\u{1b}b"), true, |_| true), "'a\\x1bb' holds 1 packet, none of TCP or UDP.\n");
    }

    #[test]
    fn a_port_of_no_known_protocol() {
        let mut contents = Contents { packets: 9, ..Contents::default() };
        contents.ports.insert((Transport::Tcp, 9), Port { packets: 5, ..Port::default() });
        contents.ports.insert((Transport::Udp, 7), Port { packets: 4, examined: 4, votes: vec![("dns", 3), ("nfs", 1)] });
        assert_eq!(
            contents.explain(Path::new("x.pcap"), true, |_| false),
            "x.pcap holds 9 packets, none on a watched port (-v lists them).\n\
             Busiest port that is not watched: tcp 9, 5 packets, like no protocol that is known.\n\
             udp 7 looks like dns.\n\
             To see it:   sniffer watch -r x.pcap -p 7=dns\n"
        );
        let configured = contents.explain(Path::new("x.pcap"), false, |_| false);
        assert!(configured.ends_with("\nTo see it, add this to packetbeat.protocols:   {type: dns, ports: [7]}\n"), "{configured}");
    }
}
