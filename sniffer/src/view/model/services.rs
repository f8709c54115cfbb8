//! Services: servers by address, port and protocol. Each has its operations.

use super::{
    Model,
    operations::Operations,
    record,
    stats::{Counted, Stats},
};
use crate::{
    process::Process,
    publish::observer::{Details, Transaction},
};
use hashbrown::HashMap;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Maximum number of services. Further ones are counted together, see [`Services::rest`].
pub const MOST_SERVICES: usize = 2000;
/// Maximum number of operations of all services together.
pub const MOST_OPERATIONS: usize = 20_000;
/// Maximum number of different protocols. Processors can change the name of the protocol.
const MOST_PROTOCOLS: usize = 64;
/// Maximum length of the name of a service, in bytes.
const LONGEST_NAME: usize = 255;

/// A server.
#[derive(Clone, Debug)]
pub struct Service {
    /// Address and port; port 0 for transports without ports. `None` if a processor removed the address.
    pub address: Option<SocketAddr>,
    /// The name of the protocol.
    pub protocol: Box<str>,
    /// The first name that a client used for the server: the host of an HTTP request, or the server name of a TLS handshake.
    pub name: Option<Box<str>>,
    /// The last known process of the server.
    pub process: Option<Arc<Process>>,
    /// The counts of all operations.
    pub stats: Stats,
    /// The operations.
    pub operations: Operations,
}

/// What identifies a service, also in another model of the same run. Its text is `PROTOCOL/ADDRESS:PORT`, with `-` for an unknown address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceId {
    /// Address and port.
    pub address: Option<SocketAddr>,
    /// The name of the protocol.
    pub protocol: Box<str>,
}

impl ServiceId {
    /// The identity of a service.
    pub fn of(service: &Service) -> Self {
        Self { address: service.address, protocol: service.protocol.clone() }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        // The protocol is any text, and an address has no slash.
        let (protocol, address) = text.rsplit_once('/')?;
        let address = if address == "-" { None } else { Some(address.parse().ok()?) };
        Some(Self { address, protocol: protocol.into() })
    }

    /// The place of the service in a model, and the service.
    pub fn find<'a>(&self, model: &'a Model) -> Option<(usize, &'a Service)> {
        model.services.find(self.address, &self.protocol)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}/{address}", self.protocol),
            None => write!(f, "{}/-", self.protocol),
        }
    }
}

/// The services.
#[derive(Clone, Debug, Default)]
pub struct Services {
    list: Vec<Service>,
    /// The place in `list` by address and by the place in `protocols`.
    index: HashMap<(Option<SocketAddr>, usize), usize>,
    protocols: Vec<Box<str>>,
    /// Number of operations of all services.
    operations: usize,
    rest: Option<Box<Stats>>,
}

impl Services {
    /// All services within the limit. A service keeps its place.
    pub fn list(&self) -> &[Service] {
        &self.list
    }

    /// The service with this address and protocol, and its place.
    pub fn find(&self, address: Option<SocketAddr>, protocol: &str) -> Option<(usize, &Service)> {
        let protocol = self.protocols.iter().position(|known| **known == *protocol)?;
        let place = *self.index.get(&(address, protocol))?;
        Some((place, self.list.get(place)?))
    }

    /// The counts of the services beyond the limit.
    pub fn rest(&self) -> Option<&Stats> {
        self.rest.as_deref()
    }

    /// Counts a transaction. `name`: a buffer. Returns the place of the service; `None` if it is beyond the limit.
    pub fn add(&mut self, of: &Transaction<'_>, counted: &Counted, name: &mut String) -> Option<usize> {
        let place = self.place(of);
        let Some(service) = place.and_then(|place| self.list.get_mut(place)) else {
            self.rest.get_or_insert_default().add(counted);
            return None;
        };
        service.stats.add(counted);
        if let (_, Some(process)) = record::server(of)
            && service.process.as_ref().is_none_or(|known| known.pid != process.pid)
        {
            service.process = Some(process.clone());
        }
        if service.name.is_none() {
            service.name = server_name(&of.details).map(Box::from);
        }
        let before = service.operations.list().len();
        service.operations.add(of, counted, name, self.operations < MOST_OPERATIONS);
        let after = service.operations.list().len();
        self.operations = (self.operations + after).saturating_sub(before);
        place
    }

    /// The place of a transaction's service, which is added if there is room.
    fn place(&mut self, of: &Transaction<'_>) -> Option<usize> {
        let (address, _) = record::server(of);
        let protocol = match self.protocols.iter().position(|known| **known == *of.protocol) {
            Some(place) => place,
            None if self.protocols.len() < MOST_PROTOCOLS => {
                self.protocols.push(of.protocol.into());
                self.protocols.len() - 1
            }
            None => return None,
        };
        if let Some(place) = self.index.get(&(address, protocol)) {
            return Some(*place);
        }
        if self.list.len() >= MOST_SERVICES {
            return None;
        }
        self.index.insert((address, protocol), self.list.len());
        self.list.push(Service {
            address,
            protocol: of.protocol.into(),
            name: None,
            process: None,
            stats: Stats::default(),
            operations: Operations::default(),
        });
        Some(self.list.len() - 1)
    }
}

/// The name that the client used for the server.
fn server_name<'a>(details: &Details<'a>) -> Option<&'a str> {
    let name = match *details {
        Details::Http { host } => host,
        Details::Tls { server_name, .. } => server_name,
        Details::Dns { .. } | Details::None => "",
    };
    let is_address = || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    (!name.is_empty() && name.len() <= LONGEST_NAME && !is_address()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::transaction;
    use crate::{net::Direction, process::Ends};

    fn add(services: &mut Services, of: &Transaction<'_>) -> Option<usize> {
        services.add(of, &Counted::default(), &mut String::new())
    }

    #[test]
    fn a_service_is_the_server_whatever_the_direction() {
        let mut services = Services::default();
        let first = transaction();
        let process = Some(Arc::new(Process { pid: 7, name: "api".into(), ..Process::default() }));
        let ends = Ends { source: process.clone(), destination: None };
        let reversed = Transaction {
            from: Direction::ToClient,
            source: first.destination,
            destination: first.source,
            processes: &ends,
            details: Details::Http { host: "10.0.0.9" },
            ..first
        };
        assert_eq!([add(&mut services, &reversed), add(&mut services, &first)], [Some(0); 2]);
        assert_eq!(add(&mut services, &Transaction { protocol: "tls", ..first }), Some(1));
        let service = &services.list()[0];
        assert_eq!((service.address, service.process.as_ref()), (first.destination, process.as_ref()));
        assert_eq!((service.name.as_deref(), service.stats.all().count), (Some("api.shop"), 2), "an address is no name");
    }

    #[test]
    fn services_beyond_the_limit_are_counted_together() {
        let mut services = Services::default();
        for index in 0..MOST_SERVICES + 10 {
            let destination = Some(SocketAddr::from(([10, 0, (index >> 8) as u8, index as u8], 80)));
            add(&mut services, &Transaction { destination, ..transaction() });
        }
        assert_eq!((services.list().len(), services.rest().unwrap().all().count), (MOST_SERVICES, 10));
        let known = Transaction { destination: Some("10.0.0.9:80".parse().unwrap()), ..transaction() };
        assert_eq!(add(&mut services, &known), Some(9), "a known service is counted in its row");
        let mut services = Services::default();
        for index in 0..MOST_PROTOCOLS + 3 {
            add(&mut services, &Transaction { protocol: &index.to_string(), ..transaction() });
        }
        assert_eq!((services.list().len(), services.rest().unwrap().all().count), (MOST_PROTOCOLS, 3));
    }

    #[test]
    fn the_operations_of_all_services_are_limited() {
        let mut services = Services::default();
        let per_service = super::super::operations::MOST_OPERATIONS;
        for service in 0..MOST_OPERATIONS / per_service + 1 {
            let destination = Some(SocketAddr::from(([10, 1, 0, service as u8], 5432)));
            for operation in 0..per_service {
                let query = format!("SELECT {}{}", "x".repeat(operation % 50 + 1), "y".repeat(operation / 50));
                add(&mut services, &Transaction { protocol: "pgsql", query: &query, destination, ..transaction() });
            }
        }
        let last = services.list().last().unwrap();
        assert_eq!((last.operations.list().len(), last.operations.rest().unwrap().all().count), (0, per_service as u64));
        assert_eq!(last.stats.all().count, per_service as u64, "the service counts all of them");
    }
}
