//! `sniffer` watches network traffic and reports every application transaction on it.
//!
//! The way of a packet through the modules: a [`capture::Source`] pushes frames into a [`worker`], which hands them to its [`engine`]; [`decode`] reads the headers; [`flow`]
//! counts packets and bytes; [`stream`] puts TCP bytes in order; [`protocols`] find transactions in them; [`event`] and [`publish`] turn
//! transactions into documents, which [`processors`] edit; [`queue`] and [`output`] deliver the documents. `app` connects these modules.
//!
//! No module below the worker reads a clock: all times are those of frames ([`time::Timestamp`]).

pub mod app;
pub mod capture;
pub mod cli;
pub mod config;
pub mod decode;
pub mod engine;
pub mod enrich;
pub mod event;
pub mod flow;
pub mod memory;
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
pub mod view;
pub mod worker;
