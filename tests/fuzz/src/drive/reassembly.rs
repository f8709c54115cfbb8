//! Fuzzes reassembly with segments in any order. The byte at each position of the stream can be computed, so all output can be checked.
//! Input: the initial sequence number (four bytes), whether segments may be cut (one byte), then for each segment its position (two bytes,
//! signed), its length and the kind of action (one byte each).

use super::Input;
use sniffer::{
    stream::reassembly::{Piece, Reassembler},
    time::Timestamp,
};
use std::{collections::HashSet, time::Duration};

fn byte_at(place: i64) -> u8 {
    (place.wrapping_mul(0x9e37_79b9) >> 13) as u8
}

/// Maximum number of bytes that an out-of-order segment costs in addition to its data.
const SEGMENT_OVERHEAD: usize = 256;

#[derive(Default)]
struct Model {
    /// Position of the next byte of output.
    at: i64,
    /// Positions of all captured bytes.
    seen: HashSet<i64>,
    /// The largest end position of all segments so far.
    end: i64,
    cut: bool,
}

impl Model {
    fn take(&mut self, piece: &Piece<'_>) {
        match piece {
            Piece::Data(data, _) => {
                assert!(!data.is_empty(), "nothing is no data");
                for byte in *data {
                    assert_eq!(*byte, byte_at(self.at), "the byte at {}", self.at);
                    self.at += 1;
                }
            }
            Piece::Gap(lost) => {
                assert!(*lost > 0, "nothing is no gap");
                let end = self.at + *lost as i64;
                assert!(end <= self.end, "a gap to {end}, beyond all that came ({})", self.end);
                if !self.cut {
                    let had = (self.at..end).find(|place| self.seen.contains(place));
                    assert_eq!(had, None, "a gap of {lost} bytes at {} that had come", self.at);
                }
                self.at = end;
            }
            Piece::Skipped(bytes) => panic!("{bytes} bytes were skipped, which nobody asked for"),
        }
    }
}

/// Checks that bytes are delivered in order, once and unchanged. The function also checks that a reported gap contains no byte that arrived
/// before the gap was reported.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let isn = input.word();
    let mut model = Model { cut: input.byte() & 1 != 0, ..Model::default() };
    let (mut order, mut now, mut held) = (Reassembler::default(), Timestamp(0), 0);
    let first = isn.wrapping_add(1);
    order.begin(first);
    while !input.is_empty() {
        let (place, len, how) = (i64::from(input.short().cast_signed()), i64::from(input.byte()), input.byte());
        now = now.after(Duration::from_millis([0, 1, 15, 2500][usize::from(how & 3)]));
        let captured = if model.cut && how & 4 != 0 { len / 2 } else { len };
        let bytes: Vec<u8> = (place..place + captured).map(byte_at).collect();
        model.seen.extend(place..place + captured);
        model.end = model.end.max(place + len);
        held += bytes.len() + SEGMENT_OVERHEAD;
        order.segment(first.wrapping_add(place as u32), &bytes, len as u32, now, &mut |piece| model.take(&piece));
        match how >> 3 & 7 {
            1 => order.expire(now, &mut |piece| model.take(&piece)),
            2 => order.acknowledged(first.wrapping_add(model.end as u32), false, now, &mut |piece| model.take(&piece)),
            3 => order.acknowledged(first.wrapping_add(model.end as u32), true, now, &mut |piece| model.take(&piece)),
            _ => {}
        }
        assert!(order.held() <= held, "{} bytes held of {held}", order.held());
        assert_eq!(order.next(), Some(first.wrapping_add(model.at as u32)), "the next byte");
    }
    let dropped = order.flush(&mut |piece| model.take(&piece));
    assert_eq!((order.held(), order.deadline()), (0, None), "something is held after the end");
    // Segments after a hole that the receiver did not acknowledge are dropped.
    assert_eq!(model.at == model.end, dropped == 0, "the end: {} of {}, {dropped} segments dropped", model.at, model.end);
}
