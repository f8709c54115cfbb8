//! Names and short texts that several views show alike: of services and of what calls them, and the result of a transaction.

use super::model::{Model, Range, Service, ServiceId};
use crate::publish::observer::Transaction;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// A client of a service, or a service that it calls.
#[derive(Clone, Debug)]
pub struct Neighbour<'a> {
    /// The name of the process or the address of a client, or the name of a service.
    pub name: String,
    /// The service that is called; `None` for a client.
    pub service: Option<&'a Service>,
    /// Transactions per second.
    pub rate: f64,
}

/// The best name of a service, with its port: the one that clients used, or the one that DNS gave its address. Without `with_names` its address.
pub fn service_name(model: &Model, service: &Service, with_names: bool) -> String {
    match (service.name.as_deref().or_else(|| model.names.of_end(service.address)), service.address) {
        (Some(name), Some(address)) if with_names => format!("{name}:{}", address.port()),
        (_, Some(address)) => socket_text(address),
        (Some(name), None) => name.to_string(),
        (None, None) => "?".to_owned(),
    }
}

/// Who calls the service, and what the service's process calls, the highest rate first.
pub fn neighbours<'a>(model: &'a Model, range: Range, id: &ServiceId, with_names: bool) -> [Vec<Neighbour<'a>>; 2] {
    let Some((place, service)) = id.find(model) else { return [Vec::new(), Vec::new()] };
    let (mut callers, mut called) = (Vec::new(), Vec::new());
    let pid = service.process.as_ref().map(|process| process.pid);
    for edge in model.edges.list() {
        let rate = edge.rate(range, model.now(), model.covered());
        let client = edge.process.as_ref();
        if edge.service == place {
            let address = edge.client.as_ref().map(IpAddr::to_string);
            let name = client.map(|process| process.name.clone()).or(address).unwrap_or_default();
            callers.push(Neighbour { name, service: None, rate });
        } else if let (Some(pid), Some(client)) = (pid, client)
            && client.pid == pid
            && let Some(service) = model.services.list().get(edge.service)
        {
            called.push(Neighbour { name: service_name(model, service, with_names), service: Some(service), rate });
        }
    }
    [callers, called].map(|mut list| {
        // A program that is started for each request has one edge per process.
        fn key<'b>(of: &'b Neighbour<'_>) -> (&'b str, Option<&'b str>) {
            (of.name.as_str(), of.service.map(|service| &*service.protocol))
        }
        list.sort_by(|a, b| key(a).cmp(&key(b)));
        list.dedup_by(|next, kept| {
            let is_same = key(next) == key(kept);
            kept.rate += if is_same { next.rate } else { 0.0 };
            is_same
        });
        list.sort_by(|a, b| b.rate.total_cmp(&a.rate));
        list
    })
}

/// Whether the transaction failed.
pub fn is_error(of: &Transaction<'_>) -> bool {
    of.status != "OK"
}

/// The result in few characters: that of the protocol, or the status if it is a message.
pub fn result<'a>(of: &Transaction<'a>) -> &'a str {
    if of.result.is_empty() || of.result.len() > 7 { of.status } else { of.result }
}

/// A duration in nanoseconds.
pub fn nanos(of: Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}

/// Address and port, without the port if the transport has none.
pub fn socket_text(socket: SocketAddr) -> String {
    if socket.port() == 0 { socket.ip().to_string() } else { socket.to_string() }
}
