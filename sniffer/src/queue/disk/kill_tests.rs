//! The fault test of the disk queue. It kills a process that uses the queue at random times, and damages files as kills and disks do. Then
//! it compares the records that the process reported as pushed and settled with those that the next process finds. `DISK_QUEUE_KILLS` sets
//! the number of kills; `cargo xtask test-queue` sets this variable.

use super::{
    testing::{HANGS, in_small_filesystem, options, run, segments},
    *,
};
use frame::Parsed;
use std::{
    collections::BTreeSet,
    env,
    fs::OpenOptions,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
};

/// The largest number of records that the killed process holds without settling them.
const READ_AHEAD: usize = 16;
/// Number of records that the process pushes at once.
const PUSH: usize = 5;
/// Environment variables of the process that is killed: the folder of the queue, the number of the first record, and the number of pushes
/// after which it settles a batch.
const FOLDER: &str = "DISK_QUEUE_FOLDER";
const FIRST: &str = "DISK_QUEUE_FIRST";
const PUSHES: &str = "DISK_QUEUE_PUSHES";

fn small(path: &Path) -> Options {
    Options { max_size: 1 << 20, segment_size: 3_000, read_ahead: READ_AHEAD, ..options(path) }
}

/// Runs in the process that is killed: pushes and settles records, and writes a line after each step. In an ordinary test run, without the
/// environment variables, this test does nothing.
#[test]
fn process_that_is_killed() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let variable = |name: &str| env::var(name).unwrap().parse::<usize>().unwrap();
    let (first, pushes) = (variable(FIRST), variable(PUSHES));
    let queue = Disk::open(small(&folder)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut out = io::stdout().lock();
    let mut say = |line: String| out.write_all(line.as_bytes()).unwrap();
    for turn in 0.. {
        let from = first + turn * PUSH;
        let body = |n: usize| format!("{n} {}", "x".repeat(n * 7919 % 400)).into_bytes();
        let records: Vec<Record> = (from..from + PUSH).map(|n| Record { body: body(n).into(), ..Record::default() }).collect();
        let accepted = PUSH - queue.push(records, WhenFull::Drop);
        say(format!("\npushed {from} {accepted}\n"));
        if turn % pushes != 0 || queue.stats().events == 0 {
            continue;
        }
        let mut batch = runtime.block_on(queue.clone().next(1 + turn % READ_AHEAD)).unwrap();
        let numbers: Vec<String> = batch.records().iter().map(|record| number(&record.body).to_string()).collect();
        say(format!("\nsending {}\n", numbers.join(" ")));
        batch.settle_all();
        // When the disk is full, settled numbers cannot be appended. They are in the file only after the file was replaced.
        let word = if queue.shared.settled.file().is_some() { "settled" } else { "unrecorded" };
        say(format!("\n{word} {}\n", numbers.join(" ")));
    }
}

/// The number at the beginning of the body of a record.
fn number(body: &[u8]) -> usize {
    std::str::from_utf8(body).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// What the killed processes reported, as numbers of records.
#[derive(Default)]
struct Said {
    /// Records that were pushed and not settled.
    open: BTreeSet<usize>,
    settled: BTreeSet<usize>,
    /// Records that the process killed last had been handed, and that it may have settled or not.
    unknown: BTreeSet<usize>,
    /// Records that the test has damaged since all records were settled.
    damaged: BTreeSet<usize>,
    /// Number of records that were pushed.
    pushed: usize,
    /// The number of the first record of the next process.
    next: usize,
}

impl Said {
    fn read(&mut self, kill: usize, lines: &[String]) {
        self.unknown.clear();
        let mut sending = BTreeSet::new();
        for line in lines {
            let (word, numbers) = line.split_once(' ').unwrap_or((line, ""));
            let numbers: Vec<usize> = numbers.split(' ').map_while(|n| n.parse().ok()).collect();
            match word {
                "pushed" => {
                    let [from, accepted] = numbers[..] else { panic!("{line}") };
                    self.open.extend(from..from + accepted);
                    self.pushed += accepted;
                    self.next = self.next.max(from + PUSH);
                }
                "sending" => {
                    let again: Vec<_> = numbers.iter().filter(|n| self.settled.contains(n)).collect();
                    assert!(again.is_empty(), "kill {kill}: {again:?} are settled and are sent again");
                    sending.extend(numbers);
                }
                "settled" | "unrecorded" => numbers.into_iter().for_each(|n| {
                    self.open.remove(&n);
                    sending.remove(&n);
                    if word == "settled" {
                        self.settled.insert(n)
                    } else {
                        self.unknown.insert(n)
                    };
                }),
                _ => {}
            }
        }
        assert!(sending.len() <= READ_AHEAD, "kill {kill}: {sending:?}");
        self.unknown.append(&mut sending);
        // The process may have pushed more records and been killed before it reported them. Their numbers are not used again.
        self.next += 1_000;
    }

    /// Compares the reports with the records that the next process finds. The found records become the open ones, because the reports do not
    /// contain the last pushes and settled records.
    fn compare(&mut self, kill: usize, found: BTreeSet<usize>) {
        let lost: Vec<_> = self.open.difference(&found).filter(|n| !self.unknown.contains(n) && !self.damaged.contains(n)).collect();
        assert!(lost.is_empty(), "kill {kill}: lost {lost:?}");
        let again: Vec<_> = found.intersection(&self.settled).collect();
        assert!(again.is_empty(), "kill {kill}: settled and found again {again:?}");
        self.open = found;
    }
}

/// Starts the process, kills it after a random time, and returns the lines that it wrote.
fn start_and_kill(kill: usize, folder: &Path, first: usize, pushes: usize, after: Duration) -> Vec<String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "queue::disk::kill_tests::process_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .env(PUSHES, pushes.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (line, lines) = mpsc::channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reading = thread::spawn(move || out.lines().map_while(Result::ok).all(|text| line.send(text).is_ok()));
    let mut seen = Vec::new();
    while seen.last().is_none_or(|line: &String| !line.starts_with("pushed")) {
        match lines.recv_timeout(HANGS) {
            Ok(line) => seen.push(line),
            Err(error) => {
                let state = diagnose(&child, folder);
                let _ = child.kill();
                panic!("kill {kill}: the process does not begin ({error}); it wrote {seen:?}\n{state}");
            }
        }
    }
    thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(reading.join().unwrap());
    seen.extend(lines);
    seen
}

/// Describes what the threads of the process wait for, and the files in the folder of the queue.
fn diagnose(child: &Child, folder: &Path) -> String {
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten().flatten();
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let threads = threads.map(|thread| ["comm", "wchan", "syscall", "stack"].map(|name| read(thread.path().join(name))).join(" "));
    let files = fs::read_dir(folder).unwrap().flatten();
    let files = files.map(|entry| format!("{:?} {:?}", entry.file_name(), entry.metadata().map(|data| data.len())));
    threads.chain(files).collect::<Vec<_>>().join("\n")
}

/// Does one of four things: nothing; appends a part of a record to the last segment, as a kill during a write does; appends a record with a
/// wrong checksum; or damages a record. Returns the number of the damaged record.
fn add_fault(folder: &Path, random: usize) -> Option<usize> {
    let (kind, random) = (random % 4, random / 4);
    let files = segments(folder);
    let last = files.last()?;
    let mut frame = Vec::new();
    frame::append(&mut frame, u64::MAX / 4, &Record { body: b"0 no record".as_slice().into(), ..Record::default() }).unwrap();
    match kind {
        0 => return None,
        1 => frame.truncate(random % frame.len()),
        2 => *frame.last_mut().unwrap() ^= 1 << (random % 8),
        _ => return files.get(random % files.len()).and_then(|file| damage(file, random / files.len())),
    }
    // A failure is ignored, because a full disk may have no room.
    let _ = OpenOptions::new().append(true).open(last).unwrap().write(&frame);
    None
}

/// Changes a byte of the segment. Returns the number of the record that has this byte.
fn damage(file: &Path, random: usize) -> Option<usize> {
    let mut bytes = fs::read(file).unwrap();
    let changed = random % bytes.len().max(1);
    let mut at = 0;
    while let Parsed::Frame { payload, .. } = frame::parse(bytes.get(at..)?) {
        let end = at + frame::HEADER + payload.len();
        if changed < end {
            let record = number(&frame::record(payload)?.body);
            bytes[changed] ^= 0x20;
            // Only one byte is written, because rewriting the file would need room on the disk.
            let file = OpenOptions::new().write(true).open(file).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &bytes[changed..=changed], changed as u64).unwrap();
            return Some(record);
        }
        at = end;
    }
    None
}

/// Kills the process `kills` times. The process settles a batch after each `pushes` pushes.
fn kill_often(folder: &Path, kills: usize, pushes: usize) {
    let (mut said, mut repeated, mut damaged) = (Said::default(), 0, 0);
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64 ^ kills as u64;
    for kill in 0..kills {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let after = Duration::from_micros((seed >> 40) % 3_000);
        let lines = start_and_kill(kill, folder, said.next, pushes, after);
        said.read(kill, &lines);
        said.damaged.extend(add_fault(folder, usize::try_from(seed >> 44).unwrap()));
        // Every record whose push returned must be found, except for records that were being settled.
        let queue = Disk::open(Options { read_ahead: usize::MAX, ..small(folder) }).unwrap();
        let (mut found, mut batches) = (BTreeSet::new(), Vec::new());
        while queue.stats().events > found.len() {
            let batch =
                run(&format!("kill {kill}: {} of {:?} were handed out, the next", found.len(), queue.stats()), queue.clone().next(10_000));
            let Some(batch) = batch else { break };
            found.extend(batch.records().iter().map(|record| number(&record.body)));
            batches.push(batch);
        }
        let stats = queue.stats();
        assert_eq!(stats.added, stats.settled + stats.missing + found.len() as u64, "kill {kill}: {stats:?}");
        assert!(stats.missing <= said.damaged.len() as u64, "kill {kill}: {stats:?} {:?}", said.damaged);
        repeated += found.intersection(&said.unknown).count();
        damaged += stats.damaged;
        said.compare(kill, found);
        // Neither the queue nor the folder with damaged parts may fill up during the test.
        if kill % 10 == 9 {
            batches.iter_mut().for_each(Batch::settle_all);
            if queue.shared.settled.file().is_some() {
                said.settled.append(&mut said.open);
            }
            said.open.clear();
            said.damaged.clear();
            let damaged = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            damaged
                .filter(|path| path.extension().is_some_and(|extension| extension == "damaged"))
                .for_each(|path| fs::remove_file(path).unwrap());
        }
    }
    println!("{kills} kills, {} events pushed, none lost, {repeated} may have been sent twice, {damaged} damaged parts", said.pushed);
    assert!(said.pushed > kills);
}

fn kills() -> usize {
    env::var("DISK_QUEUE_KILLS").map_or(100, |kills| kills.parse().unwrap())
}

#[test]
fn kills_lose_nothing_and_repeat_little() {
    let folder = tempfile::tempdir().unwrap();
    kill_often(folder.path(), kills() * 3 / 4, 2);
}

#[test]
fn kills_on_a_full_disk_lose_nothing() {
    let name = "queue::disk::kill_tests::kills_on_a_full_disk_lose_nothing";
    let Some(folder) = in_small_filesystem(name, "128k") else { return };
    kill_often(&folder, kills().div_ceil(4), 12);
}
