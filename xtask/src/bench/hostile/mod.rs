//! `bench hostile`: measures the cost of input that is made to be expensive. Each part prints a table, marks the rows that exceed a bound,
//! and fails if there are any. Bounds of times are ratios to another case of the same run, because other processes run on the machine too.

mod capture;
mod conversations;
mod floods;
mod linear;
mod live;
mod memory;
mod requests;

use super::{Scratch, measure, program};
use crate::{
    Outcome,
    setup::{BENCH, BUILD, cargo, ensure, run_command},
};
use std::path::{Path, PathBuf};

/// Name of a part on the command line, and its function, which prints a table and returns one line for each row that
/// exceeds a bound.
type Part = (&'static str, fn(&Scratch, &Path) -> Result<Vec<String>, String>);

/// The parts, in the order of execution.
const PARTS: &[Part] = &[("linear", linear::run), ("memory", memory::run), ("live", live::run)];

/// The parsed command line.
#[derive(Debug, Default, PartialEq)]
struct Options {
    /// The parts to run. An empty list means all parts.
    parts: Vec<String>,
    /// A program to measure instead of the release build of this checkout.
    program: Option<PathBuf>,
}

fn options(args: &[String]) -> Result<Options, String> {
    let (mut options, mut args) = (Options::default(), args.iter());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--program" => options.program = Some(args.next().ok_or("--program takes the path of a program")?.into()),
            part if PARTS.iter().any(|(name, _)| *name == part) => options.parts.push(part.to_owned()),
            unknown => {
                let known: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
                return Err(format!("{unknown:?} is unknown; there are --program PROGRAM and the parts {}", known.join(", ")));
            }
        }
    }
    Ok(options)
}

/// Builds the release binary of this checkout unless `--program` names another one, runs the parts and prints their tables.
///
/// # Errors
/// The rows that exceed a bound, or why a part could not be measured.
pub fn run(args: &[String]) -> Outcome {
    let options = options(args)?;
    ensure(BUILD)?;
    ensure(BENCH)?;
    let measured = match options.program {
        Some(program) if program.is_file() => program,
        Some(program) => return Err(format!("{}: there is no such program", program.display())),
        None => {
            run_command(&mut cargo(&["build", "--release", "--package", "sniffer", "--locked"]))?;
            program()
        }
    };
    let scratch = Scratch::new()?;
    println!("\n{}", measure::machine());
    let mut out_of_bounds = Vec::new();
    for (name, part) in PARTS.iter().filter(|(name, _)| options.parts.is_empty() || options.parts.iter().any(|part| part == name)) {
        println!();
        out_of_bounds.extend(part(&scratch, &measured)?.into_iter().map(|row| format!("{name}: {row}")));
    }
    if out_of_bounds.is_empty() { Ok(()) } else { Err(format!("out of bounds:\n  {}", out_of_bounds.join("\n  "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let parsed = |text: &str| options(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let expected = Options { parts: vec!["linear".into()], program: Some("old".into()) };
        assert_eq!(parsed("linear --program old"), Ok(expected));
        assert_eq!(parsed(""), Ok(Options::default()));
        for wrong in ["--program", "other"] {
            assert!(parsed(wrong).is_err(), "{wrong} was accepted: {:?}", parsed(wrong));
        }
    }
}
