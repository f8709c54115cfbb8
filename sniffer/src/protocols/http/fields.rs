//! The fields of this protocol's documents, in addition to those of every transaction ([`crate::event::TRANSACTION`]).

use crate::event::{
    Field,
    Kind::{Keyword, KeywordObject, KeywordText, Long, Wildcard, WildcardText},
};

pub(super) const FIELDS: &[Field] = &[
    Field::new("http.version", Keyword),
    Field::reserved("http.request.id", Keyword),
    Field::new("http.request.method", Keyword),
    Field::reserved("http.request.mime_type", Keyword),
    Field::new("http.request.referrer", Keyword),
    Field::reserved("http.response.mime_type", Keyword),
    Field::new("http.response.status_phrase", Keyword),
    Field::new("http.request.bytes", Long),
    Field::new("http.request.body.bytes", Long),
    Field::new("http.response.bytes", Long),
    Field::new("http.response.body.bytes", Long),
    Field::new("http.response.status_code", Long),
    Field::with_option("http.request.body.content", WildcardText, &["include_body_for", "include_request_body_for"]),
    Field::with_option("http.response.body.content", WildcardText, &["include_body_for", "include_response_body_for"]),
    Field::new("http.request.headers", KeywordObject),
    Field::new("http.response.headers", KeywordObject),
    Field::new("url.full", WildcardText),
    Field::new("url.scheme", Keyword),
    Field::new("url.domain", Keyword),
    Field::new("url.port", Long),
    Field::new("url.path", Wildcard),
    Field::new("url.query", Keyword),
    Field::new("url.extension", Keyword),
    Field::new("user_agent.original", KeywordText),
    Field::new("user.name", Keyword),
];
