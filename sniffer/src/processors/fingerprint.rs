//! `fingerprint`: hashes the values of fields.

use super::{Decision, Factory, ProcessorKind, Shared, kit, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::{TIMESTAMP, Tree, kind},
    opening::Opening,
};
use base64::prelude::{BASE64_STANDARD, Engine};
use md5::Md5;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use xxhash_rust::xxh64::xxh64;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "fingerprint",
    about: "Writes a hash over the names and values of fields, for example to find duplicates. The order in which `fields` lists them does not \
            matter. If a field is missing or an object, nothing is written, and the reason is in `error.message`.",
    example: "fields: [source.ip, destination.ip]\nmethod: sha1\nencoding: base64\ntarget_field: event.hash",
    options: &[("", Fingerprint::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct Fingerprint {
        /// The fields whose values are hashed.
        fields: Vec<String>,
        /// A missing field is left out. If false, it is an error.
        ignore_missing: bool = false,
        /// The field for the hash.
        target_field: String = "fingerprint".to_owned(),
        /// How the hash is written: `hex`, `base32` or `base64`.
        encoding: Encoding = Encoding::Hex,
        /// The hash function: `md5`, `sha1`, `sha256`, `sha384`, `sha512` or `xxhash`.
        method: Method = Method::Sha256,
    }
}

#[derive(Clone, Copy, Debug)]
enum Encoding {
    Hex,
    Base32,
    Base64,
}

#[derive(Clone, Copy, Debug)]
enum Method {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    Xxhash,
}

impl<'de> Deserialize<'de> for Encoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.to_lowercase().as_str() {
            "hex" => Ok(Self::Hex),
            "base32" => Ok(Self::Base32),
            "base64" => Ok(Self::Base64),
            other => Err(de::Error::custom(format_args!("expected hex, base32 or base64, got `{other}`"))),
        }
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.to_lowercase().as_str() {
            "md5" => Ok(Self::Md5),
            "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            "sha384" => Ok(Self::Sha384),
            "sha512" => Ok(Self::Sha512),
            "xxhash" => Ok(Self::Xxhash),
            other => Err(de::Error::custom(format_args!("expected md5, sha1, sha256, sha384, sha512 or xxhash, got `{other}`"))),
        }
    }
}

impl Method {
    fn hash(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => Md5::digest(data).to_vec(),
            Self::Sha1 => Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha384 => Sha384::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
            Self::Xxhash => xxh64(data, 0).to_be_bytes().to_vec(),
        }
    }
}

impl Encoding {
    fn text(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Base32 => base32(bytes),
            Self::Base64 => BASE64_STANDARD.encode(bytes),
        }
    }
}

/// Base32 with padding (RFC 4648, section 6).
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for group in bytes.chunks(5) {
        let bits = group.iter().chain(&[0; 4]).take(5).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let used = (group.len() * 8).div_ceil(5);
        for place in 0..8 {
            let digit = (bits >> (35 - 5 * place)) & 31;
            let character = ALPHABET.get(digit as usize).filter(|_| place < used).copied();
            text.push(char::from(character.unwrap_or(b'=')));
        }
    }
    text
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let mut options = Fingerprint::read(opening.node)?;
    if options.fields.is_empty() {
        return Err(opening.node.error("fields: at least one field is needed, `fields: [source.ip]`"));
    }
    options.fields.sort();
    options.fields.dedup();
    Ok(shared(options))
}

impl Fingerprint {
    fn fingerprint(&self, event: &mut Tree) -> Result<(), String> {
        let mut data = String::new();
        for name in &self.fields {
            let text = match event.fetch(name) {
                Ok(value @ Value::Object(_)) => {
                    return Err(format!("cannot compute fingerprint using non-scalar field [{name}] of type {}", kind(value)));
                }
                // The hash uses the exact time of the event, and not the text of `@timestamp`.
                Ok(_) if name == TIMESTAMP => kit::time_text(event),
                Ok(value) => kit::print(value),
                Err(error) if error.is_missing() && self.ignore_missing => continue,
                Err(error) => return Err(format!("failed to find field [{name}] in event: {error}")),
            };
            data.push('|');
            data.push_str(name);
            data.push('|');
            data.push_str(&text);
        }
        data.push('|');
        let text = self.encoding.text(&self.method.hash(data.as_bytes()));
        event.put(&self.target_field, text.into()).map_err(|error| format!("failed to compute fingerprint: {}: {error}", self.target_field))
    }
}

impl Shared for Fingerprint {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let result = self.fingerprint(event);
        kit::keep(event, true, "", result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "MY======"), ("fo", "MZXQ===="), ("foo", "MZXW6==="), ("foob", "MZXW6YQ="), ("foobar", "MZXW6YTBOI======")]
        {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }
}
