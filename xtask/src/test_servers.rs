//! `test-servers`: tests against real servers that have to be downloaded first.

use crate::{
    Outcome,
    setup::{BUILD, TEST, cargo, ensure, sh},
};

/// Runs the tests that are ignored otherwise; they fetch, start and stop their servers themselves.
pub fn test_servers(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err("takes no arguments".into());
    }
    ensure(BUILD)?;
    ensure(TEST)?;
    ensure(&[("maven", "mvn")])?;
    sh(&mut cargo(&["test", "--package", "sniffer", "--test", "integration", "--locked", "servers", "--", "--ignored", "--nocapture"]))
}
