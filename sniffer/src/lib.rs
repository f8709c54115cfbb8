//! `sniffer` watches the wire and reports every application transaction on it.
//!
//! The map of the house: a [`capture::Source`] pushes frames into a [`worker`]; [`decode`] finds the headers,
//! [`flow`] counts, [`stream`] puts TCP bytes in order, [`protocols`] find transactions in them, [`event`] and [`publish`]
//! turn those into documents ([`processors`] edit them), [`queue`] and [`output`] deliver. `app` wires it all.
//!
//! Below the worker nobody asks the clock: time is the frame's ([`time::Timestamp`]).

pub mod app;
pub mod capture;
pub mod cli;
pub mod config;
pub mod decode;
pub mod enrich;
pub mod event;
pub mod flow;
pub mod monitor;
pub mod net;
pub mod opening;
pub mod output;
pub mod processors;
pub mod protocols;
pub mod publish;
pub mod queue;
pub mod rotate;
pub mod stream;
pub mod time;
pub mod worker;
