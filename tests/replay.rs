//! Replays the inputs of the fuzz targets in `fuzz/corpus/TARGET/*`: the inputs that fuzzing starts with, and the inputs that once caused a
//! failure.

#[path = "fuzz/src/drive/mod.rs"]
mod drive;

use crate::harness::tests;
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// Maximum time for one input. Most inputs take about a millisecond.
const LONGEST: Duration = Duration::from_secs(20);

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn replay_the_fuzz_corpus() {
    let corpus = tests().join("fuzz/corpus");
    let (mut played, mut failed) = (0, Vec::new());
    for target in names(&corpus) {
        for name in names(&corpus.join(&target)) {
            let input = fs::read(corpus.join(&target).join(&name)).unwrap();
            assert!(input.len() <= 4096, "{target}/{name}: {} bytes; `cargo fuzz tmin` makes it smaller", input.len());
            // Run the input on its own thread, so that an input that hangs is reported by name.
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
    assert!(played > 100, "only {played} inputs: the corpus is incomplete");
}

#[test]
fn every_target_has_a_corpus() {
    let targets: BTreeSet<String> = drive::targets().map(str::to_owned).collect();
    assert_eq!(names(&tests().join("fuzz/corpus")), targets, "folders in tests/fuzz/corpus, and targets");
}
