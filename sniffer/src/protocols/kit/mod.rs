//! What protocols have in common: reading bytes, requests that wait for responses, timers, the search for a message start, options
//! that parsers share, and how many bytes all of that holds. Nothing here knows a protocol.

pub mod backlog;
pub mod held;
pub mod matcher;
pub mod reader;
pub mod resync;
pub mod shared;
pub mod timers;
