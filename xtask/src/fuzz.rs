//! `fuzz`: builds the fuzzer in `tests/fuzz` and runs each target for some seconds, starting with the target's corpus, several targets
//! at a time. New inputs are not added to the committed corpus.

use crate::{
    Outcome,
    setup::{BUILD, cargo_tool, cargo_with_tools, ensure, outside_workspace, project, run_command},
};
use std::{
    env, fs,
    num::NonZero,
    path::PathBuf,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const FOLDER: &str = "tests/fuzz";
/// The environment variable with the name of the target.
const TARGET: &str = "FUZZ_TARGET";
const SECONDS: u32 = 10;
/// Version of cargo-fuzz that is installed if there is none.
const CARGO_FUZZ_VERSION: &str = "0.13.2";
/// Seconds after which an input counts as hanging.
const TIMEOUT: u32 = 10;
/// Memory limit in megabytes, to find inputs that exhaust memory. The corpus and libFuzzer's tables need about 100.
const MEGABYTES: u32 = 1024;
/// Parts into which the compiler divides a crate. cargo-fuzz's default of 1 compiles the largest crate on a single core.
const CODEGEN_UNITS: &str = "16";
/// Largest input in bytes: enough for several messages and some limits. Longer inputs are slower and find less.
const LONGEST: u32 = 4096;

/// Runs all targets, or those named in `args`. After a failure no further target is started. With `--seconds N` each target runs for N
/// seconds. With `--jobs N` N targets run at a time (default: one per core).
pub fn fuzz(args: &[String]) -> Outcome {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let (mut seconds, mut jobs, mut named) = (SECONDS, cores, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => seconds = args.next().and_then(|n| n.parse().ok()).ok_or("--seconds takes a number")?,
            "--jobs" => jobs = args.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0).ok_or("--jobs takes a number of at least 1")?,
            name => named.push(name.to_owned()),
        }
    }
    ensure(BUILD)?;
    ensure(&[("g++", "c++")])?; // libFuzzer is C++
    build()?;
    let all = targets()?;
    if let Some(unknown) = named.iter().find(|name| !all.contains(name)) {
        return Err(format!("there is no target `{unknown}`; the targets are {}", all.join(", ")));
    }
    let targets = if named.is_empty() { all } else { named };
    let minutes = (targets.len().div_ceil(jobs) as u64 * u64::from(seconds)).div_ceil(60);
    println!("{} targets, {seconds} s each, {jobs} at a time: about {minutes} min", targets.len());
    run_all(&targets, seconds, jobs)
}

/// Runs the targets on `jobs` threads.
///
/// # Errors
/// The reports of all targets that failed.
fn run_all(targets: &[String], seconds: u32, jobs: usize) -> Outcome {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let failed = || failures.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        for _ in 0..jobs.min(targets.len()) {
            scope.spawn(|| {
                while failed().is_empty()
                    && let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    if let Err(report) = run(target, seconds) {
                        failed().push(report);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n\n")) }
}

/// Path of the one program that contains the fuzzers of all targets.
fn program() -> PathBuf {
    project().join(FOLDER).join(format!("target/{}-unknown-linux-gnu/release/any", env::consts::ARCH))
}

/// The names of all targets, as listed by the fuzzer.
fn targets() -> Result<Vec<String>, String> {
    let output = Command::new(program()).env(TARGET, "list").output().map_err(|e| format!("{}: {e}", program().display()))?;
    let mut names: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    names.sort();
    if names.is_empty() { Err(format!("{} lists no targets", program().display())) } else { Ok(names) }
}

fn build() -> Outcome {
    cargo_tool("fuzz", CARGO_FUZZ_VERSION, "builds the fuzz targets")?;
    // Do not use sanitizers: they need a nightly compiler, and find errors in `unsafe` code, which the parsers do not contain.
    let arguments = ["fuzz", "build", "--fuzz-dir", FOLDER, "--sanitizer", "none", "--codegen-units", CODEGEN_UNITS];
    let mut build = outside_workspace(cargo_with_tools(&arguments));
    // Coverage instrumentation is an unstable compiler option.
    build.env("RUSTC_BOOTSTRAP", "1");
    run_command(&mut build)
}

fn run(target: &str, seconds: u32) -> Outcome {
    let folder = project().join(FOLDER);
    let (found, kept) = (folder.join("target/corpus").join(target), folder.join("corpus").join(target));
    let artifacts = folder.join("artifacts").join(target);
    for dir in [&found, &artifacts] {
        fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let log = folder.join("target").join(format!("{target}.log"));
    let output = fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let mut command = Command::new(program());
    command.env(TARGET, target);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={TIMEOUT}")).arg(format!("-rss_limit_mb={MEGABYTES}"));
    command.arg(format!("-max_len={LONGEST}")).arg(format!("-artifact_prefix={}/", artifacts.display())).arg("-print_final_stats=1");
    // libFuzzer writes new inputs to the first folder.
    command.args([&found, &kept]).stderr(output).current_dir(project());
    let begun = Instant::now();
    let mut child = command.spawn().map_err(|e| format!("{}: {e}", program().display()))?;
    // libFuzzer limits the time of each input; this limits the total time of the fuzzer.
    let most = Duration::from_secs(u64::from(seconds + 2 * TIMEOUT + 60));
    let ended = loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => break Some(status),
            None if begun.elapsed() > most => break None,
            None => thread::sleep(Duration::from_millis(100)),
        }
    };
    let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    match ended {
        Some(status) if status.success() => {
            let runs = text.lines().find_map(|l| l.strip_prefix("stat::number_of_executed_units:")).unwrap_or("?").trim();
            println!("{target:<10} {runs:>9} runs in {} s, nothing found", begun.elapsed().as_secs());
            Ok(())
        }
        Some(status) => Err(report(target, &text, &format!("{status}"))),
        None => {
            child.kill().and_then(|()| child.wait()).map_err(|e| e.to_string())?;
            Err(report(target, &text, "the target did not end in time"))
        }
    }
}

/// The failure message: what happened, the input that caused it, and the next steps.
fn report(target: &str, log: &str, what: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let from =
        lines.iter().position(|l| l.contains("panicked at") || l.contains("ERROR: libFuzzer")).unwrap_or(lines.len().saturating_sub(20));
    let shown: Vec<&str> = lines.iter().skip(from).take(20).copied().collect();
    let input = log.lines().find_map(|l| l.split("Test unit written to ").nth(1)).map_or("(none was written)", str::trim);
    format!(
        "{target}: {what}\n{}\nthe input: {input}\nreplay it: {TARGET}={target} {} {input}\nmake it smaller: {TARGET}={target} RUSTC_BOOTSTRAP=1 cargo fuzz tmin --fuzz-dir {FOLDER} --sanitizer none any {input}\nkeep it: copy it to {FOLDER}/corpus/{target}/, named after the bug, and fix the bug; `cargo test -p sniffer --test integration replay` runs it again",
        shown.join("\n"),
        program().display(),
    )
}
