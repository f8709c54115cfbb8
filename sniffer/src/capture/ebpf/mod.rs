//! x
pub mod sys;
