//! Fuzzes the reader of capture files: all variants of pcap, and pcapng.

use super::Scratch;
use sniffer::capture::{Polled, Source, file::FileSource, tally::Tally};
use std::{sync::Arc, time::Duration};

/// Length of a record header in bytes. The shortest record has this length.
const LEAST: usize = 16;
/// Largest frame in bytes, as in the limits of `docs/ARCHITECTURE.md`.
const LONGEST_FRAME: usize = 262_144;

/// Checks that reading a file stops at its end or with an error, and that the file gives no more packets than fit in it.
pub fn run(data: &[u8]) {
    let Some(file) = Scratch::new(data) else { return };
    let tally = Arc::new(Tally::default());
    let Ok(mut source) = FileSource::open(file.path(), tally.clone()) else { return };
    let (mut frames, mut polls) = (0, 0);
    loop {
        let mut each = |frame: sniffer::capture::Frame<'_>| {
            frames += 1;
            assert!(frame.data.len() <= LONGEST_FRAME.min(data.len()), "a frame of {} bytes", frame.data.len());
        };
        match source.poll(Duration::ZERO, &mut each) {
            Ok(Polled::Ended) | Err(_) => break,
            Ok(Polled::Frames(_) | Polled::Idle) => polls += 1,
        }
        assert!(polls <= data.len() + 1, "it does not end");
    }
    assert!(frames <= data.len() / LEAST, "{frames} packets in {} bytes", data.len());
    assert!(matches!(source.poll(Duration::ZERO, &mut |_| panic!("a frame behind the end")), Ok(Polled::Ended)));
    let stats = tally.get();
    assert!(stats.copied == frames as u64 && stats.matched() == stats.copied, "{stats:?}, but {frames} frames");
}
