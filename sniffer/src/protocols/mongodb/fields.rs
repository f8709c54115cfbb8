//! The fields of this protocol's documents, in addition to those of every transaction ([`crate::event::TRANSACTION`]).

use crate::event::{
    Field,
    Kind::{Keyword, Long},
};

pub(super) const FIELDS: &[Field] = &[
    Field::new("mongodb.fullCollectionName", Keyword),
    Field::new("mongodb.error", Keyword),
    Field::new("mongodb.message", Keyword),
    Field::new("mongodb.selector", Keyword),
    Field::new("mongodb.update", Keyword),
    Field::new("mongodb.returnFieldsSelector", Keyword),
    Field::new("mongodb.numberToSkip", Long),
    Field::new("mongodb.numberToReturn", Long),
    Field::new("mongodb.numberReturned", Long),
    Field::new("mongodb.startingFrom", Long),
    Field::new("mongodb.cursorId", Long),
];
