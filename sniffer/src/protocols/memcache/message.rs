//! One request or response of either protocol, as far as a document tells of it.

use super::wire::Ask;
use crate::{
    protocols::kit::{backlog::Waits, held::Held},
    time::Timestamp,
};

/// Bytes of `text` of one message: keys, arguments, statistics and values. What is beyond that is counted and not shown.
pub const MOST_TEXT: usize = 1 << 20;
/// Keys, statistics and values of one message that are shown.
pub const MOST_ITEMS: usize = 10_000;

/// What kind of command or answer it is, as `type` spells it.
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
    /// `type`, and `event.action`.
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

/// A part of [`Message::text`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span(pub usize, pub usize);

/// See the module. `None`: the message has no such field.
#[derive(Debug, Default)]
pub struct Message {
    /// When its first byte was on the wire.
    pub time: Timestamp,
    /// Its length on the wire.
    pub size: u64,
    pub binary: bool,
    /// What the request asks for, and so what may answer it.
    pub ask: Ask,
    /// Empty: nothing was read yet.
    pub command: &'static str,
    pub kind: Kind,
    /// What the spans point into.
    pub text: Vec<u8>,
    pub keys: Vec<Span>,
    pub values: Vec<Span>,
    pub stats: Vec<(Span, Span)>,
    /// Values on the wire, shown or not.
    pub count_values: u64,
    /// Bytes of a value, or of all of them.
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
    /// The server keeps the expected answer to itself.
    pub quiet: bool,
    pub raw_args: Option<Span>,
    pub line: Option<Span>,
    pub error_msg: Option<Span>,
    pub version: Option<Span>,
    pub opcode: u8,
    pub opaque: Option<u64>,
    /// Of a binary request its vbucket, of a response its status.
    pub status: u16,
    /// Extras were sent and are shorter than the opcode needs.
    pub short_extras: bool,
    /// Part of it is missing in the capture.
    pub lost: bool,
}

impl Message {
    /// Forgets everything but its memory.
    pub fn reset(&mut self) {
        let Self { mut text, mut keys, mut values, mut stats, .. } = std::mem::take(self);
        text.clear();
        text.shrink_to(64 << 10);
        keys.clear();
        values.clear();
        stats.clear();
        *self = Self { text, keys, values, stats, ..Self::default() };
    }

    /// Keeps some text.
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

    /// The bytes of a part.
    pub fn get(&self, span: Span) -> &[u8] {
        self.text.get(span.0..span.1).unwrap_or_default()
    }

    /// Whether the key is one of its own.
    pub fn has_key(&self, key: &[u8]) -> bool {
        self.keys.iter().any(|&span| self.get(span) == key)
    }

    /// No answer is expected.
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
