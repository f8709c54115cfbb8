//! The part of a filter that selects what is selected on the screen.

use super::{
    detail,
    place::{Place, Tab},
    state::State,
    table::Key,
    words::{quoted, word},
};
use crate::view::model::record;
use std::net::SocketAddr;

/// The words for a row; `None` if it has none.
pub fn words(state: &State, key: &Key) -> Option<String> {
    let model = state.model();
    match (state.level().map(|level| &level.place)?, key) {
        (_, Key::Service(id)) => server(&id.protocol, id.address),
        (_, Key::Operation(id, name)) => {
            let service = server(&id.protocol, id.address)?;
            // The name of an operation of HTTP is the method and the path, with `{}` for what differs.
            let operation = name
                .split_once(' ')
                .filter(|(_, path)| path.starts_with('/'))
                .and_then(|(method, path)| Some(format!(" {} {}", word("method", method)?, word("path", &path.replace("{}", "*"))?)));
            Some(service + operation.as_deref().unwrap_or_default())
        }
        (_, Key::Record(number)) => model.kept.get(*number)?.with(|of| server(of.protocol, record::server(of).0)),
        (Place::Tab(Tab::Dns), Key::Row(index)) => {
            let name = &model.dns.rows().get(*index)?.name;
            Some(format!("dns {}", quoted(name.strip_prefix("*.").unwrap_or(name))?))
        }
        (Place::Tab(Tab::Tls), Key::Row(index)) => server("tls", model.tls.rows().get(*index)?.server),
        (Place::Tab(Tab::Flows), Key::Row(index)) => {
            let row = model.flows.rows(model.now()).into_iter().nth(*index)?;
            Some(format!("client={} {}", row.client?.ip(), server("", row.server)?).trim_end().to_owned())
        }
        (Place::Transaction(record), Key::Row(index)) => detail::lines(state, record).into_iter().nth(*index)?.words,
        _ => None,
    }
}

/// A protocol and a server.
fn server(protocol: &str, address: Option<SocketAddr>) -> Option<String> {
    let address = address.map(|address| match address.port() {
        0 => format!("server={}", address.ip()),
        _ => format!("server={address}"),
    });
    let words = [Some(protocol.to_owned()).filter(|protocol| !protocol.is_empty()), address];
    let words: Vec<String> = words.into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(" "))
}
