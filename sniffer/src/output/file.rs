//! `output.file`: writes events to files, one per line, rotated by size. Several processes cannot share a file.

use super::{
    Error, Outcome, Output, OutputKind, Sender, Sent,
    codec::{self, Codec},
    counters::Counters,
    drive,
    format::Format,
    is_never_implied, shapes,
};
use crate::{
    config,
    opening::Opening,
    publish::Record,
    queue::BoxFuture,
    rotate::{self, Rotator},
};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};

/// Bytes that are gathered before a write. Larger writes gain nothing, and a batch can be as large as the whole queue.
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
pub(super) const OUTPUT: OutputKind = OutputKind { name: "file", open, is_implied: is_never_implied };

struct Files {
    rotation: rotate::Options,
    codec: Codec,
    options: drive::Options,
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Output>, config::Error> {
    Files::read(opening).map(|files| Box::new(files) as Box<dyn Output>)
}

impl Files {
    fn read(opening: &Opening<'_>) -> Result<Self, config::Error> {
        let node = opening.node;
        let options: Options = node.read()?;
        if !(2..=1024).contains(&options.number_of_files) {
            return Err(node.error(format!("number_of_files: {} is not between 2 and 1024", options.number_of_files)));
        }
        if options.rotate_every_kb == 0 {
            return Err(node.error("rotate_every_kb: must be at least 1"));
        }
        rotate::check_name(&options.filename).map_err(|why| node.get("filename").error(why))?;
        if options.path.is_empty() {
            return Err(node.error("path: missing; the folder to write to"));
        }
        let folder = Format::parse(&options.path)
            .map_err(|why| node.error(format!("path: {why}")))?
            .text(opening.clock.now(), &serde_json::Value::Null)
            .ok_or_else(|| node.error("path: only dates are known here, no fields"))?;
        let rotation = rotate::Options {
            folder: folder.into(),
            name: options.filename,
            max_bytes: options.rotate_every_kb.saturating_mul(1024),
            keep: options.number_of_files,
            permissions: options.permissions,
            on_startup: options.rotate_on_startup,
            interval: Duration::ZERO,
        };
        let codec = Codec::new(&options.codec, false).map_err(|why| node.error(why))?;
        Ok(Self { rotation, codec, options: drive::Options::without_refusals(node)? })
    }

    fn writer(self, counters: Arc<Counters>) -> Writer {
        Writer { rotator: Rotator::new(self.rotation), codec: self.codec, counters, buffer: Vec::new() }
    }
}

impl Output for Files {
    fn options(&self) -> drive::Options {
        self.options
    }

    fn senders(self: Box<Self>, counters: &Arc<Counters>) -> Vec<Box<dyn Sender>> {
        vec![Box::new(self.writer(counters.clone()))]
    }
}

/// The sender: writes batches to the current file.
struct Writer {
    rotator: Rotator,
    codec: Codec,
    counters: Arc<Counters>,
    buffer: Vec<u8>,
}

impl Writer {
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

    fn write_batch(&mut self, batch: &[Record]) -> Result<Sent, Error> {
        self.buffer.clear();
        let mut outcomes = vec![Outcome::Delivered; batch.len()];
        // Records before this index are already in the file.
        let mut written = 0;
        for (i, record) in batch.iter().enumerate() {
            let before = self.buffer.len();
            if !self.codec.line(record, &mut self.buffer) {
                if let Some(outcome) = outcomes.get_mut(i) {
                    *outcome = Outcome::Rejected(codec::MISSING_FIELD.into());
                }
                continue;
            }
            if before > 0 && self.buffer.len() as u64 > self.rotator.room() {
                let next = self.buffer.split_off(before);
                if let Err(error) = self.write() {
                    return partly(outcomes, written, error);
                }
                (self.buffer, written) = (next, i);
            }
            if self.buffer.len() >= AT_ONCE {
                if let Err(error) = self.write() {
                    return partly(outcomes, written, error);
                }
                written = i + 1;
            }
        }
        match self.write() {
            Ok(()) if outcomes.iter().all(|outcome| *outcome == Outcome::Delivered) => Ok(Sent::All),
            Ok(()) => Ok(Sent::Each(outcomes)),
            Err(error) => partly(outcomes, written, error),
        }
    }
}

impl Sender for Writer {
    fn send<'a>(&'a mut self, batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>> {
        Box::pin(std::future::ready(self.write_batch(batch)))
    }
}

/// The result when a write fails after the first `written` records reached a file. Those are delivered and must not be written again; the
/// others are sent later.
fn partly(mut outcomes: Vec<Outcome>, written: usize, error: Error) -> Result<Sent, Error> {
    if written == 0 {
        return Err(error);
    }
    for outcome in outcomes.iter_mut().skip(written).filter(|outcome| **outcome == Outcome::Delivered) {
        *outcome = Outcome::Later(error.to_string());
    }
    Ok(Sent::Each(outcomes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Node, opening::testing::opening};
    use std::path::PathBuf;

    fn record(text: &str) -> Record {
        Record { body: text.as_bytes().into(), ..Record::default() }
    }

    fn writer(config: &str) -> Writer {
        Files::read(&opening(&Node::parse(config).unwrap())).unwrap().writer(Arc::default())
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
        let mut files = writer(&config);
        let batch: Vec<_> = (0..100).map(|n| record(&format!("{{\"n\":{n:060}}}"))).collect();
        for part in batch.chunks(40) {
            assert_eq!(files.send(part).await.unwrap(), Sent::All);
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
            ("{path: /x, filename: a/b}", "line 1: filename: 'a/b' contains '/'"),
            ("{path: /x, filename: ''}", "line 1: filename: is empty"),
            ("{path: '/x/%{[a]}'}", "only dates"),
        ] {
            let error = Files::read(&opening(&Node::parse(config).unwrap())).map(drop).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} should say {expected}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_unreachable() {
        let mut files = writer("{path: /proc/nothing/here}");
        assert!(matches!(files.send(&[record("{}")]).await, Err(Error::Unreachable(_))));
    }
}
