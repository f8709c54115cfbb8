//! Tests of the whole program: they run the program as a user would and check its output.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test speaks by failing")]

mod configuration;
mod crafted;
mod ending;
mod golden;
mod harness;
mod live;
mod net;
mod own;
mod probes;
mod reload;
mod replay;
mod servers;
