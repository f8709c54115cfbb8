//! Writes JSON within a limit: long texts are cut off, and lists end early. A document that is too large is written again in this form.

use super::json;
use serde::Serialize;
use serde_json::{
    Serializer,
    ser::{CharEscape, CompactFormatter, Formatter},
};
use std::{
    cell::Cell,
    io::{self, Write},
};

/// Each text gets this part of the bytes that are left, so that any number of long texts leaves room for the fields behind them.
const SHARE: usize = 4;
/// A text of this length is never cut: names, times and addresses stay whole.
const SHORT: usize = 256;
/// Writes a value in about `most` bytes. The result is longer only if it has very many short fields.
///
/// # Errors
/// When the value cannot be JSON, or the writer fails.
pub fn write<T: Serialize + ?Sized>(writer: impl Write, value: &T, most: usize) -> serde_json::Result<()> {
    let room = Room { most, left: Cell::new(most), discards: Cell::new(false) };
    let formatter = Shortening { room: &room, text: 0, depth: 0, ended: None };
    value.serialize(&mut Serializer::with_formatter(Counting { writer, room: &room }, formatter))
}

/// The state that the formatter and the writer share.
struct Room {
    most: usize,
    /// Bytes that may still be written.
    left: Cell<usize>,
    /// Whether everything is discarded, because it belongs to a list that has ended.
    discards: Cell<bool>,
}

/// Counts the bytes that are written.
struct Counting<'a, W> {
    writer: W,
    room: &'a Room,
}

impl<W: Write> Write for Counting<'_, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_all(data).map(|()| data.len())
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        if self.room.discards.get() {
            return Ok(());
        }
        self.room.left.set(self.room.left.get().saturating_sub(data.len()));
        self.writer.write_all(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

struct Shortening<'a> {
    room: &'a Room,
    /// Bytes that the current text may still have.
    text: usize,
    /// Number of lists around the current value.
    depth: usize,
    /// The depth of the list whose further items are discarded.
    ended: Option<usize>,
}

impl Formatter for Shortening<'_> {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        json::write_float(writer, value)
    }

    fn write_f32<W: ?Sized + Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        json::write_float(writer, value)
    }

    fn begin_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.text = (self.room.left.get() / SHARE).max(SHORT);
        writer.write_all(b"\"")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.len() <= self.text {
            self.text -= fragment.len();
            return writer.write_all(fragment.as_bytes());
        }
        let end = fragment.floor_char_boundary(self.text);
        self.text = 0;
        writer.write_all(fragment.get(..end).unwrap_or_default().as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        // `\u0000` or `\n`
        let length = if matches!(escape, CharEscape::AsciiControl(_)) { 6 } else { 2 };
        match self.text.checked_sub(length) {
            Some(left) => {
                self.text = left;
                CompactFormatter.write_char_escape(writer, escape)
            }
            None => {
                self.text = 0;
                Ok(())
            }
        }
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        // Lists may use half of the room. From the first item that is discarded on, all further ones are.
        if self.ended.is_none() && self.room.left.get() < self.room.most / 2 {
            self.ended = Some(self.depth);
            self.room.discards.set(true);
        }
        if first { Ok(()) } else { writer.write_all(b",") }
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        if self.ended == Some(self.depth) {
            self.ended = None;
            self.room.discards.set(false);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn shortened(value: &Value, most: usize) -> (Value, usize) {
        let mut text = Vec::new();
        write(&mut text, value, most).unwrap();
        (serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text))), text.len())
    }

    #[test]
    fn what_fits_is_unchanged() {
        let value = json!({"a": "x\u{1}\"y", "b": [1, [2, "z"], {}], "c": {"d": null, "e": 1.5}});
        assert_eq!(shortened(&value, 4096).0, value);
    }

    #[test]
    fn long_texts_are_cut_and_the_fields_behind_them_are_there() {
        for byte in ["x", "é", "\u{1}", "\"", "日"] {
            let long = byte.repeat(50_000);
            let value = json!({"a": long, "b": {"c": long, "d": long}, "z": "end"});
            let (cut, length) = shortened(&value, 10_000);
            assert_eq!(cut["z"], "end");
            assert!((5_000..=10_000).contains(&length), "{byte:?}: {length} bytes");
            for text in [&cut["a"], &cut["b"]["c"], &cut["b"]["d"]] {
                let text = text.as_str().unwrap();
                assert!(!text.is_empty() && long.starts_with(text), "{byte:?}: {text}");
            }
        }
    }

    #[test]
    fn long_lists_end_early() {
        let value = json!({"a": vec!["short"; 50_000], "b": [[1, 2], [3]], "c": vec![vec![7; 9]; 9000], "z": "end"});
        let (cut, length) = shortened(&value, 10_000);
        assert!((4_500..=10_000).contains(&length), "{length} bytes");
        assert!(cut["a"].as_array().unwrap().iter().all(|item| item == "short"), "{cut}");
        assert_eq!((&cut["b"], &cut["c"], &cut["z"]), (&json!([]), &json!([]), &json!("end")));
        let nested = json!([vec![vec![1; 10_000]; 3], "end"]);
        let (cut, _) = shortened(&nested, 1000);
        assert_eq!(cut.as_array().unwrap().len(), 1, "{cut}");
    }
}
