//! `bench`: measures CPU and memory of live capture, of replays, and of each protocol's events on this machine, and prints them. It has no
//! bounds and cannot fail, because times on a shared machine prove nothing; only [`hostile`] has bounds. The verb removes the files and
//! network namespaces that it makes, also after an error.

mod compare;
mod hostile;
mod live;
mod measure;
mod replay;
mod shunts;

use crate::{
    Outcome,
    setup::{BENCH, BUILD, cargo, ensure, is_root, run_command, target_folder},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Name of a part on the command line, and its function.
type Part = (&'static str, fn(&Scratch) -> Outcome);

/// The parts, in the order of execution.
const PARTS: &[Part] = &[("live", live::run), ("shunts", shunts::run), ("replay", replay::run), ("protocols", replay::protocols)];

/// Number of pairs of runs with `--against`, if `--runs` is not given.
const RUNS: usize = 7;

/// The parsed command line.
#[derive(Debug, PartialEq)]
struct Options {
    /// The parts to run. An empty list means all parts.
    parts: Vec<String>,
    against: Option<PathBuf>,
    runs: usize,
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options = Options { parts: Vec::new(), against: None, runs: RUNS };
    let (mut args, mut runs) = (args.iter(), None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--against" => options.against = Some(args.next().ok_or("--against takes the path of a program")?.into()),
            "--runs" => {
                let number = args.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                runs = Some(number.ok_or("--runs takes a number of at least 1")?);
            }
            part if PARTS.iter().any(|(name, _)| *name == part) => options.parts.push(part.to_owned()),
            unknown => {
                let known: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "unknown argument {unknown:?}; the arguments are --against PROGRAM, --runs N and the parts {}",
                    known.join(", ")
                ));
            }
        }
    }
    match (&options.against, runs) {
        (None, Some(_)) => return Err("--runs can only be used with --against".into()),
        (Some(_), _) if options.parts.iter().any(|part| part == "live" || part == "shunts") => {
            return Err("--against compares replays: of files, not live".into());
        }
        (_, runs) => options.runs = runs.unwrap_or(RUNS),
    }
    Ok(options)
}

/// Builds the release binary of this checkout, runs the parts named in `args` or all of them, and prints the results.
///
/// With `--against PROGRAM` it runs both programs alternately on the same captures and prints ratios: on the two big
/// captures by default, on each protocol's capture with the part `protocols`.
///
/// `bench hostile` is separate: it has bounds, and fails if they are exceeded.
pub fn bench(args: &[String]) -> Outcome {
    if let Some(("hostile", rest)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return hostile::run(rest);
    }
    let options = options(args)?;
    if let Some(against) = options.against.as_ref().filter(|path| !path.is_file()) {
        return Err(format!("{}: there is no such program", against.display()));
    }
    ensure(BUILD)?;
    ensure(BENCH)?;
    run_command(&mut cargo(&["build", "--release", "--package", "sniffer", "--locked"]))?;
    let scratch = Scratch::new()?;
    println!("\n{}", measure::machine());
    let named = |name: &str| options.parts.iter().any(|part| part == name);
    if let Some(against) = &options.against {
        return compare::run(&scratch, against, options.runs, named("replay") || options.parts.is_empty(), named("protocols"));
    }
    for (_, part) in PARTS.iter().filter(|(name, _)| options.parts.is_empty() || named(name)) {
        println!();
        part(&scratch)?;
    }
    Ok(())
}

/// The release binary of this checkout.
fn program() -> PathBuf {
    target_folder().join("release/sniffer")
}

/// A folder for files of the measurements. Dropping it removes the folder.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, String> {
        let path = target_folder().join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file with mode 0600, because the program refuses a configuration that others may write.
    fn write(&self, name: &str, contents: &[u8]) -> Result<PathBuf, String> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        let done = fs::write(&path, contents).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)));
        done.map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    fn remove(&self, path: &Path) {
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether live parts can run; prints a message if not.
fn may_capture() -> bool {
    if !is_root() {
        println!("Left out: live capture needs root (two network namespaces are made for it).");
    }
    is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Options, String> {
        options(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read() {
        let expected = Options { parts: vec!["protocols".into()], against: Some("old".into()), runs: 3 };
        assert_eq!(parsed("protocols --against old --runs 3"), Ok(expected));
        assert_eq!(parsed(""), Ok(Options { parts: vec![], against: None, runs: RUNS }));
        for wrong in ["--runs 3", "--against", "--against old --runs 0", "--against old live", "other"] {
            assert!(parsed(wrong).is_err(), "{wrong} was accepted: {:?}", parsed(wrong));
        }
    }
}
