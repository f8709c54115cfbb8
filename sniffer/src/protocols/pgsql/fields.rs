//! The fields of this protocol's documents, in addition to those of every transaction ([`crate::event::TRANSACTION`]).

use crate::event::{
    Field,
    Kind::{Keyword, Long},
};

pub(super) const FIELDS: &[Field] = &[
    Field::new("pgsql.num_rows", Long),
    Field::new("pgsql.num_fields", Long),
    Field::new("pgsql.error_code", Keyword),
    Field::new("pgsql.error_message", Keyword),
    Field::new("pgsql.error_severity", Keyword),
];
