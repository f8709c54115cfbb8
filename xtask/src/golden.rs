//! `golden`: compares the documents of every capture in `tests/protocols` and `tests/flows` with the expected documents
//! beside it, the field tables in `docs/protocols` with the protocols' declarations, and the pages in `docs/processors` and `docs/options` with
//! the declarations of processors and options.

use crate::{
    Outcome,
    setup::{BUILD, cargo, ensure, run_command},
};

/// Runs the comparison. With `--accept` it overwrites the expected documents and tables; `git diff` then shows the changes.
pub fn golden(args: &[String]) -> Outcome {
    ensure(BUILD)?;
    let accept = match args {
        [] => false,
        [accept] if accept == "--accept" => true,
        _ => return Err("this verb takes no argument other than --accept".into()),
    };
    run(&["test", "--package", "sniffer", "--test", "integration", "golden", "--", "--nocapture"], accept)?;
    run(&["test", "--package", "sniffer", "--lib", "page_tests"], accept)
}

/// Writes the pages and tables in `docs` that are made from declarations in the program: fields of protocols, processors, options.
pub fn write_pages() -> Outcome {
    ensure(BUILD)?;
    run(&["test", "--package", "sniffer", "--lib", "page_tests"], true)
}

fn run(arguments: &[&str], accept: bool) -> Outcome {
    let mut test = cargo(arguments);
    if accept {
        test.env("GOLDEN", "accept");
    }
    run_command(&mut test)
}
