//! The tests of the program as a whole: it is run as a user would run it, and its output is looked at.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test speaks by failing")]

mod crafted;
mod golden;
mod harness;
mod live;
mod net;
mod replay;
mod servers;
