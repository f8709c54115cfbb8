//! Events in files, one JSON object per line, rotated by size. Not for sharing a file between processes.

use super::{
    Error, Outcome, Output,
    codec::{self, Codec},
    counters::Counters,
    format::Format,
    shapes,
};
use crate::{
    config,
    opening::Opening,
    publish::Record,
    queue::Fate,
    rotate::{self, Rotator},
};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};

/// What is written at once: more gains nothing, and a batch can be as large as the queue.
const AT_ONCE: usize = 128 << 10;

#[derive(Deserialize)]
#[serde(default)]
struct Options {
    path: String,
    filename: String,
    rotate_every_kb: u64,
    number_of_files: usize,
    #[serde(deserialize_with = "shapes::permissions")]
    permissions: u32,
    rotate_on_startup: bool,
    codec: codec::Options,
}

impl Default for Options {
    fn default() -> Self {
        let (path, filename, codec) = (String::new(), "packetbeat".into(), codec::Options::default());
        Self { path, filename, rotate_every_kb: 10 * 1024, number_of_files: 7, permissions: 0o600, rotate_on_startup: true, codec }
    }
}

/// `output.file`
#[derive(Debug)]
pub(super) struct Files {
    rotator: Rotator,
    codec: Codec,
    counters: Arc<Counters>,
    buffer: Vec<u8>,
}

impl Files {
    pub(super) fn open(opening: &Opening<'_>, counters: Arc<Counters>) -> Result<Self, config::Error> {
        let node = opening.node;
        let options: Options = node.read()?;
        if !(2..=1024).contains(&options.number_of_files) {
            return Err(node.error(format!("number_of_files: {} is not between 2 and 1024", options.number_of_files)));
        }
        if options.rotate_every_kb == 0 {
            return Err(node.error("rotate_every_kb: must be at least 1"));
        }
        if options.path.is_empty() {
            return Err(node.error("path: missing; the folder to write to"));
        }
        let folder = Format::parse(&options.path)
            .map_err(|why| node.error(format!("path: {why}")))?
            .text(opening.clock.now(), &serde_json::Value::Null)
            .ok_or_else(|| node.error("path: only dates are known here, no fields"))?;
        let rotator = Rotator::new(rotate::Options {
            folder: folder.into(),
            name: options.filename,
            max_bytes: options.rotate_every_kb.saturating_mul(1024),
            keep: options.number_of_files,
            permissions: options.permissions,
            on_startup: options.rotate_on_startup,
            interval: Duration::ZERO,
        });
        let codec = Codec::new(&options.codec, false).map_err(|why| node.error(why))?;
        Ok(Self { rotator, codec, counters, buffer: Vec::new() })
    }

    fn write(&mut self) -> Result<(), Error> {
        let written = if self.buffer.is_empty() { Ok(()) } else { self.rotator.write(&self.buffer) };
        written.map_err(|error| {
            self.counters.write_errors.add(1);
            Error::Unreachable(format!("output file: {error}"))
        })?;
        self.counters.write_bytes.add(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }
}

impl Output for Files {
    async fn send(&mut self, batch: &[Record]) -> Result<Outcome, Error> {
        self.buffer.clear();
        let mut fates = vec![Fate::Delivered; batch.len()];
        // Records before this one are in the file.
        let mut written = 0;
        for (i, record) in batch.iter().enumerate() {
            let before = self.buffer.len();
            if !self.codec.line(record, &mut self.buffer) {
                if let Some(fate) = fates.get_mut(i) {
                    *fate = Fate::Rejected("the format string asks for a field that the event does not have".into());
                }
                continue;
            }
            if before > 0 && self.buffer.len() as u64 > self.rotator.room() {
                let next = self.buffer.split_off(before);
                if let Err(error) = self.write() {
                    return partly(fates, written, error);
                }
                (self.buffer, written) = (next, i);
            }
            if self.buffer.len() >= AT_ONCE {
                if let Err(error) = self.write() {
                    return partly(fates, written, error);
                }
                written = i + 1;
            }
        }
        match self.write() {
            Ok(()) if fates.iter().all(|fate| *fate == Fate::Delivered) => Ok(Outcome::Delivered),
            Ok(()) => Ok(Outcome::Partly(fates)),
            Err(error) => partly(fates, written, error),
        }
    }
}

/// What is in a file must not be written again because the next file could not be.
fn partly(mut fates: Vec<Fate>, written: usize, error: Error) -> Result<Outcome, Error> {
    if written == 0 {
        return Err(error);
    }
    for fate in fates.iter_mut().skip(written).filter(|fate| **fate == Fate::Delivered) {
        *fate = Fate::Later(error.to_string());
    }
    Ok(Outcome::Partly(fates))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Node, opening::testing::opening};
    use std::path::PathBuf;

    fn record(text: &str) -> Record {
        Record { body: text.as_bytes().into(), ..Record::default() }
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sniffer-file-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    #[tokio::test]
    async fn batches_span_files_and_nothing_is_lost() {
        let path = folder("span");
        let config = format!("{{path: {}, rotate_every_kb: 1, number_of_files: 1024}}", path.display());
        let mut files = Files::open(&opening(&Node::parse(&config).unwrap()), Arc::default()).unwrap();
        let batch: Vec<_> = (0..100).map(|n| record(&format!("{{\"n\":{n:060}}}"))).collect();
        for part in batch.chunks(40) {
            assert_eq!(files.send(part).await.unwrap(), Outcome::Delivered);
        }
        let mut all: Vec<_> = std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(all.iter().all(|p| p.metadata().unwrap().len() <= 1024), "{all:?}");
        all.sort_by_key(|p| (p.to_str().unwrap().len(), p.clone()));
        let text: String = all.iter().map(|p| std::fs::read_to_string(p).unwrap()).collect();
        let expected: String = batch.iter().map(|r| format!("{}\n", std::str::from_utf8(&r.body).unwrap())).collect();
        assert_eq!(text, expected);
        let _ = std::fs::remove_dir_all(path);
    }

    #[test]
    fn wrong_settings() {
        for (config, expected) in [
            ("{path: /x, number_of_files: 1}", "number_of_files: 1 is not between 2 and 1024"),
            ("{filename: x}", "path: missing"),
            ("{path: '/x/%{[a]}'}", "only dates"),
        ] {
            let error = Files::open(&opening(&Node::parse(config).unwrap()), Arc::default()).map(drop).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} should say {expected}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_unreachable() {
        let mut files = Files::open(&opening(&Node::parse("{path: /proc/nothing/here}").unwrap()), Arc::default()).unwrap();
        assert!(matches!(files.send(&[record("{}")]).await, Err(Error::Unreachable(_))));
    }
}
