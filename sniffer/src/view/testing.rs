//! A transaction for tests.

use crate::{
    net::{Direction, Realm, Transport},
    process::Ends,
    publish::observer::{Details, Transaction},
    time::Timestamp,
};
use std::time::Duration;

/// 2026-01-02T03:04:05Z
pub const TIME: Timestamp = Timestamp(1_767_323_045_000_000_000);

/// A request of HTTP that succeeded after 2 ms.
pub fn transaction() -> Transaction<'static> {
    Transaction {
        protocol: "http",
        realm: Realm::default(),
        transport: Transport::Tcp,
        from: Direction::ToServer,
        source: Some("10.0.0.7:40000".parse().unwrap()),
        destination: Some("10.0.0.9:8080".parse().unwrap()),
        time: TIME,
        start: Some(TIME),
        end: Some(Timestamp(TIME.0 + 2_000_000)),
        duration: Some(Duration::from_millis(2)),
        source_bytes: 100,
        destination_bytes: 900,
        method: "GET",
        resource: "/orders",
        query: "GET api.shop/orders",
        result: "200",
        status: "OK",
        details: Details::Http { host: "api.shop" },
        notes: &[],
        processes: &Ends::NONE,
    }
}
