//! The fields of this protocol's documents, in addition to those of every transaction ([`crate::event::TRANSACTION`]).

use crate::event::{Field, Kind::Keyword};

pub(super) const FIELDS: &[Field] = &[
    Field::new("thrift.params", Keyword),
    Field::new("thrift.service", Keyword),
    Field::new("thrift.return_value", Keyword),
    Field::new("thrift.exceptions", Keyword),
];
