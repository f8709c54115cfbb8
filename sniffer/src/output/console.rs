//! Events on standard output.

use super::{
    Error, Outcome, Output,
    codec::{self, Codec},
    counters::Counters,
    drive,
};
use crate::{config, opening::Opening, publish::Record, queue::Fate};
use serde::Deserialize;
use std::{io::Write, sync::Arc};

#[derive(Deserialize, Default)]
#[serde(default)]
struct Options {
    pretty: bool,
    codec: codec::Options,
}

/// `output.console`
pub(super) struct Console {
    codec: Codec,
    counters: Arc<Counters>,
    buffer: Vec<u8>,
}

impl Console {
    pub(super) fn open(opening: &Opening<'_>, counters: Arc<Counters>) -> Result<Self, config::Error> {
        let options: Options = opening.node.read()?;
        let codec = Codec::new(&options.codec, options.pretty).map_err(|why| opening.node.error(why))?;
        Ok(Self { codec, counters, buffer: Vec::new() })
    }
}

impl Output for Console {
    async fn send(&mut self, batch: &[Record]) -> Result<Outcome, Error> {
        self.buffer.clear();
        self.buffer.reserve(drive::bytes(batch));
        let fates = codec_lines(&self.codec, batch, &mut self.buffer);
        print(&self.buffer, &self.counters)?;
        Ok(fates)
    }
}

/// Writes to standard output, whose reader may be gone for good.
pub(super) fn print(bytes: &[u8], counters: &Counters) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| {
        counters.write_errors.add(1);
        let why = format!("standard output: {error}");
        if error.kind() == std::io::ErrorKind::BrokenPipe { Error::Gone(why) } else { Error::Unreachable(why) }
    })?;
    counters.write_bytes.add(bytes.len());
    Ok(())
}

/// All records as lines; those that the format string cannot write are rejected.
fn codec_lines(codec: &Codec, batch: &[Record], buffer: &mut Vec<u8>) -> Outcome {
    let mut fates = Vec::new();
    for (i, record) in batch.iter().enumerate() {
        if !codec.line(record, buffer) {
            fates.resize(i, Fate::Delivered);
            fates.push(Fate::Rejected("the format string asks for a field that the event does not have".into()));
        }
    }
    if fates.is_empty() {
        return Outcome::Delivered;
    }
    fates.resize(batch.len(), Fate::Delivered);
    Outcome::Partly(fates)
}
