//! Tests of the queue on disk: the guarantees of every queue (`conformance_tests`), and how a start handles damaged or missing files.

use super::{
    super::conformance_tests::conformance,
    testing::{options, segments},
    *,
};
use std::{fs::OpenOptions, process};

mod every_queue {
    use super::*;
    use std::cell::RefCell;

    thread_local! {
        /// The folders of the queues of a test. They are removed when the thread of the test ends.
        static FOLDERS: RefCell<Vec<tempfile::TempDir>> = const { RefCell::new(Vec::new()) };
    }

    conformance!(|limits: super::super::super::conformance_tests::Limits| -> Arc<dyn Queue> {
        let folder = testing::folder();
        let path = folder.path().to_owned();
        FOLDERS.with_borrow_mut(|folders| folders.push(folder));
        let size = limits.bytes as u64;
        // A record of 10,000 bytes fills a segment, so settling the record makes room.
        let segment_size = (size / 110).max(5_000);
        Disk::open(Options { max_size: size, segment_size, ..options(&path) }).unwrap()
    });
}

fn records(numbers: Range<usize>) -> Vec<Record> {
    numbers.map(|number| Record { body: format!("{number:0100}").into_bytes().into(), ..Record::default() }).collect()
}

/// Settles all records that the queue hands out until it ends. Returns their numbers in order.
async fn rest(queue: Arc<Disk>) -> Vec<usize> {
    queue.close();
    let mut seen = Vec::new();
    let next = || async { tokio::time::timeout(Duration::from_secs(60), queue.clone().next(64)).await.expect("the queue hangs") };
    while let Some(mut batch) = next().await {
        seen.extend(batch.records().iter().map(number));
        batch.settle_all();
    }
    seen
}

#[tokio::test]
async fn the_next_run_continues_and_sends_nothing_twice() {
    let folder = testing::folder();
    let queue = Disk::open(options(folder.path())).unwrap();
    for part in 0..10 {
        assert_eq!(queue.push(records(part * 10..part * 10 + 10), WhenFull::Drop), 0);
    }
    let mut batch = take(&queue, 40).await;
    batch.settle(|place| place != 7);
    drop(batch);
    drop(queue);
    let queue = Disk::open(options(folder.path())).unwrap();
    assert_eq!(queue.stats().events, 61);
    queue.push(records(100..110), WhenFull::Drop);
    let expected: Vec<usize> = [7].into_iter().chain(40..110).collect();
    assert_eq!(rest(queue.clone()).await, expected);
    let stats = queue.stats();
    assert_eq!((stats.restored, stats.added, stats.settled, stats.missing, stats.events, stats.bytes), (61, 71, 71, 0, 0, 0));
    drop(queue);
    assert_eq!(segments(folder.path()).len(), 1, "only the segment that was written last is left");
    let queue = Disk::open(options(folder.path())).unwrap();
    assert_eq!((queue.stats().added, rest(queue.clone()).await), (0, vec![]));
}

/// Takes at least `count` records in one batch.
async fn take(queue: &Arc<Disk>, count: usize) -> Batch {
    let mut batch: Option<Batch> = None;
    while batch.as_ref().map_or(0, |batch| batch.records().len()) < count {
        let have = batch.as_ref().map_or(0, |batch| batch.records().len());
        let more = queue.clone().next(count - have).await.unwrap();
        match &mut batch {
            Some(batch) => batch.append(more),
            None => batch = Some(more),
        }
    }
    batch.unwrap()
}

#[tokio::test]
async fn any_subset_of_the_files_is_a_valid_start() {
    let source = testing::folder();
    let queue = Disk::open(options(source.path())).unwrap();
    for part in 0..5 {
        queue.push(records(part * 20..part * 20 + 20), WhenFull::Drop);
    }
    take(&queue, 30).await.settle_all();
    drop(queue);
    let files: Vec<_> = fs::read_dir(source.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!((7..9).contains(&files.len()), "{files:?}");
    for chosen in 0..1_usize << files.len() {
        let folder = testing::folder();
        for (_, file) in files.iter().enumerate().filter(|(place, _)| chosen & (1_usize << place) != 0) {
            fs::copy(file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        let queue = Disk::open(options(folder.path())).unwrap();
        assert_eq!(queue.push(records(500..510), WhenFull::Drop), 0);
        let seen = rest(queue.clone()).await;
        assert_eq!(seen[seen.len() - 10..], (500..510).collect::<Vec<_>>(), "{chosen}: {seen:?}");
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{chosen}: {seen:?}");
        let stats = queue.stats();
        assert_eq!((stats.events, stats.added), (0, stats.settled + stats.missing), "{chosen}: {stats:?}");
    }
}

#[tokio::test]
async fn damaged_and_cut_segments_cost_only_the_damaged_records() {
    let source = testing::folder();
    let queue = Disk::open(Options { segment_size: 1 << 20, ..options(source.path()) }).unwrap();
    queue.push(records(0..6), WhenFull::Drop);
    drop(queue);
    let file = segments(source.path()).remove(0);
    let bytes = fs::read(&file).unwrap();
    let size = bytes.len() / 6;
    for at in 0..bytes.len() {
        for cut in [false, true] {
            let mut changed = bytes.clone();
            if cut {
                changed.truncate(at)
            } else {
                changed[at] ^= 0x40
            }
            let folder = testing::folder();
            fs::write(folder.path().join(file.file_name().unwrap()), &changed).unwrap();
            let queue = Disk::open(options(folder.path())).unwrap();
            queue.push(records(500..501), WhenFull::Drop);
            let expected: Vec<usize> = (0..6).filter(|n| if cut { n * size + size <= at } else { at / size != *n }).chain([500]).collect();
            assert_eq!(rest(queue.clone()).await, expected, "byte {at}, cut: {cut}");
            let damaged = !cut || at % size != 0;
            let aside =
                fs::read_dir(folder.path()).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "damaged"));
            assert_eq!((queue.stats().damaged, aside.count()), (u64::from(damaged), usize::from(damaged)), "byte {at}, cut: {cut}");
        }
    }
}

#[tokio::test]
async fn a_segment_that_is_cut_while_the_queue_is_open_ends_there() {
    let folder = testing::folder();
    let queue = Disk::open(Options { segment_size: 1 << 20, read_ahead: 2, ..options(folder.path()) }).unwrap();
    queue.push(records(0..3_000), WhenFull::Drop);
    let first = take(&queue, 2).await;
    let file = segments(folder.path()).remove(0);
    let left = fs::metadata(&file).unwrap().len() / 2 + 7;
    OpenOptions::new().write(true).open(&file).unwrap().set_len(left).unwrap();
    queue.push(records(5_000..5_001), WhenFull::Drop);
    drop(first);
    let seen = rest(queue.clone()).await;
    assert_eq!(seen.last(), Some(&5_000), "{seen:?}");
    assert!((1_000..2_000).contains(&seen.len()), "{}", seen.len());
    let stats = queue.stats();
    assert_eq!((stats.events, stats.missing), (0, 3_001 - seen.len() as u64));
}

#[test]
fn a_folder_belongs_to_one_process() {
    let folder = testing::folder();
    let queue = Disk::open(options(folder.path())).unwrap();
    let error = Disk::open(options(folder.path())).err().unwrap().to_string();
    assert!(error.contains("another process uses this folder"), "{error}");
    drop(queue);
    Disk::open(options(folder.path())).unwrap();
}

/// Runs `work` on another thread, and fails if it does not end.
fn ends<T: Send>(what: &str, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let (done, ended) = mpsc::channel();
        scope.spawn(move || done.send(work()));
        match ended.recv_timeout(Duration::from_secs(20)) {
            Ok(result) => result,
            Err(_) => {
                eprintln!("{what} waits");
                // The process is aborted, because the thread cannot be ended and the scope would wait for it.
                process::abort();
            }
        }
    })
}

#[test]
fn no_call_waits_for_reading_and_no_push_for_settling() {
    let folder = testing::folder();
    let queue = Disk::open(Options { segment_size: 5_000, read_ahead: 4, ..options(folder.path()) }).unwrap();
    queue.push(records(0..400), WhenFull::Drop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut first = runtime.block_on(take(&queue, 1));
    // The segment is replaced by a named pipe: opening it for reading waits until it is opened for writing.
    let file = segments(folder.path()).remove(1);
    let kept = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    let mut seen = 0;
    // The first segment has fewer than 50 records. The reading thread reaches the pipe when most of them are settled.
    while let Ok(batch) = runtime.block_on(async { tokio::time::timeout(Duration::from_millis(500), queue.clone().next(4)).await }) {
        let mut batch = batch.unwrap();
        seen += batch.records().len();
        batch.settle_all();
    }
    assert!((10..50).contains(&seen), "{seen}");
    ends("stats", || assert_eq!(queue.stats().events, 400 - seen));
    ends("settle", || first.settle_all());
    // These locks are held as if another thread was replacing the file or synchronising.
    queue.shared.settled.while_locked(|| ends("push", || assert_eq!(queue.push(records(400..410), WhenFull::Drop), 0)));
    // The file replaces the pipe again. Reading the pipe at an offset fails, so the segment is given up.
    drop(OpenOptions::new().write(true).open(&file).unwrap());
    fs::remove_file(&file).unwrap();
    fs::write(&file, kept).unwrap();
    let rest = runtime.block_on(rest(queue.clone()));
    assert_eq!(rest.last(), Some(&409));
    let stats = queue.stats();
    assert_eq!((stats.events, stats.added), (0, stats.settled + stats.missing), "{stats:?}");
}

#[tokio::test]
async fn records_that_cannot_be_sent_now_wait_beside_the_others() {
    let folder = testing::folder();
    let queue = Disk::open(Options { read_ahead: 8, ..options(folder.path()) }).unwrap();
    queue.push(records(0..100), WhenFull::Drop);
    let (mut waiting, mut taken_back, mut sent) = (Vec::new(), 0, Vec::new());
    while waiting.iter().map(|batch: &Batch| batch.records().len()).sum::<usize>() + taken_back + sent.len() < 100 {
        let mut batch = queue.clone().next(8).await.unwrap();
        if batch.is_again() {
            drop(batch);
            continue;
        }
        let odd = batch.partition(|place| place % 2 == 1);
        let count = odd.records().len();
        sent.extend(batch.records().iter().map(number));
        batch.settle_all();
        match odd.postpone(true) {
            Some(odd) => waiting.push(odd),
            None => taken_back += count,
        }
    }
    assert!(waiting.iter().map(|batch| batch.records().len()).sum::<usize>() <= 8 && taken_back > 30, "{taken_back}");
    assert_eq!(queue.stats().events, 100 - sent.len());
    // A kill now loses nothing, and the records that were taken back are handed out again.
    queue.push(records(100..101), WhenFull::Drop);
    drop(waiting);
    let mut more = rest(queue.clone()).await;
    more.extend(sent);
    more.sort_unstable();
    assert_eq!(more, (0..101).collect::<Vec<_>>());
    assert_eq!((queue.stats().events, queue.stats().bytes), (0, 0));
}

fn number(record: &Record) -> usize {
    std::str::from_utf8(&record.body).unwrap().parse().unwrap()
}
