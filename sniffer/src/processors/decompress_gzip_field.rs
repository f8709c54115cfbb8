//! `decompress_gzip_field`: decompresses gzip (RFC 1952).

use super::{
    Decision, Factory, ProcessorKind, Shared,
    kit::{FromTo, keep, not_fetched, print},
    options::options,
    shared,
};
use crate::{
    config::Error,
    enrich::HostData,
    event::{raw, tree::Tree},
    opening::Opening,
};
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use std::io::Read;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "decompress_gzip_field",
    about: "Decompresses the bytes of a field that are in gzip format, for example those that `decode_base64_field` has written. The result \
            must not be longer than 16 MiB. An error is reported in `error.message`, unless `fail_on_error` is false.",
    example: "field: {from: payload, to: text}\nignore_missing: true",
    options: &[("", DecompressGzip::OPTIONS), ("field.", FromTo::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct DecompressGzip {
        /// The field (`from`) and where the decompressed text goes (`to`; without it the field itself is replaced).
        field: FromTo,
        /// A missing field is not an error.
        ignore_missing: bool = false,
        /// An error is reported in `error.message`.
        fail_on_error: bool = true,
    }
}

/// Maximum length of the decompressed text. A few kilobytes of gzip can expand to gigabytes.
const MAX_LENGTH: u64 = 16 << 20;

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(DecompressGzip::read(opening.node)?))
}

/// Decompresses all members.
fn decompress(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes).take(MAX_LENGTH + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_LENGTH { Err(format!("the result is longer than {MAX_LENGTH} bytes")) } else { Ok(text) }
}

impl DecompressGzip {
    fn decompress(&self, event: &mut Tree) -> Result<(), String> {
        let from = &self.field.from;
        let text = match event.fetch(from) {
            Ok(Value::String(text)) => text,
            Ok(other) => return Err(format!("cannot decompress type {}", print(other))),
            Err(error) if self.ignore_missing && error.is_missing() => return Ok(()),
            Err(error) => return Err(not_fetched(from, error)),
        };
        let bytes = decompress(&raw::to_bytes(text)).map_err(|error| format!("error decompressing field {from}: {error}"))?;
        let value = event.raw(&bytes);
        event.put(self.field.target(), value).map_err(|error| format!("could not put decompressed data: {error}"))
    }
}

impl Shared for DecompressGzip {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = self.decompress(event);
        keep(event, self.fail_on_error, "failed to decompress field in decompress_gzip_field processor: ", result)
    }
}
