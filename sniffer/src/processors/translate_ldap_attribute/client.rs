//! Asks an LDAP server for an attribute of an entry, over a connection that stays open. Blocks; it runs on the thread of the look-ups.

use super::wire::{self, Reader, Search};
use crate::{net::OwnConnections, tls::Reloading};
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

/// The longest time to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The entries of an answer, and the code and text of its result.
type Answer = (Vec<Vec<u8>>, (u32, String));

/// Maximum number of bytes of a message.
const MAX_MESSAGE: usize = 1 << 20;
/// Maximum number of messages that answer a request.
const MAX_MESSAGES: usize = 1000;
/// The result code of a search that found more entries than asked for.
const SIZE_LIMIT: u32 = 4;
const SUCCESS: u32 = 0;
/// The result code of a search below an entry that does not exist.
const NO_SUCH_OBJECT: u32 = 32;

/// A server, and how it is asked.
pub(super) struct Server {
    /// `HOST:PORT`.
    pub(super) address: String,
    pub(super) tls: Option<Reloading>,
    pub(super) user: String,
    pub(super) password: String,
    /// The entry below which is searched; empty: the server says it.
    pub(super) base: String,
    pub(super) search_attribute: String,
    pub(super) mapped_attribute: String,
    /// The time limit of a search.
    pub(super) limit: Duration,
    /// Where connections are announced, so that they are not reported.
    pub(super) connections: Option<Arc<OwnConnections>>,
}

/// An open connection.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    id: u32,
    base: String,
}

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

impl Server {
    /// The values of the mapped attribute of the first entry whose search attribute has this value; none if there is no such entry. A
    /// connection that was open before and turns out to be closed is opened once more.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses the request, or does not answer in time.
    pub(super) fn find(&self, connection: &mut Option<Connection>, value: &[u8]) -> Result<Vec<String>, String> {
        if let Some(mut open) = connection.take()
            && let Ok(found) = self.search(&mut open, value)
        {
            *connection = Some(open);
            return Ok(found);
        }
        let mut open = self.connect()?;
        let found = self.search(&mut open, value)?;
        *connection = Some(open);
        Ok(found)
    }

    fn connect(&self) -> Result<Connection, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", self.address);
        let addresses = self.address.to_socket_addrs().map_err(|error| failed(&error))?;
        let mut last = failed(&"it has no address");
        let mut socket = None;
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(connected) => {
                    socket = Some(connected);
                    break;
                }
                Err(error) => last = failed(&error),
            }
        }
        let socket = socket.ok_or(last)?;
        if let Some(connections) = &self.connections {
            connections.refresh();
        }
        let limit = Some(self.limit.max(Duration::from_secs(1)));
        socket.set_read_timeout(limit).and_then(|()| socket.set_write_timeout(limit)).map_err(|error| failed(&error))?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(socket),
            Some(tls) => {
                let host = self.address.rsplit_once(':').map_or(&*self.address, |(host, _)| host).trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(host).map_err(|error| failed(&error))?;
                let session = ClientConnection::new(tls.config(), name).map_err(|error| failed(&error))?;
                Box::new(StreamOwned::new(session, socket))
            }
        };
        let mut connection = Connection { stream, id: 0, base: self.base.clone() };
        if !self.user.is_empty() {
            let content = wire::bind(&self.user, &self.password);
            let (_, result) = connection.ask(wire::BIND_REQUEST, &content, wire::BIND_RESPONSE)?;
            succeeded("bind", &result, &[SUCCESS])?;
        }
        if connection.base.is_empty() {
            connection.base = self.naming_context(&mut connection)?;
        }
        Ok(connection)
    }

    /// The entry that holds all others, as the server names it.
    fn naming_context(&self, connection: &mut Connection) -> Result<String, String> {
        let attributes = ["defaultNamingContext", "namingContexts"];
        let search = Search { base: "", filter: None, attributes: &attributes, seconds: self.seconds() };
        let (entries, result) = connection.ask(wire::SEARCH_REQUEST, &search.content(), wire::SEARCH_DONE)?;
        succeeded("search for the base DN", &result, &[SUCCESS])?;
        let found = attributes.iter().find_map(|name| entries.iter().find_map(|entry| wire::values(entry, name)?.into_iter().next()));
        found.filter(|base| !base.is_empty()).ok_or_else(|| "the server does not say its base DN; set ldap_base_dn".to_owned())
    }

    fn search(&self, connection: &mut Connection, value: &[u8]) -> Result<Vec<String>, String> {
        let base = connection.base.clone();
        let search = Search {
            base: &base,
            filter: Some((&self.search_attribute, value)),
            attributes: &[&self.mapped_attribute],
            seconds: self.seconds(),
        };
        let (entries, result) = connection.ask(wire::SEARCH_REQUEST, &search.content(), wire::SEARCH_DONE)?;
        succeeded("search", &result, &[SUCCESS, SIZE_LIMIT, NO_SUCH_OBJECT])?;
        let Some(first) = entries.first() else { return Ok(Vec::new()) };
        wire::values(first, &self.mapped_attribute).ok_or_else(|| "an entry is malformed".to_owned())
    }

    fn seconds(&self) -> u32 {
        u32::try_from(self.limit.as_secs()).unwrap_or(u32::MAX)
    }
}

fn succeeded(what: &str, (code, text): &(u32, String), accepted: &[u32]) -> Result<(), String> {
    if accepted.contains(code) { Ok(()) } else { Err(format!("{what}: the server answered with result code {code} {text}")) }
}

impl Connection {
    /// Sends a request. Returns the entries that answer it, and the code and text of the last response, which has the tag `end`.
    fn ask(&mut self, operation: u8, content: &[u8], end: u8) -> Result<Answer, String> {
        self.id = self.id.wrapping_add(1) & 0x7fff_ffff;
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
            _ => error.to_string(),
        };
        self.stream.write_all(&wire::message(self.id, operation, content)).and_then(|()| self.stream.flush()).map_err(failed)?;
        let (mut entries, malformed) = (Vec::new(), || "the answer is no LDAP".to_owned());
        for _ in 0..MAX_MESSAGES {
            let message = self.read().map_err(failed)?;
            let mut reader = Reader(&message);
            let id = reader.expect(0x02).and_then(wire::read_number).ok_or_else(malformed)?;
            let (tag, content) = reader.next().ok_or_else(malformed)?;
            if id != self.id {
                // A message that belongs to no request says that the server closes the connection.
                return Err("the server ended the connection".to_owned());
            }
            if tag == end {
                return Ok((entries, wire::result(content).ok_or_else(malformed)?));
            }
            // Only the first entry is used.
            if tag == wire::SEARCH_ENTRY && entries.is_empty() {
                entries.push(content.to_vec());
            }
        }
        Err(format!("more than {MAX_MESSAGES} messages answer a request"))
    }

    /// Reads the content of one message.
    fn read(&mut self) -> std::io::Result<Vec<u8>> {
        let malformed = || std::io::Error::new(ErrorKind::InvalidData, "the answer is no LDAP");
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let [tag, first] = head;
        let mut length = vec![first];
        if first & 0x80 != 0 {
            // `wire::length` refuses more than four bytes.
            let mut digits = [0; 4];
            let digits = digits.get_mut(..usize::from(first & 0x7f)).ok_or_else(malformed)?;
            self.stream.read_exact(digits)?;
            length.extend_from_slice(digits);
        }
        let (length, _) = wire::length(&length).ok_or_else(malformed)?;
        if tag != wire::SEQUENCE || length > MAX_MESSAGE {
            return Err(malformed());
        }
        let mut message = vec![0; length];
        self.stream.read_exact(&mut message)?;
        Ok(message)
    }
}
