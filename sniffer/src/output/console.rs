//! `output.console`: writes events to standard output.

use super::{
    Error, Outcome, Output, OutputKind, Sender, Sent, blocking,
    codec::{self, Codec},
    counters::Counters,
    drive, is_never_implied,
};
use crate::{config, opening::Opening, publish::Record, queue::BoxFuture};
use serde::Deserialize;
use std::{
    fs::File,
    io::{IsTerminal, Write},
    os::{fd::AsFd, unix::fs::FileTypeExt},
    sync::Arc,
};

/// The output `console`, for the list of outputs.
pub(super) const OUTPUT: OutputKind = OutputKind { name: "console", open, is_implied: is_never_implied };

#[derive(Deserialize, Default)]
#[serde(default)]
struct Options {
    pretty: bool,
    codec: codec::Options,
}

struct Console {
    codec: Codec,
    options: drive::Options,
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Output>, config::Error> {
    let options: Options = opening.node.read()?;
    let codec = Codec::new(&options.codec, options.pretty).map_err(|why| opening.node.error(why))?;
    Ok(Box::new(Console { codec, options: drive::Options::without_refusals(opening.node)? }))
}

impl Output for Console {
    fn options(&self) -> drive::Options {
        self.options
    }

    fn senders(self: Box<Self>, counters: &Arc<Counters>) -> Vec<Box<dyn Sender>> {
        vec![Box::new(Printer { codec: self.codec, counters: counters.clone(), buffer: Vec::new(), may_block: may_block() })]
    }
}

struct Printer {
    codec: Codec,
    counters: Arc<Counters>,
    buffer: Vec<u8>,
    /// Whether writes run on another thread, because they may have to wait for the reader of standard output.
    may_block: bool,
}

/// Whether a write to standard output can wait for a reader. A write to a file or to `/dev/null` cannot.
fn may_block() -> bool {
    let stdout = std::io::stdout();
    let kind = stdout.as_fd().try_clone_to_owned().and_then(|fd| File::from(fd).metadata()).map(|metadata| metadata.file_type());
    kind.map_or(true, |kind| !kind.is_file() && (stdout.is_terminal() || !kind.is_char_device()))
}

impl Sender for Printer {
    fn send<'a>(&'a mut self, batch: &'a [Record]) -> BoxFuture<'a, Result<Sent, Error>> {
        self.buffer.clear();
        self.buffer.reserve(batch.iter().map(|record| record.body.len() + 1).sum());
        let sent = lines(&self.codec, batch, &mut self.buffer);
        if !self.may_block {
            let printed = print(&self.buffer, &self.counters);
            return Box::pin(async { printed.map(|()| sent) });
        }
        Box::pin(async {
            let (buffer, counters) = (std::mem::take(&mut self.buffer), self.counters.clone());
            let (buffer, printed) = blocking::run(move || {
                let printed = print(&buffer, &counters);
                (buffer, printed)
            })
            .await?;
            self.buffer = buffer;
            printed.map(|()| sent)
        })
    }
}

/// Writes to standard output. A broken pipe is [`Error::Gone`], because no reader can be attached again.
fn print(bytes: &[u8], counters: &Counters) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| {
        counters.write_errors.add(1);
        let why = format!("standard output: {error}");
        if error.kind() == std::io::ErrorKind::BrokenPipe { Error::Gone(why.into()) } else { Error::Unreachable(why.into()) }
    })?;
    counters.write_bytes.add(bytes.len());
    Ok(())
}

/// Appends all records to `buffer` as lines. Records that the codec cannot write are rejected.
fn lines(codec: &Codec, batch: &[Record], buffer: &mut Vec<u8>) -> Sent {
    let mut outcomes = Vec::new();
    for (i, record) in batch.iter().enumerate() {
        if !codec.line(record, buffer) {
            outcomes.resize(i, Outcome::Delivered);
            outcomes.push(Outcome::Rejected(codec::MISSING_FIELD.into()));
        }
    }
    if outcomes.is_empty() {
        return Sent::All;
    }
    outcomes.resize(batch.len(), Outcome::Delivered);
    Sent::Each(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_record_that_lacks_a_field_of_the_format_is_rejected() {
        let options = serde_json::from_str(r#"{"format": {"string": "%{[a]}"}}"#).unwrap();
        let codec = Codec::new(&options, false).unwrap();
        let record = |body: &str| Record { body: body.as_bytes().into(), ..Record::default() };
        let mut buffer = Vec::new();
        let (with, without) = (r#"{"a":1}"#, "{}");
        let rejected = Outcome::Rejected(codec::MISSING_FIELD.into());
        let sent = lines(&codec, &[record(with), record(without), record(with)], &mut buffer);
        assert_eq!(sent, Sent::Each(vec![Outcome::Delivered, rejected, Outcome::Delivered]));
        assert_eq!(lines(&codec, &[record(with)], &mut buffer), Sent::All);
        assert_eq!(buffer, b"1\n1\n1\n");
    }
}
