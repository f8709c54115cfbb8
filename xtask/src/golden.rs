//! `golden`: the documents of every capture in `tests/protocols` and `tests/flows`, against the documents beside it.

use crate::{
    Outcome,
    setup::{BUILD, cargo, ensure, sh},
};

/// Compares. With `--accept` it writes the new documents over the old ones; `git diff` shows what changed.
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
