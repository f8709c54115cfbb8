//! Reads capture files of every variant, built byte by byte.

use super::*;
use crate::capture::{
    Link,
    filter::{FilterSpec, Filters, Ports, Transports},
    open,
    options::{Interface, Replay},
};
use std::{
    io::Write,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

/// A file that is deleted when the value is dropped.
struct Temp(PathBuf);

impl Temp {
    fn new(bytes: &[u8]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("sniffer-capture-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

type Seen = (u64, Link, Vec<u8>, u32);

/// Reads all frames of a file; also returns its statistics, or why reading failed.
fn read(bytes: &[u8]) -> (Vec<Seen>, Result<DeviceStats, String>) {
    let file = Temp::new(bytes);
    let tally = Arc::new(Tally::default());
    let mut source = match FileSource::open(&file.0, Arc::clone(&tally)) {
        Ok(source) => source,
        Err(error) => return (Vec::new(), Err(error.to_string())),
    };
    let mut seen = Vec::new();
    loop {
        match source.poll(Duration::ZERO, &mut |f| seen.push((f.time.0, f.link, f.data.to_vec(), f.wire_len))) {
            Ok(Polled::Ended) => break (seen, Ok(tally.get())),
            Ok(_) => {}
            Err(error) => {
                assert_eq!(source.poll(Duration::ZERO, &mut |_| panic!("a frame after an error")).unwrap(), Polled::Ended);
                break (seen, Err(error.to_string()));
            }
        }
    }
}

fn frames(bytes: &[u8]) -> Vec<Seen> {
    let (seen, end) = read(bytes);
    assert_eq!(end.map(|s| s.copied as usize), Ok(seen.len()));
    seen
}

/// Writes numbers in big-endian or little-endian order.
#[derive(Clone, Copy)]
struct To {
    big: bool,
}

impl To {
    fn u16(self, n: u16) -> [u8; 2] {
        if self.big { n.to_be_bytes() } else { n.to_le_bytes() }
    }
    fn u32(self, n: u32) -> [u8; 4] {
        if self.big { n.to_be_bytes() } else { n.to_le_bytes() }
    }
    fn words(self, words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| self.u32(*w)).collect()
    }
    fn pcap(self, magic: u32, link: u32) -> Vec<u8> {
        self.words(&[magic, if self.big { 2 << 16 | 4 } else { 4 << 16 | 2 }, 0, 0, 65535, link])
    }
    fn record(self, seconds: u32, fraction: u32, data: &[u8], wire_len: u32) -> Vec<u8> {
        [self.words(&[seconds, fraction, data.len() as u32, wire_len]), data.to_vec()].concat()
    }
    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let total = 12 + body.len().next_multiple_of(4);
        let mut block = self.words(&[kind, total as u32]);
        block.extend_from_slice(body);
        block.resize(total - 4, 0);
        block.extend(self.u32(total as u32));
        block
    }
    fn section(self) -> Vec<u8> {
        self.block(0x0a0d_0d0a, &[&self.u32(0x1a2b_3c4d)[..], &self.u16(1), &self.u16(0), &[0xff; 8]].concat())
    }
    fn interface(self, link: u16, snaplen: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [&self.u16(link)[..], &[0, 0], &self.u32(snaplen)].concat();
        for (code, value) in options {
            body.extend([self.u16(*code), self.u16(value.len() as u16)].concat());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &body)
    }
    fn enhanced(self, interface: u32, ticks: u64, data: &[u8], wire_len: u32) -> Vec<u8> {
        let head = self.words(&[interface, (ticks >> 32) as u32, ticks as u32, data.len() as u32, wire_len]);
        self.block(6, &[head, data.to_vec()].concat())
    }
}

const LE: To = To { big: false };
const BE: To = To { big: true };

#[test]
fn pcap_in_both_byte_orders_and_timestamp_resolutions() {
    for to in [LE, BE] {
        for (magic, nanos) in [(0xa1b2_c3d4, 456_000), (0xa1b2_3c4d, 456)] {
            let file = [to.pcap(magic, 1), to.record(1, 456, b"abc", 3), to.record(4_294_967_295, 0, b"defg", 1500)].concat();
            let expected = vec![
                (1_000_000_000 + nanos, Link::Ethernet, b"abc".to_vec(), 3),
                (4_294_967_295_000_000_000, Link::Ethernet, b"defg".to_vec(), 1500),
            ];
            assert_eq!(frames(&file), expected, "magic {magic:x}, big endian {}", to.big);
        }
    }
}

#[test]
fn pcap_with_longer_record_headers() {
    for to in [LE, BE] {
        let record = |data: &[u8]| [to.words(&[7, 8, data.len() as u32, 9]), vec![1, 2, 3, 4, 5, 6, 7, 8], data.to_vec()].concat();
        let file = [to.pcap(0xa1b2_cd34, 113), record(b"one"), record(b"two")].concat();
        let time = 7_000_008_000;
        assert_eq!(frames(&file), [(time, Link::LinuxSll, b"one".to_vec(), 9), (time, Link::LinuxSll, b"two".to_vec(), 9)]);
    }
}

#[test]
fn link_types() {
    let cases = [
        (1, Link::Ethernet),
        (0x1400_0001, Link::Ethernet), // with a frame check sequence
        (113, Link::LinuxSll),
        (276, Link::LinuxSll2),
        (0, Link::Null),
        (108, Link::Null),
        (101, Link::RawIp),
        (12, Link::RawIp),
        (14, Link::RawIp),
        (228, Link::RawIp),
        (229, Link::RawIp),
    ];
    for (number, link) in cases {
        let file = [LE.pcap(0xa1b2_c3d4, number), LE.record(0, 0, b"x", 1)].concat();
        assert_eq!(frames(&file), [(0, link, b"x".to_vec(), 1)], "{number}");
    }
    let (_, end) = read(&LE.pcap(0xa1b2_c3d4, 105));
    let error = end.unwrap_err();
    assert!(error.contains("link type 105 is not supported"), "{error}");
}

#[test]
fn pcapng_with_every_kind_of_block() {
    for (to, other) in [(LE, BE), (BE, LE)] {
        let ten: i64 = 10;
        let offset = if other.big { ten.to_be_bytes() } else { ten.to_le_bytes() };
        let old = [&to.u16(1)[..], &to.u16(0), &to.words(&[0, 5, 3, 4]), b"old"].concat();
        let file = [
            to.section(),
            to.interface(1, 0, &[]),
            to.block(5, b"statistics"),
            to.enhanced(0, 1_000_002, b"enhanced", 60),
            to.interface(101, 4, &[(2, b"eth7"), (9, &[9])]),
            to.enhanced(1, 4_294_967_295_123_456_789, b"late", 4),
            to.block(3, &[&to.u32(7)[..], b"simple!"].concat()),
            to.block(2, &old),
            to.block(0xbad, &[0; 4000]),
            // A second section with the other byte order. The interfaces of the first section must not apply to it.
            other.section(),
            other.enhanced(0, 1, b"of nobody", 9),
            other.interface(276, 4, &[(9, &[0x80 | 1]), (14, &offset), (0, &[])]),
            other.enhanced(0, 3, b"cooked", 6),
            other.block(3, &[&other.u32(7)[..], b"simp"].concat()),
        ]
        .concat();
        let (seen, end) = read(&file);
        let expected = [
            (1_000_002_000, Link::Ethernet, b"enhanced".to_vec(), 60),
            (4_294_967_295_123_456_789, Link::RawIp, b"late".to_vec(), 4),
            (4_294_967_295_123_456_789, Link::Ethernet, b"simple!".to_vec(), 7),
            (5, Link::RawIp, b"old".to_vec(), 4),
            (11_500_000_000, Link::LinuxSll2, b"cooked".to_vec(), 6),
            (11_500_000_000, Link::LinuxSll2, b"simp".to_vec(), 7),
        ];
        assert_eq!(seen, expected, "big endian first: {}", to.big);
        let copied_bytes = expected.iter().map(|frame| frame.2.len() as u64).sum();
        let stats = DeviceStats { seen: 7, unreadable: 1, copied: 6, copied_bytes, ..DeviceStats::default() };
        assert_eq!(end, Ok(stats), "one packet has no interface");
    }
}

#[test]
fn pcapng_interfaces_of_unsupported_link_types() {
    let alone = [LE.section(), LE.interface(220, 0, &[]), LE.enhanced(0, 1, b"usb", 3)].concat();
    let (seen, end) = read(&alone);
    assert_eq!(seen, []);
    assert!(end.clone().unwrap_err().contains("link type 220"), "{end:?}");
    let beside =
        [LE.section(), LE.interface(220, 0, &[]), LE.interface(1, 0, &[]), LE.enhanced(0, 1, b"usb", 3), LE.enhanced(1, 2, b"eth", 3)];
    let (seen, end) = read(&beside.concat());
    assert_eq!(seen, [(2000, Link::Ethernet, b"eth".to_vec(), 3)]);
    assert_eq!(end.unwrap(), DeviceStats { seen: 2, unreadable: 1, copied: 1, copied_bytes: 3, ..DeviceStats::default() });
}

/// A file cut at any byte yields the records that are complete, without an error.
#[test]
fn a_file_cut_at_any_byte_gives_its_complete_records() {
    let pcap = [LE.pcap(0xa1b2_c3d4, 1), LE.record(1, 0, b"first", 5), LE.record(2, 0, b"second", 6)].concat();
    let ng = [LE.section(), LE.interface(1, 0, &[]), LE.enhanced(0, 1, b"first", 5), LE.enhanced(0, 2, b"second", 6)].concat();
    for (whole, header, ends) in [(&pcap, 24, [45, 67]), (&ng, 12, [88, 128])] {
        assert_eq!(whole.len(), ends[1]);
        for cut in header..=whole.len() {
            let (seen, end) = read(&whole[..cut]);
            let expected = ends.iter().filter(|e| cut >= **e).count();
            assert_eq!((seen.len(), end.map(|s| s.matched())), (expected, Ok(expected as u64)), "cut at {cut}");
        }
    }
}

#[test]
fn files_that_are_not_captures_are_refused() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "is empty"),
        (b"packetbeat.interfaces.device: any\n", "is not a capture file: it begins with [70, 61, 63, 6b]"),
        (b"\x1f\x8b\x08\x00", "compressed with gzip"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "ends after 6 bytes, inside the file header"),
        (b"x", "is not a capture file: it begins with [78]"),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x11\x22\x33\x44\x01\0\0\0", "byte order mark: [11, 22, 33, 44]"),
    ];
    for (bytes, expected) in cases {
        let (seen, end) = read(bytes);
        let error = end.unwrap_err();
        assert!(seen.is_empty() && error.contains(expected) && error.contains("sniffer-capture-"), "{error:?} lacks {expected:?}");
    }
    let error = FileSource::open(Path::new("/nonexistent/x.pcap"), Arc::default()).map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/x.pcap: No such file"), "{error}");
}

#[test]
fn a_file_that_is_malformed_in_the_middle() {
    let good = LE.record(1, 0, b"good", 4);
    let pcap = [LE.pcap(0xa1b2_c3d4, 1), good, LE.words(&[2, 0, 0x7fff_ffff, 60])].concat();
    let (seen, end) = read(&pcap);
    assert_eq!(seen.len(), 1);
    assert!(end.clone().unwrap_err().contains("at byte 44: the record has 2147483647 bytes"), "{end:?}");

    let mut ng = [LE.section(), LE.interface(1, 0, &[]), LE.enhanced(0, 1, b"good", 4)].concat();
    let at = ng.len();
    ng.extend(LE.words(&[6, 8, 0, 8]));
    let (seen, end) = read(&ng);
    assert_eq!(seen.len(), 1);
    assert!(end.clone().unwrap_err().contains(&format!("at byte {at}: the block has 8 bytes")), "{end:?}");

    // A packet longer than its block is left out, and the next packet is read.
    let mut long = LE.enhanced(0, 1, b"long", 4);
    long[20] = 200;
    let (seen, end) = read(&[LE.section(), LE.interface(1, 0, &[]), long, LE.enhanced(0, 2, b"good", 4)].concat());
    assert_eq!(seen.len(), 1);
    assert_eq!(end.unwrap().seen, 2);
}

/// Blocks that are larger than the buffer. Packets are read from the first part of such a block; other block types are skipped.
#[test]
fn blocks_larger_than_the_buffer() {
    let huge = vec![0x55; 3 * window::CAPACITY + 8];
    let mut commented = LE.words(&[0, 0, 9, 4, 4]);
    commented.extend_from_slice(b"data");
    commented.extend_from_slice(&huge);
    let parts = [
        LE.section(),
        LE.interface(1, 0, &[]),
        LE.block(0xbad, &huge),
        LE.enhanced(0, 1, b"one", 3),
        LE.block(6, &commented),
        LE.enhanced(0, 2, b"two", 3),
    ];
    let seen = frames(&parts.concat());
    assert_eq!(seen.iter().map(|s| (s.0, s.2.as_slice())).collect::<Vec<_>>(), [(1000, &b"one"[..]), (9000, b"data"), (2000, b"two")]);
}

/// A file that fills the buffer several times, with some frames of the largest size. No frame is lost where the buffer is refilled.
#[test]
fn no_frame_is_lost_where_the_buffer_is_refilled() {
    let mut file = LE.pcap(0xa1b2_c3d4, 1);
    let lengths: Vec<usize> = (0..3000).map(|n| if n % 100 == 7 { MAX_FRAME } else { n % 1600 }).collect();
    for (n, len) in lengths.iter().enumerate() {
        file.extend(LE.record(n as u32, 0, &vec![n as u8; *len], *len as u32));
    }
    let seen = frames(&file);
    assert_eq!(seen.len(), lengths.len());
    for (n, (frame, len)) in seen.iter().zip(&lengths).enumerate() {
        assert!(frame.0 == n as u64 * 1_000_000_000 && frame.2.len() == *len && frame.2.iter().all(|b| *b == n as u8), "{n}");
    }
}

#[test]
fn reading_waits_for_a_pipe() {
    let (reader, mut writer) = io::pipe().unwrap();
    let window = Window::new(std::os::fd::OwnedFd::from(reader).into()).unwrap();
    let format = Format::Pcap(Pcap::open(LE.pcap(0xa1b2_c3d4, 1).first_chunk().unwrap()).unwrap().unwrap());
    let mut source = FileSource { name: "pipe".to_owned(), window, format, frames: 0, left_out: 0, tally: Arc::default(), ended: false };
    let mut poll = || source.poll(Duration::from_millis(1), &mut |_| {}).unwrap();
    assert_eq!(poll(), Polled::Idle);
    writer.write_all(&LE.record(1, 2, b"abc", 3)).unwrap();
    assert_eq!(poll(), Polled::Frames(1));
    assert_eq!(poll(), Polled::Idle);
    drop(writer);
    assert_eq!(poll(), Polled::Ended);
}

/// Measures the speed of reading: `SNIFFER_BIG_PCAP=FILE cargo test --release -- --ignored --nocapture reading_speed`.
#[test]
#[ignore = "a measurement"]
fn reading_speed() {
    let path = std::env::var("SNIFFER_BIG_PCAP").expect("SNIFFER_BIG_PCAP names a capture file");
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let mut source = FileSource::open(Path::new(&path), Arc::default()).unwrap();
        let (mut frames, mut bytes) = (0_u64, 0_u64);
        while source.poll(Duration::ZERO, &mut |f| (frames, bytes) = (frames + 1, bytes + f.data.len() as u64)).unwrap() != Polled::Ended {}
        println!("{frames} frames, {bytes} bytes in {:?}", start.elapsed());
    }
}

/// Replaces the filter between polls of a file that is played twice. Some frames match one filter, some the other, some
/// both.
#[test]
fn the_filter_is_replaced_in_the_middle_of_a_file() {
    const ROUND: usize = 3_000;
    let udp = |port: u16| {
        let head = &b"\x45\0\x02\0\0\0\0\0\x40\x11\0\0\x7f\0\0\x01\x7f\0\0\x01\x04\0"[..];
        [&[0; 12], &b"\x08\0"[..], head, &port.to_be_bytes(), &[0; 488]].concat()
    };
    let mut bytes = LE.pcap(0xa1b2_c3d4, 1);
    for n in 0..ROUND {
        let frame = udp([53, 1111, 9999][n % 3]);
        bytes.extend(LE.record(n as u32, 0, &frame, frame.len() as u32));
    }
    let file = Temp::new(&bytes);
    let interface = Interface { file: Some(file.0.clone()), ..Interface::default() };
    let replay = Replay { top_speed: true, loops: 2, ..Replay::default() };
    let filter = |port: u16| Filters::from_text(&format!("udp port {port} or udp port 53")).unwrap();
    let mut capture = open::open(&interface, &replay, &filter(1111)).unwrap();
    let [source] = capture.sources.as_mut_slice() else { panic!("a file has one source") };
    let mut polled = || {
        let mut ports = Vec::new();
        let polled = source.poll(Duration::ZERO, &mut |frame| ports.push(u16::from_be_bytes([frame.data[36], frame.data[37]])));
        source.update_stats().unwrap();
        (polled.unwrap() != Polled::Ended).then_some(ports)
    };
    let mut seen = polled().unwrap();
    assert!(seen.len() < ROUND / 2 && seen.contains(&1111) && !seen.contains(&9999), "{} frames", seen.len());
    let error = capture.control.set_filter(&Filters { user: Some("port eighty three".to_owned()), ..Filters::default() });
    assert!(error.is_err_and(|error| error.to_string().contains("port eighty three")));
    let unchanged = polled().unwrap();
    assert!(unchanged.contains(&1111) && !unchanged.contains(&9999), "the old filter is in force");
    seen.extend(unchanged);
    let before = seen.len();
    capture.control.set_filter(&filter(9999)).unwrap();
    while let Some(ports) = polled() {
        seen.extend(ports);
    }
    let count = |ports: &[u16], port: u16| ports.iter().filter(|p| **p == port).count();
    assert_eq!(count(&seen, 53), 2 * ROUND / 3, "what both filters want is never lost");
    assert_eq!((count(&seen[..before], 9999), count(&seen[before..], 1111)), (0, 0));
    assert!(count(&seen[before..], 9999) > ROUND / 3, "the second round has the new filter");
    let copied = seen.len() as u64;
    let all = 2 * ROUND as u64;
    let stats = DeviceStats { seen: all, unmatched: all - copied, copied, copied_bytes: copied * 526, ..DeviceStats::default() };
    assert_eq!(capture.control.stats().unwrap(), stats);
}

/// A generated filter is not applied to files: the port map makes the same decision at a lower cost.
#[test]
fn only_the_users_filter_is_applied_to_a_file() {
    let file = Temp::new(&[LE.pcap(0xa1b2_c3d4, 1), LE.record(1, 0, &[0; 60], 60)].concat());
    let interface = Interface { file: Some(file.0.clone()), ..Interface::default() };
    let replay = Replay { top_speed: true, ..Replay::default() };
    let generated = Filters::new(&FilterSpec { ports: vec![Ports::one(80, Transports::Tcp)], ..FilterSpec::default() }).unwrap();
    let capture = open::open(&interface, &replay, &generated).unwrap();
    assert_eq!(
        capture.sources.into_iter().map(|mut source| source.poll(Duration::ZERO, &mut |_| {}).unwrap()).collect::<Vec<_>>(),
        [Polled::Frames(1)]
    );
}
