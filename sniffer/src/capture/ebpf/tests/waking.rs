//! Tests when the reader of a ring sleeps and when it is woken.

use super::*;
use sniffer_common::AWAKE;

/// The number of times that this thread has waited.
fn waits() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn a_reader_without_packets_sleeps() {
    in_a_network("a_reader_without_packets_sleeps", || {
        let (mut sources, _control) = open(&on("vb", HookSetting::Tc), &wanted(false)).unwrap();
        let before = waits();
        for _ in 0..5 {
            assert_eq!(sources[0].poll(Duration::from_millis(100), &mut |_| ()).unwrap(), Polled::Idle);
        }
        let waits = waits() - before;
        assert!((1..=20).contains(&waits), "{waits} waits in half a second");
    });
}

#[test]
fn a_sleeping_reader_is_woken_once() {
    in_a_network("a_sleeping_reader_is_woken_once", || {
        const PENDING: u32 = 100_000;
        let (interface, device) = (Interface { workers: Some(1), ..on("vb", HookSetting::Tc) }, devices::resolve("vb").unwrap());
        let (loaded, mut rings, ..) = Loaded::new(&interface, &device, &Filters::default(), false).unwrap();
        let mut attachments = Attachments::new(loaded);
        attachments.attach(&device, &interface).unwrap();
        let map = &mut rings[0].waker.map;
        let (frame, wake_at) = (udp(&[], 7, WANTED, 1000), |map: &aya::maps::Array<_, u32>| map.get(&0, 0).unwrap());
        let send = |count: usize| send_all("va", &vec![frame.clone(); count]);
        map.set(0, PENDING, 0).unwrap();
        send(50);
        assert_eq!(wake_at(map), PENDING, "50 records are fewer bytes");
        send(50);
        assert_eq!(wake_at(map), AWAKE, "100 records are more bytes");
        send(50);
        assert_eq!(wake_at(map), AWAKE, "no further wake-up until the reader sleeps again");
        map.set(0, 1, 0).unwrap();
        send(1);
        assert_eq!(wake_at(map), AWAKE, "the first record wakes a reader that waits for one");
    });
}

#[test]
fn a_record_of_every_size_is_read() {
    in_a_network("a_record_of_every_size_is_read", || {
        for hook in [HookSetting::Xdp, HookSetting::Tc, HookSetting::Socket] {
            let (mut sources, control) = open(&on("vb", hook), &Filters::default()).unwrap();
            let around = sniffer_common::RECORD_SIZES.map(|size| size - sniffer_common::RECORD_HEADER);
            let lengths = around.into_iter().flat_map(|room| [room - 1, room, room + 1]).filter(|len| (60..=9014).contains(len));
            let frames: Vec<_> = lengths.map(|len| udp(&[], 7, WANTED, len - 42)).collect();
            send_all("va", &frames);
            let mut have: Vec<_> = collect(&mut sources, frames.len(), got).into_iter().map(|got| got.whole).collect();
            have.sort_by_key(Vec::len);
            assert_eq!(have.iter().map(Vec::len).collect::<Vec<_>>(), frames.iter().map(Vec::len).collect::<Vec<_>>(), "{hook:?}");
            assert!(have == frames, "{hook:?}: the bytes of a frame differ");
            let stats = stats(&mut sources, control.as_ref());
            let bytes = frames.iter().map(|frame| frame.len() as u64).sum();
            assert_eq!((stats.copied, stats.copied_bytes, stats.lost), (frames.len() as u64, bytes, 0), "{hook:?}");
        }
    });
}
