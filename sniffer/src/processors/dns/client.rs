//! A stub resolver (RFC 1034, section 5.3.1): asks name servers over UDP, TCP or TLS (RFC 7858), and waits for the answer.

use super::counts::Counts;
use crate::{
    net::{OwnConnections, own::OwnDatagrams},
    opening::Clock,
};
use domain::{
    base::{Message, MessageBuilder, Name, ParsedName, Rtype, iana::Rcode},
    rdata::AllRecordData,
};
use rustls::pki_types::ServerName;
use serde::{Deserialize, Deserializer, de};
use std::{
    fs,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

/// The kind of record that is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Reverse,
    A,
    Aaaa,
    Txt,
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.to_lowercase().as_str() {
            "reverse" | "ptr" => Ok(Self::Reverse),
            "a" => Ok(Self::A),
            "aaaa" => Ok(Self::Aaaa),
            "txt" => Ok(Self::Txt),
            _ => Err(de::Error::custom(format_args!("expected reverse, PTR, A, AAAA or TXT, got `{text}`"))),
        }
    }
}

/// Maximum length of a message (RFC 1035, section 4.2.2).
const MAX_MESSAGE: usize = 65_535;

/// A client of name servers.
pub(super) struct Client {
    kind: Kind,
    servers: Vec<SocketAddr>,
    timeout: Duration,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// Where the sockets are announced, so that the look-ups are not reported.
    connections: Option<Arc<OwnConnections>>,
}

impl Client {
    /// Reads the addresses of the name servers. `connections`: see [`crate::opening::Opening::connections`].
    ///
    /// # Errors
    /// When an address is invalid, or there is no name server.
    pub(super) fn new(
        kind: Kind,
        tls: bool,
        servers: &[String],
        timeout: Duration,
        connections: Option<Arc<OwnConnections>>,
    ) -> Result<Self, String> {
        let port = if tls { 853 } else { 53 };
        let mut servers = servers.iter().map(|text| address(text, port)).collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            let file = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
            let listed = file.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
            servers.extend(listed.filter_map(|text| address(text.trim(), port).ok()));
        }
        if servers.is_empty() {
            return Err("nameservers: /etc/resolv.conf names no name server; set `nameservers`".to_owned());
        }
        let tls = tls.then(|| {
            let roots = rustls_native_certs::load_native_certs().certs;
            let mut store = rustls::RootCertStore::empty();
            store.add_parsable_certificates(roots);
            Arc::new(rustls::ClientConfig::builder().with_root_certificates(store).with_no_client_auth())
        });
        // Sockets refuse a time limit of 0.
        Ok(Self { kind, servers, timeout: timeout.max(Duration::from_millis(1)), tls, connections })
    }

    /// The name servers, in the order in which they are asked.
    pub(super) fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// The longest time that a look-up takes.
    pub(super) fn longest(&self) -> Duration {
        // One attempt consists of a query over UDP, and of connecting, sending and receiving over TCP.
        self.timeout.saturating_mul(u32::try_from(self.servers.len()).unwrap_or(u32::MAX)).saturating_mul(4)
    }

    /// Looks up an address or a name. Returns the answer and its TTL. Counts the answers of the name servers in `counts`.
    ///
    /// # Errors
    /// When no name server has an answer.
    pub(super) fn look_up(&self, text: &str, counts: &Counts, clock: &dyn Clock) -> Result<(Vec<String>, Duration), String> {
        let name = match self.kind {
            Kind::Reverse => reverse(text.parse().map_err(|_| format!("`{text}` is no address"))?),
            _ => text.trim_end_matches('.').to_owned(),
        };
        let name = Name::<Vec<u8>>::from_str(&format!("{name}.")).map_err(|error| error.to_string())?;
        let kind = match self.kind {
            Kind::Reverse => Rtype::PTR,
            Kind::A => Rtype::A,
            Kind::Aaaa => Rtype::AAAA,
            Kind::Txt => Rtype::TXT,
        };
        let [a, b, ..] = uuid::Uuid::new_v4().into_bytes();
        let id = u16::from_be_bytes([a, b]);
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(id);
        builder.header_mut().set_rd(true);
        let mut question = builder.question();
        question.push((&name, kind)).map_err(|error| error.to_string())?;
        let query = question.finish();
        let mut last = String::new();
        for server in &self.servers {
            let start = clock.now();
            match self.ask(*server, &query, id) {
                Ok(response) => {
                    let answer = answer(&response);
                    counts.answered(server.ip(), Some(clock.now().since(start)), answer.is_ok());
                    return answer;
                }
                Err(error) => {
                    counts.answered(server.ip(), None, false);
                    last = format!("{server}: {error}");
                }
            }
        }
        Err(last)
    }

    fn ask(&self, server: SocketAddr, query: &[u8], id: u16) -> io::Result<Vec<u8>> {
        if let Some(config) = &self.tls {
            let name = ServerName::IpAddress(server.ip().into());
            let mut session = rustls::ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
            let mut socket = self.connect(server)?;
            return exchange(&mut rustls::Stream::new(&mut session, &mut socket), query);
        }
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let own = OwnDatagrams::connect(UdpSocket::bind((any, 0))?, server, self.connections.as_ref())?;
        let socket = own.socket();
        socket.set_read_timeout(Some(self.timeout))?;
        socket.send(query)?;
        let mut buffer = vec![0; MAX_MESSAGE];
        let length = socket.recv(&mut buffer)?;
        buffer.truncate(length);
        let message = Message::from_octets(&buffer).map_err(|_| io::Error::other("the answer is no DNS message"))?;
        if message.header().id() != id {
            return Err(io::Error::other("the answer has another id"));
        }
        if message.header().tc() {
            return exchange(&mut self.connect(server)?, query);
        }
        Ok(buffer)
    }

    fn connect(&self, server: SocketAddr) -> io::Result<TcpStream> {
        let socket = TcpStream::connect_timeout(&server, self.timeout)?;
        if let Some(connections) = &self.connections {
            connections.refresh();
        }
        socket.set_read_timeout(Some(self.timeout))?;
        socket.set_write_timeout(Some(self.timeout))?;
        Ok(socket)
    }
}

/// Sends a query with its length in front, and reads the response.
fn exchange(stream: &mut (impl Read + Write), query: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(query.len()).map_err(io::Error::other)?.to_be_bytes();
    stream.write_all(&[&length, query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut response = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut response)?;
    Ok(response)
}

/// An address with or without a port.
fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    let with_port = text.parse().ok();
    let alone = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
    with_port.or_else(alone).ok_or_else(|| format!("nameservers: `{text}` is no address, such as 192.0.2.53 or [2001:db8::53]:53"))
}

/// The name below which the names of an address are (RFC 1035, section 3.5; RFC 3596, section 2.5).
fn reverse(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let digits: String = ip.octets().iter().rev().map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4)).collect();
            format!("{digits}ip6.arpa")
        }
    }
}

/// The records of a response, and the shortest TTL.
fn answer(response: &[u8]) -> Result<(Vec<String>, Duration), String> {
    let message = Message::from_octets(response).map_err(|error| error.to_string())?;
    if message.header().rcode() != Rcode::NOERROR {
        return Err(message.header().rcode().to_string());
    }
    let (mut texts, mut ttl) = (Vec::new(), u32::MAX);
    let records = message.answer().map_err(|error| error.to_string())?;
    for record in records.limit_to_in::<AllRecordData<&[u8], ParsedName<&[u8]>>>() {
        let record = record.map_err(|error| error.to_string())?;
        texts.push(match record.data() {
            AllRecordData::A(a) => a.addr().to_string(),
            AllRecordData::Aaaa(aaaa) => aaaa.addr().to_string(),
            AllRecordData::Ptr(ptr) => ptr.ptrdname().to_string(),
            AllRecordData::Txt(txt) => String::from_utf8_lossy(&txt.text::<Vec<u8>>()).into_owned(),
            _ => continue,
        });
        ttl = ttl.min(record.ttl().as_secs());
    }
    if texts.is_empty() { Err("the answer has no records".to_owned()) } else { Ok((texts, Duration::from_secs(ttl.into()))) }
}
