//! Reports a request and its response as a document.

use super::{
    binary,
    message::{Kind, Message, Span},
};
use crate::{
    event::{Head, Status, Text},
    protocols::Context,
};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

/// A request and its response. One of them may be missing.
pub struct Pair<'a> {
    pub request: Option<&'a Message>,
    pub response: Option<&'a Message>,
}

/// The object `memcache`. The keys of both fields contain a dot, as in Packetbeat.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "event.action", skip_serializing_if = "str::is_empty")]
    action: &'static str,
    #[serde(rename = "event.outcome", skip_serializing_if = "str::is_empty")]
    outcome: &'static str,
    memcache: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    protocol_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<View<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<View<'a>>,
}

/// Reports a transaction.
pub fn emit(pair: &Pair<'_>, notes: &[&str], cx: &mut Context<'_>) {
    let Some(first) = pair.request.or(pair.response) else { return };
    let short = |m: Option<&Message>| m.is_some_and(|m| m.short_extras).then_some("unexpected end of buffer");
    let lost = |m: Option<&Message>, note: &'static str| m.is_some_and(|m| m.lost).then_some(note);
    let mut all = [""; 5];
    let own = [
        short(pair.request),
        lost(pair.request, "Packet loss while capturing the request"),
        short(pair.response),
        lost(pair.response, "Packet loss while capturing the response"),
        notes.first().copied(),
    ];
    let mut count = 0;
    for note in own.into_iter().flatten() {
        all[count] = note;
        count += 1;
    }
    let head = Head {
        status: status(pair),
        start: pair.request.map(|m| m.time),
        end: pair.response.map(|m| m.time),
        source_bytes: pair.request.map_or(0, |m| m.size),
        destination_bytes: pair.response.map_or(0, |m| m.size),
        notes: &all[..count],
        ..Head::new("memcache")
    };
    let memcache = Fields {
        protocol_type: if first.binary { "binary" } else { "text" },
        request: pair.request.map(|m| View(m, true)),
        response: pair.response.map(|m| View(m, false)),
    };
    let action = pair.request.map_or("", |m| m.kind.names().1);
    let outcome = pair.response.map_or("", outcome);
    cx.emit(&head, &Body { action, outcome, memcache });
}

fn status(pair: &Pair<'_>) -> Status {
    match (pair.request, pair.response) {
        (None, _) => Status::ClientError,
        (Some(request), None) if request.silent() => Status::OK,
        (Some(_), None) => Status::ServerError,
        (Some(_), Some(r)) if r.binary => match r.status {
            0 => Status::OK,
            0x81.. => Status::ServerError,
            _ => Status::Error,
        },
        (Some(_), Some(r)) => match r.command {
            _ if r.kind != Kind::Fail => Status::OK,
            "CLIENT_ERROR" | "SAME" => Status::ClientError,
            "SERVER_ERROR" | "BUSY" | "BADCLASS" | "NOSPARE" | "NOTFULL" | "UNSAFE" => Status::ServerError,
            _ => Status::Error,
        },
    }
}

/// The outcome of a response. Errors of the binary protocol have none, as in Packetbeat.
fn outcome(response: &Message) -> &'static str {
    match (response.binary, response.kind) {
        (true, _) if response.status != 0 => "",
        (false, Kind::Fail) => "failure",
        _ => "success",
    }
}

/// A message, and whether it is a request.
struct View<'a>(&'a Message, bool);

/// Clears the highest bit of an unsigned number, because an index cannot store larger numbers.
fn number(n: u64) -> u64 {
    n & u64::MAX >> 1
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let &Self(m, request) = self;
        let mut map = serializer.serialize_map(None)?;
        macro_rules! put {
            ($($name:literal $value:expr),* $(,)?) => {$(
                if let Some(value) = $value {
                    map.serialize_entry($name, &value)?;
                }
            )*};
        }
        let text = |span: Option<Span>| span.map(|span| Text(m.get(span)));
        let unknown = !m.binary && m.command == "UNKNOWN";
        map.serialize_entry("command", m.command)?;
        map.serialize_entry("type", m.kind.names().0)?;
        put! { "line" text(m.line) }
        if unknown {
            return map.end();
        }
        if !m.keys.is_empty() {
            map.serialize_entry("keys", &Texts(m, &m.keys))?;
        }
        put! {
            "flags" m.flags, "exptime" m.exptime, "cas_unique" m.cas_unique.map(number), "delta" m.delta.map(number),
            "initial" m.initial.map(number), "value" m.value.map(number), "verbosity" m.verbosity, "sleep_us" m.sleep_us.map(number),
            "raw_args" text(m.raw_args), "error_msg" text(m.error_msg), "version" text(m.version), "noreply" m.noreply,
            "opaque" m.opaque.map(number), "bytes" m.bytes,
        }
        if let Some((source, destination)) = m.classes {
            map.serialize_entry("source_class", &source)?;
            map.serialize_entry("dest_class", &destination)?;
        }
        match m.automove {
            None => {}
            Some(0) => map.serialize_entry("automove", "standby")?,
            Some(1) => map.serialize_entry("automove", "slow")?,
            Some(2) => map.serialize_entry("automove", "aggressive")?,
            Some(n) => map.serialize_entry("automove", &n.to_string())?,
        }
        if m.count_values > 0 {
            map.serialize_entry("count_values", &m.count_values)?;
        }
        match m.values.as_slice() {
            [] => {}
            &[one] if request && !m.binary => map.serialize_entry("values", &Text(m.get(one)))?,
            all => map.serialize_entry("values", &Texts(m, all))?,
        }
        if !m.stats.is_empty() {
            map.serialize_entry("stats", &Stats(m))?;
        }
        if m.binary {
            map.serialize_entry("opcode", binary::opcode_name(m.opcode))?;
            map.serialize_entry("opcode_value", &m.opcode)?;
            if request {
                map.serialize_entry("quiet", &m.quiet)?;
                map.serialize_entry("vbucket", &m.status)?;
            } else {
                map.serialize_entry("status", binary::status_name(m.status))?;
                map.serialize_entry("status_code", &m.status)?;
            }
        } else if request && m.quiet {
            map.serialize_entry("quiet", &true)?;
        }
        map.end()
    }
}

struct Texts<'a>(&'a Message, &'a [Span]);

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.1.iter().map(|&span| Text(self.0.get(span))))
    }
}

struct Stats<'a>(&'a Message);

impl Serialize for Stats<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Stat<'a> {
            name: Text<'a>,
            value: Text<'a>,
        }
        let mut list = serializer.serialize_seq(Some(self.0.stats.len()))?;
        for &(name, value) in &self.0.stats {
            list.serialize_element(&Stat { name: Text(self.0.get(name)), value: Text(self.0.get(value)) })?;
        }
        list.end()
    }
}
