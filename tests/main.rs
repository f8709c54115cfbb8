//! The tests of the program as a whole: it is run as a user would run it, and its output is looked at.

mod golden;
mod harness;
