//! Code that protocols share: a byte reader, queues of pending requests, timers, the search for the next message, options shared by
//! parsers, and the count of allocated bytes. No file here depends on a protocol.

pub mod backlog;
pub mod held;
pub mod matcher;
pub mod reader;
pub mod resync;
pub mod shared;
pub mod timers;
