//! The fields of this protocol's documents beside those that every transaction can have ([`crate::event::TRANSACTION`]).

use crate::event::{Field, Kind::Keyword};

pub(super) const FIELDS: &[Field] = &[Field::new("redis.return_value", Keyword), Field::new("redis.error", Keyword)];
