//! The fields of this protocol's documents, in addition to those of every transaction ([`crate::event::TRANSACTION`]).

use crate::event::{
    Field,
    Kind::{Keyword, Long},
};

pub(super) const FIELDS: &[Field] = &[
    Field::new("icmp.version", Long),
    Field::new("icmp.request.type", Long),
    Field::new("icmp.request.code", Long),
    Field::new("icmp.response.type", Long),
    Field::new("icmp.response.code", Long),
    Field::new("icmp.request.message", Keyword),
    Field::new("icmp.response.message", Keyword),
];
