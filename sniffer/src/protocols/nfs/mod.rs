//! NFS versions 3 and 4 over TCP and UDP: calls and replies of ONC RPC, paired by client and transaction id. The mount,
//! lock and portmap programs, callbacks (only counted) and the contents of files are not parsed.
//!
//! RPC: RFC 5531; NFS: RFC 1813, RFC 7530, RFC 8881, RFC 7862.

mod compound;
mod event;
mod fields;
mod names;
mod stream;
mod wire;

use super::{
    CommonOptions, Context, Plugin, Probe, Protocol, StreamParser,
    kit::{backlog::Limits, held::Held, matcher::Matcher, timers},
};
use crate::{
    config,
    event::Summary,
    net::{Direction, Transport},
    time::Timestamp,
};
use event::{Answer, Asked};
use serde::Deserialize;
use std::{hash::Hash, net::SocketAddr, time::Duration};
use stream::Stream;
use wire::{Call, Message};

/// The protocol `nfs`.
pub const PROTOCOL: Protocol = Protocol {
    name: "nfs",
    ports: &[2049],
    transports: &[Transport::Tcp, Transport::Udp],
    default_ports: false,
    open,
    probe,
    fields: fields::FIELDS,
    summary: Summary { method: &["{nfs.opcode}"], result: &["{nfs.status}"], ..Summary::HEAD },
};

/// Maximum number of waiting calls over UDP. A client has some dozens.
const MOST_WAITING: usize = 16 << 10;

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    /// How long a call waits for its reply. The default is long, because a server may be slow: disks spin up, leases
    /// expire.
    #[serde(with = "config::duration")]
    transaction_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { transaction_timeout: Duration::from_secs(60) }
    }
}

fn open(node: &config::Node) -> Result<Box<dyn Plugin>, config::Error> {
    // NFS documents have no text of requests and responses, but these options are checked nevertheless.
    let _: CommonOptions = node.read()?;
    let timeout = node.read::<Options>()?.transaction_timeout;
    Ok(Box::new(Nfs { timeout, calls: Calls::new(timeout, MOST_WAITING) }))
}

/// Recognises an NFS call, with a record mark or in a datagram, or a possible reply.
fn probe(_: Direction, data: &[u8]) -> Probe {
    let calls_nfs = |message: &[u8]| message.get(4..16).is_some_and(|head| head == [0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0x86, 0xa3]);
    if calls_nfs(data) || calls_nfs(data.get(wire::MARK..).unwrap_or_default()) {
        return Probe::Yes;
    }
    match wire::plausible(data) {
        Some(true) | None if data.len() < wire::FOUND_IN => Probe::More(wire::FOUND_IN - data.len()),
        _ => Probe::No,
    }
}

struct Nfs {
    timeout: Duration,
    /// The calls over UDP.
    calls: Calls<(SocketAddr, u32)>,
}

impl Plugin for Nfs {
    fn connect(&self) -> Option<Box<dyn StreamParser>> {
        Some(Box::new(Stream::new(self.timeout)))
    }

    fn on_datagram(&mut self, dir: Direction, data: &[u8], cx: &mut Context<'_>) {
        let bytes = data.len() as u64;
        match wire::read(data, true) {
            Some(Message::Call(call)) => {
                // The message, not the ports, determines which side is the client.
                if dir == Direction::ToClient {
                    cx.flip();
                }
                self.calls.asked((cx.peers().client, call.xid), call, cx.now(), bytes, cx);
            }
            Some(Message::Reply(reply)) => {
                let client = cx.peers().receiver(dir);
                self.calls.answered(&(client, reply.xid), &Answer { reply: &reply, time: cx.now(), bytes }, cx);
            }
            Some(Message::OtherProgram) => cx.count("other_programs"),
            None => cx.count("malformed"),
        }
        self.calls.wake(cx);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.calls.expire(cx);
    }

    fn on_end(&mut self, cx: &mut Context<'_>) {
        self.calls.flush(cx);
    }

    fn evict(&mut self, cx: &mut Context<'_>) -> bool {
        let asked = self.calls.waiting.pop();
        if let Some(asked) = &asked {
            self.calls.unanswered(asked, cx);
        }
        asked.is_some()
    }

    fn time_out(&self) -> Option<Duration> {
        Some(self.timeout)
    }

    fn held(&self) -> usize {
        self.calls.held()
    }
}

/// Calls that wait for their replies.
struct Calls<K> {
    waiting: Matcher<K, Asked>,
    /// Buffer for texts.
    scratch: String,
}

impl<K: Hash + Eq + Clone> Calls<K> {
    fn new(timeout: Duration, most: usize) -> Self {
        Self { waiting: Matcher::new(Limits { items: most, bytes: usize::MAX, timeout }), scratch: String::new() }
    }

    fn asked(&mut self, key: K, call: Call, time: Timestamp, bytes: u64, cx: &mut Context<'_>) {
        if self.waiting.get(&key).is_some_and(|earlier| earlier.call == call) {
            // The client sends the call again, because there was no reply. The start time of the call is that of the
            // first transmission.
            return cx.count("retransmitted_requests");
        }
        let asked = Asked { call, time, bytes, peers: cx.peers().clone() };
        if let Some(out) = self.waiting.insert(key, asked, cx.now()) {
            self.unanswered(&out, cx);
        }
    }

    /// Returns the call to which this is the reply.
    fn answered(&mut self, key: &K, answer: &Answer<'_>, cx: &mut Context<'_>) -> Option<Asked> {
        if answer.reply.accepted.is_none() {
            // The server refused the call. The client calls again with other credentials, or gives up.
            cx.count("denied");
            return None;
        }
        let Some(asked) = self.waiting.take(key) else {
            cx.count("unmatched_responses");
            return None;
        };
        event::emit(&asked, Some(answer), &mut self.scratch, cx);
        Some(asked)
    }

    fn unanswered(&mut self, asked: &Asked, cx: &mut Context<'_>) {
        cx.count("unmatched_requests");
        event::emit(asked, None, &mut self.scratch, cx);
    }

    fn expire(&mut self, cx: &mut Context<'_>) {
        while let Some(asked) = self.waiting.expired(cx.now()) {
            self.unanswered(&asked, cx);
        }
        self.wake(cx);
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        while let Some(asked) = self.waiting.pop() {
            self.unanswered(&asked, cx);
        }
    }

    fn wake(&self, cx: &mut Context<'_>) {
        timers::arm(cx, self.waiting.due());
    }

    fn held(&self) -> usize {
        self.waiting.held() + self.scratch.held()
    }
}

#[cfg(test)]
mod tests;
