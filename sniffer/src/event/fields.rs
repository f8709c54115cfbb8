//! The fields that documents can have, and their types: those that a protocol declares, and those that all transactions
//! have.

use Kind::{Binary, Date, Ip, Keyword, Long, MatchOnlyText, Text};

/// A field of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The full name with dots. The name does not say whether documents nest the field or have it as one key.
    pub name: &'static str,
    /// The type of the values. A list of such values is also allowed.
    pub kind: Kind,
    /// Options of the protocol. The field can appear only if at least one of them is set. The list is empty if the field needs no option.
    pub needs: &'static [&'static str],
    /// The name is reserved in the index template for other programs that write to the same index. The documents of this program do not
    /// have the field.
    pub reserved: bool,
}

impl Field {
    /// Makes a field that documents can have.
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, needs: &[], reserved: false }
    }

    /// Makes a field that documents have only if one of these options of the protocol is set (to a value other than
    /// false, null or an empty list).
    pub const fn with_option(name: &'static str, kind: Kind, needs: &'static [&'static str]) -> Self {
        Self { name, kind, needs, reserved: false }
    }

    /// Makes a name that is only reserved in the index template: Packetbeat's documents can have it, those of this
    /// program cannot.
    pub const fn reserved(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, needs: &[], reserved: true }
    }

    /// Whether `name` is this field, an object that contains it, or, if this field is an object with arbitrary keys, a
    /// field in it.
    pub fn concerns(&self, name: &str) -> bool {
        let below = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
        self.name == name || below(self.name, name) || self.kind.is_open() && below(name, self.name)
    }
}

/// The type of a field's values, as Elasticsearch indexes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A string that is indexed as a whole. Numbers and booleans are indexed as strings.
    Keyword,
    /// A string that is indexed by its words.
    Text,
    /// A string that is indexed by its words, without their positions.
    MatchOnlyText,
    /// A long string that is searched with patterns.
    Wildcard,
    /// Like [`Kind::Wildcard`], and also indexed by its words.
    WildcardText,
    /// Like [`Kind::Keyword`], and also indexed by its words.
    KeywordText,
    /// A string that is stored in the document and not indexed.
    Binary,
    /// A 64-bit signed integer. A string of decimal digits is also accepted.
    Long,
    /// True or false.
    Boolean,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A point in time, RFC 3339.
    Date,
    /// An object with arbitrary keys, which come from the traffic. Elasticsearch chooses the type of each value when it
    /// first appears.
    Object,
    /// An object with arbitrary keys, which come from the traffic. All its values are indexed as keywords.
    KeywordObject,
}

impl Kind {
    /// Whether the type is an object with arbitrary keys.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Object | Self::KeywordObject)
    }

    /// The name of the type in the field tables of the documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keyword => "keyword",
            Self::Text => "text",
            Self::MatchOnlyText => "match_only_text",
            Self::Wildcard => "wildcard",
            Self::WildcardText => "wildcard+text",
            Self::KeywordText => "keyword+text",
            Self::Binary => "binary",
            Self::Long => "long",
            Self::Boolean => "boolean",
            Self::Ip => "ip",
            Self::Date => "date",
            Self::Object | Self::KeywordObject => "object",
        }
    }
}

/// The fields that [`super::Head`] and the ends of the conversation write. All transactions can have them.
pub const TRANSACTION: &[Field] = &[
    Field::new("@timestamp", Date),
    Field::new("type", Keyword),
    Field::new("status", Keyword),
    Field::new("method", Keyword),
    Field::new("path", Keyword),
    Field::new("resource", Keyword),
    Field::new("query", Keyword),
    Field::new("request", Text),
    Field::new("response", Text),
    Field::new("error.message", MatchOnlyText),
    Field::new("event.kind", Keyword),
    Field::new("event.category", Keyword),
    Field::new("event.type", Keyword),
    Field::new("event.dataset", Keyword),
    Field::new("event.start", Date),
    Field::new("event.end", Date),
    Field::new("event.duration", Long),
    Field::new("event.action", Keyword),
    Field::new("event.outcome", Keyword),
    Field::new("event.reason", Keyword),
    Field::new("event.sequence", Long),
    Field::new("event.original", Binary),
    Field::new("source.ip", Ip),
    Field::new("source.port", Long),
    Field::new("source.domain", Keyword),
    Field::new("source.bytes", Long),
    Field::new("destination.ip", Ip),
    Field::new("destination.port", Long),
    Field::new("destination.domain", Keyword),
    Field::new("destination.bytes", Long),
    Field::new("client.ip", Ip),
    Field::new("client.port", Long),
    Field::new("client.domain", Keyword),
    Field::new("client.bytes", Long),
    Field::new("server.ip", Ip),
    Field::new("server.port", Long),
    Field::new("server.domain", Keyword),
    Field::new("server.bytes", Long),
    Field::new("network.type", Keyword),
    Field::new("network.transport", Keyword),
    Field::new("network.protocol", Keyword),
    Field::new("network.application", Keyword),
    Field::new("network.iana_number", Keyword),
    Field::new("network.bytes", Long),
    Field::new("network.community_id", Keyword),
    Field::new("network.direction", Keyword),
    Field::new("network.forwarded_ip", Ip),
    Field::new("related.ip", Ip),
    Field::new("related.hosts", Keyword),
    Field::new("related.user", Keyword),
];
