//! `golden`: the documents of every capture in `tests/protocols`, against those that lie beside it.

use crate::{
    Outcome,
    setup::{BUILD, cargo, ensure, sh},
};

/// Compares; with `--accept` the new documents take the place of the old ones, for a diff by eye.
pub fn golden(args: &[String]) -> Outcome {
    ensure(BUILD)?;
    let mut test = cargo(&["test", "--package", "sniffer", "--test", "integration", "golden", "--", "--nocapture"]);
    match args {
        [] => {}
        [accept] if accept == "--accept" => {
            test.env("GOLDEN", "accept");
        }
        _ => return Err("takes no argument but --accept".into()),
    }
    sh(&mut test)
}
