//! What a screen without rows says: what is watched, what was seen, what is hidden, and what to do.

use super::{
    place::{Place, Tab},
    redact::Kind,
    state::State,
};
use crate::view::units::counted;

/// The lines of a screen without rows.
pub fn lines(state: &State) -> Vec<String> {
    let all = state.everything();
    let (seen, matched) = (counted(state.health.seen, state.source.unit), counted(state.health.matched, state.source.unit));
    let count = all.stats.all().count;
    let place = state.level().map(|level| &level.place);
    if matches!(place, Some(Place::Tab(Tab::Health))) {
        return vec!["No counter yet. The first ones come half a second after the start.".to_owned()];
    }
    if state.filtering.model().is_some() && count > 0 {
        let hidden = counted(count, "transaction");
        return vec![
            format!("The filter hides everything that this screen could show, of {hidden}."),
            format!("The filter is: {}", if state.is_redacted { "(redacted)" } else { &state.filtering.text }),
            "Esc removes it; / changes it.".to_owned(),
        ];
    }
    let what = match place {
        Some(Place::Tab(Tab::Flows)) => "No flow yet. A flow is shown when its first report is due, at the latest after 5 s.",
        Some(Place::Tab(Tab::Dns)) if count > 0 => "No DNS query yet; other transactions were seen.",
        Some(Place::Tab(Tab::Tls)) if count > 0 => "No TLS handshake yet; other transactions were seen.",
        Some(Place::Operation(..)) => "The transactions of this operation are no longer kept: newer ones took their place.",
        _ => "",
    };
    if !what.is_empty() {
        return vec![what.to_owned()];
    }
    let (source, watched) = (&state.source, &state.source.watched);
    let host = state.shown().hide(Kind::Name, &source.host);
    if !source.is_live && state.has_ended && source.unit == "line" {
        return vec![format!("{host} has {seen} and no transaction.")];
    }
    if !source.is_live && state.has_ended {
        return vec![
            format!("{host} has {seen} and no transaction of {watched}."),
            "If a protocol uses another port, name it: sniffer top -p PORT=PROTOCOL -r FILE".to_owned(),
        ];
    }
    if !source.is_live {
        return vec![format!("Reading {host}: {seen} until now, no transaction yet.")];
    }
    let capture = if source.capture.is_empty() { "The capture is being opened" } else { &source.capture };
    let seconds = all.covered().as_secs();
    let mut lines = match (state.health.seen, state.health.matched) {
        (0, _) => vec![
            format!("Nothing yet: {capture}, {seconds} s, no packet."),
            "If another device has the traffic, name it: sniffer top -i DEVICE (sniffer devices lists them).".to_owned(),
        ],
        (_, 0) => vec![
            format!("Nothing yet: {capture}, {seconds} s, {seen}, none on a watched port."),
            format!("Watched are {watched}. Another port: sniffer top -p PORT=PROTOCOL"),
        ],
        _ => vec![format!("Nothing yet: {capture}, {seconds} s, {seen}, of which {matched} on watched ports. No transaction is complete.")],
    };
    lines.push(format!("To make a request, in another terminal:   {}", source.example));
    lines
}
