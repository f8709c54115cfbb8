//! Runs a list of checks, and prints the progress and the time of each check.

use crate::Outcome;
use std::time::{Duration, Instant};

/// A check: its title and its function.
pub struct Check {
    title: String,
    run: Box<dyn FnOnce() -> Outcome>,
}

/// Makes a check.
pub fn check(title: impl Into<String>, run: impl FnOnce() -> Outcome + 'static) -> Check {
    Check { title: title.into(), run: Box::new(run) }
}

/// Runs `checks` in order and stops at the first failure. The function prints a line before and after each check, and a table of times at
/// the end.
///
/// # Errors
/// The error of the check that failed, with its title.
pub fn run(checks: Vec<Check>) -> Outcome {
    let count = checks.len();
    let begun = Instant::now();
    let mut times: Vec<(String, Duration)> = Vec::new();
    for (index, Check { title, run }) in checks.into_iter().enumerate() {
        println!("\n[{}/{count}] {title}", index + 1);
        let start = Instant::now();
        let outcome = run();
        let took = start.elapsed();
        let result = if outcome.is_ok() { "passed" } else { "FAILED" };
        println!("[{}/{count}] {title}: {result} after {:.1} s", index + 1, took.as_secs_f64());
        outcome.map_err(|why| format!("check {} of {count}, {title}: {why}", index + 1))?;
        times.push((title, took));
    }
    println!();
    for (title, took) in times {
        println!("{:>8.1} s  {title}", took.as_secs_f64());
    }
    println!("{:>8.1} s  total", begun.elapsed().as_secs_f64());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, rc::Rc};

    #[test]
    fn a_failure_ends_the_run_and_is_named() {
        let ran = Rc::new(Cell::new(0));
        let (first, last) = (ran.clone(), ran.clone());
        let checks = vec![
            check("good", move || {
                first.set(first.get() + 1);
                Ok(())
            }),
            check("bad", || Err("broken".to_owned())),
            check("not reached", move || {
                last.set(last.get() + 1);
                Ok(())
            }),
        ];
        assert_eq!(run(checks), Err("check 2 of 3, bad: broken".to_owned()));
        assert_eq!(ran.get(), 1, "only the check before the failure ran");
    }
}
