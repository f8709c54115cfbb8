//! `bench --against PROGRAM`: runs two programs alternately on the same input, and prints the ratios of CPU and memory of each pair of
//! runs. Other load on the machine affects both runs of a pair, so the ratios vary less than the times.

use super::{
    Scratch,
    measure::Cost,
    program,
    replay::{self, Case},
};
use crate::Outcome;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Compares the release binary of this checkout with `against`: on the big captures if `whole` is set, and on each
/// protocol's capture if `protocols` is set.
pub fn run(scratch: &Scratch, against: &Path, runs: usize, whole: bool, protocols: bool) -> Outcome {
    println!(
        "\nThis checkout against {}, {runs} pairs of runs each. A ratio below 1 means that this checkout takes less. MB is peak resident \
         memory with the pages of the program file that were read; MB without files is heap and stacks.\n",
        against.display()
    );
    println!(
        "| capture | events | CPU s, here | CPU s, there | CPU ratio: median (min–max) | MB, here | MB, there | memory ratio: median (min–max) | MB without files, here | MB without files, there |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let (here, there) = (copied(scratch, &program(), "here")?, copied(scratch, against, "there")?);
    let mut each = |case: &Case| compare(scratch, [&here, &there], runs, case);
    if whole {
        replay::whole_cases(scratch, &mut each)?;
    }
    if protocols {
        replay::protocol_cases(scratch, &mut each)?;
    }
    Ok(())
}

/// Copies a program to the scratch folder. The memory that is counted for the file of a program depends on how the file came into the page
/// cache. The memory of two fresh copies can be compared; the memory of two builds in their original places differs by 1 to 2 MB.
fn copied(scratch: &Scratch, program: &Path, name: &str) -> Result<PathBuf, String> {
    let copy = scratch.path(name);
    fs::copy(program, &copy).map_err(|e| format!("{}: {e}", program.display()))?;
    Ok(copy)
}

fn compare(scratch: &Scratch, [here, there]: [&Path; 2], runs: usize, case: &Case) -> Outcome {
    // Run each program once to warm up: this run reads the capture and the program from disk and is not counted.
    let (_, events_here) = replay::sniff(scratch, here, case)?;
    let (_, events_there) = replay::sniff(scratch, there, case)?;
    let mut pairs = Vec::new();
    for number in 0..runs {
        // Alternate which program runs first, so that neither program always runs after the other one.
        pairs.push(if number % 2 == 0 {
            let ours = replay::sniff(scratch, here, case)?.0;
            (ours, replay::sniff(scratch, there, case)?.0)
        } else {
            let theirs = replay::sniff(scratch, there, case)?.0;
            (replay::sniff(scratch, here, case)?.0, theirs)
        });
    }
    let events = if events_here == events_there { events_here.to_string() } else { format!("**{events_here}, there {events_there}**") };
    let of = |value: fn(&Cost) -> f64| {
        let here = Spread::of(pairs.iter().map(|(here, _)| value(here)));
        let there = Spread::of(pairs.iter().map(|(_, there)| value(there)));
        (here, there, Spread::of(pairs.iter().map(|(here, there)| value(here) / value(there))))
    };
    let ((cpu, cpu_there, cpu_ratio), (memory, memory_there, memory_ratio)) = (of(|cost| cost.cpu), of(|cost| cost.memory));
    let (anonymous, anonymous_there, _) = of(|cost| cost.anonymous);
    println!(
        "| {} | {events} | {:.3} | {:.3} | {cpu_ratio} | {:.1} | {:.1} | {memory_ratio} | {:.1} | {:.1} |",
        case.name, cpu.median, cpu_there.median, memory.median, memory_there.median, anonymous.median, anonymous_there.median
    );
    Ok(())
}

/// Median, minimum and maximum of some numbers.
#[derive(Debug, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// Computes the spread of `numbers`. All values are NaN if there are no numbers.
    fn of(numbers: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = numbers.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        Self { median: (at(last / 2) + at(sorted.len() / 2)) / 2.0, least: at(0), most: at(last) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ({:.3}–{:.3})", self.median, self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0].into_iter()), Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0].into_iter()), Spread { median: 2.5, least: 1.0, most: 4.0 });
        assert_eq!(Spread::of([0.5].into_iter()).to_string(), "0.500 (0.500–0.500)");
    }
}
