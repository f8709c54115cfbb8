//! Events on standard output.

use super::{
    Error, Outcome, Output,
    codec::{self, Codec},
    counters::Counters,
    drive,
};
use crate::{config, config::Node, publish::Record, queue::Fate};
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
    pub(super) fn open(node: &Node, counters: Arc<Counters>) -> Result<Self, config::Error> {
        let options: Options = node.read()?;
        let codec = Codec::new(&options.codec, options.pretty).map_err(|why| node.error(why))?;
        Ok(Self { codec, counters, buffer: Vec::new() })
    }
}

impl Output for Console {
    async fn send(&mut self, batch: &[Record]) -> Result<Outcome, Error> {
        self.buffer.clear();
        self.buffer.reserve(drive::bytes(batch));
        let fates = codec_lines(&self.codec, batch, &mut self.buffer);
        let mut out = std::io::stdout().lock();
        out.write_all(&self.buffer).and_then(|()| out.flush()).map_err(|error| {
            self.counters.write_errors.add(1);
            Error::Unreachable(format!("standard output: {error}"))
        })?;
        self.counters.write_bytes.add(self.buffer.len());
        Ok(fates)
    }
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
