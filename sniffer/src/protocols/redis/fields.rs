//! The fields of this protocol's documents, in addition to those of every transaction ([`crate::event::TRANSACTION`]).

use crate::event::{Field, Kind::Keyword};

pub(super) const FIELDS: &[Field] = &[Field::new("redis.return_value", Keyword), Field::new("redis.error", Keyword)];
