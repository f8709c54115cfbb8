//! Tests of the whole program: they run the program as a user would and check its output.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test speaks by failing")]

mod configuration;
mod crafted;
mod doctor;
mod ending;
mod endpoint;
mod golden;
mod harness;
mod joined;
mod live;
mod logging;
mod migrate;
mod mirror;
mod net;
mod outage;
mod own;
mod packaging;
mod privileges;
mod probes;
mod publishing;
mod reload;
mod replay;
mod servers;
mod service;
mod setup;
mod shunt;
mod terminal;
mod top;
mod watch;
mod web;
