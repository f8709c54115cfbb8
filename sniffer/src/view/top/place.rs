//! The screens: tabs, and what can be opened from them.

use crate::view::model::{Model, Record, Service};
use std::{net::SocketAddr, sync::Arc};

/// What identifies a service, also in another model of the same run.
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

    /// The place of the service in a model, and the service.
    pub fn find<'a>(&self, model: &'a Model) -> Option<(usize, &'a Service)> {
        model.services.list().iter().enumerate().find(|(_, service)| service.address == self.address && service.protocol == self.protocol)
    }
}

/// A tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    /// All services.
    Services,
    /// The operations of all services.
    Operations,
    /// The last transactions.
    Tail,
    /// Clients and services with their connections.
    Flows,
    /// Names that were asked for.
    Dns,
    /// Handshakes.
    Tls,
    /// Counters of the capture.
    Health,
}

/// The tabs with their names, in the order of their keys `1` to `7`.
pub const TABS: [(Tab, &str); 7] = [
    (Tab::Services, "Services"),
    (Tab::Operations, "Operations"),
    (Tab::Tail, "Tail"),
    (Tab::Flows, "Flows"),
    (Tab::Dns, "DNS"),
    (Tab::Tls, "TLS"),
    (Tab::Health, "Health"),
];

/// A screen.
#[derive(Clone, Debug)]
pub enum Place {
    /// A tab.
    Tab(Tab),
    /// The operations of a service.
    Service(ServiceId),
    /// The transactions of an operation.
    Operation(ServiceId, Box<str>),
    /// A transaction.
    Transaction(Arc<Record>),
}
