//! `output.file`: writes events to files, one per line, rotated by size. Several processes cannot share a file. The main thread does the
//! writes: a local file rarely blocks, and another thread costs a tenth of the CPU of a replay. If a write blocks forever, the thread that
//! receives signals ends the process in time.

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
    publish::{Record, body},
    queue::BoxFuture,
    rotate::{self, Rotator},
};
use serde::Deserialize;
use std::{io, sync::Arc, time::Duration};

/// Number of bytes that are gathered before a write, for documents that are not contiguous in memory. Larger writes are
/// not faster, and a batch can be as large as the whole queue.
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

/// The output `file`, for the list of outputs.
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
            return Err(node.error("path is missing; write the folder for the files of events"));
        }
        let folder = Format::parse(&options.path)
            .map_err(|why| node.error(format!("path: {why}")))?
            .text(opening.clock.now(), &serde_json::Value::Null)
            .ok_or_else(|| node.error("path: only dates are allowed here, no fields"))?;
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
        Writer { rotator: Rotator::new(self.rotation), codec: self.codec, counters, text: Vec::new(), ends: Vec::new() }
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
    /// Buffers for documents and their lines. They are used again for every batch.
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// The lines of several records.
struct Lines<'a> {
    text: &'a [u8],
    /// Where the line of each record ends in `text`. The line of a record that the codec cannot write is empty.
    ends: &'a [usize],
}

impl Lines<'_> {
    /// Writes the lines, each time as many as have room in the current file. Returns how many records are in files, also on an error.
    fn write(&self, rotator: &mut Rotator) -> (usize, io::Result<()>) {
        let (mut from, mut records) = (0, 0);
        while let Some(rest) = self.text.get(from..).filter(|rest| !rest.is_empty()) {
            let ends = self.ends.get(records..).unwrap_or_default();
            let fits = ends.partition_point(|end| (end - from) as u64 <= rotator.room());
            // A line that is longer than the room in the current file gets its own file.
            let first = ends.iter().position(|end| *end > from).map_or(ends.len(), |at| at + 1);
            let count = fits.max(first);
            let length = ends.get(count.saturating_sub(1)).map_or(rest.len(), |end| end - from);
            if let Err(error) = rotator.write(rest.get(..length).unwrap_or(rest)) {
                return (records, Err(error));
            }
            (from, records) = (from + length, records + count);
        }
        (self.ends.len(), Ok(()))
    }
}

impl Writer {
    /// Writes lines. Returns how many of their records are in files, also on an error.
    fn write(&mut self, lines: &Lines<'_>) -> (usize, Result<(), Error>) {
        let (records, written) = lines.write(&mut self.rotator);
        let bytes = if records == 0 { 0 } else { lines.ends.get(records - 1).copied().unwrap_or_default() };
        self.counters.write_bytes.add(bytes);
        let written = written.map_err(|error| {
            self.counters.write_errors.add(1);
            Error::Unreachable(format!("output file: {error}").into())
        });
        (records, written)
    }

    fn write_batch(&mut self, batch: &[Record]) -> Result<Sent, Error> {
        let mut outcomes = vec![Outcome::Delivered; batch.len()];
        // Records before this index are already in a file.
        let mut written = 0;
        let (mut text, mut ends) = (std::mem::take(&mut self.text), std::mem::take(&mut self.ends));
        while let Some(rest) = batch.get(written..).filter(|rest| !rest.is_empty()) {
            ends.clear();
            let lines = if self.codec.is_plain() { body::lines(rest) } else { None };
            let text = match lines {
                // The documents are contiguous in memory and are written without a copy.
                Some((text, count)) => {
                    ends.extend(rest.iter().take(count).scan(0, |end, record| {
                        *end += record.body.len() + 1;
                        Some(*end)
                    }));
                    text
                }
                None => {
                    text.clear();
                    for (record, outcome) in rest.iter().zip(outcomes.iter_mut().skip(written)) {
                        if !self.codec.line(record, &mut text) {
                            *outcome = Outcome::Rejected(codec::MISSING_FIELD.into());
                        }
                        ends.push(text.len());
                        if text.len() >= AT_ONCE {
                            break;
                        }
                    }
                    &text
                }
            };
            let (records, result) = self.write(&Lines { text, ends: &ends });
            written += records;
            if let Err(error) = result {
                return partly(outcomes, written, error);
            }
        }
        (self.text, self.ends) = (text, ends);
        if outcomes.iter().all(|outcome| *outcome == Outcome::Delivered) { Ok(Sent::All) } else { Ok(Sent::Each(outcomes)) }
    }
}

impl Sender for Writer {
    fn send<'a>(&'a mut self, batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>> {
        Box::pin(async { self.write_batch(batch) })
    }
}

/// Returns the result when a write fails after the first `written` records reached a file. These records are delivered and must not be
/// written again; the other records are sent later.
fn partly(mut outcomes: Vec<Outcome>, written: usize, error: Error) -> Result<Sent, Error> {
    if written == 0 {
        return Err(error);
    }
    for outcome in outcomes.iter_mut().skip(written).filter(|outcome| **outcome == Outcome::Delivered) {
        *outcome = Outcome::Later(error.reason().clone());
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

    #[tokio::test]
    async fn records_that_cannot_be_written_are_rejected_at_any_position() {
        let path = folder("rejected");
        let mut files = writer(&format!("{{path: {}, rotate_every_kb: 1, codec: {{format: {{string: '%{{[a]}}'}}}}}}", path.display()));
        let (with, without) = (format!("{{\"a\":\"{}\"}}", "x".repeat(600)), "{}");
        let batch: Vec<Record> = [without, &with, without, &with, &with, without].map(record).into();
        let rejected = || Outcome::Rejected(codec::MISSING_FIELD.into());
        let expected = [rejected(), Outcome::Delivered, rejected(), Outcome::Delivered, Outcome::Delivered, rejected()];
        assert_eq!(files.send(&batch).await.unwrap(), Sent::Each(expected.into()));
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 3, "one line of 600 bytes in each file of 1 KiB");
        let nothing: Vec<Record> = [without, without].map(record).into();
        assert_eq!(files.send(&nothing).await.unwrap(), Sent::Each(vec![rejected(), rejected()]));
        let _ = std::fs::remove_dir_all(path);
    }

    #[test]
    fn wrong_settings() {
        for (config, expected) in [
            ("{path: /x, number_of_files: 1}", "number_of_files: 1 is not between 2 and 1024"),
            ("{filename: x}", "path is missing"),
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
