//! Tests with a full disk, with the files that a power loss leaves, and with a large queue at the start.

use super::{
    testing::{HANGS, in_small_filesystem, options, run, segments},
    *,
};
use std::{collections::BTreeSet, env, io::Write, process::Command};

fn record(number: usize) -> Record {
    Record { body: format!("{number:0100}").into_bytes().into(), ..Record::default() }
}

fn records(numbers: Range<usize>) -> Vec<Record> {
    numbers.map(record).collect()
}

fn numbers(batch: &Batch) -> Vec<usize> {
    batch.records().iter().map(|record| std::str::from_utf8(&record.body).unwrap().parse().unwrap()).collect()
}

/// Settles all records that the queue hands out until it is closed and empty. Returns their numbers in order.
fn rest(queue: &Arc<Disk>) -> Vec<usize> {
    let mut seen = Vec::new();
    while let Some(mut batch) = run("the queue", queue.clone().next(1_000)) {
        seen.extend(numbers(&batch));
        batch.settle_all();
    }
    seen
}

/// Fills the file system with a file.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    while file.write_all(&[0; 1_000]).is_ok() {}
}

/// Pushes the next `count` records. Returns how many were accepted, and adds their numbers to `accepted`.
fn push(queue: &Arc<Disk>, next: &mut usize, accepted: &mut Vec<usize>, count: usize) -> usize {
    let fits = count - queue.push(records(*next..*next + count), WhenFull::Drop);
    accepted.extend(*next..*next + fits);
    *next += count;
    fits
}

#[test]
fn a_full_disk_that_has_room_again() {
    let name = "queue::disk::fault_tests::a_full_disk_that_has_room_again";
    let Some(folder) = in_small_filesystem(name, "1m") else { return };
    let other = folder.join("other");
    let queue = Disk::open(Options { segment_size: 50_000, ..options(&folder.join("queue")) }).unwrap();
    let (mut next, mut accepted) = (0, Vec::new());
    for round in 1..=3 {
        fill(&other);
        while push(&queue, &mut next, &mut accepted, 50) == 50 {}
        assert!(queue.stats().write_errors >= round && queue.stats().dropped > 0, "{:?}", queue.stats());
        fs::remove_file(&other).unwrap();
        // After the wait of a millisecond, the queue tries again to write, without a restart.
        let end = Instant::now() + HANGS;
        while push(&queue, &mut next, &mut accepted, 1) == 0 {
            assert!(Instant::now() < end, "{:?}", queue.stats());
            thread::sleep(Duration::from_millis(1));
        }
        // While the disk is full, records are delivered, and this makes room, too.
        let mut batch = run("the queue", queue.clone().next(1_000)).unwrap();
        let settled: BTreeSet<usize> = numbers(&batch).into_iter().collect();
        batch.settle_all();
        accepted.retain(|number| !settled.contains(number));
    }
    // A producer that may wait continues when deliveries have made room. It pushes three times as many bytes as the file system has.
    let (from, more) = (next, 20_000);
    let (all, dropped) = thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let dropped = queue.push(records(from..from + more), WhenFull::Wait);
            queue.close();
            dropped
        });
        (rest(&queue), producer.join().unwrap())
    });
    accepted.extend(from..from + more);
    assert_eq!((all == accepted, dropped), (true, 0), "{} of {} are delivered once and in order", all.len(), accepted.len());
    let stats = queue.stats();
    assert_eq!((stats.events, stats.bytes, stats.damaged, stats.missing), (0, 0, 0, 0), "{stats:?}");
}

/// The files of a folder with their contents.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (PathBuf::from(path.file_name().unwrap()), fs::read(&path).unwrap())).collect()
}

#[test]
fn a_power_loss_costs_at_most_what_was_not_synchronised() {
    let source = testing::folder();
    let queue = Disk::open(Options { segment_size: 30_000, ..options(source.path()) }).unwrap();
    queue.push(records(0..300), WhenFull::Drop);
    let mut batch = run("the queue", queue.clone().next(20)).unwrap();
    let settled = numbers(&batch);
    assert_eq!(settled.len(), 20);
    batch.settle_all();
    sync::synchronise(&queue.shared).unwrap();
    // All that is written from here on counts as not synchronised.
    let synchronised = contents(source.path());
    queue.push(records(300..500), WhenFull::Drop);
    let mut batch = run("the queue", queue.clone().next(20)).unwrap();
    batch.settle_all();
    let written = contents(source.path());
    drop(queue);
    let length = |name: &Path| synchronised.iter().find(|(file, _)| file == name).map(|(_, bytes)| bytes.len());
    assert!(written.iter().any(|(name, _)| length(name).is_none()), "a segment was begun after synchronising");
    // In each file, independently of the others, the bytes that were not synchronised may be there, be missing, or consist of zeros.
    for variant in 0..400_usize {
        let folder = testing::folder();
        for (place, (name, bytes)) in written.iter().enumerate() {
            let kept = length(name);
            let mut bytes = bytes.clone();
            let unsynchronised = kept.unwrap_or(0)..bytes.len();
            let at = unsynchronised.start + (variant * 7_919 * (place + 1)) % (unsynchronised.len() + 1);
            match (variant + place) % 4 {
                0 => bytes.truncate(at),
                1 => bytes[at..].fill(0),
                2 => bytes[unsynchronised.start..at].fill(0),
                _ => {
                    let hole = at / 4096 * 4096;
                    let end = (hole + 4096).min(bytes.len());
                    bytes[hole.max(unsynchronised.start)..end].fill(0);
                }
            }
            if kept.is_some() || variant % 3 != 0 {
                fs::write(folder.path().join(name), bytes).unwrap();
            }
        }
        let queue = Disk::open(options(folder.path())).unwrap();
        assert_eq!(queue.push(records(900..910), WhenFull::Drop), 0);
        queue.close();
        let seen = rest(&queue);
        let found: BTreeSet<usize> = seen.iter().copied().collect();
        assert_eq!(found.len(), seen.len(), "{variant}: nothing is delivered twice");
        let lost: Vec<usize> = (settled.len() + 20..300).chain(900..910).filter(|number| !found.contains(number)).collect();
        assert_eq!(lost, [0_usize; 0], "{variant}: synchronised and lost");
        let again: Vec<_> = settled.iter().filter(|number| found.contains(number)).collect();
        assert!(again.is_empty(), "{variant}: {again:?} were delivered, which was synchronised");
        let stats = queue.stats();
        assert_eq!((stats.events, stats.added), (0, stats.settled + stats.missing), "{variant}: {stats:?}");
    }
}

/// Bytes that the queue in [`a_large_queue_starts_in_bounded_memory`] has on disk.
const BYTES: &str = "DISK_QUEUE_BYTES";
/// The environment variable with the folder of that queue, in the process whose memory is measured.
const LARGE: &str = "DISK_QUEUE_LARGE";

fn large(path: &Path) -> Options {
    Options { max_size: 0, segment_size: 64 << 20, read_ahead: 512, ..options(path) }
}

/// The value of a line of `/proc/self/status`, in bytes.
fn memory(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Runs in a separate process: opens the large queue and delivers a part of it. In an ordinary test run, without the environment variable,
/// this test does nothing.
#[test]
fn process_that_opens_a_large_queue() {
    let Some(folder) = env::var_os(LARGE).map(PathBuf::from) else { return };
    let before = memory("RssAnon");
    let start = Instant::now();
    let queue = Disk::open(large(&folder)).unwrap();
    let opened = start.elapsed();
    let events = queue.stats().events;
    // The memory of the process, without the pages of the program file.
    let (mut delivered, mut most) = (0, memory("RssAnon"));
    while delivered < 20_000 {
        let mut batch = run("the queue", queue.clone().next(1_000)).unwrap();
        delivered += batch.records().len();
        batch.settle_all();
        most = most.max(memory("RssAnon"));
    }
    let more = most.saturating_sub(before);
    println!("{events} events on disk: opened in {opened:?}, {} KB more memory", more >> 10);
    assert!(more < 16 << 20, "{more} bytes for 512 events of 1 KB and the numbers of what is delivered");
}

#[test]
fn a_large_queue_starts_in_bounded_memory() {
    let bytes: usize = env::var(BYTES).map_or(100 << 20, |bytes| bytes.parse().unwrap());
    let folder = testing::folder();
    let queue = Disk::open(large(folder.path())).unwrap();
    let records = vec![Record { body: vec![b'x'; 1_000].into(), ..Record::default() }; 250];
    while queue.stats().bytes < bytes {
        assert_eq!(queue.push(records.clone(), WhenFull::Drop), 0);
    }
    drop(queue);
    assert!(segments(folder.path()).len() > 1);
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "queue::disk::fault_tests::process_that_opens_a_large_queue", "--nocapture", "--test-threads=1"])
        .env(LARGE, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}
