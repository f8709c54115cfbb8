//! Bytes that are not UTF-8 inside the texts of a [`super::tree::Tree`]. A JSON text cannot hold them, but one processor may pass them to
//! another (base64 to gzip). Each such byte is kept as a private character and becomes U+FFFD when the document is written.

use serde_json::{Map, Value};
use std::borrow::Cow;

/// The character for the byte 0; the characters of the other bytes follow. It lies in the last private use area of Unicode.
const FIRST: u32 = 0x10_FE00;

/// The text for these bytes.
pub fn to_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(FIRST + u32::from(*byte))));
    }
    text
}

fn byte(character: char) -> Option<u8> {
    u8::try_from(u32::from(character).checked_sub(FIRST)?).ok()
}

/// The bytes of a text that [`to_text`] may have made.
pub fn to_bytes(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(|character| byte(character).is_some()) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match byte(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

/// Replaces the kept bytes in all texts by U+FFFD.
pub fn replace(object: &mut Map<String, Value>) {
    object.values_mut().for_each(replace_in);
}

fn replace_in(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(|character| byte(character).is_some()) => {
            *text = text.chars().map(|c| if byte(c).is_some() { char::REPLACEMENT_CHARACTER } else { c }).collect();
        }
        Value::Array(list) => list.iter_mut().for_each(replace_in),
        Value::Object(object) => replace(object),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bytes_survive_and_are_replaced_in_documents() {
        let bytes = b"\x1f\x8bgz\xff\xc3\xa9\x80";
        let text = to_text(bytes);
        assert_eq!(&*to_bytes(&text), bytes);
        assert_eq!(&*to_bytes("plain"), b"plain");
        let mut object = Map::from_iter([("a".to_owned(), json!([{"b": text}]))]);
        replace(&mut object);
        assert_eq!(Value::from(object), json!({"a": [{"b": "\u{1f}\u{fffd}gz\u{fffd}é\u{fffd}"}]}));
    }
}
