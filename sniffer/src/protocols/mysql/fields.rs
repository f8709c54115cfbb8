//! The fields of this protocol's documents, in addition to those of every transaction ([`crate::event::TRANSACTION`]).

use crate::event::{
    Field,
    Kind::{Keyword, Long, Text},
};

pub(super) const FIELDS: &[Field] = &[
    Field::new("mysql.affected_rows", Long),
    Field::new("mysql.insert_id", Long),
    Field::new("mysql.num_rows", Long),
    Field::new("mysql.num_fields", Long),
    Field::new("mysql.error_code", Long),
    Field::new("mysql.error_message", Keyword),
    Field::new("params", Text),
];
