//! `sniffer` captures network traffic and reports each application transaction as a document.
//!
//! How a packet passes through the modules: a [`capture::Source`] pushes frames to a [`worker`], which hands them to
//! its [`engine`]. [`decode`] decodes the headers, [`flow`] counts packets and bytes, [`stream`] reassembles TCP, and
//! [`protocols`] parse the transactions. [`event`] and [`publish`] turn transactions into documents, which
//! [`processors`] edit. [`queue`] and [`output`] deliver the documents. `app` connects these modules.
//!
//! No module below the worker reads a clock. All times are the times of frames ([`time::Timestamp`]).

pub mod app;
pub mod capture;
pub mod cli;
pub mod config;
pub mod decode;
pub mod endpoint;
pub mod engine;
pub mod enrich;
pub mod event;
pub mod flow;
pub mod memory;
pub mod monitor;
pub mod nearest;
pub mod net;
pub mod opening;
pub mod output;
pub mod process;
pub mod processors;
pub mod protocols;
pub mod publish;
pub mod queue;
pub mod rotate;
pub mod stream;
pub mod time;
pub mod tls;
pub mod view;
pub mod web;
pub mod worker;
