//! Writes rows of a result as lines of text.

use super::{
    csv,
    values::{self, Style},
    wire,
};
use crate::protocols::kit::reader::Reader;

/// Writes a row of text values, of which at most `room` bytes are written.
pub fn text(payload: &[u8], mut room: usize, out: &mut Vec<u8>) {
    let mut r = Reader::new(payload);
    let mut first = true;
    while room > 0 && !r.is_empty() {
        let text = if r.rest().first() == Some(&0xfb) {
            let _ = r.skip(1);
            b"NULL"
        } else {
            let Some(len) = wire::lenenc(&mut r) else { break };
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(r.remaining());
            r.take(len).unwrap_or_default()
        };
        let text = text.get(..room).unwrap_or(text);
        room -= text.len();
        csv::value(out, text, first);
        first = false;
    }
    out.push(b'\n');
}

/// Writes a row of binary values, at most `room` bytes of their text. `kinds`: the type of each column, and whether it
/// is unsigned.
pub fn binary(payload: &[u8], mut room: usize, kinds: &[(u8, bool)], scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    let mut r = Reader::new(payload);
    let count = kinds.len();
    let Some(nulls) = r.skip(1).and_then(|()| r.take((count + 9) / 8)).filter(|_| count > 0) else { return };
    for (i, &(kind, unsigned)) in kinds.iter().enumerate() {
        if room == 0 {
            break;
        }
        scratch.clear();
        let bit = i + 2;
        if nulls.get(bit / 8).is_some_and(|b| b >> (bit % 8) & 1 == 1) {
            scratch.extend_from_slice(b"NULL");
        } else if values::value(&mut r, kind, unsigned, Style::Text, scratch).is_none() {
            // Only the beginning of the value is in `payload`.
            let mut cut = r;
            let _ = wire::lenenc(&mut cut);
            scratch.extend_from_slice(cut.rest());
            room = room.min(scratch.len());
        }
        scratch.truncate(room);
        room -= scratch.len();
        csv::value(out, scratch, i == 0);
    }
    out.push(b'\n');
}
