//! Repairs messages of which only the beginning is read: subtracts the missing part from all lengths, so that the
//! beginning becomes a shorter, well-formed message.

use super::wire::op;
use memchr::memchr;

/// Maximum number of levels of nested documents, as many as a server allows.
const DEEPEST: usize = 100;

/// Repairs the captured beginning of a message after its header. Returns `None` if that is not possible.
pub fn message(op: i32, start: &[u8]) -> Option<Vec<u8>> {
    let mut out = start.to_vec();
    match op {
        op::MSG => {
            // The checksum is cut off too.
            *out.first_mut()? &= !1;
            let mut at = 4;
            loop {
                let (kind, size) = (*out.get(at)?, length(&out, at + 1));
                match size.and_then(|n| n.checked_add(at + 1)) {
                    Some(next) if next <= out.len() => at = next,
                    _ if kind == 1 && out.len() > at + 5 => {
                        let name = at + 5;
                        let first = name + memchr(0, out.get(name..)?)? + 1;
                        sequence(&mut out, first);
                        let size = out.len() - at - 1;
                        put(&mut out, at + 1, size);
                        break;
                    }
                    _ if kind == 0 && out.len() >= at + 5 => {
                        document(&mut out, at + 1);
                        break;
                    }
                    _ => {
                        out.truncate(at);
                        break;
                    }
                }
                if at == out.len() {
                    break;
                }
            }
        }
        op::REPLY if out.len() >= 20 => sequence(&mut out, 20),
        op::QUERY => {
            let at = 4 + memchr(0, out.get(4..)?)? + 1 + 8;
            sequence(&mut out, at);
        }
        op::UPDATE | op::DELETE => {
            let at = 4 + memchr(0, out.get(4..)?)? + 1 + 4;
            sequence(&mut out, at);
            if op == op::UPDATE && length(&out, at).is_some_and(|n| at + n == out.len()) {
                out.extend_from_slice(&[5, 0, 0, 0, 0]);
            }
        }
        _ => {}
    }
    Some(out)
}

/// Repairs a list of documents from `at` on, of which the last one is cut.
fn sequence(out: &mut Vec<u8>, mut at: usize) {
    while at < out.len() {
        match length(out, at).and_then(|n| n.checked_add(at)) {
            Some(next) if next <= out.len() => at = next,
            Some(_) => return document(out, at),
            None => return out.truncate(at),
        }
    }
}

/// Ends the document at `at`, and those in it, after the last complete element.
fn document(out: &mut Vec<u8>, at: usize) {
    let (mut open, mut end) = (vec![at], at + 4);
    while let Some((kind, value)) = element(out, end) {
        match size(kind, out.get(value..).unwrap_or_default()).and_then(|n| n.checked_add(value)) {
            Some(next) if next <= out.len() => end = next,
            _ if matches!(kind, 3 | 4) && value + 4 <= out.len() && open.len() < DEEPEST => {
                open.push(value);
                end = value + 4;
            }
            _ => break,
        }
    }
    out.truncate(end);
    for at in open.into_iter().rev() {
        out.push(0);
        let size = out.len() - at;
        put(out, at, size);
    }
}

/// Type and value of the element at `at`.
fn element(data: &[u8], at: usize) -> Option<(u8, usize)> {
    let kind = *data.get(at).filter(|kind| **kind != 0)?;
    Some((kind, at + 2 + memchr(0, data.get(at + 1..)?)?))
}

/// Length of a value, see <https://bsonspec.org/spec.html>.
fn size(kind: u8, value: &[u8]) -> Option<usize> {
    let n = || length(value, 0);
    Some(match kind {
        1 | 9 | 17 | 18 => 8,
        2 | 13 | 14 => n()? + 4,
        3 | 4 | 15 => n().filter(|n| *n >= 5)?,
        5 => n()? + 5,
        6 | 10 | 127 | 255 => 0,
        7 => 12,
        8 => 1,
        11 => {
            let pattern = memchr(0, value)? + 1;
            pattern + memchr(0, value.get(pattern..)?)? + 1
        }
        12 => n()? + 16,
        16 => 4,
        19 => 16,
        _ => return None,
    })
}

fn length(data: &[u8], at: usize) -> Option<usize> {
    let bytes = data.get(at..)?.first_chunk::<4>()?;
    usize::try_from(i32::from_le_bytes(*bytes)).ok().filter(|n| *n > 0)
}

fn put(out: &mut [u8], at: usize, size: usize) {
    if let (Some(place), Ok(size)) = (out.get_mut(at..at + 4), u32::try_from(size)) {
        place.copy_from_slice(&size.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::{super::wire, *};
    use bson::{Bson, Document, doc};

    fn bytes(document: &Document) -> Vec<u8> {
        document.to_vec().unwrap()
    }

    #[test]
    fn every_beginning_of_a_message_can_be_repaired() {
        let d = doc! {"a": 1, "cursor": {"firstBatch": [{"x": "yz"}, {"x": 2.5}], "id": 7_i64}, "r": Bson::Null, "ok": 1.0};
        let data = [b"\0\0\0\0\0" as &[u8], &bytes(&d)].concat();
        let mut most = 0;
        for end in 12..data.len() {
            let mended = message(op::MSG, &data[..end]).unwrap();
            let Some(wire::Message::Msg(m)) = wire::message(op::MSG, &mended) else { panic!("cut at {end}: {mended:?}") };
            let read: Document = m.body.try_into().unwrap_or_else(|e| panic!("cut at {end}: {e}"));
            most = most.max(read.len());
            assert!(read.len() <= d.len());
        }
        assert_eq!(most, d.len(), "only the last byte is missing");
    }

    #[test]
    fn a_sequence_keeps_its_complete_documents() {
        let one = bytes(&doc! {"i": 1});
        let body = bytes(&doc! {"insert": "c"});
        let size = u32::try_from(4 + 4 + 3 * one.len()).unwrap().to_le_bytes();
        let data = [b"\x01\0\0\0\0" as &[u8], &body, b"\x01", &size, b"ids\0", &one, &one, &one, b"sum!"].concat();
        let mended = message(op::MSG, &data[..data.len() - 4 - 15]).unwrap();
        let Some(wire::Message::Msg(m)) = wire::message(op::MSG, &mended) else { panic!("{mended:?}") };
        assert_eq!(wire::documents(m.sequences[0].1).count(), 2);
    }
}
