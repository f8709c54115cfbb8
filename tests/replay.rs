//! What fuzzing found, and what it began with, played again: `fuzz/corpus/TARGET/*`. A file there that is named after a bug keeps it
//! from coming back.

#[path = "fuzz/src/drive/mod.rs"]
mod drive;

use crate::harness::tests;
use sniffer::protocols::PROTOCOLS;
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// Of one input, which takes a millisecond.
const LONGEST: Duration = Duration::from_secs(20);

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn replay_the_corpus() {
    let corpus = tests().join("fuzz/corpus");
    let (mut played, mut failed) = (0, Vec::new());
    for target in names(&corpus) {
        for name in names(&corpus.join(&target)) {
            let input = fs::read(corpus.join(&target).join(&name)).unwrap();
            assert!(input.len() <= 4096, "{target}/{name}: {} bytes; `cargo fuzz tmin` makes it smaller", input.len());
            // On a thread of its own: one that hangs is to be named, not waited for.
            let (done, ended) = mpsc::channel();
            let of = target.clone();
            thread::spawn(move || {
                drive::run(&of, &input);
                done.send(())
            });
            match ended.recv_timeout(LONGEST) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => failed.push(format!("{target}/{name} panicked")),
                Err(RecvTimeoutError::Timeout) => failed.push(format!("{target}/{name} did not end")),
            }
            played += 1;
        }
    }
    assert!(failed.is_empty(), "{} of {played} failed (see above): {}", failed.len(), failed.join(", "));
    assert!(played > 100, "{played} inputs are not the corpus");
}

#[test]
fn every_protocol_has_a_target_and_a_corpus() {
    let fuzz = tests().join("fuzz");
    let want: BTreeSet<String> = drive::targets().map(str::to_owned).collect();
    let missing: Vec<&str> = PROTOCOLS.iter().map(|p| p.name).filter(|name| !drive::PARSERS.contains(name)).collect();
    assert!(missing.is_empty(), "add to PARSERS in tests/fuzz/src/drive/mod.rs, and to the places named there: {missing:?}");
    let files: BTreeSet<String> = want.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&fuzz.join("fuzz_targets")), files, "tests/fuzz/fuzz_targets");
    assert_eq!(names(&fuzz.join("corpus")), want, "tests/fuzz/corpus");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for name in &want {
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "tests/fuzz/Cargo.toml lacks {name}");
        let target = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("target!(\"{name}\")")), "fuzz_targets/{name}.rs is of something else: {target}");
    }
}
