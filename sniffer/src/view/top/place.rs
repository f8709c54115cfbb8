//! The screens: tabs, and what can be opened from them.

use crate::view::model::Record;
pub use crate::view::model::ServiceId;
use std::sync::Arc;

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
