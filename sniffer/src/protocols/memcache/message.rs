//! A request or response of either protocol, with the fields that a document needs.

use super::wire::Ask;
use crate::{
    protocols::kit::{backlog::Waits, held::Held},
    time::Timestamp,
};

/// Maximum number of bytes of `text` of one message: keys, arguments, statistics and values. Further bytes are counted but not
/// shown.
pub const MOST_TEXT: usize = 1 << 20;
/// Maximum number of keys, statistics and values of one message that are shown.
pub const MOST_ITEMS: usize = 10_000;

/// The kind of a command or response, as `type` spells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Unknown,
    Load,
    Store,
    Delete,
    Counter,
    Info,
    SlabCtrl,
    LruCrawler,
    Stats,
    Success,
    Fail,
    Auth,
}

impl Kind {
    /// The text of the kind in the fields `type` and `event.action`.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Unknown => ("UNKNOWN", "memcache.unknown"),
            Self::Load => ("Load", "memcache.load"),
            Self::Store => ("Store", "memcache.store"),
            Self::Delete => ("Delete", "memcache.delete"),
            Self::Counter => ("Counter", "memcache.counter"),
            Self::Info => ("Info", "memcache.info"),
            Self::SlabCtrl => ("SlabCtrl", "memcache.slabctrl"),
            Self::LruCrawler => ("LRUCrawler", "memcache.lrucrawler"),
            Self::Stats => ("Stats", "memcache.stats"),
            Self::Success => ("Success", "memcache.success"),
            Self::Fail => ("Fail", "memcache.fail"),
            Self::Auth => ("Auth", "memcache.auth"),
        }
    }
}

/// A range of [`Message::text`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span(pub usize, pub usize);

/// A request or response. `None` means that the message does not have the field.
#[derive(Debug, Default)]
pub struct Message {
    /// Packet time of the message's first byte.
    pub time: Timestamp,
    /// Length of the message on the wire in bytes.
    pub size: u64,
    pub binary: bool,
    /// Which responses the request can have.
    pub ask: Ask,
    /// The command; empty if nothing was parsed yet.
    pub command: &'static str,
    pub kind: Kind,
    /// The bytes to which the spans refer.
    pub text: Vec<u8>,
    pub keys: Vec<Span>,
    pub values: Vec<Span>,
    pub stats: Vec<(Span, Span)>,
    /// Number of values on the wire, shown or not.
    pub count_values: u64,
    /// Length of a value, or of all values.
    pub bytes: Option<u64>,
    pub flags: Option<u64>,
    pub exptime: Option<i64>,
    pub cas_unique: Option<u64>,
    pub delta: Option<u64>,
    pub initial: Option<u64>,
    pub value: Option<u64>,
    pub verbosity: Option<u64>,
    pub sleep_us: Option<u64>,
    pub automove: Option<u64>,
    pub classes: Option<(i64, i64)>,
    pub noreply: Option<bool>,
    /// The server does not send the expected response (quiet).
    pub quiet: bool,
    pub raw_args: Option<Span>,
    pub line: Option<Span>,
    pub error_msg: Option<Span>,
    pub version: Option<Span>,
    pub opcode: u8,
    pub opaque: Option<u64>,
    /// The vbucket of a binary request, or the status of a binary response.
    pub status: u16,
    /// The message has extras that are shorter than the opcode requires.
    pub short_extras: bool,
    /// A part of the message is missing in the capture.
    pub lost: bool,
}

impl Message {
    /// Clears the message but keeps its buffers.
    pub fn reset(&mut self) {
        let Self { mut text, mut keys, mut values, mut stats, .. } = std::mem::take(self);
        text.clear();
        text.shrink_to(64 << 10);
        keys.clear();
        values.clear();
        stats.clear();
        *self = Self { text, keys, values, stats, ..Self::default() };
    }

    /// Appends a text, up to [`MOST_TEXT`] bytes in total, and returns its range.
    pub fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.text.len();
        let room = MOST_TEXT.saturating_sub(start).min(bytes.len());
        self.text.extend_from_slice(&bytes[..room]);
        Span(start, self.text.len())
    }

    /// Adds a key.
    pub fn key(&mut self, key: &[u8]) {
        if self.keys.len() < MOST_ITEMS {
            let span = self.keep(key);
            self.keys.push(span);
        }
    }

    /// Adds a statistic.
    pub fn stat(&mut self, name: &[u8], value: &[u8]) {
        if self.stats.len() < MOST_ITEMS {
            let both = (self.keep(name), self.keep(value));
            self.stats.push(both);
        }
    }

    /// The bytes of a span.
    pub fn get(&self, span: Span) -> &[u8] {
        self.text.get(span.0..span.1).unwrap_or_default()
    }

    /// Whether the message has this key.
    pub fn has_key(&self, key: &[u8]) -> bool {
        self.keys.iter().any(|&span| self.get(span) == key)
    }

    /// Whether no response is expected.
    pub fn silent(&self) -> bool {
        self.quiet || self.noreply == Some(true) || self.ask == Ask::Nothing
    }
}

impl Held for Message {
    fn held(&self) -> usize {
        self.text.held() + self.keys.held() + self.values.held() + self.stats.held()
    }
}

impl Waits for Message {
    fn since(&self) -> Timestamp {
        self.time
    }
}
