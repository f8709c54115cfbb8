//! Contains one driver per kind of input. A driver reads the input as a sequence of actions, runs them through the program's code, and
//! checks the results. The fuzzer runs one driver, and the integration tests replay the corpus through all drivers.
//!
//! All drivers check that nothing panics, that memory and output are bounded by the size of the input, and that every
//! document is JSON.

mod capture;
mod condition;
mod config;
mod decode;
mod filter;
mod format;
mod parser;
mod reassembly;

use serde_json::value::RawValue;
use sniffer::{protocols::PROTOCOLS, publish::Sink};
use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

/// Runs one input.
type Driver = fn(&[u8]);

/// The targets that are not protocols.
const OTHERS: &[(&str, Driver)] = &[
    ("capture", capture::run),
    ("condition", condition::run),
    ("config", config::run),
    ("decode", decode::run),
    ("filter", filter::run),
    ("format", format::run),
    ("reassembly", reassembly::run),
];

/// The names of all targets: the protocols and `OTHERS`.
pub fn targets() -> impl Iterator<Item = &'static str> {
    PROTOCOLS.iter().map(|protocol| protocol.name).chain(OTHERS.iter().map(|(name, _)| *name))
}

/// Runs one input of one target; does nothing if the target is unknown.
pub fn run(target: &str, data: &[u8]) {
    if let Some((_, driver)) = OTHERS.iter().find(|(name, _)| *name == target) {
        driver(data);
    } else if let Some(protocol) = PROTOCOLS.iter().find(|p| p.name == target) {
        parser::run(protocol, data);
    }
}

/// Reads an input piece by piece.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// The next byte; 0 at the end.
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    /// The next two bytes, as a big-endian number.
    fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// The next four bytes, as a big-endian number.
    fn word(&mut self) -> u32 {
        u32::from(self.short()) << 16 | u32::from(self.short())
    }

    /// The next `len` bytes, or the rest if there are fewer.
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(len.min(self.0.len()));
        self.0 = left;
        taken
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A temporary file with an input, for code that reads files. Dropping the value deletes the file. `new` returns `None` if the file cannot
/// be written.
struct Scratch(PathBuf);

impl Scratch {
    fn new(data: &[u8]) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("sniffer-fuzz-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // Use a file system in memory if there is one.
        let folder = Some(Path::new("/dev/shm")).filter(|path| path.is_dir()).map_or_else(std::env::temp_dir, Path::to_owned);
        let file = Self(folder.join(name));
        fs::write(&file.0, data).ok()?;
        Some(file)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Maximum length of a document in bytes. Protocols limit the length of the parts that they copy from a message, also
/// after decompression.
const LONGEST_DOCUMENT: usize = 4 << 20;

/// Counts documents and checks that they are JSON.
#[derive(Clone, Default)]
struct Documents(Arc<Mutex<usize>>);

impl Documents {
    fn sink(&self) -> Sink {
        let count = self.0.clone();
        Sink::bare(Box::new(move |document| {
            *count.lock().unwrap() += 1;
            assert!(document.len() <= LONGEST_DOCUMENT, "a document of {} bytes", document.len());
            let text = std::str::from_utf8(document).expect("a document is UTF-8");
            if let Err(error) = serde_json::from_str::<&RawValue>(text) {
                panic!("a document is no JSON: {error}\n{text}");
            }
        }))
    }

    /// Checks that at most `most` documents were written.
    fn check(&self, most: usize) {
        let count = *self.0.lock().unwrap();
        assert!(count <= most, "{count} documents of an input that can hold no more than {most}");
    }
}
