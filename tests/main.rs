//! The tests of the program as a whole: it is run as a user would run it, and its output is looked at.

mod crafted;
mod golden;
mod harness;
mod live;
mod net;
mod replay;
mod servers;
