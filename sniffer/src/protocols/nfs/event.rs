//! Reports a call and its reply as a document.

use super::{
    names,
    wire::{Call, Reply},
};
use crate::{
    event::{Head, Status, Text},
    net::{Direction, Peers},
    protocols::{Context, kit::held::Held},
    time::Timestamp,
};
use serde::{Serialize, Serializer};

/// A call that waits for its reply.
#[derive(Debug)]
pub struct Asked {
    pub call: Call,
    /// Packet time of the call's first byte.
    pub time: Timestamp,
    /// Length of the call in bytes, without record marks.
    pub bytes: u64,
    /// The two ends.
    pub peers: Peers,
}

impl Held for Asked {
    fn held(&self) -> usize {
        let unix = self.call.unix.as_ref().map_or(0, |unix| unix.machine.held() + unix.gids.held());
        unix + self.call.compound.as_ref().map_or(0, |compound| compound.tag.held())
    }
}

/// A captured reply.
pub struct Answer<'a> {
    pub reply: &'a Reply<'a>,
    pub time: Timestamp,
    /// Length of the reply in bytes, without record marks.
    pub bytes: u64,
}

#[derive(Serialize)]
struct Body<'a> {
    nfs: Nfs<'a>,
    rpc: Rpc<'a>,
    #[serde(rename = "host.hostname", skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    #[serde(rename = "user.id", skip_serializing_if = "Option::is_none")]
    user: Option<u32>,
    #[serde(rename = "group.id", skip_serializing_if = "Option::is_none")]
    group: Option<u32>,
}

#[derive(Serialize)]
struct Nfs<'a> {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    minor_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<Text<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    opcode: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
}

#[derive(Serialize)]
struct Rpc<'a> {
    xid: Xid,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    auth_flavor: Flavor,
    #[serde(skip_serializing_if = "Option::is_none")]
    cred: Option<Credentials<'a>>,
}

#[derive(Serialize)]
struct Credentials<'a> {
    stamp: u32,
    machinename: &'a str,
    uid: u32,
    gid: u32,
    gids: &'a [u32],
}

struct Xid(u32);

impl Serialize for Xid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:08x}", self.0))
    }
}

struct Flavor(u32);

impl Serialize for Flavor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => serializer.serialize_str("none"),
            1 => serializer.serialize_str("unix"),
            6 => serializer.serialize_str("rpcsec_gss"),
            other => serializer.collect_str(&format_args!("unknown ({other})")),
        }
    }
}

fn opcode(call: &Call) -> &'static str {
    match (call.version, call.procedure) {
        (3, procedure) => names::procedure(procedure),
        (4, 0) => names::procedure(0),
        _ => call.compound.as_ref().map_or("", |compound| compound.opcode),
    }
}

/// Reports a call, with its reply if there is one.
pub fn emit(asked: &Asked, answer: Option<&Answer<'_>>, scratch: &mut String, cx: &mut Context<'_>) {
    let call = &asked.call;
    let opcode = opcode(call);
    scratch.clear();
    if !opcode.is_empty() {
        scratch.push_str("nfs.");
        scratch.push_str(opcode);
    }
    let accepted = answer.and_then(|answer| answer.reply.accepted);
    let status = match (answer, call.procedure) {
        (Some(_), 0) if accepted == Some(0) => Some(names::status(0)),
        (Some(answer), _) if accepted == Some(0) => answer.reply.status(call.wrapping).map(names::status),
        _ => None,
    };
    let address;
    let machine = call.unix.as_ref().map(|unix| Text(&unix.machine).to_str());
    let (hostname, domain) = match machine.as_deref() {
        Some("") => {
            address = asked.peers.sender(Direction::ToServer).ip().to_string();
            (Some(address.as_str()), "")
        }
        Some(name) => (Some(name), name),
        None => (None, ""),
    };
    let cred = call.unix.as_ref().map(|unix| Credentials {
        stamp: unix.stamp,
        machinename: hostname.unwrap_or_default(),
        uid: unix.uid,
        gid: unix.gid,
        gids: &unix.gids,
    });
    let head = Head {
        status: if answer.is_some() { Status::OK } else { Status::NoReply },
        outcome: if accepted.is_some_and(|accepted| accepted != 0) { "failure" } else { "" },
        action: scratch,
        start: Some(asked.time),
        end: answer.map(|answer| answer.time),
        source_bytes: asked.bytes,
        destination_bytes: answer.map_or(0, |answer| answer.bytes),
        source_domain: domain,
        protocol: match call.version {
            3 => "nfsv3",
            4 => "nfsv4",
            _ => "nfs",
        },
        names_user: call.unix.is_some(),
        ..Head::new("nfs")
    };
    let body = Body {
        nfs: Nfs {
            version: call.version,
            minor_version: call.compound.as_ref().map(|compound| compound.minor_version),
            tag: call.compound.as_ref().map(|compound| Text(&compound.tag)),
            opcode,
            status,
        },
        rpc: Rpc { xid: Xid(call.xid), status: accepted.map(names::accepted), auth_flavor: Flavor(call.flavor), cred },
        hostname,
        user: call.unix.as_ref().map(|unix| unix.uid),
        group: call.unix.as_ref().map(|unix| unix.gid),
    };
    cx.emit_for(&asked.peers, &head, &body);
}
