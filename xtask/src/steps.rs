//! Runs a list of checks, and prints the progress and the time that each took.

use crate::Outcome;
use std::time::{Duration, Instant};

/// A check: its title and its function.
pub struct Step {
    title: String,
    run: Box<dyn FnOnce() -> Outcome>,
}

/// Makes a step.
pub fn step(title: impl Into<String>, run: impl FnOnce() -> Outcome + 'static) -> Step {
    Step { title: title.into(), run: Box::new(run) }
}

/// Runs `steps` in order and stops at the first failure. Prints a line before and after each step, and a table of times
/// at the end.
///
/// # Errors
/// The error of the step that failed, with its title.
pub fn run(steps: Vec<Step>) -> Outcome {
    let count = steps.len();
    let begun = Instant::now();
    let mut times: Vec<(String, Duration)> = Vec::new();
    for (index, Step { title, run }) in steps.into_iter().enumerate() {
        println!("\n[{}/{count}] {title}", index + 1);
        let start = Instant::now();
        let outcome = run();
        let took = start.elapsed();
        let verdict = if outcome.is_ok() { "passed" } else { "FAILED" };
        println!("[{}/{count}] {title}: {verdict} after {:.1} s", index + 1, took.as_secs_f64());
        outcome.map_err(|why| format!("step {} of {count}, {title}: {why}", index + 1))?;
        times.push((title, took));
    }
    println!();
    for (title, took) in times {
        println!("{:>8.1} s  {title}", took.as_secs_f64());
    }
    println!("{:>8.1} s  in all", begun.elapsed().as_secs_f64());
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
        let steps = vec![
            step("good", move || {
                first.set(first.get() + 1);
                Ok(())
            }),
            step("bad", || Err("broken".to_owned())),
            step("not reached", move || {
                last.set(last.get() + 1);
                Ok(())
            }),
        ];
        assert_eq!(run(steps), Err("step 2 of 3, bad: broken".to_owned()));
        assert_eq!(ran.get(), 1, "only the step before the failure ran");
    }
}
