//! Runs a list of checks and shows how far it is and how long each took.

use crate::Outcome;
use std::time::{Duration, Instant};

/// One check: what it is called, and its code.
pub struct Step {
    title: String,
    run: Box<dyn FnOnce() -> Outcome>,
}

/// A step with that title.
pub fn step(title: impl Into<String>, run: impl FnOnce() -> Outcome + 'static) -> Step {
    Step { title: title.into(), run: Box::new(run) }
}

/// Runs `steps` in order and stops at the first that fails. Prints a line before and after each, and a table of times at the end.
///
/// # Errors
/// The failure of a step, with its title.
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
